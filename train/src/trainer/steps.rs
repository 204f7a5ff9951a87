//! One session's loop over steps; see `strategy.rs` for how it stands to `burn-train`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::transform::PartialDataset;
use burn::module::Module;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, LearningCheckpointer,
    SupervisedTrainingEventProcessor, TrainingComponents, TrainingItem,
};
use transformer_ls_datasets::Split;
use transformer_ls_infer::device::is_cubecl;
use transformer_ls_infer::evaluate::EvaluateError;

use super::checkpoint::{self, State};
use super::error::{TrainError, WayBack};
use super::figures::Ledger;
use super::interrupt;
use super::memory;
use super::model::{Batch, TrainingModel, take_step};
use super::order::{Purpose, derive};
use super::progress::{Display, Estimate, Pace};
use super::setup::{Ended, Setup};
use crate::optim::MovingAverage;

/// One session.
pub(super) struct Loop {
    pub(super) setup: Setup,
    pub(super) learner: Learner<TrainingModel>,
    pub(super) events: SupervisedTrainingEventProcessor<TrainingModel>,
    pub(super) interrupter: Interrupter,
    pub(super) checkpointer: Option<LearningCheckpointer<TrainingModel>>,
    pub(super) event_store: Arc<EventStoreClient>,
    pub(super) state: State,
    pub(super) ledger: Ledger,
    pub(super) pace: Pace,
    pub(super) estimate: Estimate,
    /// Seconds of the earlier sessions.
    pub(super) earlier: f64,
    pub(super) started: Instant,
    /// Since when steps run that are not in the sums yet.
    pub(super) since: Instant,
    pub(super) saved: Option<usize>,
    /// Whether the dashboard has seen a step of this interval.
    pub(super) interval_open: bool,
    pub(super) learning_rate: f64,
}

impl Loop {
    pub(super) fn new(
        setup: Setup,
        components: TrainingComponents<TrainingModel>,
        learner: Learner<TrainingModel>,
    ) -> Self {
        let state = setup.state.clone();
        Self {
            learner,
            events: components.event_processor,
            interrupter: components.interrupter,
            checkpointer: components.checkpointer,
            event_store: components.event_store,
            ledger: Ledger::default(),
            pace: Pace::new(),
            estimate: Estimate::new(state.step),
            earlier: state.seconds,
            started: Instant::now(),
            since: Instant::now(),
            saved: (state.step > 0).then_some(state.step),
            interval_open: false,
            learning_rate: setup.folder.config().training.learning_rate,
            state,
            setup,
        }
    }

    /// The step at which this session ends.
    pub(super) fn end(&self) -> usize {
        let steps = self.setup.folder.config().training.steps;
        self.setup
            .stop_after
            .map_or(steps, |stop| stop.clamp(self.state.step.min(steps), steps))
    }

    pub(super) fn run(&mut self, train: &dyn DataLoader<Batch>) -> Result<Ended, TrainError> {
        let training = self.setup.folder.config().training.clone();
        let seed = self.setup.folder.config().seed;
        let autodiff = self.setup.device.clone().autodiff();
        self.learner.fork(&autodiff);
        let end = self.end();
        // The session before may have been interrupted between a step and its evaluation.
        if self.due(self.state.step, end) && self.state.evaluated < self.state.step {
            self.learning_rate_of_last_step();
            if let Some(ended) = self.evaluate_and_save(end)? {
                return Ok(ended);
            }
        }
        self.start_interval()?;
        // On a CPU a read costs nothing; a GPU would wait for the host at every one.
        let read_every = match is_cubecl(&self.setup.device) {
            true => 10,
            false => 1,
        };
        let mut batches = train.iter();
        self.since = Instant::now();
        while self.state.step < end && !self.interrupter.should_stop() {
            let step = self.state.step;
            self.setup
                .device
                .seed(derive(seed, Purpose::Step, step as u64));
            let parts = self.next_parts(batches.as_mut())?;
            let scale = &mut self.state.loss_scale;
            let figures = take_step(&mut self.learner, parts, &training, scale)
                .map_err(TrainError::device(&self.setup.device_name, step))?;
            if scale.is_spent() {
                return Err(TrainError::HalfOverflow(step));
            }
            if let Some(average) = &mut self.setup.average {
                average.enter(self.learner.model().valid());
            }
            self.learning_rate = self.learner.lr_current().base();
            self.ledger.enter(figures);
            self.state.step += 1;
            let due = self.due(self.state.step, end);
            let estimate = self.estimate.due(self.state.step);
            if due
                || estimate
                || self.pace.is_new()
                || self.ledger.unread() >= read_every
                || self.interrupter.should_stop()
            {
                self.read_ledger()?;
            }
            if estimate {
                self.say_estimate(end);
            }
            if due {
                if let Some(ended) = self.evaluate_and_save(end)? {
                    return Ok(ended);
                }
                if self.state.step < end {
                    self.start_interval()?;
                }
                self.since = Instant::now();
            } else if self.state.step.is_multiple_of(training.checkpoint_every) {
                self.save()?;
                self.since = Instant::now();
            }
        }
        if self.state.step < end {
            self.read_ledger()?;
            self.save()?;
            return Ok(Ended::Interrupted);
        }
        self.save()?;
        Ok(match self.state.step < training.steps {
            true => Ended::StopAfter,
            false => Ended::Complete,
        })
    }

    /// What the next step trains on.
    fn next_parts(
        &self,
        batches: &mut dyn DataLoaderIterator<Batch>,
    ) -> Result<Vec<Batch>, TrainError> {
        let step = self.state.step;
        let ended = || TrainError::Internal(format!("the batches ended at step {step}"));
        let parts = 0..self.setup.parts;
        let next = parts.map(|_| match batches.next() {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => Err(TrainError::Data {
                split: Split::Train,
                cause: error.to_string(),
            }),
            None => Err(ended()),
        });
        next.collect()
    }

