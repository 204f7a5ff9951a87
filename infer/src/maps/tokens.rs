//! Maps of a document's tokens, as matrices.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::matrix::Matrix;
use super::picture::{Panel, View, captioned};
use super::scale::{Scale, cells};
use crate::drawing::{Area, DrawingError, Drawn, FONT, INK};

/// More cells a side are blocks of tokens or landmarks.
const MOST_CELLS: usize = 100;
/// Tokens are written along the axes of up to so many.
const MOST_WORDS: usize = 64;
/// Space between the parts of a panel.
const GAP: i32 = 8;
/// Space behind the class row.
const CLASS_GAP: i32 = 4;
/// Room for words left of the matrix, and above it.
const ROOM: i32 = 38;
/// Height of a panel's title.
const TITLE: i32 = 26;
/// Height of the legend and the space above it.
const LEGEND: i32 = 44;
const FRAME: RGBColor = RGBColor(190, 190, 190);

/// An SVG of the panels, a layer a row.
pub fn svg(view: &View<'_>, panels: &[Vec<Panel<'_>>]) -> Result<String, DrawingError> {
    let geometry = Geometry::of(view, panels);
    let all = || panels.iter().flatten().map(|panel| &panel.numbers);
    let parts = all().flat_map(|head| {
        let class = [&head.class_row, &head.class_landmark]
            .into_iter()
            .flatten();
        let class = class.flatten().copied().fold(0.0, f32::max);
        [&head.window, &head.landmarks, &head.projection]
            .map(Matrix::largest)
            .into_iter()
            .chain([class])
    });
    let scale = Scale {
        largest: parts.fold(0.0, f32::max),
    };
    let (width, height) = (geometry.width(), geometry.height());
    let size = [
        (width * panels[0].len() as i32) as u32,
        (height * panels.len() as i32 + LEGEND) as u32,
    ];
    captioned(view, &geometry.notes(), size, |root| {
        for (row, panels) in panels.iter().enumerate() {
            for (column, panel) in panels.iter().enumerate() {
                let corner = (column as i32 * width, row as i32 * height);
                let area = root.clone().shrink(corner, (width, height));
                geometry.draw(&area, panel, scale)?;
            }
        }
        scale.legend(root, (0, height * panels.len() as i32 + 10))
    })
}

/// Sizes that all panels share, in points where nothing else is said.
struct Geometry<'a> {
    words: &'a [String],
    /// Tokens of a cell.
    block: usize,
    /// Landmarks of a cell.
    landmark_block: usize,
    /// Cells of the tokens.
    tokens: i32,
    /// Cells of the landmarks.
    landmarks: i32,
    /// Whether any panel has a class row.
    class: bool,
    /// Side of a token's cell.
    cell: i32,
    /// Width of a landmark's cell.
    thin: i32,
}

