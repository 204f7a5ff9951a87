//! Pathfinder: does a dashed contour connect the two marked ends? (Linsley et al. 2018; Kim et al.
//! 2020; the Long Range Arena's Pathfinder and Path-X, Tay et al. 2021.)
//!
//! * [`generate`](generate::generate) makes the data, the original's images to the bit: nothing
//!   has to be downloaded, not even for Path-X;
//! * [`Pathfinder`] reads it, generated or published, as a Burn data set.
//!
//! The Long Range Arena's Pathfinder is 32 pixels a side and [`Difficulty::Hard`], its Path-X 128
//! pixels and hard.

mod check;
mod descriptor;
mod folder;
pub mod generate;
mod metadata;
mod read;

pub use crate::options::Difficulty;
pub(crate) use descriptor::descriptor;
pub use folder::{is_prepared, places, state, warning};
pub use metadata::{Entry, parse_metadata};
use read::pixels;
pub use read::{Pathfinder, cache_key};

/// The number of classes: the markers are the ends of two contours (0) or of one (1).
pub const CLASSES: usize = 2;

/// The number of ids: the brightness of a pixel, 0 to 255.
pub const VOCAB_SIZE: usize = 256;

/// The side of a Pathfinder image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// 1024 pixels: the Long Range Arena's Pathfinder.
    N32,
    /// 4096 pixels.
    N64,
    /// 16384 pixels: the Long Range Arena's Path-X.
    N128,
    /// 65536 pixels.
    N256,
}

impl Size {
    /// All sizes.
    pub const ALL: [Size; 4] = [Size::N32, Size::N64, Size::N128, Size::N256];

    /// The number of rows, and of columns.
    pub const fn side(self) -> usize {
        match self {
            Size::N32 => 32,
            Size::N64 => 64,
            Size::N128 => 128,
            Size::N256 => 256,
        }
    }

    /// The number of pixels, which are the model's tokens.
    pub const fn tokens(self) -> usize {
        self.side() * self.side()
    }

    /// The name of the task, as the command line has it: `pathfinder32`, …, `path-x` for 128.
    pub const fn task(self) -> &'static str {
        match self {
            Size::N128 => "path-x",
            _ => self.folder(),
        }
    }

    /// The name of the published folder: `pathfinder32`, …, `pathfinder128`, …
    pub const fn folder(self) -> &'static str {
        match self {
            Size::N32 => "pathfinder32",
            Size::N64 => "pathfinder64",
            Size::N128 => "pathfinder128",
            Size::N256 => "pathfinder256",
        }
    }
}
