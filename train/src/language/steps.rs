//! One session's loop over steps.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::train::Interrupter;
use indicatif::ProgressBar;
use transformer_ls_burn::weights::language_model_state_dict;
use transformer_ls_burn::{LanguageModel, Segment};
use transformer_ls_datasets::Split;
use transformer_ls_datasets::corpus::Scoring;
use transformer_ls_infer::device::{ChosenDevice, device_bytes, is_cubecl};
use transformer_ls_infer::language::{
    GenerateError, LanguageFolder, LanguageLine, LanguageRun, LanguageTraining, Phase, Sampling,
    Score, ScoreError, Writing, generate, ids, score,
};
use transformer_ls_infer::run::MetricsLog;

use super::Text;
use super::checkpoint::{self, Begun, Best, State, Sums};
use super::rates::learning_rate;
use crate::optim::{MovingAverage, clip_norm, update};
use crate::trainer::order::{Purpose, derive, dropout_seed, part_of};
use crate::trainer::progress::{Estimate, Left, Pace, bar, count, duration, rate, say};
use crate::trainer::{TrainError, WayBack, interrupt, memory};

/// What samples go on from, of dev: no more than this.
const PROMPT: usize = 64;
/// Below 1 likely bytes are drawn more often than the model has them: samples of a young model then read
/// better.
const TEMPERATURE: f64 = 0.8;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The last step was taken and evaluated.
    Complete,
    /// `--stop-after` was reached.
    StopAfter,
    /// The user stopped it.
    Interrupted,
}

/// One session.
pub(super) struct Loop<'a> {
    folder: &'a LanguageFolder,
    training: &'a LanguageTraining,
    chosen: &'a ChosenDevice,
    text: &'a Text,
    begun: Begun,
    metrics: MetricsLog,
    /// Mean losses of steps that have not been read yet, and over how many bytes.
    unread: Vec<(Tensor<1>, u64)>,
    interrupter: Interrupter,
    bar: ProgressBar,
    pace: Pace,
    estimate: Estimate,
    /// Seconds of the earlier sessions.
    earlier: f64,
    started: Instant,
    /// Since when steps run that are not in the sums yet.
    since: Instant,
    /// The step of the newest checkpoint, and whether dev had been evaluated by then.
    saved: Option<(usize, usize)>,
}

impl<'a> Loop<'a> {
    pub(super) fn new(
        folder: &'a LanguageFolder,
        chosen: &'a ChosenDevice,
        text: &'a Text,
        begun: Begun,
    ) -> Result<Self, TrainError> {
        let state = &begun.state;
        let interrupter = Interrupter::new();
        interrupt::register(&interrupter);
        Ok(Self {
            training: &folder.config().training,
            metrics: folder.metrics(state.metrics_bytes)?,
            unread: Vec::new(),
            interrupter,
            bar: ProgressBar::hidden(),
            pace: Pace::new(),
            estimate: Estimate::new(state.step),
            earlier: state.seconds,
            started: Instant::now(),
            since: Instant::now(),
            saved: (state.step > 0).then_some((state.step, state.evaluated)),
            folder,
            chosen,
            text,
            begun,
        })
    }

    /// Takes steps until the last one, `stop_after`, or a signal; everything is saved then.
    pub(super) fn run(mut self, stop_after: Option<usize>) -> Result<(Ended, State), TrainError> {
        let steps = self.training.steps();
        let end = stop_after.map_or(steps, |stop| stop.clamp(self.step().min(steps), steps));
        self.bar = bar(end as u64, "training");
        self.bar.set_position(self.step() as u64);
        self.bar.reset_eta();
        let ended = self.steps(end);
        self.bar.finish_and_clear();
        Ok((ended?, self.begun.state))
    }

    fn step(&self) -> usize {
        self.begun.state.step
    }

