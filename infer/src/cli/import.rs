//! `ls-infer import`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use transformer_ls_burn::presets;
use transformer_ls_datasets::Missing;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_infer::run::{DataConfig, Packing, RunConfig, RunFolder, TrainingConfig};
use transformer_ls_infer::{typed, weights_file};

use super::options::DeviceOption;

/// Make a run folder of a checkpoint of NVIDIA's release or of a safetensors file
///
/// A file that `ls-infer export` wrote knows its own configuration. For any other, name the preset
/// that it was trained with, and set what differs from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ls-infer import model.safetensors runs/imported
  ls-infer import lra_listops.model runs/nvidia --preset listops --set vocab_size=512")]
pub struct Import {
    /// The checkpoint (`.model`, `.pt`) or safetensors file
    #[arg(value_name = "FILE", value_parser = typed::path())]
    checkpoint: PathBuf,
    /// The run folder to make
    #[arg(value_name = "RUN", value_parser = typed::path())]
    out: PathBuf,
    /// The preset that the model was trained with
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// The configuration that the model was trained with: a run's config.json
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    config: Option<PathBuf>,
    /// How ListOps expressions become tokens: `brackets`, or `legacy` as NVIDIA's release does
    /// [default: what the file or --config says; with --preset, legacy]
    #[arg(long, value_name = "NAME")]
    tokenizer: Option<String>,
    /// Set any field of the configuration, for instance `--set vocab_size=512`
    ///
    /// May be given several times. `ls-train listops --help` lists the fields.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceOption,
}

impl Import {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.out.symlink_metadata().is_ok() {
            anyhow::bail!(
                "{} exists already: name another folder for the run",
                self.out.display()
            );
        }
        let bytes = weights_file::read(&self.checkpoint)?;
        let mut metadata = weights_file::read_metadata(&self.checkpoint, &bytes)?;
        let mut config = self.configuration(metadata.get(weights_file::CONFIG_KEY))?;
        if let Some(tokenizer) = &self.tokenizer {
            config.set("data.tokenizer", tokenizer)?;
        }
        config.set_all(&self.set)?;
        config.validate_for_inference()?;
        let device = self.device.resolve()?;
        let state = weights_file::read_state(&self.checkpoint, &bytes)?;
        let model =
            weights_file::load_state(&self.checkpoint, state, &config.model, &device.device)?;
        metadata.insert(weights_file::CONFIG_KEY.to_string(), config.to_json());
        let weights = weights_file::bytes(&self.checkpoint, &model, &metadata)?;
        RunFolder::create_trained(&self.out, &config, &weights)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }

    fn configuration(&self, own: Option<&String>) -> anyhow::Result<RunConfig> {
        match (&self.config, &self.preset, own) {
            (Some(path), _, _) => Ok(RunConfig::from_file(path)?),
            (None, Some(name), _) => from_preset(name),
            (None, None, Some(own)) => Ok(RunConfig::from_json(own)?),
            (None, None, None) => anyhow::bail!(
                "{} does not say which model it belongs to: name it with `--preset` ({}) or \
                 `--config`",
                self.checkpoint.display(),
                preset_names()
            ),
        }
    }
}

fn preset_names() -> String {
    let names: Vec<&str> = presets::all().iter().map(|preset| preset.name).collect();
    names.join(", ")
}

/// A preset's model with what else a run folder has to say.
fn from_preset(name: &str) -> anyhow::Result<RunConfig> {
    let preset = presets::find(name).ok_or_else(|| {
        anyhow::anyhow!("there is no preset `{name}`: use one of {}", preset_names())
    })?;
    Ok(RunConfig {
        task: preset.task.to_string(),
        preset: preset.name.to_string(),
        seed: 0,
        device: "auto".to_string(),
        model: preset.model,
        data: DataConfig {
            dir: PathBuf::from("data").join(preset.task),
            // As the release tokenises.
            tokenizer: (preset.task == "listops").then_some(Tokenizer::Legacy),
            difficulty: None,
            splits: None,
            cache: None,
            missing: Missing::default(),
            packed: Packing::Auto,
        },
        training: TrainingConfig::default(),
        pretraining: None,
        init: None,
    })
}
