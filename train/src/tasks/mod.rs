//! What a task is made of, one file each.
//!
//! A [`Protocol`] is plain data and two functions. Another task is another file here, an
//! entry in [`all`], a subcommand in `cli/`, and its samples in
//! `transformer_ls_infer::task`.

pub mod image;
pub mod listops;
pub mod pathfinder;
pub mod retrieval;
pub mod strong;
pub mod text;

use std::path::Path;

use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_datasets::{DatasetError, State};
use transformer_ls_infer::run::{DataConfig, TrainingConfig};

use strong::Strong;

/// Told how many samples are made, and of how many.
pub type Prepared<'a> = &'a dyn Fn(usize, usize);
/// Asked whether to give up.
pub type Cancelled<'a> = &'a dyn Fn() -> bool;
/// Makes a task's data in a folder that holds none, and says what was made.
pub type Generator = fn(&Path, &Generate, Prepared, Cancelled) -> Result<String, DatasetError>;

/// How a task is trained and measured.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The task, as on the command line.
    pub task: &'static str,
    /// The preset taken when none is named.
    pub preset: &'static str,
    /// The seed taken when none is named.
    pub seed: u64,
    /// Batches, rates and intervals, as published.
    pub training: TrainingConfig,
    /// Those of the strong preset, and of pretraining.
    pub strong: Strong,
    /// The tokens taken when none are named; `None` where a task leaves no choice.
    pub tokenizer: Option<Tokenizer>,
    /// The difficulty taken when none is named; `None` where a task leaves no choice.
    pub difficulty: Option<Difficulty>,
    /// What the data is and where it comes from, for the help.
    pub about_data: String,
    /// How the data is made; `None` where it can't be.
    pub generate: Option<Made>,
}

/// How a task's data is made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// What is where it would be made.
    pub state: fn(&DataConfig) -> Result<State, DatasetError>,
    /// Makes it.
    pub make: Generator,
}

impl Protocol {
    /// Batches, rates and intervals of a preset of the task.
    pub fn training(&self, preset: &str) -> &TrainingConfig {
        match preset.ends_with("-strong") {
            true => &self.strong.training,
            false => &self.training,
        }
    }

    /// The same where the preset is to fill in tokens.
    pub fn pretraining(&self, preset: &str) -> TrainingConfig {
        TrainingConfig {
            learning_rate: self.strong.pretraining_rate,
            ..self.training(preset).clone()
        }
    }
}

/// What data to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generate {
    /// How many samples, all splits together; the task's own number if `None`.
    pub count: Option<usize>,
    /// The generator's seed; the task's own if `None`.
    pub seed: Option<u64>,
    /// The difficulty, where the task has several; the task's own if `None`.
    pub difficulty: Option<Difficulty>,
}

/// Every task's protocol.
pub fn all() -> Vec<Protocol> {
    let mut all = vec![
        listops::protocol(),
        text::protocol(),
        retrieval::protocol(),
        image::protocol(),
    ];
    all.extend(pathfinder::protocols());
    all
}

/// The protocol of the task with this name.
pub fn find(task: &str) -> Option<Protocol> {
    all().into_iter().find(|protocol| protocol.task == task)
}
