//! Training a language model: a loop over the segments of a text, from a run folder to its end.
//!
//! Back-propagation through time is truncated: each row of a batch reads a stretch of the text segment by
//! segment, the model's memory is carried from one to the next, and gradients end where a segment
//! begins. There are no epochs to speak of and no samples to shuffle, so the loop is this crate's own, over
//! Burn's optimizer; the run's folder, its checkpoints and its signals are those of all runs.

mod checkpoint;
pub mod presets;
mod rates;
mod sample;
mod steps;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use transformer_ls_burn::LanguageModel;
use transformer_ls_burn::ops::attention_path;
use transformer_ls_burn::weights::{language_model_state_dict, load_language_model};
use transformer_ls_datasets::Split;
use transformer_ls_datasets::corpus::{Corpus, Part, Scoring, Streams};
use transformer_ls_infer::device::{ChosenDevice, device_bytes, for_drawing_weights};
use transformer_ls_infer::language::{
    LanguageConfig, LanguageFolder, LanguageLine, LanguageRun, LanguageSummary, ScoreError, score,
};
use transformer_ls_infer::run::versions;

pub use checkpoint::{Best, State, Sums};
pub use rates::learning_rate;

use crate::trainer::order::{Purpose, derive};
use crate::trainer::progress::{bar, count, duration, say, say_aside};
use crate::trainer::{TrainError, interrupt, memory, panic_text};
use steps::{Ended, Loop};

/// The text of a run, cut in three.
pub struct Text {
    train: Streams,
    dev: Part,
    test: Part,
}

impl Text {
    /// The splits as a run's configuration reads them.
    ///
    /// # Errors
    ///
    /// A split that is too short, or a byte that the run's vocabulary has not.
    pub fn new(corpus: &Corpus, config: &LanguageConfig) -> Result<Self, TrainError> {
        let training = &config.training;
        let part = |split| corpus.part(split, &config.data.vocabulary);
        let text = Self {
            train: Streams::new(part(Split::Train)?, training.batch_size, training.longest())?,
            dev: part(Split::Dev)?,
            test: part(Split::Test)?,
        };
        // What is too short to be scored is refused before the first step, not behind the last.
        Scoring::new(text.dev.clone(), 1, 1)?;
        Scoring::new(text.test.clone(), 1, 1)?;
        Ok(text)
    }
}

/// What concerns this session alone.
#[derive(Clone, Debug)]
pub struct Session {
    /// Stop after this step although the schedule goes on.
    pub stop_after: Option<usize>,
    /// The number of a phase, and another learning rate for the rest of it.
    pub learning_rate: Option<(usize, f64)>,
    /// The command line, for the summary.
    pub command: String,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// All phases are done, and the best model was tested.
    Finished(LanguageSummary),
    /// `--stop-after` was reached: evaluated and saved, but not tested.
    Stopped(LanguageSummary),
    /// The user stopped the run; everything is saved.
    Interrupted {
        /// Steps taken.
        step: usize,
    },
}

/// The model of a run with the weights that its seed gives, the same on every device where the build has
/// Flex to draw them on.
///
/// # Errors
///
/// A configuration that is no model, or a device that fails.
pub fn initial_model(
    config: &LanguageConfig,
    device: &Device,
) -> Result<LanguageModel, TrainError> {
    let drawing = for_drawing_weights().unwrap_or_else(|| device.clone());
    drawing.seed(derive(config.seed, Purpose::Weights, 0));
    let drawn = language_model_state_dict(&config.model.init(&drawing)?);
    let model = config.model.init(device)?;
    drawn
        .and_then(|drawn| load_language_model(model, drawn))
        .map_err(|error| TrainError::Internal(error.to_string()))
}

/// Trains the run in `folder` from where it stands.
///
/// # Errors
///
/// See [`TrainError`]; what was saved before stays usable.
pub fn train(
    folder: &mut LanguageFolder,
    chosen: &ChosenDevice,
    text: &Text,
    session: &Session,
) -> Result<Ending, TrainError> {
    // A device that runs out of memory can panic. The run can still continue from its checkpoint, and the
    // error says so.
    catch_unwind(AssertUnwindSafe(|| go_on(folder, chosen, text, session)))
        .unwrap_or_else(|panic| Err(TrainError::Internal(panic_text(panic.as_ref()))))
}

