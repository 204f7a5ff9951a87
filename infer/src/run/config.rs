//! A run's configuration: everything that decides it, as plain data.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::ops::{PathKind, attention_path};
use transformer_ls_burn::{ClassifierConfig, Pooling, Reconstruction};
use transformer_ls_datasets::image;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_datasets::{Missing, Options, Task};

use super::{TrainingConfig, needs};
use crate::batch::Batcher;
use crate::device::is_cubecl;

/// What is wrong with a configuration, and what it has to be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        cause: std::io::Error,
    },
    /// The text is no configuration.
    #[error("{origin}: {problem}")]
    Malformed {
        /// The file, or another name for where the text is from.
        origin: String,
        /// Which field, and what is wrong with it.
        problem: String,
    },
    /// The configuration is of a run of another kind.
    #[error("{origin} is of {found}: {advice}")]
    OtherKind {
        /// The file, or another name for where the text is from.
        origin: String,
        /// What it is.
        found: String,
        /// What to do with it.
        advice: String,
    },
    /// A `--set` that is not `key=value`.
    #[error("`{0}` is no assignment: write `--set key=value`, for instance `--set batch_size=16`")]
    NoAssignment(String),
    /// A `--set` with an unknown name.
    #[error("there is no field `{key}`: the fields are {known}")]
    UnknownField {
        /// The name.
        key: String,
        /// The right ones.
        known: String,
    },
    /// A `--set` with a name that several fields have.
    #[error("`{key}` could be {candidates}: write one of these in full")]
    AmbiguousField {
        /// The name.
        key: String,
        /// The fields that have it.
        candidates: String,
    },
    /// A `--set` with a value of the wrong type.
    #[error("`{value}` does not fit `{key}`: {problem}")]
    WrongValue {
        /// The field.
        key: String,
        /// The value.
        value: String,
        /// What is expected.
        problem: String,
    },
    /// Values that are of the right type and make no sense.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// Everything that decides a run. `config.json` of a run folder holds it, so that any run can be
/// repeated from its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The task, as `ls-train` calls it: `listops`, `text`, …
    pub task: String,
    /// The preset that the model's sizes started from.
    pub preset: String,
    /// Where all randomness comes from: weights, data order, dropout.
    pub seed: u64,
    /// The device, as asked for.
    pub device: String,
    /// The model.
    pub model: ClassifierConfig,
    /// The data and how it becomes batches.
    pub data: DataConfig,
    /// How the model is trained.
    pub training: TrainingConfig,
    /// What tokens the model learns to fill in; `null` for a model that learns to classify.
    #[serde(default)]
    pub pretraining: Option<PretrainingConfig>,
    /// Where the encoder's weights at the start are from; `null`: from the seed.
    #[serde(default)]
    pub init: Option<InitConfig>,
}

/// How tokens are hidden and filled in (Amos et al. 2024, "Never Train from Scratch").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingConfig {
    /// The probability that a token is hidden.
    pub mask: f64,
    /// How what is filled in is compared with what was hidden: `cross_entropy` over the ids, or `l1`
    /// of brightnesses.
    pub compared_by: Reconstruction,
}

/// Another run, whose encoder is where this one starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// The other run's folder.
    pub run: PathBuf,
    /// The SHA-256 of its `model.safetensors`, of which this run's folder keeps a copy.
    pub sha256: String,
}

/// The data and how it becomes batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder with the task's files, or an archive of them.
    pub dir: PathBuf,
    /// How ListOps expressions become tokens; `null` for tasks that leave no choice.
    pub tokenizer: Option<Tokenizer>,
    /// How long Pathfinder's contours are; `null` stands for `hard`, and is what other tasks have.
    #[serde(default)]
    pub difficulty: Option<Difficulty>,
    /// Who drew the line between Image's training and dev images: `tfds` (the Long Range Arena) or
    /// `s4` (S4, Mega); `null` stands for `tfds`, and is what other tasks have.
    #[serde(default)]
    pub splits: Option<image::Protocol>,
    /// The folder for packed copies of the data; `null`: the folder `packed` beside the data.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// What to do about samples whose files are empty or not there: `refuse` or `leave_out`.
    #[serde(default)]
    pub missing: Missing,
    /// How documents are put into a batch.
    pub packed: Packing,
}

impl DataConfig {
    /// What it chooses of what tasks leave open.
    pub fn options(&self) -> Options {
        Options {
            tokenizer: self.tokenizer,
            difficulty: self.difficulty,
            splits: self.splits,
            missing: self.missing,
        }
    }
}

/// How documents are put into a batch. The model's answers are the same either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Whatever the device does best: packed on CPU backends and where attention is shaders', whose
    /// steps try nothing out for a shape; padded on other GPUs.
    #[default]
    Auto,
    /// End to end, so that no time is spent on padding.
    Packed,
    /// One a row, each as long as the model's positions, so that all batches have one shape.
    Padded,
}

impl Packing {
    /// Whether batches are packed on this device.
    pub fn packs(self, device: &Device) -> bool {
        match self {
            Self::Auto => !is_cubecl(device) || attention_path(device).kind == PathKind::Wgsl,
            Self::Packed => true,
            Self::Padded => false,
        }
    }
}

