//! What decides a language model's run, as plain data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use transformer_ls_burn::LanguageModelConfig;
use transformer_ls_datasets::corpus::{Published, Shares, Vocabulary};

use super::{LanguageLine, LanguageSummary};
use crate::run::{self, ConfigError, Configuration, LANGUAGE, RateChange, ScheduleKind};

/// Everything that decides a run. `config.json` of its folder holds it, and so does the metadata of its
/// weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    /// `lm`, which tells the run from a classifier's.
    pub task: String,
    /// The preset that model and training started from.
    pub preset: String,
    /// Where all randomness comes from: weights, dropout, samples.
    pub seed: u64,
    /// The device, as asked for.
    pub device: String,
    /// The model.
    pub model: LanguageModelConfig,
    /// The text.
    pub data: TextConfig,
    /// How the model is trained.
    pub training: LanguageTraining,
}

/// The text that a model learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The file; of a published text also its archive, or a folder with either.
    pub path: PathBuf,
    /// Which text it is: `enwik8`, `text8`, or `bytes` for any other.
    pub corpus: CorpusKind,
    /// The shares of train, dev and test. Those of the published texts are 90/5/5.
    pub splits: Shares,
    /// The SHA-256 of the text.
    pub sha256: String,
    /// The bytes that the model knows.
    pub vocabulary: Vocabulary,
}

/// Which text a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CorpusKind {
    /// The start of an XML dump of Wikipedia.
    Enwik8,
    /// Wikipedia's words in small letters.
    Text8,
    /// Any file.
    Bytes,
}

impl CorpusKind {
    /// The published text, if it is one.
    pub fn published(self) -> Option<Published> {
        match self {
            Self::Enwik8 => Some(Published::Enwik8),
            Self::Text8 => Some(Published::Text8),
            Self::Bytes => None,
        }
    }

    /// The text that a path names: enwik8 or text8 where the file is called so or the folder holds it.
    pub fn of(path: &Path) -> Self {
        let is = |published: Published| match path.is_dir() {
            true => published.is_prepared(path),
            false => path
                .file_stem()
                .is_some_and(|stem| stem == published.name()),
        };
        let kinds = [Self::Enwik8, Self::Text8].into_iter();
        let mut found = kinds.filter(|kind| kind.published().is_some_and(is));
        found.next().unwrap_or(Self::Bytes)
    }
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageTraining {
    /// Rows a step, each of which reads a stretch of the text of its own.
    pub batch_size: usize,
    /// Into how many parts the rows are cut, each with passes of its own. The gradient stays the mean
    /// over all of them; less memory is needed.
    pub accumulate: usize,
    /// What follows on what, in one run.
    pub phases: Vec<Phase>,
    /// How the learning rate moves after a phase's warmup: `constant` or `cosine`.
    pub schedule: ScheduleKind,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// AdamW's β₂; β₁ is 0.9.
    pub beta2: f64,
    /// AdamW's ε.
    pub epsilon: f64,
    /// The greatest norm of a step's gradient, all parameters together. `null`: no limit.
    pub clip_norm: Option<f64>,
    /// The decay, a step, of the moving average of the weights that is evaluated, kept and tested in
    /// place of the weights themselves. `null`: no average.
    pub ema: Option<f64>,
    /// Steps between evaluations on dev.
    pub evaluate_every: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// Rows in which dev is read, by the segments and with the memory of the phase.
    pub eval_batch_size: usize,
    /// Segments of the test, which is read in one row. Generating and scoring take the same.
    pub test_segment: usize,
    /// The memory of the test.
    pub test_memory: usize,
    /// The length of the sample that each evaluation shows, in bytes.
    pub sample: usize,
    /// The learning rates that the run was resumed with, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_changes: Vec<RateChange>,
}

/// A part of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Bytes of a row that a step reads, and through which gradients run.
    pub segment: usize,
    /// Bytes before them that the model still sees.
    pub memory: usize,
    /// The learning rate after the warmup.
    pub learning_rate: f64,
    /// Steps until then.
    pub warmup: usize,
    /// Steps of the phase, its warmup included.
    pub steps: usize,
}

impl LanguageTraining {
    /// Steps of all phases.
    pub fn steps(&self) -> usize {
        let steps = self.phases.iter().map(|phase| phase.steps);
        steps.fold(0, usize::saturating_add)
    }

    /// The number of the phase in which the step after `step` others is, counted from 0, and how many
    /// steps there are before it. After the last step it is the last phase.
    ///
    /// # Panics
    ///
    /// Panics without phases.
    pub fn phase(&self, step: usize) -> (usize, usize) {
        let mut before = 0;
        for (number, phase) in self.phases.iter().enumerate() {
            if step - before < phase.steps || number + 1 == self.phases.len() {
                return (number, before);
            }
            before += phase.steps;
        }
        unreachable!("a training has phases");
    }

    /// The learning rate of a phase after the changes so far.
    ///
    /// # Panics
    ///
    /// Panics if there is no such phase.
    pub fn present_rate(&self, number: usize) -> f64 {
        let changes = self.rate_changes.iter().rev();
        let mut of_phase = changes.filter(|change| self.phase(change.step).0 == number);
        let last = of_phase.next().map(|change| change.learning_rate);
        last.unwrap_or(self.phases[number].learning_rate)
    }

    /// Has another learning rate from `step` to the end of its phase. One that was to begin there, or
    /// later, never does.
    pub fn change_rate(&mut self, step: usize, learning_rate: f64) {
        self.rate_changes.retain(|change| change.step < step);
        self.rate_changes.push(RateChange {
            step,
            learning_rate,
        });
    }

    /// The longest segment.
    pub fn longest(&self) -> usize {
        let segments = self.phases.iter().map(|phase| phase.segment);
        segments.max().unwrap_or(0)
    }

