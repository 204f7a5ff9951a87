//! The loop, counted in steps, inside `burn-train`.
//!
//! `burn-train`'s own strategies evaluate and save once an epoch, save neither the
//! generator nor the place in the data, and leave their loop on Ctrl-C before anything is
//! saved. [`StepStrategy`] is a strategy of our own, put in at `TrainingStrategy::Custom`. Its
//! loop is in `steps.rs`, what happens every so many steps in `evaluation.rs`:
//!
//! * the learner, the gradients, the optimizer and the schedule are `burn-train`'s;
//! * its events go to its processor, and from there to its dashboard, with an evaluation
//!   interval in the place of an epoch;
//! * its interrupter stops the loop, after the step it is in;
//! * dev is evaluated by `transformer_ls_infer::evaluate`, as `ls-infer evaluate` does it;
//! * checkpoints are written in one piece (`checkpoint.rs`).
//!
//! A strategy cannot return an error, so it leaves its [`Outcome`] in a slot.

use std::sync::{Arc, Mutex};

use burn::data::dataset::Dataset;
use burn::tensor::Device;
use burn::train::{
    Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, ValidLoader,
};
use transformer_ls_datasets::Sample;
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::run::{MetricsLog, RunFolder};

use crate::optim::{MovingAverage, Schedule};
use crate::tensorboard::EventFiles;

use super::checkpoint::State;
use super::error::TrainError;
use super::handover::Collector;
use super::lock;
use super::masking::Masking;
use super::model::TrainingModel;
use super::progress::Display;
use super::renderer::Title;
use super::steps::Loop;

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

/// What the loop leaves behind.
pub type Outcome = Result<(Ended, State), TrainError>;

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

/// The strategy; see the module's documentation.
pub struct StepStrategy {
    setup: Mutex<Option<Setup>>,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl StepStrategy {
    /// A strategy for one run, and the slot its outcome will be in.
    pub fn new(setup: Setup) -> (Self, Arc<Mutex<Option<Outcome>>>) {
        let outcome = Arc::new(Mutex::new(None));
        let strategy = Self {
            setup: Mutex::new(Some(setup)),
            outcome: outcome.clone(),
        };
        (strategy, outcome)
    }
}

impl SupervisedLearningStrategy<TrainingModel> for StepStrategy {
    fn fit(
        &self,
        components: TrainingComponents<TrainingModel>,
        learner: Learner<TrainingModel>,
        train: TrainLoader<TrainingModel>,
        _dev: ValidLoader<TrainingModel>,
        _starting_epoch: usize,
    ) -> (
        TrainingModel,
        SupervisedTrainingEventProcessor<TrainingModel>,
    ) {
        let setup = lock(&self.setup).take();
        let Some(setup) = setup else {
            *lock(&self.outcome) = Some(Err(TrainError::Internal(
                "a strategy trains one run only".into(),
            )));
            return (learner.model(), components.event_processor);
        };
        let mut run = Loop::new(setup, components, learner);
        let ended = run.run(train.as_ref());
        *lock(&self.outcome) = Some(ended.map(|ended| (ended, run.state.clone())));
        (run.learner.model(), run.events)
    }
}
