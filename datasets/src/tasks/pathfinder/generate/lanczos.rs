//! Scaling bytes down with Lanczos's window, bit for bit as Pillow's `Image.resize` does.

use std::f64::consts::PI;
use std::ops::Range;

use super::raster::Canvas;

/// The weights with which a line of `from` pixels becomes one of `to` pixels.
///
/// Weights are fixed-point numbers of 22 bits; both passes, first along rows and then along
/// columns, round and clip to a byte.
#[derive(Clone, Debug)]
pub(super) struct Lanczos {
    from: usize,
    to: usize,
    /// For each target pixel the first source pixel and the weights from there on.
    taps: Vec<(usize, Vec<i32>)>,
}

const BITS: u32 = 22;
/// The lobes of the window on each side.
const LOBES: f64 = 3.0;

impl Lanczos {
    /// # Panics
    /// If `to` is 0 or more than `from`: the generator only scales down.
    pub fn new(from: usize, to: usize) -> Self {
        assert!(0 < to && to <= from, "only scaling down is needed");
        let scale = from as f64 / to as f64;
        let support = LOBES * scale;
        let taps = (0..to).map(|target| {
            let centre = (target as f64 + 0.5) * scale;
            let first = ((centre - support + 0.5) as i64).max(0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|source| window((source as f64 - centre + 0.5) * (1.0 / scale)))
                .collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: f64| {
                let scaled = weight / sum * f64::from(1 << BITS);
                (scaled + 0.5f64.copysign(scaled)) as i32
            };
            (first, weights.into_iter().map(fixed).collect())
        });
        Self {
            from,
            to,
            taps: taps.collect(),
        }
    }

    /// Scales a whole canvas.
    pub fn scale(&self, canvas: &Canvas) -> Canvas {
        let mut scaled = Canvas::new(self.to);
        let everything = 0..self.from;
        self.scale_part(canvas, everything.clone(), everything, |y, x, value| {
            scaled.pixels[y * self.to + x] = value;
        });
        scaled
    }

    /// Scales a canvas that is black outside some rows and columns, and hands over each target
    /// pixel `(y, x, value)` that may not be black.
    pub fn scale_part(
        &self,
        canvas: &Canvas,
        rows: Range<usize>,
        columns: Range<usize>,
        mut put: impl FnMut(usize, usize, u8),
    ) {
        assert_eq!(canvas.side, self.from, "the canvas has another side");
        let (targets_y, targets_x) = (self.reached(&rows), self.reached(&columns));
        let width = targets_x.len();
        // Row by row first: a byte each, as in Pillow.
        let mut narrow = vec![0u8; rows.len() * width];
        for (row, line) in rows.clone().zip(narrow.chunks_exact_mut(width.max(1))) {
            let source = &canvas.pixels[row * self.from..][..self.from];
            for (target, value) in targets_x.clone().zip(line) {
                let (first, weights) = &self.taps[target];
                let pixels = source[*first..].iter().copied();
                *value = weigh(weights, pixels);
            }
        }
        for y in targets_y {
            let (first, weights) = &self.taps[y];
            // Source rows outside `rows` are black and weigh nothing.
            let start = rows.start.saturating_sub(*first).min(weights.len());
            let from = (first + start).saturating_sub(rows.start);
            for (x, target_x) in targets_x.clone().enumerate() {
                let pixels = narrow[from.min(rows.len()) * width..]
                    .iter()
                    .skip(x)
                    .step_by(width);
                put(y, target_x, weigh(&weights[start..], pixels.copied()));
            }
        }
    }

    /// The targets that source pixels in a range have a part in.
    fn reached(&self, sources: &Range<usize>) -> Range<usize> {
        let touches = |(first, weights): &(usize, Vec<i32>)| {
            *first < sources.end && sources.start < first + weights.len()
        };
        let start = self.taps.iter().position(touches).unwrap_or(0);
        let end = self.taps.iter().rposition(touches).map_or(0, |at| at + 1);
        start..end
    }
}

fn weigh(weights: &[i32], pixels: impl Iterator<Item = u8>) -> u8 {
    let sum: i32 = weights
        .iter()
        .zip(pixels)
        .map(|(&weight, pixel)| weight * i32::from(pixel))
        .sum();
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

fn window(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    libm::sin(x) / x
}
