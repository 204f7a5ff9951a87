//! The settings with which the published images were made.

use super::super::{Difficulty, Size};

/// The settings of one size, in pixels unless said otherwise (drewlinsley/pathfinder at ab9c130,
/// as the Long Range Arena ran it).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    pub side: usize,
    /// The width of the border that no contour may enter.
    pub padding: usize,
    /// How far the second target contour starts from the first.
    pub seed_distance: usize,
    /// The distances that are kept around a paddle; an image has one of them.
    pub margins: &'static [i32],
    pub paddle_length: i32,
    pub thickness: f64,
    pub marker_radius: f64,
    /// How strongly bends are avoided.
    pub continuity: f64,
    /// The brightness of distractors.
    pub snake_contrast: f64,
    /// The brightness of the paddles of targets, times that of distractors.
    pub paddle_contrast: f64,
    /// How many distractor contours are tried.
    pub distractors: usize,
    /// Paddles in a target contour.
    pub contour_length: usize,
}

/// Everything is drawn this many times larger first.
pub(super) const ANTIALIAS: i32 = 2;

impl Parameters {
    pub fn new(size: Size, difficulty: Difficulty) -> Self {
        let side = size.side();
        let contour_length = difficulty.contour_length();
        match size {
            Size::N32 => Self {
                side,
                padding: 1,
                seed_distance: 7,
                margins: &[1],
                paddle_length: 2,
                thickness: 0.5,
                marker_radius: 1.5,
                continuity: 1.0,
                snake_contrast: 2.0,
                paddle_contrast: 0.75,
                distractors: 5,
                contour_length,
            },
            Size::N64 => Self {
                side,
                padding: 1,
                seed_distance: 12,
                margins: &[1],
                paddle_length: 5,
                thickness: 1.0,
                marker_radius: 2.5,
                continuity: 1.8,
                snake_contrast: 0.8,
                paddle_contrast: 1.0,
                distractors: 5,
                contour_length,
            },
            Size::N128 => Self {
                side,
                padding: 1,
                seed_distance: 20,
                margins: &[2, 3],
                paddle_length: 5,
                thickness: 1.5,
                marker_radius: 3.0,
                continuity: 1.8,
                snake_contrast: 0.9,
                paddle_contrast: 1.0,
                distractors: 8,
                contour_length,
            },
            Size::N256 => Self {
                side,
                padding: 22,
                seed_distance: 27,
                margins: &[3],
                paddle_length: 5,
                thickness: 2.0,
                marker_radius: 5.0,
                continuity: 1.8,
                snake_contrast: 1.0,
                paddle_contrast: 1.0,
                distractors: 7,
                contour_length,
            },
        }
    }

    /// Paddles in a distractor contour.
    pub fn distractor_length(&self) -> usize {
        self.contour_length / 3
    }
}
