//! Lines on a canvas of bytes, pixel for pixel as Pillow's `ImageDraw.line` draws them.
//!
//! Pillow is what the original generator draws with, so its rounding is part of the data's
//! definition: how a wide line becomes a polygon with whole-numbered corners, and how that is
//! filled, follow `ImageDraw.line` step by step. `tests/pathfinder_replay.rs` holds the result
//! against images of the original.

/// A square canvas of bytes, black at first.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub side: usize,
    pub pixels: Vec<u8>,
}

/// The value of a pixel that is drawn.
const INK: u8 = 255;

impl Canvas {
    pub fn new(side: usize) -> Self {
        Self {
            side,
            pixels: vec![0; side * side],
        }
    }

    fn ink(&mut self, x: i32, y: i32) {
        let side = 0..self.side as i32;
        if side.contains(&x) && side.contains(&y) {
            self.pixels[y as usize * self.side + x as usize] = INK;
        }
    }

    /// Draws from one point `(x, y)` to another, both included.
    pub fn line(&mut self, from: (i32, i32), to: (i32, i32), width: i32) {
        if width <= 1 || from == to {
            self.thin_line(from, to);
        } else {
            self.wide_line(from, to, width);
        }
    }

    /// Bresenham's line: the longer axis advances at every step.
    fn thin_line(&mut self, from: (i32, i32), to: (i32, i32)) {
        let (mut x, mut y) = from;
        let (dx, dy) = ((to.0 - x).abs(), (to.1 - y).abs());
        let (step_x, step_y) = ((to.0 - x).signum(), (to.1 - y).signum());
        let (long, short) = (dx.max(dy), dx.min(dy));
        let mut error = 2 * short - long;
        for _ in 0..long {
            self.ink(x, y);
            let aside = error >= 0;
            error += 2 * short - if aside { 2 * long } else { 0 };
            if dx > dy {
                x += step_x;
                y += if aside { step_y } else { 0 };
            } else {
                y += step_y;
                x += if aside { step_x } else { 0 };
            }
        }
        self.ink(to.0, to.1);
    }

    /// A line of some width is a filled quadrilateral with integer corners.
    fn wide_line(&mut self, from: (i32, i32), to: (i32, i32), width: i32) {
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = libm::hypot(dx, dy);
        let half = f64::from(width - 1) / 2.0;
        let (most, least) = (half_up(half) / length, half_down(half) / length);
        let aside = |ratio: f64| (half_down(ratio * dy) as i32, half_up(ratio * dx) as i32);
        let (x_least, y_least) = aside(least);
        let (x_most, y_most) = aside(most);
        self.fill([
            (from.0 - x_least, from.1 + y_most),
            (to.0 - x_least, to.1 + y_most),
            (to.0 + x_most, to.1 - y_least),
            (from.0 + x_most, from.1 - y_least),
        ]);
    }

    /// Fills a convex quadrilateral, row by row between the outermost crossings of its edges.
    fn fill(&mut self, corners: [(i32, i32); 4]) {
        let edges = [0, 1, 2, 3].map(|i| (corners[i], corners[(i + 1) % 4]));
        let top = corners.iter().map(|corner| corner.1).min().unwrap_or(0);
        let bottom = corners.iter().map(|corner| corner.1).max().unwrap_or(0);
        for y in top..=bottom {
            let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
            for ((x0, y0), (x1, y1)) in edges {
                if !(y0.min(y1)..=y0.max(y1)).contains(&y) {
                    continue;
                }
                if y0 == y1 {
                    left = left.min(x0.min(x1) as f32);
                    right = right.max(x0.max(x1) as f32);
                } else {
                    // Single precision, as in Pillow.
                    let slope = (x1 - x0) as f32 / (y1 - y0) as f32;
                    let x = (y - y0) as f32 * slope + x0 as f32;
                    (left, right) = (left.min(x), right.max(x));
                }
            }
            let (left, right) = (half_up(left.into()) as i32, half_down(right.into()) as i32);
            for x in left..=right {
                self.ink(x, y);
            }
        }
    }

    /// The grey-scale dilation by the disc of a radius: each pixel becomes the largest around it.
    pub fn dilate(&self, radius: i32) -> Canvas {
        let mut dilated = Canvas::new(self.side);
        let side = self.side as i32;
        for (dy, dx) in disc(radius) {
            for y in (-dy).max(0)..(side - dy).min(side) {
                for x in (-dx).max(0)..(side - dx).min(side) {
                    let from = self.pixels[((y + dy) * side + x + dx) as usize];
                    let to = &mut dilated.pixels[(y * side + x) as usize];
                    *to = from.max(*to);
                }
            }
        }
        dilated
    }
}

/// The integer offsets `(dy, dx)` in a disc.
pub(super) fn disc(radius: i32) -> impl Iterator<Item = (i32, i32)> {
    let line = move |dy| (-radius..=radius).map(move |dx| (dy, dx));
    (-radius..=radius)
        .flat_map(line)
        .filter(move |(dy, dx)| dy * dy + dx * dx <= radius * radius)
}

/// Rounds halves away from zero.
fn half_up(value: f64) -> f64 {
    (value.abs() + 0.5).floor().copysign(value)
}

/// Rounds halves towards zero.
fn half_down(value: f64) -> f64 {
    (value.abs() - 0.5).ceil().copysign(value)
}