    /// The model that is evaluated: the average of the weights where one is kept.
    pub(super) fn evaluated_model(&self) -> TrainingModel {
        let average = self.setup.average.as_ref().and_then(MovingAverage::mean);
        match average {
            Some(mean) => mean.clone(),
            None => self.learner.model().valid(),
        }
    }

    /// Makes sure that the weights are numbers. The loss of a step is that of the weights before it.
    pub(super) fn check_weights(&self) -> Result<(), TrainError> {
        let state = self.learner.model().state_dict();
        let state = state.map_err(|error| TrainError::Internal(error.to_string()))?;
        let finite = state.check_finite();
        finite.map_err(|error| self.diverged(error.to_string()))
    }

    /// Makes sure that the model's answers to a batch of dev are numbers: a checkpoint whose aren't would
    /// not be of use.
    fn check_answers(&self) -> Result<(), TrainError> {
        let (setup, training) = (&self.setup, &self.setup.folder.config().training);
        let samples = training.eval_batch_size.min(setup.dev.len());
        let some = PartialDataset::new(setup.dev.clone(), 0, samples);
        let answers = self.evaluated_model().evaluate(
            setup.masking,
            &some,
            &setup.batcher,
            samples,
            &setup.device,
            &mut |_| ControlFlow::Continue(()),
        );
        match answers {
            Ok(_) => Ok(()),
            Err(EvaluateError::NotANumber) => Err(self.no_answers()),
            Err(error) => Err(error.into()),
        }
    }

    /// The end of a run whose model has answers to dev that are not numbers.
    pub(super) fn no_answers(&self) -> TrainError {
        self.diverged("the model's answers on dev are not numbers".into())
    }

    /// The end of a run whose loss or weights are not numbers any more, and will not be again.
    fn diverged(&self, what: String) -> TrainError {
        TrainError::Diverged {
            what,
            step: self.state.step,
            way_back: WayBack {
                checkpoint: self.saved,
                learning_rate: self.setup.folder.config().training.present_rate(),
                is_gpu: is_cubecl(&self.setup.device),
            },
        }
    }

    /// Whether dev is evaluated after `step`.
    fn due(&self, step: usize, end: usize) -> bool {
        let every = self.setup.folder.config().training.evaluate_every;
        step > 0 && (step.is_multiple_of(every) || step == end)
    }

    /// The rate of the step before a resume, for the line that is still missing.
    fn learning_rate_of_last_step(&mut self) {
        self.learning_rate = self.setup.schedule.learning_rate(self.state.step - 1);
    }

    /// Reads the figures of the steps since the last read and hands them on.
    fn read_ledger(&mut self) -> Result<(), TrainError> {
        let steps = self.ledger.unread();
        if steps == 0 {
            return Ok(());
        }
        let mut sums = self
            .ledger
            .read()
            .map_err(TrainError::device(&self.setup.device_name, self.state.step))?;
        if !sums.loss.is_finite() {
            return Err(self.diverged("the training loss is not a number".into()));
        }
        sums.seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.pace.steps(steps, sums.seconds);
        self.state.sums.add(&sums);
        self.entitle();
        let all = self.setup.folder.config().training.steps;
        let item = TrainingItem::new(
            sums,
            Progress::new(self.state.step, all, Some("steps".to_string())),
            Some(self.state.step),
            Some(self.learner.lr_current()),
        );
        self.interval_open = true;
        self.event(|events| events.process_train(LearnerEvent::ProcessedItem(item)))
    }

    pub(super) fn event(
        &mut self,
        send: impl FnOnce(
            &mut SupervisedTrainingEventProcessor<TrainingModel>,
        ) -> Result<(), burn::train::EventProcessorError>,
    ) -> Result<(), TrainError> {
        send(&mut self.events).map_err(|error| TrainError::Internal(error.to_string()))
    }

    /// Tells `burn-train` that another interval of steps begins: its epoch.
    fn start_interval(&mut self) -> Result<(), TrainError> {
        let training = &self.setup.folder.config().training;
        let epoch_number = self.state.step / training.evaluate_every + 1;
        let total_items = training.steps;
        self.event(|events| {
            events.process_train(LearnerEvent::StartSplit {
                epoch_number,
                total_items,
            })
        })?;
        if self.setup.display == Display::Dashboard {
            interrupt::allow_signal_keys();
        }
        Ok(())
    }

    pub(super) fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    /// Writes the checkpoint of the present step, once.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let step = self.state.step;
        let nothing_new =
            self.saved == Some(step) && self.setup.state.evaluated == self.state.evaluated;
        if nothing_new || step == 0 {
            return Ok(());
        }
        self.read_ledger()?;
        if self.state.evaluated < step {
            self.check_weights()?;
            self.check_answers()?;
        }
        self.state.seconds = self.seconds();
        self.state.metrics_bytes = self.setup.metrics.durable_bytes()?;
        self.state.peak_bytes = memory::peak(&self.setup.device, self.state.peak_bytes);
        let Some(checkpointer) = &mut self.checkpointer else {
            return Err(TrainError::Internal("no checkpointer is set".into()));
        };
        checkpointer.checkpoint(&self.learner, step, &self.event_store);
        let records = self
            .setup
            .collector
            .collect()
            .ok_or_else(|| TrainError::Internal("a checkpointer has ended".into()))?;
        let average = self.setup.average.as_ref().and_then(MovingAverage::mean);
        checkpoint::write(&self.setup.folder, &self.state, records, average)?;
        self.saved = Some(step);
        self.setup.state.evaluated = self.state.evaluated;
        Ok(())
    }
}
