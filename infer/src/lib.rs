//! From a run folder or a checkpoint to an answer.
//!
//! What evaluating and training share lives here: [`run`] (a run's configuration and its folder),
//! [`batch`] (samples to tensors), [`device`] (devices by name), [`predict`] and [`evaluate`], and
//! weight files ([`weights_file`]). [`language`] has the same for language models, [`maps`] shows what a
//! classifier's heads attend to, and [`drawing`] makes SVG and PNG files. The command `ls-infer` is built from
//! it, and training builds on it.

#![warn(missing_docs)]

pub mod batch;
pub mod device;
pub mod drawing;
pub mod evaluate;
pub mod language;
pub mod logging;
pub mod maps;
pub mod memory;
pub mod predict;
pub mod run;
pub mod shipped;
pub mod task;
pub mod typed;
pub mod vocabulary;
pub mod weights_file;
