//! What a task is made of, one file each.
//!
//! A [`Protocol`] is plain data and three functions. Another task is another file here, an
//! entry in [`all`], a subcommand in `cli/`, and its samples in
//! `transformer_ls_infer::task`.

pub mod listops;

use std::path::Path;

use transformer_ls_datasets::DatasetError;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_infer::run::TrainingConfig;

/// Told how many samples are made, and of how many.
pub type Prepared<'a> = &'a dyn Fn(usize, usize);
/// Asked whether to give up.
pub type Cancelled<'a> = &'a dyn Fn() -> bool;

/// How a task is trained and measured.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The task, as on the command line.
    pub task: &'static str,
    /// The preset taken when none is named.
    pub preset: &'static str,
    /// The seed taken when none is named.
    pub seed: u64,
    /// Batches, rates and intervals.
    pub training: TrainingConfig,
    /// The tokens taken when none are named; `None` where a task leaves no choice.
    pub tokenizer: Option<Tokenizer>,
    /// Whether a folder holds the task's data.
    pub is_prepared: fn(&Path) -> bool,
    /// Makes the data in a folder that holds none.
    pub generate: fn(&Path, &Generate, Prepared, Cancelled) -> Result<String, DatasetError>,
}

/// What data to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generate {
    /// How many samples, all splits together; the task's own number if `None`.
    pub count: Option<usize>,
    /// The generator's seed; the task's own if `None`.
    pub seed: Option<u64>,
}

/// Every task's protocol.
pub fn all() -> Vec<Protocol> {
    vec![listops::protocol()]
}

/// The protocol of the task with this name.
pub fn find(task: &str) -> Option<Protocol> {
    all().into_iter().find(|protocol| protocol.task == task)
}