impl<'a> Geometry<'a> {
    fn of(view: &View<'a>, panels: &[Vec<Panel<'_>>]) -> Self {
        let words = view.maps.words.as_slice();
        let first = &panels[0][0].numbers;
        let block = words.len().div_ceil(MOST_CELLS);
        let landmark_block = first.landmarks.columns.div_ceil(MOST_CELLS).max(1);
        let tokens = words.len().div_ceil(block) as i32;
        let landmarks = first.landmarks.columns.div_ceil(landmark_block) as i32;
        let cell = match tokens {
            ..=32 => 13,
            33..=64 => 10,
            _ => 6,
        };
        Self {
            words,
            block,
            landmark_block,
            tokens,
            landmarks,
            class: panels
                .iter()
                .flatten()
                .any(|p| p.numbers.class_row.is_some()),
            cell,
            thin: (240 / landmarks.max(1)).clamp(3, cell),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Rows are queries. Columns are what they attend to: tokens through the window, then landmarks."
                .to_owned(),
            "The lower rows are landmarks, and what each is made of.".to_owned(),
        ];
        if self.class {
            notes.push(
                "The class row attends to what the queries have read; as a landmark it is the first."
                    .to_owned(),
            );
        }
        let blocks = [(self.block, "tokens"), (self.landmark_block, "landmarks")];
        for (block, what) in blocks.into_iter().filter(|(block, _)| *block > 1) {
            notes.push(format!("A cell is the largest share of {block} {what}."));
        }
        notes
    }

    /// Height of the class row and of what is behind it, and of the class column.
    fn class_size(&self) -> i32 {
        if self.class { self.cell + CLASS_GAP } else { 0 }
    }

    fn width(&self) -> i32 {
        let landmarks = GAP + self.class_size() + self.landmarks * self.thin;
        ROOM + self.tokens * self.cell + landmarks + 3 * GAP
    }

    fn height(&self) -> i32 {
        let landmarks = GAP + self.landmarks * self.thin;
        let above = TITLE + ROOM + self.class_size();
        above + self.tokens * self.cell + landmarks + 2 * GAP
    }

    fn draw(&self, area: &Area, panel: &Panel<'_>, scale: Scale) -> Drawn {
        let head = &panel.numbers;
        let title = (FONT, 17).into_font().color(&INK);
        area.draw(&Text::new(panel.title(), (ROOM, 6), title))?;
        let (cell, thin) = (self.cell, self.thin);
        // Left edges of the tokens, of the class row as a landmark, and of the other landmarks.
        let tokens = ROOM;
        let class = tokens + self.tokens * cell + GAP;
        let landmarks = class + self.class_size();
        // Upper edges of the class row, of the queries, and of what landmarks are made of.
        let first = TITLE + ROOM;
        let queries = first + self.class_size();
        let made = queries + self.tokens * cell + GAP;
        // Words stand above whatever comes first.
        let above = if head.class_row.is_some() {
            first
        } else {
            queries
        };

        let part = |at: (i32, i32), size: (i32, i32), matrix: Matrix<'_>| -> Drawn {
            if matrix.values.is_empty() {
                return Ok(());
            }
            cells(area, at, size, &matrix, |share| scale.colour(share))?;
            let end = (
                at.0 + matrix.columns as i32 * size.0,
                at.1 + matrix.rows() as i32 * size.1,
            );
            area.draw(&Rectangle::new([at, end], FRAME.stroke_width(1)))?;
            Ok(())
        };
        let square = (cell, cell);
        let (block, landmark_block) = (self.block, self.landmark_block);
        let window = head.window.blocks(block, block);
        part((tokens, queries), square, window)?;
        let shares = head.landmarks.blocks(block, landmark_block);
        part((landmarks, queries), (thin, cell), shares)?;
        let weights = head.projection.blocks(landmark_block, block);
        part((tokens, made), (cell, thin), weights)?;
        if let Some(shares) = &head.class_row {
            let row = |values: &[f32]| Matrix::new(values.len(), values.to_vec());
            part((tokens, first), square, row(&shares[1..]).blocks(1, block))?;
            part((class, first), square, row(&shares[..1]))?;
            let label = (tokens - 4, first + cell / 2);
            self.word(area, "class", label, HPos::Right, false)?;
        }
        if let Some(shares) = &head.class_landmark {
            let column = Matrix::new(1, shares.clone());
            part((class, queries), square, column.blocks(block, 1))?;
            let label = (class + cell / 2, above - 4);
            self.word(area, "class", label, HPos::Left, true)?;
        }
        if self.landmarks > 0 {
            let label = (landmarks + 2, above - 8);
            self.word(area, "landmarks", label, HPos::Left, false)?;
            let label = (tokens - 10, made + self.landmarks * thin / 2);
            self.word(area, "landmarks", label, HPos::Center, true)?;
        }
        self.axes(area, (tokens, above), queries)
    }

    /// The tokens along both axes or, where there is no room, their places.
    fn axes(&self, area: &Area, (left, above): (i32, i32), top: i32) -> Drawn {
        let cell = self.cell;
        if self.words.len() > MOST_WORDS {
            let stride = [10, 20, 50, 100, 200, 500, 1000];
            let stride = stride
                .into_iter()
                .find(|stride| self.words.len() / stride <= 8);
            for place in (0..self.words.len()).step_by(stride.unwrap_or(1000)) {
                let at = (place / self.block) as i32 * cell + cell / 2;
                let number = place.to_string();
                self.word(area, &number, (left - 4, top + at), HPos::Right, false)?;
                self.word(area, &number, (left + at, above - 9), HPos::Center, false)?;
            }
            return Ok(());
        }
        for (place, word) in self.words.iter().enumerate() {
            let at = place as i32 * cell + cell / 2;
            self.word(area, word, (left - 4, top + at), HPos::Right, false)?;
            // A single letter stands upright.
            match word.chars().count() {
                1 => self.word(area, word, (left + at, above - 8), HPos::Center, false)?,
                _ => self.word(area, word, (left + at, above - 4), HPos::Left, true)?,
            }
        }
        Ok(())
    }

    /// A word beside a place, its middle at the place's height; upwards where it is turned.
    fn word(&self, area: &Area, word: &str, place: (i32, i32), side: HPos, turned: bool) -> Drawn {
        let mut font = (FONT, if self.cell < 12 { 11 } else { 13 }).into_font();
        if turned {
            font = font.transform(FontTransform::Rotate270);
        }
        let style = font.color(&INK).pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(word.to_owned(), place, style))?;
        Ok(())
    }
}
