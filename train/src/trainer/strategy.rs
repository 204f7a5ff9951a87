//! The loop, counted in steps, inside `burn-train`.
//!
//! `burn-train`'s own strategies evaluate and save once an epoch, save neither the
//! generator nor the place in the data, and leave their loop on Ctrl-C before anything is
//! saved. [`StepStrategy`] is a strategy of our own, put in at `TrainingStrategy::Custom`:
//!
//! * the learner, the gradients, the optimizer and the schedule are `burn-train`'s;
//! * its events go to its processor, and from there to its dashboard, with an evaluation
//!   interval in the place of an epoch;
//! * its interrupter stops the loop, after the step it is in;
//! * dev is evaluated by `transformer_ls_infer::evaluate`, as `ls-infer evaluate` does it;
//! * checkpoints are written in one piece (`checkpoint.rs`).
//!
//! A strategy cannot return an error, so it leaves its [`Outcome`] in a slot.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::data::dataloader::{DataLoader, Progress};
use burn::data::dataset::Dataset;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, LearningCheckpointer,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};
use transformer_ls_datasets::{Sample, Split};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::evaluate::{EvaluateError, Evaluation, evaluate};
use transformer_ls_infer::run::{MetricLine, MetricsLog, RunFolder};

use crate::optim::OneCycle;

use super::checkpoint::{self, Best, State};
use super::error::TrainError;
use super::figures::{Ledger, StepOutput, Sums};
use super::handover::Collector;
use super::interrupt;
use super::memory;
use super::model::TrainingModel;
use super::order::{Purpose, derive};
use super::progress::{Display, Estimate, Left, Pace, count, duration, rate, say};

/// How a sitting ended.
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
    pub schedule: OneCycle,
    /// Makes batches for evaluations.
    pub batcher: Batcher,
    /// The dev split.
    pub dev: Arc<dyn Dataset<Sample>>,
    /// Where the run stands.
    pub state: State,
    /// `metrics.jsonl`, cut to the state.
    pub metrics: MetricsLog,
    /// Takes what the checkpointers hand over.
    pub collector: Collector,
    /// The step to stop after, if before the schedule's end.
    pub stop_after: Option<usize>,
    /// How the run shows itself.
    pub display: Display,
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One sitting.
struct Loop {
    setup: Setup,
    learner: Learner<TrainingModel>,
    events: SupervisedTrainingEventProcessor<TrainingModel>,
    interrupter: Interrupter,
    checkpointer: Option<LearningCheckpointer<TrainingModel>>,
    event_store: Arc<EventStoreClient>,
    state: State,
    ledger: Ledger,
    pace: Pace,
    estimate: Estimate,
    /// Seconds of the earlier sittings.
    earlier: f64,
    started: Instant,
    /// Since when steps run that are not in the sums yet.
    since: Instant,
    saved: Option<usize>,
    /// Whether the dashboard has seen a step of this interval.
    interval_open: bool,
    learning_rate: f64,
}

