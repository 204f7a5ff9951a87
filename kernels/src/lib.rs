//! What every body of long-short attention (plain tensor operations, CPU kernels, WGSL shaders)
//! agrees on, without a tensor in sight:
//!
//! * [`Visibility`]: which keys and landmarks a query sees, by the pattern of its [`Window`];
//! * [`Boundaries`]: where packed documents begin and end;
//! * [`Dropout`] and [`dropout`]: which attention probabilities dropout keeps;
//! * [`AttendShapes`] and [`ProjectShapes`]: which arguments fit each other.
//!
//! Each is defined here once. A kernel for a CPU calls these functions; a shader computes the same
//! closed formulas in its own language, and the tests compare the two.
#![warn(missing_docs)]

mod boundaries;
pub mod dropout;
mod shapes;
mod visibility;
mod window;

pub use boundaries::Boundaries;
pub use dropout::Dropout;
pub use shapes::{AttendShapes, ProjectShapes};
pub use visibility::{LandmarksSeen, Visibility};
pub use window::{Grid, Window};
