//! A run from its folder to its end: build or resume the learner, train, test once.
//!
//! On top of `burn-train`: its `Learner`, `SupervisedTraining`, event processor, metrics
//! interface, dashboard and interrupter do their work here. Where one of its parts falls
//! short, its place is taken at the extension point it offers, and the module that does
//! so says why: the loop in `strategy.rs`, the batches in `loader.rs`, the way of a record
//! to the disk in `handover.rs`, the figures in `figures.rs`, and the renderer off a
//! terminal in `renderer.rs`.

mod announce;
mod checkpoint;
mod error;
mod evaluation;
mod figures;
mod handover;
mod initial;
pub mod interrupt;
mod loader;
mod masking;
pub mod memory;
mod model;
pub mod order;
pub mod progress;
mod renderer;
pub(crate) mod sealed;
mod setup;
mod steps;
mod strategy;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::tensor::DType;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use transformer_ls_datasets::{Samples, Split};
use transformer_ls_infer::device::{ChosenDevice, is_cubecl};
use transformer_ls_infer::evaluate::{EvaluateError, evaluate};
use transformer_ls_infer::run::{
    MetricLine, Precision, RunFolder, Summary, TrainingConfig, versions,
};

pub use checkpoint::{Best, State};
pub use error::{EncoderRunError, TrainError, WayBack};
pub use figures::{Figure, Pending, Sums};
pub use initial::EncoderRun;
pub(crate) use initial::initial_weights;
pub use loader::StepLoader;
pub use masking::{Mask, Masking};
pub(crate) use model::take_step;
pub use model::{Batch, TrainingModel, cross_entropy, smoothed_cross_entropy};
pub use progress::Display;

use crate::optim::{AdamWConfig, MovingAverage, Schedule};
use crate::tensorboard::EventFiles;
use announce::announce;
use handover::{EveryCall, Records, handovers};
use progress::{say, say_aside};
use renderer::{NoTextFiles, Title, renderer};
use setup::{Ended, Setup};
use strategy::StepStrategy;

/// The samples of a run.
pub struct Splits {
    /// To learn from.
    pub train: Arc<dyn Samples>,
    /// To choose the best model by.
    pub dev: Arc<dyn Samples>,
    /// To judge the best model on, once.
    pub test: Arc<dyn Samples>,
}

/// What concerns this session alone. Of it only `learning_rate` enters the run's configuration.
#[derive(Clone, Debug)]
pub struct Session {
    /// Stop after this step although the schedule goes on.
    pub stop_after: Option<usize>,
    /// Another peak of the learning rate, from the step on that the run stands at.
    pub learning_rate: Option<f64>,
    /// The command line, for the summary.
    pub command: String,
    /// Whether event files for TensorBoard are written; a run that has some keeps writing them.
    pub tensorboard: bool,
    /// How the run shows itself.
    pub display: Display,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The schedule is done, and the best model was tested.
    Finished(Summary),
    /// The schedule of a pretraining run is done. The test split was not looked at.
    Pretrained(Summary),
    /// `--stop-after` was reached: evaluated on dev and saved, but not tested, for the
    /// test split is looked at once, when a run is complete.
    Stopped(Summary),
    /// The user stopped the run; everything is saved.
    Interrupted {
        /// Steps taken.
        step: usize,
    },
}

/// The model with its optimizer and its schedule, as `training` has them.
pub(crate) fn learner(
    model: TrainingModel,
    training: &TrainingConfig,
) -> Result<(Learner<TrainingModel>, Schedule), TrainError> {
    let schedule = Schedule::new(training)?;
    let optimizer = AdamWConfig {
        beta1: schedule.beta1(),
        beta2: training.beta2,
        epsilon: training.epsilon,
        weight_decay: training.weight_decay,
    };
    let learner = Learner::new(model, optimizer.init()?, schedule.clone().scheduler());
    Ok((learner, schedule))
}

/// Makes sure that passes of this precision can run on the device.
///
/// # Errors
///
/// [`TrainError::NoHalf`]
pub fn check_precision(training: &TrainingConfig, chosen: &ChosenDevice) -> Result<(), TrainError> {
    let device = &chosen.device;
    let half = || is_cubecl(device) && device.supports_dtype(DType::F16);
    if training.precision == Precision::F16 && !half() {
        let device = chosen.name.clone();
        return Err(TrainError::NoHalf(device));
    }
    Ok(())
}