impl Loop {
    fn new(
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

    /// The step at which this sitting ends.
    fn end(&self) -> usize {
        let steps = self.setup.folder.config().training.steps;
        self.setup
            .stop_after
            .map_or(steps, |stop| stop.clamp(self.state.step.min(steps), steps))
    }

    fn run(&mut self, train: &dyn DataLoader<<TrainingModel as burn::train::TrainStep>::Input>) -> Result<Ended, TrainError> {
        let training = self.setup.folder.config().training.clone();
        let seed = self.setup.folder.config().seed;
        let autodiff = self.setup.device.clone().autodiff();
        self.learner.fork(&autodiff);
        let end = self.end();
        // A sitting that was interrupted between a step and its evaluation owes it.
        if self.due(self.state.step, end) && self.state.evaluated < self.state.step {
            self.learning_rate_of_last_step();
            if let Some(ended) = self.evaluate_and_save(end)? {
                return Ok(ended);
            }
        }
        self.start_interval()?;
        // On a CPU a read costs nothing; a GPU would wait for the host at every one.
        let read_every = match transformer_ls_infer::device::is_cubecl(&self.setup.device) {
            true => 10,
            false => 1,
        };
        let mut batches = train.iter();
        self.since = Instant::now();
        while self.state.step < end && !self.interrupter.should_stop() {
            let step = self.state.step;
            self.setup.device.seed(derive(seed, Purpose::Step, step as u64));
            let batch = match batches.next() {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    return Err(TrainError::Data {
                        split: "train",
                        cause: error.to_string(),
                    });
                }
                None => {
                    return Err(TrainError::Internal(format!(
                        "the batches ended at step {step}"
                    )));
                }
            };
            let output = self.learner.train_step(batch);
            self.learner.lr_step();
            self.learner.optimizer_step(output.grads);
            self.learning_rate = self.learner.lr_current().base();
            self.ledger.enter(output.item);
            self.state.step += 1;
            let due = self.due(self.state.step, end);
            if due || self.ledger.unread() >= read_every || self.interrupter.should_stop() {
                self.read_ledger()?;
            }
            if self.estimate.due(self.state.step) {
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

    /// Whether dev is evaluated after `step`.
    fn due(&self, step: usize, end: usize) -> bool {
        let every = self.setup.folder.config().training.evaluate_every;
        step > 0 && (step.is_multiple_of(every) || step == end)
    }

    /// The rate of the step before a resume, for the line that is still owed.
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
        sums.seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.pace.steps(steps, sums.seconds);
        self.state.sums.add(&sums);
        let every = self.setup.folder.config().training.evaluate_every;
        let within = (self.state.step - 1) % every + 1;
        let item = TrainingItem::new(
            StepOutput::Read(sums),
            Progress::new(within, every, Some("steps".to_string())),
            Some(self.state.step),
            Some(self.learner.lr_current()),
        );
        self.interval_open = true;
        self.event(|events| events.process_train(LearnerEvent::ProcessedItem(item)))
    }

    fn event(
        &mut self,
        send: impl FnOnce(
            &mut SupervisedTrainingEventProcessor<TrainingModel>,
        ) -> Result<(), burn::train::EventProcessorError>,
    ) -> Result<(), TrainError> {
        send(&mut self.events).map_err(|error| TrainError::Internal(error.to_string()))
    }

    /// Tells `burn-train` that another interval of steps begins: its epoch.
    fn start_interval(&mut self) -> Result<(), TrainError> {
        let every = self.setup.folder.config().training.evaluate_every;
        let epoch_number = self.state.step / every + 1;
        self.event(|events| {
            events.process_train(LearnerEvent::StartSplit {
                epoch_number,
                total_items: every,
            })
        })?;
        if self.setup.display == Display::Dashboard {
            interrupt::allow_signal_keys();
        }
        Ok(())
    }

    /// Evaluates dev, writes the lines, keeps the best, saves if it is time to.
    ///
    /// `Some` if the user stopped the run meanwhile.
    fn evaluate_and_save(&mut self, end: usize) -> Result<Option<Ended>, TrainError> {
        let step = self.state.step;
        let every = self.setup.folder.config().training.evaluate_every;
        let epoch = step.div_ceil(every);
        let train = self.state.sums;
        if train.samples > 0 && !train.mean_loss().is_finite() {
            return Err(TrainError::Diverged {
                step,
                loss: train.mean_loss(),
            });
        }
        if std::mem::take(&mut self.interval_open) {
            self.event(|events| events.process_train(LearnerEvent::EndSplit(epoch)))?;
        }
        let Some(dev) = self.evaluate(epoch)? else {
            // The evaluation is owed, and made first thing after a resume.
            self.save()?;
            return Ok(Some(Ended::Interrupted));
        };
        self.pace.evaluation(dev.seconds);
        self.event(|events| events.process_train(LearnerEvent::EndEpoch(epoch)))?;

        let better = self
            .state
            .best
            .as_ref()
            .is_none_or(|best| dev.accuracy > best.accuracy);
        if better {
            let model = self.learner.model().valid().classifier;
            self.setup
                .folder
                .save_weights(&model, step, Some(dev.accuracy))?;
            self.state.best = Some(Best {
                step,
                accuracy: dev.accuracy,
                loss: dev.loss,
            });
        }
        self.write_lines(&train, &dev)?;
        self.say_evaluation(&train, &dev, better, end);
        self.state.sums = Sums::default();
        self.state.evaluated = step;
        let training = &self.setup.folder.config().training;
        if step.is_multiple_of(training.checkpoint_every) || step == end {
            self.save()?;
        }
        Ok(None)
    }

    /// Dev's figures; `None` if the user stopped the run meanwhile.
    fn evaluate(&mut self, epoch: usize) -> Result<Option<Evaluation>, TrainError> {
        let total = self.setup.dev.len();
        self.event(|events| {
            events.process_valid(LearnerEvent::StartSplit {
                epoch_number: epoch,
                total_items: total,
            })
        })?;
        let model = self.learner.model().valid().classifier;
        let interrupter = self.interrupter.clone();
        let result = evaluate(
            &model,
            self.setup.dev.as_ref(),
            &self.setup.batcher,
            self.setup.folder.config().training.eval_batch_size,
            &self.setup.device,
            &mut |_| match interrupter.should_stop() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            },
        );
        let dev = match result {
            Ok(dev) => dev,
            Err(EvaluateError::Stopped { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let item = TrainingItem::new(
            StepOutput::Read(Sums {
                loss: dev.loss * dev.samples as f64,
                hits: dev.correct as u64,
                samples: dev.samples as u64,
                tokens: dev.tokens as u64,
                seconds: dev.seconds,
            }),
            Progress::new(total, total, Some("samples".to_string())),
            Some(self.state.step),
            Some(self.learner.lr_current()),
        );
        self.event(|events| events.process_valid(LearnerEvent::ProcessedItem(item)))?;
        self.event(|events| events.process_valid(LearnerEvent::EndSplit(epoch)))?;
        Ok(Some(dev))
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    fn write_lines(&mut self, train: &Sums, dev: &Evaluation) -> Result<(), TrainError> {
        let device_bytes = transformer_ls_infer::device::device_bytes(&self.setup.device);
        let mut line = MetricLine {
            step: self.state.step,
            split: Split::Train,
            loss: train.mean_loss(),
            accuracy: train.accuracy(),
            learning_rate: self.learning_rate,
            tokens_per_second: train.tokens_per_second(),
            seconds: self.seconds(),
            device_bytes,
        };
        if train.samples > 0 {
            self.setup.metrics.append(&line)?;
        }
        line.split = Split::Dev;
        line.loss = dev.loss;
        line.accuracy = dev.accuracy;
        line.tokens_per_second = dev.tokens as f64 / dev.seconds.max(1e-9);
        self.setup.metrics.append(&line)?;
        Ok(())
    }

    /// Writes the checkpoint of the present step, once.
    fn save(&mut self) -> Result<(), TrainError> {
        let step = self.state.step;
        let nothing_new = self.saved == Some(step) && self.setup.state.evaluated == self.state.evaluated;
        if nothing_new || step == 0 {
            return Ok(());
        }
        self.read_ledger()?;
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
        checkpoint::write(&self.setup.folder, &self.state, records)?;
        self.saved = Some(step);
        self.setup.state.evaluated = self.state.evaluated;
        Ok(())
    }

    fn left(&self, end: usize) -> Left {
        let config = self.setup.folder.config();
        let steps = end - self.state.step;
        let every = config.training.evaluate_every;
        let mut evaluations = end / every - self.state.evaluated / every;
        if !end.is_multiple_of(every) {
            evaluations += 1;
        }
        if end == config.training.steps {
            evaluations += 1; // the test
        }
        Left {
            steps,
            evaluations,
            batches_per_evaluation: self.setup.dev.len() as f64
                / config.training.batch_size as f64,
        }
    }

    fn say_estimate(&self, end: usize) {
        if self.setup.display == Display::Lines {
            let remaining = self.pace.remaining(&self.left(end));
            say(&format!(
                "{:.2} s a step: about {} to step {}, evaluations included",
                self.pace.per_step(),
                duration(remaining),
                count(end),
            ));
        }
    }

    fn say_evaluation(&self, train: &Sums, dev: &Evaluation, better: bool, end: usize) {
        if self.setup.display != Display::Lines {
            return;
        }
        let steps = self.setup.folder.config().training.steps;
        let width = steps.to_string().len();
        let trained = match train.samples {
            0 => String::new(),
            _ => format!(
                "train loss {:.4} acc {:5.2} % | ",
                train.mean_loss(),
                100.0 * train.accuracy()
            ),
        };
        let memory = memory::bytes(&self.setup.device)
            .map_or(String::new(), |bytes| format!(" | {} MB", bytes / 1_000_000));
        let left = match end - self.state.step {
            0 => String::new(),
            _ => format!(" | {} left", duration(self.pace.remaining(&self.left(end)))),
        };
        say(&format!(
            "step {:>width$}/{steps} | {trained}dev loss {:.4} acc {:5.2} %{} | lr {:.2e} | {} tokens/s{memory}{left}",
            self.state.step,
            dev.loss,
            100.0 * dev.accuracy,
            if better { " best" } else { "     " },
            self.learning_rate,
            rate(train.tokens_per_second()),
        ));
    }
}
