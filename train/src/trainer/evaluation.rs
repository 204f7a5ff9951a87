//! What happens every so many steps: dev is evaluated, the lines are written, the best is kept.

use std::ops::ControlFlow;

use burn::data::dataloader::Progress;
use burn::train::{EventProcessorTraining, LearnerEvent, TrainingItem};
use transformer_ls_datasets::Split;
use transformer_ls_infer::evaluate::{EvaluateError, Evaluation};
use transformer_ls_infer::run::MetricLine;

use super::checkpoint::Best;
use super::error::TrainError;
use super::figures::Sums;
use super::progress::{Display, Left, count, duration, rate, say};
use super::setup::Ended;
use super::steps::Loop;
use super::{lock, memory};

impl Loop {
    /// Evaluates dev, writes the lines, keeps the best, saves if it is time to.
    ///
    /// `Some` if the user stopped the run meanwhile.
    pub(super) fn evaluate_and_save(&mut self, end: usize) -> Result<Option<Ended>, TrainError> {
        let step = self.state.step;
        let every = self.setup.folder.config().training.evaluate_every;
        let epoch = step.div_ceil(every);
        let train = self.state.sums;
        self.check_weights()?;
        if std::mem::take(&mut self.interval_open) {
            self.event(|events| events.process_train(LearnerEvent::EndSplit(epoch)))?;
        }
        let Some(dev) = self.evaluate(epoch)? else {
            // The evaluation is missing, and is made first after a resume.
            self.save()?;
            return Ok(Some(Ended::Interrupted));
        };
        self.pace.evaluation(dev.seconds);
        self.event(|events| events.process_train(LearnerEvent::EndEpoch(epoch)))?;

        let pretraining = self.setup.masking.is_some();
        let better = self
            .state
            .best
            .as_ref()
            .is_none_or(|best| match pretraining {
                true => dev.loss < best.loss,
                false => dev.accuracy > best.accuracy,
            });
        if better {
            let weights = self.evaluated_model().state_dict();
            let weights = weights.map_err(|error| TrainError::Internal(error.to_string()))?;
            self.setup
                .folder
                .save_state(&weights, step, Some(dev.accuracy))?;
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
        let model = self.evaluated_model();
        let interrupter = self.interrupter.clone();
        let result = model.evaluate(
            self.setup.masking,
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
            Err(EvaluateError::NotANumber) => return Err(self.no_answers()),
            Err(error) => return Err(error.into()),
        };
        let item = TrainingItem::new(
            Sums {
                loss: dev.loss * dev.samples as f64,
                hits: dev.correct as u64,
                samples: dev.samples as u64,
                tokens: dev.tokens as u64,
                seconds: dev.seconds,
            },
            Progress::new(total, total, Some("samples".to_string())),
            Some(self.state.step),
            Some(self.learner.lr_current()),
        );
        self.event(|events| events.process_valid(LearnerEvent::ProcessedItem(item)))?;
        self.event(|events| events.process_valid(LearnerEvent::EndSplit(epoch)))?;
        Ok(Some(dev))
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
            self.append(&line)?;
        }
        line.split = Split::Dev;
        line.loss = dev.loss;
        line.accuracy = dev.accuracy;
        line.tokens_per_second = dev.tokens as f64 / dev.seconds.max(1e-9);
        self.append(&line)
    }

    fn append(&mut self, line: &MetricLine) -> Result<(), TrainError> {
        self.setup.metrics.append(line)?;
        if let Some(files) = &mut self.setup.event_files {
            files.append(line)?;
        }
        Ok(())
    }

    /// Says in the dashboard's title which evaluation is next, and how long the whole run will take.
    pub(super) fn entitle(&self) {
        let config = self.setup.folder.config();
        let (steps, every) = (config.training.steps, config.training.evaluate_every);
        let next = (self.state.step.max(1)).div_ceil(every);
        let left = duration(self.pace.remaining(&self.left(self.end())));
        let all = steps.div_ceil(every);
        let title = format!("evaluation {next} of {all}, {left} left");
        *lock(&self.setup.title) = title;
    }

    fn left(&self, end: usize) -> Left {
        let config = self.setup.folder.config();
        let steps = end - self.state.step;
        let every = config.training.evaluate_every;
        let mut evaluations = end / every - self.state.evaluated / every;
        if !end.is_multiple_of(every) {
            evaluations += 1;
        }
        if end == config.training.steps && self.setup.masking.is_none() {
            evaluations += 1; // the test
        }
        Left {
            steps,
            evaluations,
            batches_per_evaluation: self.setup.dev.len() as f64 / config.training.batch_size as f64,
        }
    }

    pub(super) fn say_estimate(&self, end: usize) {
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
        let memory = memory::bytes(&self.setup.device).map_or(String::new(), |bytes| {
            format!(" | {} MB", bytes / 1_000_000)
        });
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
