//! Options that several subcommands have.

use std::path::{Path, PathBuf};

use transformer_ls_infer::device::{self, ChosenDevice, DeviceError};
use transformer_ls_infer::predict::{PredictError, Predictor};

/// Where to compute.
#[derive(Debug, clap::Args)]
pub struct DeviceOption {
    #[arg(long, value_name = "NAME", default_value = "auto", help = device_help())]
    pub device: String,
}

/// The names of the devices that this build can compute on.
fn device_help() -> String {
    format!(
        "Where to compute: {} (auto: a GPU if there is one, else the CPU)",
        device::names().join(", ")
    )
}

impl DeviceOption {
    /// Opens the device.
    pub fn resolve(&self) -> Result<ChosenDevice, DeviceError> {
        let chosen = device::resolve(&self.device)?;
        tracing::info!(
            "computing on {} ({}): {}",
            chosen.name,
            chosen.adapter,
            chosen.reason
        );
        Ok(chosen)
    }
}

/// The model of a run, or the shipped one where no run is named.
pub fn predictor(
    run: Option<&Path>,
    device: &ChosenDevice,
) -> Result<(Predictor, String), PredictError> {
    match run {
        Some(run) => Ok((
            Predictor::load(run, &device.device)?,
            run.display().to_string(),
        )),
        None => Ok((
            Predictor::shipped(&device.device)?,
            "the shipped model".to_string(),
        )),
    }
}

/// Takes the run off the front of positional arguments: it is there if no `--run` was given and
/// the first one is a folder.
pub fn take_run(run: Option<PathBuf>, inputs: &mut Vec<String>) -> Option<PathBuf> {
    if run.is_some() {
        return run;
    }
    match inputs.first() {
        Some(first) if Path::new(first).is_dir() => Some(PathBuf::from(inputs.remove(0))),
        _ => None,
    }
}
