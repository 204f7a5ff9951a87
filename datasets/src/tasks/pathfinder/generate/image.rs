//! One image: two target contours, distractors, two markers.

use super::field::{Contour, Field, Stroke, rows, stamp};
use super::lanczos::Lanczos;
use super::paddle::{Paddles, Pixel};
use super::parameters::{ANTIALIAS, Parameters};
use super::raster::{Canvas, disc};
use crate::draws::Draws;
use crate::pathfinder::{Difficulty, Size};

/// How often a distractor is tried.
const ATTEMPTS: usize = 5;

/// Draws Pathfinder images of one size and difficulty: the original's, from the same draws.
///
/// Everything that doesn't depend on the draws is worked out once, so that a rejected contour
/// costs about a microsecond. Share one generator between threads.
pub struct Generator {
    parameters: Parameters,
    paddles: Vec<Paddles>,
    markers: Lanczos,
    /// The brightness of a paddle's pixel, of targets and of distractors.
    target_levels: [f64; 256],
    distractor_levels: [f64; 256],
}

/// An image and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The pixels, row-major, black is 0.
    pub pixels: Vec<u8>,
    /// Whether one contour connects both markers.
    pub label: u8,
    /// The distance that was kept around paddles.
    pub margin: u8,
    /// The markers' centres `(y, x)`.
    pub markers: [(i32, i32); 2],
    /// How often both targets were given up and started again.
    pub restarts: u64,
    /// How many distractors found a place.
    pub distractors: u8,
    targets: [Vec<Stroke>; 2],
    paddles: usize,
}

impl Generator {
    /// Prepares to draw images of a size and difficulty.
    pub fn new(size: Size, difficulty: Difficulty) -> Self {
        let parameters = Parameters::new(size, difficulty);
        let margins = parameters.margins.iter();
        let level = |contrast: f64| {
            let value = move |value: usize| f64::from((value as f64 / 255.0 * contrast) as f32);
            std::array::from_fn(value)
        };
        Self {
            paddles: margins
                .map(|&margin| Paddles::new(&parameters, margin))
                .collect(),
            markers: Lanczos::new(parameters.side * ANTIALIAS as usize, parameters.side),
            target_levels: level(parameters.snake_contrast * parameters.paddle_contrast),
            distractor_levels: level(parameters.snake_contrast),
            parameters,
        }
    }

    /// The number of rows, and of columns, of an image.
    pub fn side(&self) -> usize {
        self.parameters.side
    }

    /// The settings as metadata has them: continuity, contour length, distractor length, paddle
    /// length, thickness.
    pub(super) fn describe(&self) -> String {
        let parameters = &self.parameters;
        format!(
            "{:?} {} {} {} {:?}",
            parameters.continuity,
            parameters.contour_length,
            parameters.distractor_length(),
            parameters.paddle_length,
            parameters.thickness
        )
    }

    /// Draws one image.
    pub fn draw(&self, draws: &mut impl Draws) -> Drawn {
        let label = draws.below(2) as u8;
        let number = draws.below(self.paddles.len() as u32) as usize;
        let paddles = &self.paddles[number];
        let mut field = Field::new(&self.parameters, paddles);
        let (first, second, restarts) = self.targets(&mut field, draws);
        let distractors = self.distractors(&mut field, draws);

        let mut levels = vec![0.0; self.side() * self.side()];
        let targets = [&first, &second].into_iter();
        self.paint(
            &mut levels,
            paddles,
            targets.flat_map(|c| &c.strokes),
            &self.target_levels,
        );
        let strokes = distractors.iter().flat_map(|c| &c.strokes);
        self.paint(&mut levels, paddles, strokes, &self.distractor_levels);
        let (this, other) = match draws.below(2) {
            0 => (&first, &second),
            _ => (&second, &first),
        };
        let markers = [this.first, if label == 1 { this.last } else { other.last }];
        for marker in markers {
            self.mark(&mut levels, marker);
        }
        Drawn {
            pixels: bytes(&levels),
            label,
            margin: paddles.margin as u8,
            markers,
            restarts,
            distractors: distractors.len() as u8,
            targets: [first.strokes, second.strokes],
            paddles: number,
        }
    }