    fn steps(&mut self, end: usize) -> Result<Ended, TrainError> {
        // The session before may have been interrupted between a step and its evaluation.
        if self.due(end)
            && self.begun.state.evaluated < self.step()
            && self.evaluate(end)?.is_break()
        {
            return Ok(Ended::Interrupted);
        }
        // On a CPU a read costs nothing; a GPU would wait for the host at every one.
        let read_every = match is_cubecl(&self.chosen.device) {
            true => 10,
            false => 1,
        };
        self.since = Instant::now();
        let mut said = None;
        while self.step() < end && !self.interrupter.should_stop() {
            let (number, before) = self.training.phase(self.step());
            let phase = self.training.phases[number];
            if said.replace(number) != Some(number) {
                self.say_phase(number, &phase, before);
            }
            self.take_step(&phase)?;
            let due = self.due(end);
            let estimate = self.estimate.due(self.step());
            if due || estimate || self.pace.is_new() || self.unread.len() >= read_every {
                self.read()?;
            }
            if estimate {
                self.say_estimate(end);
            }
            if due {
                if self.evaluate(end)?.is_break() {
                    return Ok(Ended::Interrupted);
                }
                self.since = Instant::now();
            } else if self.step().is_multiple_of(self.training.checkpoint_every) {
                self.save()?;
                self.since = Instant::now();
            }
        }
        self.save()?;
        Ok(match self.step() {
            step if step < end => Ended::Interrupted,
            step if step < self.training.steps() => Ended::StopAfter,
            _ => Ended::Complete,
        })
    }

    /// Whether dev is evaluated after the present step.
    fn due(&self, end: usize) -> bool {
        let step = self.step();
        step > 0 && (step.is_multiple_of(self.training.evaluate_every) || step == end)
    }

    /// A segment of each row, forward and backward, and an update.
    fn take_step(&mut self, phase: &Phase) -> Result<(), TrainError> {
        let (step, seed) = (self.step(), self.folder.config().seed);
        self.chosen
            .device
            .seed(derive(seed, Purpose::Step, step as u64));
        let Begun {
            model,
            optimizer,
            average,
            memory,
            state,
        } = &mut self.begun;
        let (streams, parts) = (&self.text.train, self.training.accumulate);
        let segment = streams.at(state.position, phase.segment);
        let rows: Vec<&[u16]> = segment.ids.chunks(phase.segment + 1).collect();
        if segment.starts_epoch || memory.is_empty() {
            let of_part = |part| model.memory(part_of(&rows, part, parts).len(), phase.memory);
            *memory = (0..parts).map(of_part).collect();
        }
        let device = model.device();
        let mut gradients = GradientsAccumulator::new();
        let mut losses = Vec::with_capacity(parts);
        for (part, memory) in memory.iter_mut().enumerate() {
            let of_part = part_of(&rows, part, parts);
            let [tokens, targets] = ids(&of_part.concat(), of_part.len(), &device);
            let read = Segment {
                tokens,
                memory: memory.clone().resized(phase.memory),
                dropout_seed: Some(dropout_seed(seed, step, part)),
            };
            let (found, next) = model.loss(read, targets);
            *memory = next;
            let share = of_part.len() as f64 / rows.len() as f64;
            let loss = found.tokens.mean().mul_scalar(share);
            losses.push(loss.clone().without_autodiff());
            let loss = match found.reconstruction {
                None => loss,
                Some(lost) => loss + lost.mul_scalar(share),
            };
            let of_part = GradientsParams::from_grads(loss.backward(), model);
            gradients.accumulate(model, of_part);
        }
        let mut gradients = gradients.grads();
        if let Some(max_norm) = self.training.clip_norm {
            gradients = clip_norm(model, gradients, max_norm);
        }
        let rate = learning_rate(self.training, step)?;
        *model = update(optimizer, rate, model.clone(), gradients);
        if let Some(average) = average {
            average.enter(model.valid());
        }
        let characters = (rows.len() * phase.segment) as u64;
        self.unread.push((Tensor::cat(losses, 0).sum(), characters));
        state.position = segment.next;
        state.characters += characters;
        state.step += 1;
        Ok(())
    }

