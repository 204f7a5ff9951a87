//! CPU kernels of long-short attention (Zhu et al., *Long-Short Transformer*, NeurIPS 2021).
#![warn(missing_docs)]

mod attend;
mod attend_backward;
mod attend_merge;
mod attend_tile;
mod documents;
pub mod dropout;
mod exp;
mod padded_bias;
mod products;
mod project;
mod project_backward;
mod real;
mod tile;
mod tile_dropout;
mod view;
mod window;

pub use attend::{Attend, attend};
pub use attend_backward::{AttendGradients, attend_backward};
pub use documents::Documents;
pub use dropout::Dropout;
pub use project::{Project, project};
pub use project_backward::{ProjectGradients, project_backward};
pub use real::Real;
pub use view::{View, ViewMut};
