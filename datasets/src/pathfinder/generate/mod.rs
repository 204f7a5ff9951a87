//! Generating Pathfinder images.

mod bits;
mod field;
mod image;
mod lanczos;
mod paddle;
mod parameters;
mod raster;

pub use image::{Drawn, Generator};