    fn problems(&self, chunk: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let mut must = |field: &str, ok: bool, range: &str, value: &dyn std::fmt::Display| {
            if !ok {
                problems.push(format!("`training.{field}` must {range}, and is {value}."));
            }
        };
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        let between = |value: f64| value > 0.0 && value < 1.0;
        for (field, value) in [
            ("phases", self.phases.len()),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
            ("evaluate_every", self.evaluate_every),
            ("checkpoint_every", self.checkpoint_every),
            ("eval_batch_size", self.eval_batch_size),
            ("test_segment", self.test_segment),
        ] {
            must(field, value > 0, "be at least 1", &value);
        }
        let whole = format!("be made of whole chunks (`model.chunk`, {chunk})");
        let mut lengths = vec![("test_memory".to_owned(), self.test_memory)];
        for (number, phase) in self.phases.iter().enumerate() {
            let name = |field: &str| format!("phases.{number}.{field}");
            let rate = phase.learning_rate;
            must(&name("segment"), phase.segment > 0, "be at least 1", &0);
            must(&name("steps"), phase.steps > 0, "be at least 1", &0);
            must(&name("learning_rate"), above_0(rate), "be above 0", &rate);
            let range = format!("be at most the phase's steps, {}", phase.steps);
            let warmup = phase.warmup;
            must(&name("warmup"), warmup <= phase.steps, &range, &warmup);
            lengths.push((name("segment"), phase.segment));
            lengths.push((name("memory"), phase.memory));
        }
        for (field, length) in lengths {
            let ok = length.is_multiple_of(chunk.max(1));
            must(&field, ok, &whole, &length);
        }
        let parts = self.accumulate;
        let range = format!("be at most `training.batch_size`, {}", self.batch_size);
        must("accumulate", parts <= self.batch_size, &range, &parts);
        let is_known = self.schedule != ScheduleKind::OneCycle;
        must("schedule", is_known, "be constant or cosine", &"one_cycle");
        let decay = self.weight_decay;
        let ok = decay.is_finite() && decay >= 0.0;
        must("weight_decay", ok, "be 0 or more", &decay);
        must(
            "epsilon",
            above_0(self.epsilon),
            "be above 0",
            &self.epsilon,
        );
        let range = "lie between 0 and 1";
        must("beta2", between(self.beta2), range, &self.beta2);
        for (field, value, is_ok, range) in [
            (
                "clip_norm",
                self.clip_norm,
                above_0 as fn(f64) -> bool,
                "be above 0",
            ),
            ("ema", self.ema, between, range),
        ] {
            if let Some(value) = value {
                must(
                    field,
                    is_ok(value),
                    &format!("{range} (or be null)"),
                    &value,
                );
            }
        }
        for change in &self.rate_changes {
            let rate = change.learning_rate;
            must("rate_changes", above_0(rate), "hold rates above 0", &rate);
        }
        problems
    }
}

impl LanguageConfig {
    /// Reads a configuration from JSON text. `origin` names the text in sentences.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OtherKind`] for the configuration of a classifier's run;
    /// [`ConfigError::Malformed`], which names the field.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, ConfigError> {
        match run::task_of(text) {
            Some(task) if task != LANGUAGE => Err(ConfigError::OtherKind {
                origin: origin.to_string(),
                found: format!("a run of the task {task}"),
                advice:
                    "its model classifies, and is no language model: name a run of `ls-train lm`"
                        .to_string(),
            }),
            _ => run::parse(text, origin),
        }
    }

    /// Sets a field from text, as [`RunConfig::set`](crate::run::RunConfig::set) does. Fields of phases
    /// are called `training.phases.0.steps`, or `steps` where there is one phase; `training.phases`
    /// takes all of them as JSON.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        if !["phases", "training.phases"].contains(&key.trim()) {
            *self = run::set(self, key, value)?;
            return Ok(());
        }
        self.training.phases = run::parse(value, "training.phases")?;
        Ok(())
    }

    /// Sets several fields, each given as `key=value`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and text without `=`.
    pub fn set_all(&mut self, assignments: &[String]) -> Result<(), ConfigError> {
        run::set_all(assignments, |key, value| self.set(key, value))
    }

    /// The dotted path of every field, and what it holds.
    pub fn fields(&self) -> Vec<(String, Value)> {
        run::fields(self)
    }

    /// Checks that the values make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with a sentence for each problem.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if let Err(error) = self.model.validate() {
            problems.push(format!("`model.{}` {}.", error.field, error.problem));
        }
        let (ids, bytes) = (self.model.vocab_size, self.data.vocabulary.len());
        if ids != bytes {
            problems.push(format!(
                "`model.vocab_size` must be {bytes}, the bytes of `data.vocabulary`, and is {ids}."
            ));
        }
        if self.data.path.to_str().is_none() {
            problems.push("`data.path` must be UTF-8 text: rename the file.".into());
        }
        if self.data.corpus != CorpusKind::Bytes && self.data.splits != Shares::default() {
            problems.push("`data.splits` must be 90/5/5 for a published text.".into());
        }
        // Nothing is made of chunks in a Transformer-XL.
        let chunk = match self.model.rank.max(self.model.compressed) {
            0 => 1,
            _ => self.model.chunk,
        };
        problems.extend(self.training.problems(chunk));
        run::invalid_if_any(problems)
    }
}

impl Configuration for LanguageConfig {
    type Line = LanguageLine;
    type Summary = LanguageSummary;

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Self::from_json(&run::read(path)?, &path.display().to_string())
    }

    fn to_json(&self) -> String {
        // Strings and numbers always become JSON; `validate` refuses a path that would not.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
