//! The models that come with the crate: a ListOps classifier, described in `weights/listops.md`, and a
//! language model.

use std::path::Path;

use burn::tensor::Device;
use transformer_ls_burn::Classifier;

use crate::language::{LanguageRun, LanguageRunError};
use crate::run::{ConfigError, RunConfig};
use crate::weights_file::{self, WeightsFileError};

/// The configuration of the run that the shipped model is from, as JSON.
pub const CONFIG: &str = include_str!("../weights/listops.json");

/// The shipped model's weights, as safetensors.
pub const WEIGHTS: &[u8] = include_bytes!("../weights/listops.safetensors");

/// The configuration of the run that the shipped model is from.
///
/// # Errors
///
/// None with the files as they are shipped; a test reads them.
pub fn config() -> Result<RunConfig, ConfigError> {
    RunConfig::from_json(CONFIG)
}

/// The shipped model, on a device.
///
/// # Errors
///
/// None with the files as they are shipped; a test reads them.
pub fn model(config: &RunConfig, device: &Device) -> Result<Classifier, WeightsFileError> {
    let name = Path::new("the shipped model");
    weights_file::load_bytes(name, WEIGHTS, &config.model, device)
}

/// The shipped language model, as `ls-train lm` writes it: safetensors whose metadata holds the run's
/// configuration. Empty in a build that ships none.
pub const TEXT: &[u8] = include_bytes!("../weights/text.safetensors");

/// The shipped language model, on a device; `None` in a build that ships none.
///
/// # Errors
///
/// None with the file as it is shipped; a test reads it.
pub fn text(device: &Device) -> Result<Option<LanguageRun>, LanguageRunError> {
    let name = Path::new("the shipped language model");
    let is_there = !TEXT.is_empty();
    is_there
        .then(|| LanguageRun::from_bytes(name, TEXT, device))
        .transpose()
}
