//! Paddles, the dashes that contours are made of, and every direction they can have.

use std::collections::HashMap;
use std::f64::consts::PI;

use super::bits::Bits;
use super::lanczos::Lanczos;
use super::parameters::{ANTIALIAS, Parameters};
use super::raster::Canvas;

/// A pixel `(y, x)`, maybe outside the image.
pub(super) type Pixel = (i32, i32);

/// What one paddle looks like and where it keeps others away. All canvases have the paddle's
/// start in their middle.
pub(super) struct Paddle {
    pub image: Canvas,
    /// The paddle with a margin around it.
    pub mask: Canvas,
    /// The mask dilated once more: where no other paddle's head may be.
    pub halo: Canvas,
    /// The pixels that must be free around a pixel for a contour to start there, as offsets.
    pub kernel: Vec<Pixel>,
    /// Whether a contour can't start in this direction at all, whatever lies there: the kernel
    /// misses an image corner completely. An artefact of the original's dilation.
    pub never_first: bool,
    /// Where the first target contour may start, in an empty image.
    pub places: Bits,
    pub places_count: u32,
}

/// A direction, with the sines of it and of its reverse.
pub(super) struct Direction {
    pub theta: f64,
    forward: (f64, f64),
    back: (f64, f64),
}

impl Direction {
    fn new(theta: f64) -> Self {
        // Turned this way round as in the original: the last bits decide where a sine that should
        // be a whole number is rounded up from.
        let turned = if theta < 0.0 { theta + PI } else { theta - PI };
        Self {
            theta,
            forward: (libm::sin(theta), libm::cos(theta)),
            back: (libm::sin(turned), libm::cos(turned)),
        }
    }

    pub fn forward(&self, from: Pixel, length: i32) -> Pixel {
        translate(from, self.forward, length)
    }

    pub fn back(&self, from: Pixel, length: i32) -> Pixel {
        translate(from, self.back, length)
    }
}

/// Rounds up, also where the sine should be 0 but isn't quite: part of the data's definition.
fn translate((y, x): Pixel, (sin, cos): (f64, f64), length: i32) -> Pixel {
    let length = f64::from(length);
    (
        (f64::from(y) + length * sin).ceil() as i32,
        (f64::from(x) + length * cos).ceil() as i32,
    )
}

/// A place for the next head, seen from the point that two paddles turn about.
pub(super) struct Candidate {
    pub offset: Pixel,
    /// The direction from that point to the head.
    pub direction: usize,
    /// The paddle from the head back.
    pub paddle: usize,
}

/// Everything about paddles with one margin, worked out once.
pub(super) struct Paddles {
    pub margin: i32,
    pub paddles: Vec<Paddle>,
    /// First the 360 whole degrees from -180, then one a candidate.
    pub directions: Vec<Direction>,
    /// The paddle in each whole degree.
    pub degrees: Vec<usize>,
    /// In row-major order.
    pub candidates: Vec<Candidate>,
    /// What a value of the halo leaves: 1 minus it.
    pub room: [f64; 256],
    /// The mask of an image without paddles, which is its border, and the same dilated.
    pub empty_mask: Vec<u8>,
    pub empty_halo: Vec<u8>,
    /// How well each candidate continues each direction: the squared cosine of the bend.
    bends: Vec<f64>,
}

impl Paddles {
    pub fn new(parameters: &Parameters, margin: i32) -> Self {
        let mut shapes = Shapes::new(parameters, margin);
        let degrees = (-180..180).map(|degree| Direction::new(f64::from(degree) * PI / 180.0));
        let mut directions: Vec<Direction> = degrees.collect();
        let degrees = directions
            .iter()
            .map(|direction| shapes.number(direction.forward))
            .collect();
        let mut candidates = Vec::new();
        for offset in circle(parameters.paddle_length + margin) {
            let direction = Direction::new(libm::atan2(offset.0.into(), offset.1.into()));
            candidates.push(Candidate {
                offset,
                direction: directions.len(),
                paddle: shapes.number(direction.back),
            });
            directions.push(direction);
        }
        let bends = directions.iter().flat_map(|from| {
            candidates.iter().map(|to| {
                let angle = (directions[to.direction].theta - from.theta).abs();
                let angle = angle.min(2.0 * PI - angle);
                let cosine = libm::cos((angle * parameters.continuity).min(PI / 2.0));
                cosine * cosine
            })
        });
        Self {
            margin,
            bends: bends.collect(),
            room: std::array::from_fn(|value| 1.0 - share(value as u8)),
            empty_mask: border(parameters.side, parameters.padding),
            empty_halo: border(parameters.side, parameters.padding + margin as usize),
            paddles: shapes.paddles,
            directions,
            degrees,
            candidates,
        }
    }

    /// How well each candidate continues a direction.
    pub fn bends(&self, direction: usize) -> &[f64] {
        let count = self.candidates.len();
        &self.bends[direction * count..][..count]
    }
}

