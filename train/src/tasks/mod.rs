//! How each task is trained, one file each.
//!
//! A [`Protocol`] is plain data, with a generator where a task's data can be made. [`Task`] describes the
//! data.

pub mod image;
pub mod listops;
pub mod pathfinder;
pub mod retrieval;
pub mod strong;
pub mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transformer_ls_burn::presets::Preset;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_datasets::{DatasetError, State, Task};
use transformer_ls_infer::run::{DataConfig, TrainingConfig};

use strong::Strong;

/// Told how many samples are made, and of how many.
pub type Prepared<'a> = &'a dyn Fn(usize, usize);
/// Asked whether to give up.
pub type Cancelled<'a> = &'a dyn Fn() -> bool;

/// How a task is trained and measured.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The task.
    pub task: Task,
    /// What its command does, for the help.
    pub about: String,
    /// The seed taken when none is named.
    pub seed: u64,
    /// Batches, rates and intervals, as published.
    pub training: TrainingConfig,
    /// Those of the strong preset, and of pretraining.
    pub strong: Strong,
    /// What the data is and where it comes from, for the help.
    pub about_data: String,
    /// How the data is made; `None` where it can't be.
    pub generate: Option<Arc<dyn Generator>>,
    /// A preset that is trained in its own way, on its own data: what the task's command trains if no
    /// preset is named.
    pub own: Option<Own>,
}

/// A preset with its own training and data.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its name.
    pub preset: &'static str,
    /// Batches, rates and intervals.
    pub training: TrainingConfig,
    /// How expressions become tokens.
    pub tokenizer: Tokenizer,
    /// Where the data lies, or is made, if no place is named.
    pub folder: PathBuf,
    /// What is made there.
    pub data: Generate,
}

/// How a task's data is made.
pub trait Generator: fmt::Debug + Send + Sync {
    /// What is where it would be made.
    ///
    /// # Errors
    /// If the file system refuses.
    fn state(&self, data: &DataConfig) -> Result<State, DatasetError>;

    /// Makes it in a folder that holds none, and says what was made.
    ///
    /// # Errors
    /// If the file system refuses, or the user stopped it.
    fn make(
        &self,
        dir: &Path,
        what: &Generate,
        prepared: Prepared,
        cancelled: Cancelled,
    ) -> Result<String, DatasetError>;
}

impl Protocol {
    /// The preset that is trained to classify when none is named. To fill in tokens it is the one with
    /// the task's name.
    pub fn preset(&self) -> &'static str {
        self.own.as_ref().map_or(self.task.name, |own| own.preset)
    }

    /// What the preset of this name has of its own.
    pub fn own(&self, preset: &str) -> Option<&Own> {
        self.own.as_ref().filter(|own| own.preset == preset)
    }

    /// Where a preset's data lies that was given no place.
    pub fn folder(&self, preset: &str) -> PathBuf {
        match self.own(preset) {
            Some(own) => own.folder.clone(),
            None => folder(self.task),
        }
    }

    /// Batches, rates and intervals of a preset of the task.
    pub fn training(&self, preset: &Preset) -> &TrainingConfig {
        match (self.own(preset.name), preset.is_strong) {
            (Some(own), _) => &own.training,
            (None, true) => &self.strong.training,
            (None, false) => &self.training,
        }
    }

    /// The same where the preset is to fill in tokens.
    pub fn pretraining(&self, preset: &Preset) -> TrainingConfig {
        TrainingConfig {
            learning_rate: self.strong.pretraining_rate,
            inner_values: false,
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
    /// The shortest and the longest sample in tokens, where the task leaves it open; the task's own if
    /// `None`.
    pub lengths: [Option<usize>; 2],
}

/// Where a task's data lies that was given no place.
pub fn folder(task: Task) -> PathBuf {
    Path::new("data").join(task.name)
}

impl Generate {
    /// The options of `ls-train generate` that ask for it, each with a space before it.
    pub fn options(&self) -> String {
        let [least, most] = self.lengths;
        let all = [
            ("count", self.count),
            ("min-length", least),
            ("max-length", most),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .map(|(name, value)| format!(" --{name} {value}"))
            .collect()
    }
}

/// A task's protocol.
pub fn of(task: Task) -> Protocol {
    match task {
        Task::ListOps => listops::protocol(),
        Task::Text => text::protocol(),
        Task::Retrieval => retrieval::protocol(),
        Task::Image => image::protocol(),
        Task::Pathfinder(size) => pathfinder::protocol(size),
    }
}

/// Every task's protocol.
pub fn all() -> Vec<Protocol> {
    Task::ALL.map(of).into()
}
