//! A trained language model with what it takes to ask it.

use std::path::Path;

use burn::tensor::Device;
use transformer_ls_burn::LanguageModel;
use transformer_ls_burn::weights::load_language_model;
use transformer_ls_datasets::corpus::Vocabulary;

use super::{LanguageConfig, LanguageFolder};
use crate::run::{ConfigError, RunError};
use crate::weights_file::{self, CONFIG_KEY, WeightsFileError};

/// Why a language model can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LanguageRunError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The configuration is wrong, or a classifier's.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are wrong.
    #[error(transparent)]
    Weights(#[from] WeightsFileError),
    /// A file of weights that doesn't say what model they are of.
    #[error(
        "{0} does not say what model its weights are of: name a run folder of `ls-train lm`, or the \
         model.safetensors in it"
    )]
    NoConfig(String),
}

/// A trained language model.
#[derive(Debug)]
pub struct LanguageRun {
    /// The configuration of the run that it is from.
    pub config: LanguageConfig,
    /// The model, on the device that was asked for.
    pub model: LanguageModel,
    /// The bytes that it knows.
    pub vocabulary: Vocabulary,
    /// The length of the segments in which it was tested.
    pub segment: usize,
    /// The length of the memory with which it was tested, in bytes.
    pub memory: usize,
}

impl LanguageRun {
    /// The best model of a run folder, or the model in a file of weights that such a run wrote.
    ///
    /// # Errors
    ///
    /// A path where there is neither, a classifier's run, a run that has not been evaluated yet, or a
    /// damaged file.
    pub fn open(path: &Path, device: &Device) -> Result<Self, LanguageRunError> {
        if !path.is_dir() {
            return Self::from_bytes(path, &weights_file::read(path)?, device);
        }
        // For its sentences about folders that are no language model's run.
        let weights = LanguageFolder::open(path)?.weights_path();
        match weights.exists() {
            true => Self::from_bytes(&weights, &weights_file::read(&weights)?, device),
            false => Err(RunError::NoWeights(path.to_path_buf()).into()),
        }
    }

    /// [`open`](Self::open), from the bytes of a file of weights. `path` is for the sentences.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(
        path: &Path,
        bytes: &[u8],
        device: &Device,
    ) -> Result<Self, LanguageRunError> {
        let origin = path.display().to_string();
        let metadata = weights_file::read_metadata(path, bytes)?;
        let Some(config) = metadata.get(CONFIG_KEY) else {
            return Err(LanguageRunError::NoConfig(origin));
        };
        let config = LanguageConfig::from_json(config, &origin)?;
        config.validate()?;
        let state = weights_file::read_state(path, bytes)?;
        let model = config.model.init(device).map_err(WeightsFileError::Model)?;
        let model = load_language_model(model, state).map_err(WeightsFileError::of(path))?;
        Ok(Self {
            vocabulary: config.data.vocabulary.clone(),
            segment: config.training.test_segment,
            memory: config.training.test_memory,
            model,
            config,
        })
    }
}