fn go_on(
    folder: &mut LanguageFolder,
    chosen: &ChosenDevice,
    text: &Text,
    session: &Session,
) -> Result<Ending, TrainError> {
    let device = chosen.device.clone().autodiff();
    let model = initial_model(folder.config(), &device)?;
    let (begun, warnings) = checkpoint::read_latest(folder, model)?;
    for warning in warnings {
        say_aside(&format!("warning: {warning}"));
    }
    if let Some((phase, rate)) = session.learning_rate {
        let mut config = folder.config().clone();
        let present = config.training.phase(begun.state.step).0;
        if phase != present {
            return Err(TrainError::OtherPhase { phase, present });
        }
        config.training.change_rate(begun.state.step, rate);
        folder.replace_config(config)?;
    }
    announce(folder, chosen, text, &begun.model, &begun.state);
    let (ended, state) = Loop::new(folder, chosen, text, begun)?.run(session.stop_after)?;
    let summary = |state: &State, test| summary(folder, chosen, session, state, test);
    match ended {
        Ended::Interrupted => Ok(Ending::Interrupted { step: state.step }),
        Ended::StopAfter => {
            let summary = summary(&state, None);
            folder.write_summary(&summary)?;
            Ok(Ending::Stopped(summary))
        }
        Ended::Complete => match test(folder, chosen, text, state)? {
            None => Ok(Ending::Interrupted {
                step: folder.config().training.steps(),
            }),
            Some((line, state)) => {
                let summary = summary(&state, Some(&line));
                folder.write_summary(&summary)?;
                Ok(Ending::Finished(summary))
            }
        },
    }
}

/// Says what is about to be trained, on what, and where.
fn announce(
    folder: &LanguageFolder,
    chosen: &ChosenDevice,
    text: &Text,
    model: &LanguageModel,
    state: &State,
) {
    let config = folder.config();
    let training = &config.training;
    say(&format!(
        "language model (preset {}): {} parameters over {} different bytes",
        config.preset,
        count(model.num_params()),
        config.data.vocabulary.len()
    ));
    say(&format!(
        "text {}: {} train, {} dev, {} test characters",
        text.dev.path().display(),
        count(text.train.part().len()),
        count(text.dev.len()),
        count(text.test.len()),
    ));
    let path = attention_path(&chosen.device);
    say(&format!(
        "device {} ({}): {}; attention path {}: {}",
        chosen.name, chosen.adapter, chosen.reason, path.kind, path.reason
    ));
    let position = match state.step {
        0 => String::new(),
        step => format!(
            ", going on from step {step} after {}",
            duration(state.seconds)
        ),
    };
    say(&format!(
        "run {}: {} steps, dev every {}, seed {}{position}",
        folder.path().display(),
        count(training.steps()),
        training.evaluate_every,
        config.seed,
    ));
}

/// Tests the best model, and writes the last line; `None` if the user stopped the test.
fn test(
    folder: &LanguageFolder,
    chosen: &ChosenDevice,
    text: &Text,
    mut state: State,
) -> Result<Option<(LanguageLine, State)>, TrainError> {
    let training = &folder.config().training;
    let started = Instant::now();
    let best_step = state.best.as_ref().map_or(state.step, |best| best.step);
    say(&format!(
        "testing the model of step {best_step} on {} characters",
        count(text.test.len())
    ));
    let best = LanguageRun::open(&folder.weights_path(), &chosen.device)?;
    let scoring = Scoring::new(text.test.clone(), 1, training.test_segment)?;
    let bar = bar(scoring.scored() as u64, "testing");
    let result = score(&best.model, &scoring, training.test_memory, &mut |scored| {
        bar.set_position(scored.so_far.characters);
        match interrupt::requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let test = match result {
        Ok(test) => test,
        Err(ScoreError::Stopped) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    state.seconds += started.elapsed().as_secs_f64();
    state.peak_bytes = memory::peak(&chosen.device, state.peak_bytes);
    let last = best_step.saturating_sub(1);
    let line = LanguageLine {
        step: best_step,
        phase: training.phase(last).0,
        split: Split::Test,
        bits_per_character: test.bits_per_character(),
        characters: test.characters,
        learning_rate: learning_rate(training, last)?,
        characters_per_second: test.characters_per_second(),
        seconds: state.seconds,
        device_bytes: device_bytes(&chosen.device),
    };
    let mut metrics = folder.metrics(state.metrics_bytes)?;
    metrics.append(&line)?;
    metrics.durable_bytes()?;
    Ok(Some((line, state)))
}

fn summary(
    folder: &LanguageFolder,
    chosen: &ChosenDevice,
    session: &Session,
    state: &State,
    test: Option<&LanguageLine>,
) -> LanguageSummary {
    LanguageSummary {
        test_bits_per_character: test.map(|line| line.bits_per_character),
        test_characters: test.map(|line| line.characters),
        best_dev_bits_per_character: state.best.as_ref().map(|best| best.bits_per_character),
        best_step: state.best.as_ref().map(|best| best.step),
        steps: state.step,
        characters: state.characters,
        wall_seconds: state.seconds,
        peak_bytes: state.peak_bytes,
        device: chosen.name.clone(),
        adapter: chosen.adapter.clone(),
        command: session.command.clone(),
        versions: versions(),
        seed: folder.config().seed,
    }
}
