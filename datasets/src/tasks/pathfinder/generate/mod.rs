//! Generating Pathfinder images: the original generator's (drewlinsley/pathfinder at ab9c130), to
//! the bit where the draws are the same.
//!
//! [`Generator`] draws images in memory, [`generate`] writes them to a folder.

mod bits;
mod field;
mod folder;
mod image;
mod lanczos;
mod paddle;
mod parameters;
mod raster;

pub use folder::{GENERATOR_VERSION, GenerateConfig, Report, generate};
pub use image::{Drawn, Generator};
