//! How a share becomes a colour, and cells of them.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::matrix::Matrix;
use crate::drawing::{Area, Drawn, FONT, INK};

/// One hue from white to dark, in steps of like difference to the eye (ColorBrewer's `Blues`).
const RAMP: [[u8; 3]; 9] = [
    [255, 255, 255],
    [222, 235, 247],
    [198, 219, 239],
    [158, 202, 225],
    [107, 174, 214],
    [66, 146, 198],
    [33, 113, 181],
    [8, 81, 156],
    [8, 48, 107],
];

/// Colours that are told apart.
const LEVELS: u32 = 128;

/// A share from 0, which is white, to the largest. The colour follows the share's square root: small ones
/// are seen beside large ones.
#[derive(Clone, Copy)]
pub struct Scale {
    pub largest: f32,
}

impl Scale {
    fn level(self, share: f32) -> u32 {
        let place = (share / self.largest.max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        (place.sqrt() * LEVELS as f32).round() as u32
    }

    /// The colour of a share; none for white.
    pub fn colour(self, share: f32) -> Option<RGBColor> {
        Some(self.level(share))
            .filter(|&level| level > 0)
            .map(colour)
    }

    /// A bar with the colours and the shares that they stand for, 240 points wide.
    pub fn legend(self, area: &Area, at: (i32, i32)) -> Drawn {
        const WIDTH: i32 = 240;
        const HEIGHT: i32 = 12;
        for x in 0..WIDTH {
            let level = (x as f32 / (WIDTH - 1) as f32 * LEVELS as f32).round() as u32;
            let end = (at.0 + x + 1, at.1 + HEIGHT);
            area.draw(&Rectangle::new(
                [(at.0 + x, at.1), end],
                colour(level).filled(),
            ))?;
        }
        let frame = [at, (at.0 + WIDTH, at.1 + HEIGHT)];
        area.draw(&Rectangle::new(frame, INK.stroke_width(1)))?;
        let style = (FONT, 12).into_font().color(&INK);
        let style = style.pos(Pos::new(HPos::Center, VPos::Top));
        for share in [0.0, 0.02, 0.1, 0.25, 0.5, 1.0].map(|part: f32| part * self.largest) {
            let place = (share / self.largest.max(f32::MIN_POSITIVE)).sqrt();
            let x = at.0 + (place * WIDTH as f32) as i32;
            let place = (x, at.1 + HEIGHT + 3);
            area.draw(&Text::new(figure(share), place, style.clone()))?;
        }
        let style = (FONT, 13).into_font().color(&INK);
        let words = "share of a row's attention; weight of a token in a landmark".to_owned();
        area.draw(&Text::new(words, (at.0 + WIDTH + 24, at.1), style))?;
        Ok(())
    }
}

/// Draws the numbers as cells, `size` points wide and high each; those without a colour are left out.
pub fn cells(
    area: &Area,
    at: (i32, i32),
    size: (i32, i32),
    matrix: &Matrix<'_>,
    colour: impl Fn(f32) -> Option<RGBColor>,
) -> Drawn {
    for row in 0..matrix.rows() {
        let colours: Vec<_> = matrix.row(row).iter().map(|&value| colour(value)).collect();
        let top = at.1 + row as i32 * size.1;
        let mut left = at.0;
        // Neighbours of one colour are one rectangle.
        for run in colours.chunk_by(|a, b| a == b) {
            let end = left + run.len() as i32 * size.0;
            if let Some(colour) = run[0] {
                let corners = [(left, top), (end, top + size.1)];
                area.draw(&Rectangle::new(corners, colour.filled()))?;
            }
            left = end;
        }
    }
    Ok(())
}

/// A share in two figures.
pub fn figure(share: f32) -> String {
    match share {
        0.0 => "0".to_owned(),
        share if share < 0.000_095 => format!("{share:.0e}"),
        share => {
            let decimals = (1.0 - share.log10().floor()) as usize;
            let text = format!("{share:.decimals$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

fn colour(level: u32) -> RGBColor {
    let place = level as f32 / LEVELS as f32 * (RAMP.len() - 1) as f32;
    let (step, rest) = (place as usize, place.fract());
    let next = RAMP[(step + 1).min(RAMP.len() - 1)];
    let mix = |i: usize| {
        let [a, b] = [RAMP[step][i], next[i]].map(f32::from);
        (a + rest * (b - a)).round() as u8
    };
    RGBColor(mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_from_white_to_dark() {
        assert_eq!(colour(0), RGBColor(255, 255, 255));
        assert_eq!(colour(LEVELS), RGBColor(8, 48, 107));
        let scale = Scale { largest: 0.5 };
        assert_eq!((scale.level(0.0), scale.level(0.5)), (0, LEVELS));
        assert_eq!(scale.level(0.125), LEVELS / 2);
        // Nothing at all is white.
        assert_eq!(Scale { largest: 0.0 }.level(0.0), 0);
    }

    #[test]
    fn figures_are_short() {
        for (share, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (0.0312, "0.031"),
            (0.000_7, "0.0007"),
            (0.000_04, "4e-5"),
        ] {
            assert_eq!(figure(share), text);
        }
    }
}
