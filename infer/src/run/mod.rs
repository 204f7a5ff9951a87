//! A run: the unit that training writes and inference reads.
//!
//! [`RunConfig`] is everything that decides a run, as plain data; [`RunFolder`] is where it lives:
//!
//! | name | what |
//! |---|---|
//! | `config.json` | the [`RunConfig`], with the changes of rate that resumes made |
//! | `metrics.jsonl` | one [`MetricLine`] an evaluation |
//! | `summary.json` | the [`Summary`], once the run has ended |
//! | `model.safetensors` | the weights that were best on dev |
//! | `init.safetensors` | the weights of the run that this one started from, if it did |
//! | `checkpoint/<step>/` | what a resume needs |
//!
//! The folder of a language model's run ([`crate::language`]) has the same files, with records of its own.
//!
//! Every file appears complete or not at all, so that a process may die at any moment.

mod atomic;
mod checkpoint;
mod config;
mod error;
mod folder;
mod metrics;
mod needs;
mod set;
mod summary;
mod training;

pub use atomic::write_atomically;
pub use checkpoint::{Checkpoint, CheckpointWriter};
pub use config::{
    ConfigError, DataConfig, InitConfig, LANGUAGE, Packing, PretrainingConfig, RunConfig,
};
pub(crate) use config::{invalid_if_any, parse, read, task_of};
pub use error::RunError;
pub use folder::{Configuration, Folder, RunFolder};
pub use metrics::{MetricLine, MetricsLog, null_as_nan};
pub(crate) use set::{fields, set, set_all};
pub use summary::{Summary, versions};
pub use training::{Precision, RateChange, ScheduleKind, TrainingConfig};