impl RunConfig {
    /// Reads a configuration from JSON text.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Malformed`], which names the field.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text, "the configuration")
    }

    /// Reads a configuration from a JSON file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or [`ConfigError::Malformed`], which names file and field.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        match task_of(text).as_deref() {
            Some(LANGUAGE) => Err(ConfigError::OtherKind {
                origin: origin.to_string(),
                found: "a language model's run".to_string(),
                advice: "`ls-train lm` trains it, `ls-infer generate` and `ls-infer score` ask it"
                    .to_string(),
            }),
            _ => parse(text, origin),
        }
    }

    /// The configuration as JSON text, a field a line.
    pub fn to_json(&self) -> String {
        // A structure of strings and numbers cannot fail to become JSON; a path that is no Unicode
        // could, and is then written as it prints.
        let text = serde_json::to_string_pretty(self).or_else(|_| {
            let mut copy = self.clone();
            let init = copy.init.as_mut().map(|init| &mut init.run);
            let paths = std::iter::once(&mut copy.data.dir).chain(&mut copy.data.cache);
            for path in paths.chain(init) {
                *path = PathBuf::from(path.to_string_lossy().into_owned());
            }
            serde_json::to_string_pretty(&copy)
        });
        text.unwrap_or_default() + "\n"
    }

    /// Checks that the values make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with a sentence for each problem.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = self.model_problems();
        problems.extend(self.training.problems());
        if self.pretraining.is_some() && self.training.label_smoothing != 0.0 {
            problems.push(format!(
                "`training.label_smoothing` must be 0 in a pretraining run, and is {}.",
                self.training.label_smoothing
            ));
        }
        invalid_if_any(problems)
    }

    /// Checks what inference needs: the model and its data, not the training.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate), and a model that was trained to fill in tokens.
    pub fn validate_for_inference(&self) -> Result<(), ConfigError> {
        let mut problems = self.model_problems();
        if self.pretraining.is_some() {
            problems.push(format!(
                "this is a pretraining run, whose model fills in tokens and can't classify: train a \
                 classifier from it with `ls-train {} --init RUN`",
                self.task
            ));
        }
        invalid_if_any(problems)
    }

    /// The task, unless this version does not know it.
    pub fn known_task(&self) -> Option<Task> {
        self.task.parse().ok()
    }

    /// The tokenizer, if the task has one.
    pub fn tokenizer(&self) -> Option<Tokenizer> {
        let has_one = self.known_task()?.has_tokenizer();
        self.data.tokenizer.filter(|_| has_one)
    }

    /// The batcher of this configuration on a device.
    pub fn batcher(&self, device: &Device) -> Batcher {
        Batcher::for_model(&self.model, self.data.packed.packs(device))
            .short_rows(self.model.encoder.pooling != Pooling::MeanAll)
    }

    /// A path that is no text would be another one when it is read back.
    fn path_problems(&self) -> Vec<String> {
        let paths = [
            ("data.dir", Some(&self.data.dir)),
            ("data.cache", self.data.cache.as_ref()),
            ("init.run", self.init.as_ref().map(|init| &init.run)),
        ];
        let lost = |path: &&PathBuf| path.to_str().is_none();
        paths
            .into_iter()
            .filter(|(_, path)| path.as_ref().is_some_and(lost))
            .map(|(field, _)| format!("`{field}` must be UTF-8 text: rename the folder."))
            .collect()
    }

    fn model_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = self.model.validate() {
            problems.push(format!("`model.{}` {}.", error.field, error.problem));
        }
        problems.extend(needs::problems(self));
        problems.extend(self.path_problems());
        if let Some(PretrainingConfig { mask, .. }) = self.pretraining
            && !(mask > 0.0 && mask < 1.0)
        {
            problems.push(format!(
                "`pretraining.mask` must lie between 0 and 1, and is {mask}."
            ));
        }
        if self.training.eval_batch_size == 0 {
            problems.push("`training.eval_batch_size` must be at least 1.".into());
        }
        problems
    }
}

/// What stands in the place of a task in the configuration of a language model's run, and is the name of the
/// command that trains one.
pub const LANGUAGE: &str = "lm";

/// The task that a configuration names, whatever else it holds.
pub(crate) fn task_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct OfTask {
        task: String,
    }
    let of: OfTask = serde_json::from_str(without_mark(text)).ok()?;
    Some(of.task)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
        path: path.to_path_buf(),
        cause,
    })
}

/// Some editors put a byte-order mark in front.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a configuration. `origin` is for the sentences.
pub(crate) fn parse<C: DeserializeOwned>(text: &str, origin: &str) -> Result<C, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(without_mark(text));
    let malformed = |problem: String| ConfigError::Malformed {
        origin: origin.to_string(),
        problem,
    };
    let config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let problem = error.inner().to_string();
        malformed(
            match (error.path().iter().len(), field_of_model(&problem)) {
                (0, _) => problem,
                (_, Some((field, problem))) => format!("`{}.{field}`: {problem}", error.path()),
                _ => format!("`{}`: {problem}", error.path()),
            },
        )
    })?;
    json.end().map_err(|error| malformed(error.to_string()))?;
    Ok(config)
}

/// The field, and what is wrong with it, of a [`FieldError`](transformer_ls_burn::FieldError). Its
/// line is the end of the model's fields, which says nothing.
pub(super) fn field_of_model(error: &str) -> Option<(&str, &str)> {
    let (field, problem) = error.strip_prefix('`')?.split_once("`: ")?;
    let problem = problem
        .rsplit_once(" at line ")
        .map_or(problem, |(problem, _)| problem);
    Some((field, problem))
}

pub(crate) fn invalid_if_any(problems: Vec<String>) -> Result<(), ConfigError> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ConfigError::Invalid(problems)),
    }
}
