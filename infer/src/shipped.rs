//! The model that comes with the crate: a ListOps classifier, described in `weights/listops.md`.

use std::path::Path;

use burn::tensor::Device;
use transformer_ls_burn::Classifier;

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
