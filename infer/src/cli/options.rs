//! Options that several subcommands have.

use std::path::{Path, PathBuf};

use transformer_ls_datasets::atomic::Unfinished;
use transformer_ls_infer::device::{self, ChosenDevice, DeviceError};
use transformer_ls_infer::language::LanguageRun;
use transformer_ls_infer::predict::{PredictError, Predictor};
use transformer_ls_infer::shipped;

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

/// The language model of a run or of a file of weights, or the shipped one where no run is named.
/// `advice` is what else may have been meant by a path where there is nothing.
pub fn language_run(
    run: Option<&Path>,
    device: &ChosenDevice,
    advice: &str,
) -> anyhow::Result<LanguageRun> {
    match run {
        Some(run) if !run.exists() => anyhow::bail!(
            "there is no run folder or file of weights at {}: check the path ({advice})",
            run.display()
        ),
        Some(run) => Ok(LanguageRun::open(run, &device.device)?),
        None => shipped::text(&device.device)?.ok_or_else(|| {
            anyhow::anyhow!(
                "no language model comes with this build: train one with `ls-train lm`, and name its \
                 run folder"
            )
        }),
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

/// Refuses a file to write that is there already, unless it may be replaced, or that can't be written.
pub fn check_out(out: &Path, force: bool) -> anyhow::Result<()> {
    let name = out.display();
    if out.is_dir() {
        anyhow::bail!("{name} is a folder: name a file");
    }
    if out.exists() && !force {
        anyhow::bail!("{name} exists already: replace it with `--force`, or give another name");
    }
    match Unfinished::new(out) {
        // Dropped, it is removed again.
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::anyhow!(
            "could not write {name}: {error}; name a file in a folder that exists and may be written to"
        )),
    }
}
