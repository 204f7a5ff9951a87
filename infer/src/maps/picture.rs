//! A picture of maps: a row of panels for each layer, a panel for each head.

use std::ops::Range;

use plotters::prelude::*;

use super::heads::Head;
use super::{Maps, images, tokens};
use crate::drawing::{self, Area, DrawingError, Drawn, FONT, INK};

/// What is shown of maps, and what the caption calls it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The numbers.
    pub maps: &'a Maps,
    /// What the model is called.
    pub model: &'a str,
    /// What the input is called.
    pub input: &'a str,
    /// The layer that is shown, counted from 1; all without one.
    pub layer: Option<usize>,
    /// The head that is shown, counted from 1; all without one.
    pub head: Option<usize>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The model has fewer layers or heads.
    #[error("the model has no {part} {asked}: it has {count}, counted from 1")]
    Missing {
        /// `layer` or `head`.
        part: &'static str,
        /// The number that was asked for.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// The picture failed.
    #[error(transparent)]
    Drawing(#[from] DrawingError),
}

/// One head of one layer, both counted from 1.
pub(super) struct Panel<'a> {
    pub layer: usize,
    pub head: usize,
    pub numbers: Head<'a>,
}

impl Panel<'_> {
    pub fn title(&self) -> String {
        format!("layer {}, head {}", self.layer, self.head)
    }
}

/// An SVG of the maps.
///
/// Tokens are shown as matrices: a query a row, what it attends to a column. Those are the tokens, through
/// the window, and the landmarks beside them; below are the weights of the tokens in each landmark. The
/// class row, where there is one, comes first. An image's pixels are shown as images.
///
/// # Errors
///
/// A layer or a head that isn't there; [`ViewError::Drawing`] if the drawing library fails.
pub fn picture(view: &View<'_>) -> Result<String, ViewError> {
    let layers = &view.maps.layers;
    let heads = layers[0].window.shape()[0];
    let shown = |layer: usize, heads: Range<usize>| -> Vec<Panel<'_>> {
        let panel = |head| Panel {
            layer: layer + 1,
            head: head + 1,
            numbers: Head::of(&layers[layer], head),
        };
        heads.map(panel).collect()
    };
    let heads = chosen("head", view.head, heads)?;
    let panels: Vec<Vec<Panel<'_>>> = chosen("layer", view.layer, layers.len())?
        .map(|layer| shown(layer, heads.clone()))
        .collect();
    let side = view.maps.ids.len().isqrt();
    let is_square = side * side == view.maps.ids.len();
    Ok(match view.maps.is_image && is_square {
        true => images::svg(view, &panels, side)?,
        false => tokens::svg(view, &panels)?,
    })
}

fn chosen(
    part: &'static str,
    asked: Option<usize>,
    count: usize,
) -> Result<Range<usize>, ViewError> {
    match asked {
        None => Ok(0..count),
        Some(asked) if (1..=count).contains(&asked) => Ok(asked - 1..asked),
        Some(asked) => Err(ViewError::Missing { part, asked, count }),
    }
}

/// Height of a line of the caption.
const LINE: u32 = 19;
/// Space around the picture.
pub(super) const MARGIN: u32 = 16;

/// A picture whose middle has this size, below a caption: the model, its answer and the input, then `notes`.
pub(super) fn captioned(
    view: &View<'_>,
    notes: &[String],
    [width, height]: [u32; 2],
    draw: impl FnOnce(&Area) -> Drawn,
) -> Result<String, DrawingError> {
    const NARROWEST: u32 = 640;
    let width = width.max(NARROWEST);
    let maps = view.maps;
    let answer = format!(
        "{}: class {} with a probability of {:.3}",
        view.model, maps.class, maps.probability
    );
    let lines = [answer, format!("input: {}", view.input)];
    let lines: Vec<&String> = lines.iter().chain(notes).collect();
    let caption = LINE * lines.len() as u32 + MARGIN / 2;
    let size = (width + 2 * MARGIN, caption + height + 2 * MARGIN);
    drawing::svg(size, |root| {
        for (row, line) in lines.iter().enumerate() {
            let font = (FONT, if row == 0 { 17 } else { 14 }).into_font();
            let place = (MARGIN as i32, (MARGIN + LINE * row as u32) as i32);
            // About as many letters as there is room for.
            let line = shortened(line, (width / 6) as usize);
            root.draw(&Text::new(line, place, font.color(&INK)))?;
        }
        let corner = (MARGIN, MARGIN + caption);
        draw(&root.clone().shrink(corner, (width, height)))
    })
}

/// The text on one line, its end left out where it is longer.
fn shortened(text: &str, longest: usize) -> String {
    let mut letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = letters.by_ref().take(longest).collect();
    if letters.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}
