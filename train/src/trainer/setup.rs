//! What a session's loop begins with, and how it ends.

use std::sync::Arc;

use burn::data::dataset::Dataset;
use burn::tensor::Device;
use transformer_ls_datasets::Sample;
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::run::{MetricsLog, RunFolder};

use super::checkpoint::State;
use super::handover::Collector;
use super::masking::Masking;
use super::model::TrainingModel;
use super::progress::Display;
use super::renderer::Title;
use crate::optim::{MovingAverage, Schedule};
use crate::tensorboard::EventFiles;

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The schedule's last step was taken and evaluated.
    Complete,
    /// `--stop-after` was reached.
    StopAfter,
    /// Ctrl-C, or `q` in the dashboard.
    Interrupted,
}

/// What the loop needs beside `burn-train`'s components.
pub struct Setup {
    /// The run, locked.
    pub folder: Arc<RunFolder>,
    /// The device without its autodiff decoration.
    pub device: Device,
    /// Its name, for messages.
    pub device_name: String,
    /// The learning rate's schedule.
    pub schedule: Schedule,
    /// Makes batches for evaluations.
    pub batcher: Batcher,
    /// The dev split.
    pub dev: Arc<dyn Dataset<Sample>>,
    /// What is hidden of it, in pretraining.
    pub masking: Option<Masking>,
    /// The batches that a step takes.
    pub parts: usize,
    /// The moving average of the weights, if one is kept.
    pub average: Option<MovingAverage<TrainingModel>>,
    /// Where the run stands.
    pub state: State,
    /// `metrics.jsonl`, cut to the state.
    pub metrics: MetricsLog,
    /// The event files for TensorBoard, if they are wanted.
    pub event_files: Option<EventFiles>,
    /// Takes what the checkpointers hand over.
    pub collector: Collector,
    /// The step to stop after, if before the schedule's end.
    pub stop_after: Option<usize>,
    /// How the run shows itself.
    pub display: Display,
    /// What stands above the dashboard's figures.
    pub title: Title,
}
