//! Answers of a trained model.

use std::path::Path;

use burn::tensor::Device;
use transformer_ls_burn::Classifier;
use transformer_ls_datasets::Sample;

use crate::batch::Batcher;
use crate::evaluate::{self, EvaluateError};
use crate::run::{ConfigError, RunConfig, RunError, RunFolder};
use crate::shipped;
use crate::task::{self, InputError};
use crate::weights_file::WeightsFileError;

/// Why a model cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are wrong.
    #[error(transparent)]
    Weights(#[from] WeightsFileError),
    /// The device failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// A trained model with what it needs to answer: its configuration and its batches.
#[derive(Debug)]
pub struct Predictor {
    config: RunConfig,
    model: Classifier,
    device: Device,
    batcher: Batcher,
    at_once: usize,
}

impl Predictor {
    /// The best model of a run, on any device, whichever it was trained on.
    ///
    /// # Errors
    ///
    /// A folder that is no run or has no weights yet, or weights that do not fit its
    /// configuration.
    pub fn load(run: &Path, device: &Device) -> Result<Self, PredictError> {
        let folder = RunFolder::open(run)?;
        folder.config().validate_for_inference()?;
        let model = folder.load_model(device)?;
        Ok(Self::new(folder.config().clone(), model, device))
    }

    /// The model that comes with the crate.
    ///
    /// # Errors
    ///
    /// None with the files as they are shipped.
    pub fn shipped(device: &Device) -> Result<Self, PredictError> {
        let config = shipped::config()?;
        let model = shipped::model(&config, device)?;
        Ok(Self::new(config, model, device))
    }

    /// A model in memory, with the configuration it was trained with, on its device.
    pub fn new(config: RunConfig, model: Classifier, device: &Device) -> Self {
        Self {
            batcher: config.batcher(device),
            at_once: config.training.eval_batch_size.max(1),
            config,
            model,
            device: device.clone(),
        }
    }

    /// Computes so many samples at once, where it would be as many as the run evaluated.
    ///
    /// # Panics
    ///
    /// Panics for 0 samples.
    pub fn at_once(self, samples: usize) -> Self {
        assert!(samples > 0, "at least one sample is computed at once");
        Self {
            at_once: samples,
            ..self
        }
    }

    /// The configuration of the model's run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The model.
    pub fn model(&self) -> &Classifier {
        &self.model
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How samples become batches.
    pub fn batcher(&self) -> &Batcher {
        &self.batcher
    }

    /// A sample of the model's task from text that a user typed.
    ///
    /// # Errors
    ///
    /// Text that is no input of the task.
    pub fn encode(&self, text: &str) -> Result<Sample, InputError> {
        task::encode(&self.config, text)
    }

    /// The probability of every class, for every sample. Labels are not looked at.
    ///
    /// # Errors
    ///
    /// A device that fails.
    pub fn probabilities(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, PredictError> {
        let mut answers = Vec::with_capacity(samples.len());
        for chunk in samples.chunks(self.at_once) {
            let batch = self.batcher.batch(chunk, &self.device, None);
            answers.extend(evaluate::probabilities(batch.logits(&self.model))?);
        }
        Ok(answers)
    }
}