/// Trains the run in `folder` from where it stands, and gives the folder back.
///
/// # Errors
///
/// See [`TrainError`]; what was saved before stays usable.
pub fn train(
    mut folder: RunFolder,
    chosen: &ChosenDevice,
    splits: &Splits,
    session: &Session,
) -> Result<(Arc<RunFolder>, Ending), TrainError> {
    check_precision(&folder.config().training, chosen)?;
    let device = chosen.device.clone().autodiff();

    let model = TrainingModel::init(folder.config(), &device)?;
    let (state, resumed, mean) = match checkpoint::read_latest(&folder, &model)? {
        Some(resumed) => {
            for warning in &resumed.warnings {
                say_aside(&format!("warning: {warning}"));
            }
            (resumed.state, Some(resumed.records), resumed.average)
        }
        None => (State::default(), None, None),
    };
    let model = match resumed {
        Some(_) => model,
        None => model.started_from(&folder)?,
    };
    if let Some(learning_rate) = session.learning_rate {
        folder.change_rate(state.step, learning_rate)?;
    }
    let folder = Arc::new(folder);
    let ending = go_on(
        &folder,
        chosen,
        splits,
        session,
        model,
        (state, resumed, mean),
    )?;
    Ok((folder, ending))
}

/// Where a run stands: its state, the records of its checkpoint, and the average of its weights.
type Standing = (State, Option<Records>, Option<TrainingModel>);

fn go_on(
    folder: &Arc<RunFolder>,
    chosen: &ChosenDevice,
    splits: &Splits,
    session: &Session,
    model: TrainingModel,
    (state, resumed, mean): Standing,
) -> Result<Ending, TrainError> {
    let config = folder.config().clone();
    let training = &config.training;
    let device = chosen.device.clone().autodiff();
    let metrics = folder.metrics(state.metrics_bytes)?;
    let event_files = EventFiles::open(folder, session.tensorboard)?;
    announce(folder, chosen, splits, &model, &state)?;

    let masking = config.pretraining.as_ref();
    let masking = masking.map(|pretraining| Masking::new(config.seed, pretraining.mask));
    let batcher = config.batcher(&chosen.device);
    let loader = StepLoader::shuffled(
        splits.train.clone(),
        batcher,
        training.batch_size,
        config.seed,
        state.step..training.steps,
        device.clone(),
    )
    .accumulate(training.accumulate)
    .masked(masking)
    .inner_values(
        training
            .inner_values
            .then_some(config.data.tokenizer)
            .flatten(),
    );
    let parts = loader.parts();
    let loader = Arc::new(loader);

    let intervals = state.step / training.evaluate_every;
    let step = state.step;
    let title = Title::default();
    let is_resumed = resumed.is_some();
    let (model_records, optimizer_records, scheduler_records, collector) = handovers(resumed);
    let (learner, schedule) = learner(model, training)?;
    let (strategy, outcome) = StepStrategy::new(Setup {
        folder: folder.clone(),
        device: chosen.device.clone(),
        device_name: chosen.name.clone(),
        batcher,
        schedule: schedule.clone(),
        dev: splits.dev.clone(),
        masking,
        parts,
        average: training.ema.map(|decay| match mean {
            Some(mean) => MovingAverage::resumed(decay, mean),
            None => MovingAverage::new(decay),
        }),
        state,
        metrics,
        event_files,
        collector,
        stop_after: session.stop_after,
        display: session.display,
        title: title.clone(),
    });

    let interrupter = Interrupter::new();
    interrupt::register(&interrupter);
    interrupt::dashboard(session.display == Display::Dashboard);
    // The loop evaluates dev itself: what burn-train takes for its batches is never asked.
    let mut supervised = SupervisedTraining::new(folder.path(), loader.clone(), loader)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
        .with_custom_checkpointers(model_records, optimizer_records, scheduler_records)
        .with_checkpointing_strategy(EveryCall)
        .with_metric_logger(NoTextFiles)
        .with_application_logger(None)
        .with_interrupter(interrupter.clone())
        .renderer(renderer(session.display, &interrupter, step, title))
        .num_epochs(training.steps.div_ceil(training.evaluate_every))
        .label(&config.task)
        .metric_train_numeric(Figure::loss())
        .metric_valid_numeric(Figure::loss())
        .metric_train_numeric(Figure::accuracy())
        .metric_valid_numeric(Figure::accuracy())
        .metric_train_numeric(Figure::tokens_per_second())
        .metric_train_numeric(Figure::learning_rate());
    if is_resumed {
        supervised = supervised.checkpoint(intervals);
    }
    // burn-train (and a device that runs out of memory) can panic. The run can still
    // continue from its checkpoint, and the error says so.
    let launched = catch_unwind(AssertUnwindSafe(|| drop(supervised.launch(learner))));
    interrupt::dashboard(false);
    if let Err(panic) = launched {
        return Err(TrainError::Internal(panic_text(panic.as_ref())));
    }
    let outcome = lock(&outcome)
        .take()
        .unwrap_or_else(|| Err(TrainError::Internal("the loop left no outcome".into())));
    let (ended, state) = outcome?;
    match ended {
        Ended::Interrupted => Ok(Ending::Interrupted { step: state.step }),
        Ended::StopAfter => {
            let summary = summary(folder, chosen, session, &state, None);
            folder.write_summary(&summary)?;
            Ok(Ending::Stopped(summary))
        }
        Ended::Complete if config.pretraining.is_some() => {
            let summary = summary(folder, chosen, session, &state, None);
            folder.write_summary(&summary)?;
            Ok(Ending::Pretrained(summary))
        }
        Ended::Complete => {
            let learning_rate = |step| schedule.learning_rate(step);
            test(folder, chosen, splits, session, state, &learning_rate)
        }
    }
}

