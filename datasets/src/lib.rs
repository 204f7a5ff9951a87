//! The data of the Long Range Arena for [Burn](https://burn.dev): generators, readers, tokens and
//! splits, one task a module, all behind Burn's [`Dataset`](burn_dataset::Dataset).
//!
//! No tensors and no models: a [`Sample`] is token ids and a class.
//!
//! ```no_run
//! use std::path::Path;
//! use burn_dataset::Dataset;
//! use transformer_ls_datasets::{Split, listops};
//!
//! # fn main() -> Result<(), transformer_ls_datasets::DatasetError> {
//! let dir = Path::new("data/listops");
//! if !listops::is_prepared(dir) {
//!     let config = listops::generate::GenerateConfig::default();
//!     listops::generate::generate(dir, &config, &|_done, _total| {}, &|| false)?;
//! }
//! let train = listops::ListOps::open(dir, Split::Train, listops::Tokenizer::default())?;
//! println!("{} samples", train.len());
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod archive;
pub mod cache;
pub mod check;
pub mod draws;
mod error;
pub mod fetch;
pub mod image;
pub mod listops;
mod npy;
pub mod pathfinder;
pub mod pixels;
pub mod png;
mod problem;
pub mod retrieval;
mod sample;
pub mod splits;
mod staging;
pub mod text;

pub use error::{DatasetError, LineProblem};
pub use problem::FileProblem;
pub use sample::{Documents, Sample, Split, UnknownSplit};