    /// Reads the losses of the steps since the last read.
    fn read(&mut self) -> Result<(), TrainError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let step = self.step();
        let (losses, characters): (Vec<_>, Vec<_>) = self.unread.drain(..).unzip();
        let losses: Vec<f32> = Tensor::cat(losses, 0)
            .try_into_vec_as()
            .map_err(TrainError::device(&self.chosen.name, step))?;
        let sums = &mut self.begun.state.sums;
        for (&loss, &characters) in losses.iter().zip(&characters) {
            sums.nats += f64::from(loss) * characters as f64;
            sums.characters += characters;
        }
        if !sums.nats.is_finite() {
            return Err(self.diverged("the training loss is not a number".into()));
        }
        let seconds = self.since.elapsed().as_secs_f64();
        sums.seconds += seconds;
        self.since = Instant::now();
        self.pace.steps(losses.len(), seconds);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!(
            "{:.3} bits, {} characters/s",
            sums.bits_per_character(),
            rate(sums.characters_per_second())
        ));
        Ok(())
    }

    /// Evaluates dev, writes the lines, keeps the best, and saves if it is time to. A break, saved, if the
    /// user stopped the run meanwhile.
    fn evaluate(&mut self, end: usize) -> Result<ControlFlow<()>, TrainError> {
        let step = self.step();
        self.check_weights()?;
        let model = self.evaluated_model();
        let interrupter = self.interrupter.clone();
        let dev = match self.score_dev(&model, &mut || interrupter.should_stop()) {
            Ok(dev) => dev,
            Err(TrainError::Score(ScoreError::Stopped)) => {
                // The evaluation is missing, and is made first after a resume.
                self.save()?;
                return Ok(ControlFlow::Break(()));
            }
            Err(error) => return Err(error),
        };
        self.pace.evaluation(dev.seconds);
        let bits = dev.bits_per_character();
        let best = self.begun.state.best.as_ref();
        let better = best.is_none_or(|best| bits < best.bits_per_character);
        if better {
            let weights = language_model_state_dict(&model);
            let weights = weights.map_err(|error| TrainError::Internal(error.to_string()))?;
            self.folder.save_weights(&weights, step, bits)?;
            self.begun.state.best = Some(Best {
                step,
                bits_per_character: bits,
            });
        }
        let train = std::mem::take(&mut self.begun.state.sums);
        let last = step - 1;
        let line = |split, bits_per_character, characters, characters_per_second| LanguageLine {
            step,
            phase: self.training.phase(last).0,
            split,
            bits_per_character,
            characters,
            learning_rate: learning_rate(self.training, last).unwrap_or(f64::NAN),
            characters_per_second,
            seconds: self.seconds(),
            device_bytes: device_bytes(&self.chosen.device),
        };
        let lines = [
            line(
                Split::Train,
                train.bits_per_character(),
                train.characters,
                train.characters_per_second(),
            ),
            line(
                Split::Dev,
                bits,
                dev.characters,
                dev.characters_per_second(),
            ),
        ];
        for line in lines.iter().filter(|line| line.characters > 0) {
            self.metrics.append(line)?;
        }
        self.begun.state.evaluated = step;
        self.say_evaluation(&train, &lines[1], better, end);
        self.say_sample(&model)?;
        if step.is_multiple_of(self.training.checkpoint_every) || step == end {
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The model that is evaluated: the average of the weights where one is kept.
    fn evaluated_model(&self) -> LanguageModel {
        let average = self.begun.average.as_ref().and_then(MovingAverage::mean);
        match average {
            Some(mean) => mean.clone(),
            None => self.begun.model.valid(),
        }
    }

    /// How well the model predicts dev, in the segments of the present phase.
    fn score_dev(
        &self,
        model: &LanguageModel,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Score, TrainError> {
        let phase = self.phase_of_last_step();
        let rows = self.training.eval_batch_size;
        let scoring = Scoring::new(self.text.dev.clone(), rows, phase.segment)?;
        let score = score(model, &scoring, phase.memory, &mut |_| match stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        score.map_err(|error| match error {
            ScoreError::NotANumber => {
                self.diverged("the model's answers on dev are not numbers".into())
            }
            error => error.into(),
        })
    }

    fn phase_of_last_step(&self) -> Phase {
        let last = self.step().saturating_sub(1);
        self.training.phases[self.training.phase(last).0]
    }

    /// Makes sure that the weights are numbers. The loss of a step is that of the weights before it.
    fn check_weights(&self) -> Result<(), TrainError> {
        let state = language_model_state_dict(&self.begun.model);
        let state = state.map_err(|error| TrainError::Internal(error.to_string()))?;
        let finite = state.check_finite();
        finite.map_err(|error| self.diverged(error.to_string()))
    }

    /// The end of a run whose loss or weights are not numbers any more, and will not be again.
    fn diverged(&self, what: String) -> TrainError {
        let step = self.step();
        let number = self.training.phase(step).0;
        TrainError::Diverged {
            what,
            step,
            way_back: WayBack {
                checkpoint: self.saved.map(|(step, _)| step),
                learning_rate: self.training.present_rate(number),
                is_gpu: is_cubecl(&self.chosen.device),
            },
        }
    }

    /// Writes the checkpoint of the present step, once.
    fn save(&mut self) -> Result<(), TrainError> {
        let (step, evaluated) = (self.step(), self.begun.state.evaluated);
        if step == 0 || self.saved == Some((step, evaluated)) {
            return Ok(());
        }
        self.read()?;
        if evaluated < step {
            self.check_weights()?;
            // A checkpoint whose model has no answers would not be of use. The first segment is enough.
            match self.score_dev(&self.evaluated_model(), &mut || true) {
                Ok(_) | Err(TrainError::Score(ScoreError::Stopped)) => {}
                Err(error) => return Err(error),
            }
        }
        self.begun.state.seconds = self.seconds();
        self.begun.state.metrics_bytes = self.metrics.durable_bytes()?;
        self.begun.state.peak_bytes =
            memory::peak(&self.chosen.device, self.begun.state.peak_bytes);
        checkpoint::write(self.folder, &self.begun)?;
        self.saved = Some((step, evaluated));
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    /// Prints lines above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    fn say_phase(&self, number: usize, phase: &Phase, before: usize) {
        let phases = self.training.phases.len();
        let which = match phases {
            1 => String::new(),
            _ => format!("phase {} of {phases}: ", number + 1),
        };
        self.say(&format!(
            "{which}steps {} to {} learn from {} rows of {} characters with {} before them, learning rate {:e}",
            count(before + 1),
            count(before + phase.steps),
            self.training.batch_size,
            count(phase.segment),
            count(phase.memory),
            self.training.present_rate(number),
        ));
    }

    fn left(&self, end: usize) -> Left {
        let every = self.training.evaluate_every;
        let step = self.step();
        let dev = end.div_ceil(every) - step / every;
        // The test has one row, and takes about as long as rows of dev would one after the other; that it
        // takes as long as dev is said until it is there.
        let test = usize::from(end == self.training.steps());
        let characters = self.training.batch_size * self.phase_of_last_step().segment;
        Left {
            steps: end - step,
            evaluations: dev + test,
            batches_per_evaluation: self.text.dev.len() as f64 / characters as f64,
        }
    }

    fn say_estimate(&self, end: usize) {
        self.say(&format!(
            "{:.2} s a step: about {} to step {}, evaluations included",
            self.pace.per_step(),
            duration(self.pace.remaining(&self.left(end))),
            count(end),
        ));
    }

    fn say_evaluation(&self, train: &Sums, dev: &LanguageLine, better: bool, end: usize) {
        let steps = self.training.steps();
        let width = steps.to_string().len();
        let trained = match train.characters {
            0 => String::new(),
            _ => format!("train {:.4} | ", train.bits_per_character()),
        };
        let memory = memory::bytes(&self.chosen.device).map_or(String::new(), |bytes| {
            format!(" | {} MB", bytes / 1_000_000)
        });
        let left = match end - self.step() {
            0 => String::new(),
            _ => format!(" | {} left", duration(self.pace.remaining(&self.left(end)))),
        };
        self.say(&format!(
            "step {:>width$}/{steps} | bits per character: {trained}dev {:.4}{} | lr {:.2e} | {} characters/s{memory}{left}",
            dev.step,
            dev.bits_per_character,
            if better { " best" } else { "     " },
            dev.learning_rate,
            rate(train.characters_per_second()),
        ));
    }

    /// Shows how the model would go on after dev's first bytes.
    fn say_sample(&self, model: &LanguageModel) -> Result<(), TrainError> {
        let (config, phase, dev) = (
            self.folder.config(),
            self.phase_of_last_step(),
            &self.text.dev,
        );
        let writing = Writing {
            sampling: Sampling {
                temperature: TEMPERATURE,
                ..Sampling::default()
            },
            seed: derive(config.seed, Purpose::Sample, self.step() as u64),
            length: self.training.sample,
        };
        if writing.length == 0 {
            return Ok(());
        }
        let run = LanguageRun {
            config: config.clone(),
            model: model.clone(),
            vocabulary: dev.vocabulary().clone(),
            segment: phase.segment,
            memory: phase.memory,
        };
        let prompt = dev.ids(0..PROMPT.min(dev.len())).collect();
        let mut drawn = Vec::with_capacity(writing.length);
        generate::<GenerateError>(&run, &writing, 0, &[prompt], |_, id| {
            drawn.push(id);
            Ok(())
        })?;
        let bytes = dev.vocabulary().decode(&drawn).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text.lines().map(|line| format!("  | {line}")).collect();
        self.say(&lines.join("\n"));
        Ok(())
    }
}
