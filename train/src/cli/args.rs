//! What a training command is given.

use std::path::PathBuf;

use clap::Args;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_infer::typed;

// What the help says of defaults is each task's own: see `describe.rs`.
#[derive(Clone, Debug, Args)]
pub(super) struct TrainArgs {
    /// The model
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(super) preset: Option<String>,
    /// Start from this configuration (a run's config.json) instead of a preset
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    pub(super) config: Option<PathBuf>,
    /// Set any field of the configuration, for instance `--set batch_size=16`
    ///
    /// May be given several times. The fields are listed below, and with their values in the
    /// config.json of every run.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Start from the encoder of this run, pretrained or not, instead of from random weights
    ///
    /// What it was trained to do with it is dropped. A copy of its weights is kept, so that a resume
    /// doesn't need that run.
    #[arg(long, value_name = "RUN", value_parser = typed::path())]
    pub(super) init: Option<PathBuf>,
    /// The folder with the data
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    pub(super) data: Option<PathBuf>,
    /// The run folder to make
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    pub(super) out: Option<PathBuf>,
    /// Continue the run in --out (which has to be given) from its last checkpoint
    ///
    /// It keeps its own config.json: options that would change what is learned are refused. Another
    /// --device, --data or `--set cache=DIR` is taken for this time. `--set learning_rate=X` changes the
    /// rate from there on, which config.json then says: for a run that has diverged.
    #[arg(long)]
    pub(super) resume: bool,
    /// Seed of weights, data order and dropout
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Length of the schedule in steps
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    pub(super) steps: Option<usize>,
    /// Stop after step N all the same
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    pub(super) stop_after: Option<usize>,
    /// Write TensorBoard event files into the run folder, too
    ///
    /// `tensorboard --logdir runs` shows them. A run that has some keeps writing them when it is
    /// resumed.
    #[arg(long)]
    pub(super) tensorboard: bool,
    /// Steps between checkpoints
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    pub(super) checkpoint_every: Option<usize>,
}

/// What the user chose that not every task leaves open: [`TaskCommand`](super::task::TaskCommand)
/// offers those that a task does.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Choices {
    /// How expressions become tokens: `depths`, `brackets` or `legacy` [default: the preset's]
    ///
    /// `brackets` keeps the tree. `depths` says of each token how deeply it is nested, too: the preset
    /// listops-values has it. `legacy` loses the tree: about 38 % at most. The published figures are
    /// those of `legacy` with `--preset listops`; never compare figures across the three.
    #[arg(long, value_name = "NAME")]
    pub(super) tokenizer: Option<Tokenizer>,
    /// How long the contours are: easy, medium or hard [default: hard, as published]
    #[arg(long, value_name = "NAME")]
    pub(super) difficulty: Option<Difficulty>,
}