/// A mask value as the original stores it: in single precision.
pub(super) fn share(value: u8) -> f64 {
    f64::from((f64::from(value) / 255.0) as f32)
}

/// An image that is full on a border and empty inside.
fn border(side: usize, width: usize) -> Vec<u8> {
    let pixel = |at: usize| {
        let (y, x) = (at / side, at % side);
        let edge = y.min(x).min(side - 1 - y).min(side - 1 - x);
        if edge < width { 255 } else { 0 }
    };
    (0..side * side).map(pixel).collect()
}

/// The pixels on a circle around a pixel, in row-major order.
fn circle(radius: i32) -> Vec<Pixel> {
    let radius = f64::from(radius);
    let step = 360.0 / (2.0 * PI * radius);
    let mut pixels: Vec<Pixel> = (0..)
        .map(|number| f64::from(number) * step)
        .take_while(|&degrees| degrees < 360.0)
        .map(|degrees| {
            let angle = degrees * PI / 180.0;
            // Truncated as a coordinate of the image, which is never negative: rounded down.
            let (y, x) = (radius * libm::sin(angle), radius * libm::cos(angle));
            (y.floor() as i32, x.floor() as i32)
        })
        .collect();
    pixels.sort_unstable();
    pixels.dedup();
    pixels
}

/// Makes the paddles, each shape once: directions whose lines end in the same pixel share it.
struct Shapes<'a> {
    parameters: &'a Parameters,
    margin: i32,
    /// From the middle of a canvas to its edge.
    half: i32,
    lanczos: Lanczos,
    numbers: HashMap<Pixel, usize>,
    paddles: Vec<Paddle>,
}

impl<'a> Shapes<'a> {
    fn new(parameters: &'a Parameters, margin: i32) -> Self {
        let half = parameters.paddle_length + parameters.thickness.ceil() as i32 + margin;
        let large = (2 * half * ANTIALIAS + 1) as usize;
        Self {
            parameters,
            margin,
            half,
            lanczos: Lanczos::new(large, (2 * half + 1) as usize),
            numbers: HashMap::new(),
            paddles: Vec::new(),
        }
    }

    /// The number of the paddle in a direction.
    fn number(&mut self, sines: (f64, f64)) -> usize {
        let centre = (self.half * ANTIALIAS, self.half * ANTIALIAS);
        let end = translate(centre, sines, self.parameters.paddle_length * ANTIALIAS);
        if let Some(&number) = self.numbers.get(&end) {
            return number;
        }
        let number = self.paddles.len();
        self.paddles.push(self.paddle(centre, end));
        self.numbers.insert(end, number);
        number
    }

    fn paddle(&self, from: Pixel, to: Pixel) -> Paddle {
        let mut large = Canvas::new((2 * self.half * ANTIALIAS + 1) as usize);
        let width = (self.parameters.thickness * f64::from(ANTIALIAS)).round() as i32;
        large.line((from.1, from.0), (to.1, to.0), width);
        let mask = self.lanczos.scale(&large.dilate(self.margin * ANTIALIAS));
        let kernel = self.kernel(&mask);
        let side = self.parameters.side;
        let mut empty = Bits::new(side);
        empty.set_border(
            self.parameters
                .padding
                .max(2 * self.parameters.seed_distance),
        );
        let places = empty.free(&kernel);
        Paddle {
            image: self.lanczos.scale(&large),
            halo: grown(&mask, self.margin).dilate(self.margin),
            never_first: misses_a_corner(&kernel, side as i32),
            places_count: places.count(),
            places,
            kernel,
            mask,
        }
    }

    /// The offsets at which the mask is full, one pixel down and right of where they should be,
    /// and cropped to the square that was meant for them.
    fn kernel(&self, mask: &Canvas) -> Vec<Pixel> {
        let reach = self.parameters.paddle_length + self.margin;
        let side = mask.side as i32;
        let full = mask
            .pixels
            .iter()
            .enumerate()
            .filter(|(_, value)| **value == 255);
        full.map(|(at, _)| {
            let (y, x) = (at as i32 / side, at as i32 % side);
            (y - self.half + 1, x - self.half + 1)
        })
        .filter(|(y, x)| y.abs() <= reach && x.abs() <= reach)
        .collect()
    }
}

/// A canvas with a black border around it.
fn grown(canvas: &Canvas, border: i32) -> Canvas {
    let border = border as usize;
    let mut larger = Canvas::new(canvas.side + 2 * border);
    for (y, row) in canvas.pixels.chunks_exact(canvas.side).enumerate() {
        let start = (y + border) * larger.side + border;
        larger.pixels[start..][..canvas.side].copy_from_slice(row);
    }
    larger
}

fn misses_a_corner(kernel: &[Pixel], side: i32) -> bool {
    let last = side - 1;
    let corners = [(0, 0), (0, last), (last, 0), (last, last)];
    corners.iter().any(|(y, x)| {
        !kernel
            .iter()
            .any(|(dy, dx)| (0..side).contains(&(y + dy)) && (0..side).contains(&(x + dx)))
    })
}
