//! Maps of an image's pixels, as images.

use plotters::prelude::*;

use super::matrix::Matrix;
use super::picture::{Panel, View, captioned};
use super::scale::{Scale, cells, figure};
use crate::drawing::{Area, DrawingError, Drawn, FONT, INK};

/// How many landmarks' own weights are shown.
const LANDMARKS: usize = 4;
/// Space between images.
const GAP: i32 = 12;
/// Height of a head's title.
const TITLE: i32 = 22;
/// Height of the line above an image, and of the one below it.
const LINE: i32 = 16;
const FRAME: RGBColor = RGBColor(190, 190, 190);

/// An SVG of the panels, a head a row, beside the image of `side` × `side` pixels.
pub fn svg(
    view: &View<'_>,
    panels: &[Vec<Panel<'_>>],
    side: usize,
) -> Result<String, DrawingError> {
    let cell = (128 / side.max(1)).clamp(2, 8) as i32;
    let tile = side as i32 * cell;
    let rows: Vec<(&Panel<'_>, Vec<Image>)> = (panels.iter().flatten())
        .map(|panel| (panel, of_head(panel)))
        .collect();
    let columns = rows.iter().map(|(_, images)| images.len()).max();
    let columns = 1 + columns.unwrap_or(0) as i32;
    let height = TITLE + tile + 2 * LINE + GAP;
    let size = [
        (columns * (tile + GAP)) as u32,
        (height * rows.len() as i32) as u32,
    ];
    let notes = [
        "How much each pixel is attended to by the mean query: through the window, and through the landmarks."
            .to_owned(),
        "Then what single landmarks are made of. The darkest colour is the largest share of its image, given \
         below it."
            .to_owned(),
    ];
    let image = |values: Vec<f32>| Matrix::new(side, values);
    captioned(view, &notes, size, |root| {
        let frame = |(x, y): (i32, i32)| {
            let corners = [(x, y), (x + tile, y + tile)];
            root.draw(&Rectangle::new(corners, FRAME.stroke_width(1)))
        };
        let pixels = image(view.maps.ids.iter().map(|&id| f32::from(id)).collect());
        let grey = |value: f32| {
            let value = value as u8;
            Some(RGBColor(value, value, value))
        };
        word(root, "input", (0, TITLE))?;
        cells(root, (0, TITLE + LINE), (cell, cell), &pixels, grey)?;
        frame((0, TITLE + LINE))?;
        for (row, (panel, images)) in rows.into_iter().enumerate() {
            let top = row as i32 * height;
            let title = (FONT, 17).into_font().color(&INK);
            root.draw(&Text::new(panel.title(), (tile + GAP, top), title))?;
            for (column, Image { name, values }) in (1..).zip(images) {
                let shares = image(values);
                let largest = shares.largest();
                let scale = Scale { largest };
                let (left, top) = (column * (tile + GAP), top + TITLE + LINE);
                word(root, &name, (left, top - LINE))?;
                cells(root, (left, top), (cell, cell), &shares, |x| {
                    scale.colour(x)
                })?;
                frame((left, top))?;
                word(root, &figure(largest), (left, top + tile + 2))?;
            }
        }
        Ok(())
    })
}

fn word(area: &Area, word: &str, at: (i32, i32)) -> Drawn {
    let style = (FONT, 13).into_font().color(&INK);
    area.draw(&Text::new(word.to_owned(), at, style))?;
    Ok(())
}

struct Image {
    name: String,
    values: Vec<f32>,
}

fn of_head(panel: &Panel<'_>) -> Vec<Image> {
    let head = &panel.numbers;
    let [window, landmarks] = head.attended();
    let named = |name: &str, values| Image {
        name: name.to_owned(),
        values,
    };
    let mut images = vec![named("window", window), named("landmarks", landmarks)];
    if let Some(shares) = &head.class_row {
        images.push(named("class row", shares[1..].to_vec()));
    }
    let own = (0..head.projection.rows().min(LANDMARKS)).map(|landmark| Image {
        name: format!("landmark {}", landmark + 1),
        values: head.projection.row(landmark).to_vec(),
    });
    images.extend(own);
    images
}
