//! The field in which contours grow: what is occupied, and how one contour is extended.

use super::bits::Bits;
use super::paddle::{Paddles, Pixel, share};
use super::parameters::Parameters;
use super::raster::Canvas;
use crate::draws::Draws;

/// How often a direction or a place is drawn again before a contour gives up.
const TRIES: usize = 3;
/// A mask value (of 255) up to which a pixel counts as free for the start of a contour: 0.3.
const FREE: u8 = 76;
/// What a new paddle's mask and the others' may add up to.
const MOST_OVERLAP: f64 = 1.8;
/// Less weight than this on all candidates together is a dead end.
const LEAST_WEIGHT: f64 = 1e-4;

/// One paddle, drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stroke {
    /// Its number in [`Paddles::paddles`].
    pub paddle: usize,
    pub start: Pixel,
}

/// A contour that grows.
#[derive(Clone, Debug)]
pub(super) struct Contour {
    pub strokes: Vec<Stroke>,
    /// The ends of the contour: the start of its first paddle and the head of its last.
    pub first: Pixel,
    pub last: Pixel,
    /// The point behind the newest paddle, and the direction in which the contour goes on.
    pivot: Pixel,
    direction: usize,
}

/// The masks of the paddles that keep others away. A mask value is a number of 255ths.
pub(super) struct Field<'a> {
    parameters: &'a Parameters,
    paddles: &'a Paddles,
    side: i32,
    mask: Vec<u8>,
    /// The mask dilated by the margin.
    halo: Vec<u8>,
    weights: Vec<f64>,
    candidates: Vec<(Pixel, usize)>,
}