/// Tests the best model, writes the last line and the summary.
fn test(
    folder: &RunFolder,
    chosen: &ChosenDevice,
    splits: &Splits,
    session: &Session,
    mut state: State,
    learning_rate: &dyn Fn(usize) -> f64,
) -> Result<Ending, TrainError> {
    let config = folder.config();
    let started = Instant::now();
    let best_step = state.best.as_ref().map_or(state.step, |best| best.step);
    say(&format!(
        "testing the model of step {best_step} on {} samples",
        progress::count(splits.test.len())
    ));
    let model = folder.load_model(&chosen.device)?;
    let bar = progress::bar(splits.test.len() as u64, "testing");
    let result = evaluate(
        &model,
        splits.test.as_ref(),
        &config.batcher(&chosen.device),
        config.training.eval_batch_size,
        &chosen.device,
        &mut |now| {
            bar.set_position(now.done as u64);
            match interrupt::requested() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        },
    );
    bar.finish_and_clear();
    let test = match result {
        Ok(test) => test,
        Err(EvaluateError::Stopped { .. }) => return Ok(Ending::Interrupted { step: state.step }),
        Err(error) => return Err(error.into()),
    };
    state.seconds += started.elapsed().as_secs_f64();
    state.peak_bytes = memory::peak(&chosen.device, state.peak_bytes);
    let mut metrics = folder.metrics(state.metrics_bytes)?;
    let event_files = EventFiles::open(folder, session.tensorboard)?;
    let line = MetricLine {
        step: best_step,
        split: Split::Test,
        loss: test.loss,
        accuracy: test.accuracy,
        learning_rate: learning_rate(best_step.saturating_sub(1)),
        tokens_per_second: test.tokens as f64 / test.seconds.max(1e-9),
        seconds: state.seconds,
        device_bytes: transformer_ls_infer::device::device_bytes(&chosen.device),
    };
    metrics.append(&line)?;
    if let Some(mut files) = event_files {
        files.append(&line)?;
    }
    metrics.durable_bytes()?;
    let summary = summary(folder, chosen, session, &state, Some(test.accuracy));
    folder.write_summary(&summary)?;
    Ok(Ending::Finished(summary))
}

fn summary(
    folder: &RunFolder,
    chosen: &ChosenDevice,
    session: &Session,
    state: &State,
    test_accuracy: Option<f64>,
) -> Summary {
    Summary {
        test_accuracy,
        best_dev_accuracy: state.best.as_ref().map(|best| best.accuracy),
        best_dev_loss: state.best.as_ref().map(|best| best.loss),
        best_step: state.best.as_ref().map(|best| best.step),
        steps: state.step,
        wall_seconds: state.seconds,
        peak_bytes: state.peak_bytes,
        device: chosen.name.clone(),
        adapter: chosen.adapter.clone(),
        command: session.command.clone(),
        versions: versions(),
        seed: folder.config().seed,
    }
}

/// What a mutex holds, also after a panic of its holder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no reason given".to_owned())
}
