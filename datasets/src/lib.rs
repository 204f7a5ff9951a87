//! The data of the Long Range Arena for [Burn](https://burn.dev): generators, readers, tokens and
//! splits, one task a module, all behind Burn's [`Dataset`](burn_dataset::Dataset).
//!
//! No tensors and no models: a [`Sample`] is token ids and a class.
//!
//! | task | module | data |
//! |---|---|---|
//! | ListOps | [`listops`] | generated, or published files |
//! | Text | [`text`] | `aclImdb`, a folder or its archive |
//! | Retrieval | [`retrieval`] | `new_aan_pairs.*.tsv`, larger than memory |
//! | Image | [`image`] | CIFAR-10, binary version, a folder or its archive |
//! | Pathfinder, Path-X | [`pathfinder`] | generated (the original's images from the same draws), or published folders |
//!
//! * [`Task`] names each, and its [`Descriptor`] says what differs between them;
//! * [`release`]: ListOps, Retrieval and Pathfinder straight out of `lra_release.gz`;
//! * [`check`] says what is missing or wrong in a task's data;
//! * [`fetch`] downloads what has a public address;
//! * [`cache`] packs samples into one file that is mapped into memory;
//! * [`splits`] are the published ones, rebuilt exactly;
//! * [`corpus`]: text for language models over bytes, as streams and for scoring;
//! * [`atomic`] writes files that appear complete or not at all.
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
pub mod atomic;
pub mod cache;
pub mod check;
pub mod corpus;
mod descriptor;
pub mod draws;
mod error;
pub mod fetch;
mod files;
mod flat;
pub mod foreign;
mod gzip;
mod input;
mod lines;
mod names;
mod npy;
mod options;
pub mod png;
pub mod printable;
mod problem;
mod read_at;
pub mod release;
mod report;
mod sample;
mod side;
pub mod splits;
mod staging;
mod state;
mod tasks;
mod walk;
mod zip;

pub use descriptor::{Descriptor, Ids};
pub use error::{DatasetError, LineProblem, UnknownName};
pub use input::InputError;
pub use options::Options;
pub use problem::FileProblem;
pub use sample::{Missing, Sample, Samples, Split, TokenIds};
pub use state::State;
pub use tasks::*;
