//! Pathfinder: does a dashed contour connect the two marked ends? (Linsley et al. 2018; Kim et al.
//! 2020; the Long Range Arena's Pathfinder and Path-X, Tay et al. 2021.)

pub mod generate;

/// The side of a Pathfinder image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
}

/// How long the target contours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Difficulty {
    /// 6 paddles.
    Easy,
    /// 9 paddles.
    Medium,
    /// 14 paddles: the Long Range Arena's.
    Hard,
}

impl Difficulty {
    /// The number of paddles in a target contour.
    pub const fn contour_length(self) -> usize {
        match self {
            Difficulty::Easy => 6,
            Difficulty::Medium => 9,
            Difficulty::Hard => 14,
        }
    }
}
