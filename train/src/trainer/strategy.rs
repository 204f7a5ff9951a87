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

use burn::train::{
    Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, ValidLoader,
};

use super::checkpoint::State;
use super::error::TrainError;
use super::lock;
use super::model::TrainingModel;
use super::setup::{Ended, Setup};
use super::steps::Loop;

/// What the loop leaves behind.
pub type Outcome = Result<(Ended, State), TrainError>;

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