impl<'a> Field<'a> {
    pub fn new(parameters: &'a Parameters, paddles: &'a Paddles) -> Self {
        Self {
            parameters,
            paddles,
            side: parameters.side as i32,
            mask: paddles.empty_mask.clone(),
            halo: paddles.empty_halo.clone(),
            weights: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// Leaves nothing but the border.
    pub fn clear(&mut self) {
        self.mask.copy_from_slice(&self.paddles.empty_mask);
        self.halo.copy_from_slice(&self.paddles.empty_halo);
    }

    /// A copy of what is occupied, to come back to.
    pub fn save(&self) -> (Vec<u8>, Vec<u8>) {
        (self.mask.clone(), self.halo.clone())
    }

    pub fn restore(&mut self, saved: &(Vec<u8>, Vec<u8>)) {
        self.mask.copy_from_slice(&saved.0);
        self.halo.copy_from_slice(&saved.1);
    }

    /// Starts the first target contour, in the empty field.
    pub fn seed_first(&self, draws: &mut impl Draws) -> Option<Contour> {
        for _ in 0..TRIES {
            let degree = draws.below(360) as usize;
            let paddle = &self.paddles.paddles[self.paddles.degrees[degree]];
            if paddle.never_first || paddle.places_count == 0 {
                return None;
            }
            let start = paddle.places.nth(draws.below(paddle.places_count))?;
            if let Some(contour) = self.contour(degree, start) {
                return Some(contour);
            }
        }
        None
    }

    /// Starts a distractor, beside what is there.
    pub fn seed_distractor(&self, draws: &mut impl Draws) -> Option<Contour> {
        let mut occupied = None;
        for _ in 0..TRIES {
            let degree = draws.below(360) as usize;
            let paddle = &self.paddles.paddles[self.paddles.degrees[degree]];
            if paddle.never_first {
                return None;
            }
            let occupied = occupied.get_or_insert_with(|| {
                let mut bits = Bits::of(self.side as usize, &self.mask, |&value| value > FREE);
                bits.set_border(1);
                bits
            });
            let places = occupied.free(&paddle.kernel);
            let count = places.count();
            if count == 0 {
                return None;
            }
            let start = places.nth(draws.below(count))?;
            if let Some(contour) = self.contour(degree, start) {
                return Some(contour);
            }
        }
        None
    }

    /// Starts the second target contour at a distance from the first.
    pub fn seed_second(&self, first: Pixel, draws: &mut impl Draws) -> Option<Contour> {
        for _ in 0..TRIES {
            let degree = draws.below(360) as usize;
            let towards = f64::from(draws.below(360)) * std::f64::consts::PI / 180.0;
            let distance = self.parameters.seed_distance as f64;
            let away =
                |from: i32, sine: f64| (f64::from(from) + distance * sine).round_ties_even() as i32;
            let start = (
                away(first.0, libm::sin(towards)),
                away(first.1, libm::cos(towards)),
            );
            if let Some(contour) = self.contour(degree, start) {
                return Some(contour);
            }
        }
        None
    }

    /// A contour of one paddle, if its head and the point behind it are in the image.
    fn contour(&self, degree: usize, start: Pixel) -> Option<Contour> {
        let length = self.parameters.paddle_length;
        let direction = &self.paddles.directions[degree];
        let last = direction.forward(start, length);
        let pivot = direction.back(last, length + self.paddles.margin);
        let paddle = self.paddles.degrees[degree];
        (self.contains(last) && self.contains(pivot)).then(|| Contour {
            strokes: vec![Stroke { paddle, start }],
            first: start,
            last,
            pivot,
            direction: degree,
        })
    }

    /// Adds a paddle to a contour, and the contour's paddle before it to what is occupied; or
    /// fails.
    pub fn extend(&mut self, contour: &mut Contour, draws: &mut impl Draws) -> bool {
        let paddles = self.paddles;
        let reach = self.parameters.paddle_length + 2 * paddles.margin;
        let turn = paddles.directions[contour.direction].forward(contour.pivot, reach);
        let bends = paddles.bends(contour.direction);
        self.weights.clear();
        self.candidates.clear();
        let mut sum = 0.0;
        for (number, candidate) in paddles.candidates.iter().enumerate() {
            let pixel = (turn.0 + candidate.offset.0, turn.1 + candidate.offset.1);
            if !self.contains(pixel) {
                continue;
            }
            let near = self.halo[(pixel.0 * self.side + pixel.1) as usize];
            let weight = paddles.room[usize::from(near)] * bends[number];
            sum += weight;
            self.weights.push(weight);
            self.candidates.push((pixel, number));
        }
        if self.candidates.is_empty() || sum < LEAST_WEIGHT {
            return false;
        }
        for _ in 0..TRIES {
            let u = draws.unit();
            let mut cumulative = 0.0;
            let drawn = self.weights.iter().position(|weight| {
                cumulative += weight / sum;
                cumulative > u
            });
            // Rounding may leave the sum of all below the largest possible draw.
            let (head, number) = self.candidates[drawn.unwrap_or(self.candidates.len() - 1)];
            let candidate = &paddles.candidates[number];
            let stroke = Stroke {
                paddle: candidate.paddle,
                start: head,
            };
            if self.fits(stroke) {
                if let Some(&newest) = contour.strokes.last() {
                    self.occupy(newest);
                }
                contour.strokes.push(stroke);
                contour.last = head;
                contour.pivot = turn;
                contour.direction = candidate.direction;
                return true;
            }
        }
        false
    }

    /// Adds the newest paddle of a contour to what is occupied.
    pub fn complete(&mut self, contour: &Contour) {
        if let Some(&newest) = contour.strokes.last() {
            self.occupy(newest);
        }
    }

    fn occupy(&mut self, stroke: Stroke) {
        let paddle = &self.paddles.paddles[stroke.paddle];
        stamp(&mut self.mask, self.side, &paddle.mask, stroke.start);
        stamp(&mut self.halo, self.side, &paddle.halo, stroke.start);
    }

    /// Whether the mask and a new paddle's add up to less than 1.8 everywhere.
    fn fits(&self, stroke: Stroke) -> bool {
        /// 1.8 in 255ths: what is less in whole numbers is less in the original's too.
        const CLOSE: u16 = 459;
        let mask = &self.paddles.paddles[stroke.paddle].mask;
        rows(self.side, mask, stroke.start).all(|(at, row)| {
            let pairs = || self.mask[at..].iter().zip(row);
            let sums = pairs().map(|(&here, &new)| u16::from(here) + u16::from(new));
            sums.max().unwrap_or(0) < CLOSE
                || pairs().all(|(&here, &new)| share(here) + share(new) < MOST_OVERLAP)
        })
    }

    fn contains(&self, (y, x): Pixel) -> bool {
        (0..self.side).contains(&y) && (0..self.side).contains(&x)
    }
}

/// Keeps the larger of each pixel of an image and of a canvas, the canvas' middle at a pixel.
pub(super) fn stamp(image: &mut [u8], side: i32, canvas: &Canvas, middle: Pixel) {
    for (at, row) in rows(side, canvas, middle) {
        for (here, &new) in image[at..].iter_mut().zip(row) {
            *here = new.max(*here);
        }
    }
}

/// The rows of a canvas that are in an image, cropped, with the index of the first pixel each.
pub(super) fn rows(
    side: i32,
    canvas: &Canvas,
    middle: Pixel,
) -> impl Iterator<Item = (usize, &[u8])> {
    let width = canvas.side as i32;
    let (top, left) = (middle.0 - width / 2, middle.1 - width / 2);
    let columns = (-left).clamp(0, width)..(side - left).clamp(0, width);
    let lines = (-top).clamp(0, width)..(side - top).clamp(0, width);
    lines.filter_map(move |line| {
        let row = (line * width + columns.start)..(line * width + columns.end);
        let start = (top + line) * side + left + columns.start;
        let is_some = !columns.is_empty();
        is_some.then(|| {
            (
                start as usize,
                &canvas.pixels[row.start as usize..row.end as usize],
            )
        })
    })
}