    /// Where one of the two target contours keeps others away, from the paddles of that contour
    /// alone: 0 where it does not, 255 where it does. Markers lie on it if they are its ends.
    ///
    /// # Panics
    /// If the image was drawn by a generator of another size, or `target` is not 0 or 1.
    pub fn contour_mask(&self, drawn: &Drawn, target: usize) -> Vec<u8> {
        let mut mask = vec![0; self.side() * self.side()];
        let paddles = &self.paddles[drawn.paddles].paddles;
        for stroke in &drawn.targets[target] {
            let side = self.side() as i32;
            stamp(&mut mask, side, &paddles[stroke.paddle].mask, stroke.start);
        }
        mask
    }

    /// Two target contours; how often it took another start.
    fn targets(&self, field: &mut Field, draws: &mut impl Draws) -> (Contour, Contour, u64) {
        let mut restarts = 0;
        loop {
            if let Some((first, second)) = self.try_targets(field, draws) {
                return (first, second, restarts);
            }
            restarts += 1;
        }
    }

    fn try_targets(&self, field: &mut Field, draws: &mut impl Draws) -> Option<(Contour, Contour)> {
        let mut first = field.seed_first(draws)?;
        let mut second = field.seed_second(first.first, draws)?;
        for round in 1..self.parameters.contour_length {
            if !field.extend(&mut first, draws) || !field.extend(&mut second, draws) {
                // Nothing is occupied before the second paddle.
                if round > 1 || first.strokes.len() > 1 {
                    field.clear();
                }
                return None;
            }
        }
        // The first contour's last paddle is never added: so it is in the original.
        field.complete(&second);
        Some((first, second))
    }

    fn distractors(&self, field: &mut Field, draws: &mut impl Draws) -> Vec<Contour> {
        let mut distractors = Vec::new();
        for _ in 0..self.parameters.distractors {
            distractors
                .extend((0..ATTEMPTS).find_map(|_attempt| self.try_distractor(field, draws)));
        }
        distractors
    }

    fn try_distractor(&self, field: &mut Field, draws: &mut impl Draws) -> Option<Contour> {
        let mut contour = field.seed_distractor(draws)?;
        let saved = field.save();
        for _ in 1..self.parameters.distractor_length() {
            if !field.extend(&mut contour, draws) {
                field.restore(&saved);
                return None;
            }
        }
        field.complete(&contour);
        Some(contour)
    }

    fn paint<'s>(
        &self,
        levels: &mut [f64],
        paddles: &Paddles,
        strokes: impl Iterator<Item = &'s Stroke>,
        brightness: &[f64; 256],
    ) {
        for stroke in strokes {
            let image = &paddles.paddles[stroke.paddle].image;
            for (at, row) in rows(self.side() as i32, image, stroke.start) {
                for (here, &value) in levels[at..].iter_mut().zip(row) {
                    *here = here.max(brightness[usize::from(value)]);
                }
            }
        }
    }

    fn mark(&self, levels: &mut [f64], (y, x): Pixel) {
        let side = self.side() as i32 * ANTIALIAS;
        let mut canvas = Canvas::new(side as usize);
        let radius = (self.parameters.marker_radius * f64::from(ANTIALIAS)) as i32;
        let (centre_y, centre_x) = (y * ANTIALIAS, x * ANTIALIAS);
        for (dy, dx) in disc(radius) {
            let (y, x) = (centre_y + dy, centre_x + dx);
            if (0..side).contains(&y) && (0..side).contains(&x) {
                canvas.pixels[(y * side + x) as usize] = 255;
            }
        }
        let around = |centre: i32| {
            let start = (centre - radius).clamp(0, side);
            start as usize..(centre + radius + 1).clamp(start, side) as usize
        };
        let width = self.side();
        let (rows, columns) = (around(centre_y), around(centre_x));
        self.markers
            .scale_part(&canvas, rows, columns, |y, x, value| {
                let here = &mut levels[y * width + x];
                *here = here.max(f64::from(value) / 255.0);
            });
    }
}

/// Stretches the levels from the darkest to the brightest over all bytes.
fn bytes(levels: &[f64]) -> Vec<u8> {
    let darkest = levels.iter().copied().fold(f64::INFINITY, f64::min);
    let brightest = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = brightest - darkest;
    let scale = 255.0 / if range == 0.0 { 1.0 } else { range };
    let byte = |level: &f64| ((level - darkest) * scale + 0.5) as u8;
    levels.iter().map(byte).collect()
}
