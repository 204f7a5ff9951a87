//! `ls-infer import`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use transformer_ls_burn::presets;
use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::{Missing, Split, Task};
use transformer_ls_infer::run::{DataConfig, Packing, RunConfig, RunFolder, TrainingConfig};
use transformer_ls_infer::vocabulary::{self, Vocabulary};
use transformer_ls_infer::{task, typed, weights_file};

use super::live::LiveLine;
use super::note;
use super::options::DeviceOption;

/// Make a run folder of a checkpoint of NVIDIA's release or of a safetensors file
///
/// A file that `ls-infer export` wrote knows its own configuration. For any other, name the preset
/// that it was trained with, and set what differs from it. The release numbers the words of ListOps in
/// an order that differs from machine to machine: give it with --vocabulary, or have it found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ls-infer import model.safetensors runs/imported
  ls-infer import lra_listops.model runs/nvidia --preset listops --set vocab_size=512 \
      --vocabulary find --data data/listops")]
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
    /// How ListOps expressions become tokens: `depths`, `brackets`, or `legacy` as NVIDIA's release does
    /// [default: what the file or --config says; with --preset, legacy, or the preset's]
    #[arg(long, value_name = "NAME")]
    tokenizer: Option<String>,
    /// The words of ListOps in the order in which the weights number them, from id 1: a list such as
    /// SM,3,MIN,…, a file of them, or `find`
    ///
    /// `find` looks for an order in which the model finds most of the answers of a labelled split, that
    /// of --data. Words that the model hardly tells apart may stay exchanged: a list is surer.
    #[arg(long, value_name = "LIST | FILE | find", value_parser = typed::text())]
    vocabulary: Option<String>,
    /// The data to find the vocabulary from [default: data/listops]
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    data: Option<PathBuf>,
    /// The part of the data to find the vocabulary from
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Dev)]
    split: Split,
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
        let mut state = weights_file::read_state(&self.checkpoint, &bytes)?;
        match self.vocabulary(&config, &state, &device.device)? {
            Some(vocabulary) => {
                state = vocabulary.apply(state)?;
                let key = weights_file::VOCABULARY_KEY.to_string();
                metadata.insert(key, vocabulary.to_string());
            }
            None if config.tokenizer().is_some() && metadata.is_empty() => note(format_args!(
                "warning: {} does not say how it numbers the words, which the release does in an order \
                 of its own on every machine; taken is this project's. Give the order with --vocabulary, \
                 or have it found (--vocabulary find --data DIR): in a wrong one the model answers worse \
                 than chance",
                self.checkpoint.display()
            )),
            None => {}
        }
        let model =
            weights_file::load_state(&self.checkpoint, state, &config.model, &device.device)?;
        metadata.insert(weights_file::CONFIG_KEY.to_string(), config.to_json());
        let weights = weights_file::bytes(&self.checkpoint, &model, &metadata)?;
        RunFolder::create_trained(&self.out, &config, &weights)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The order in which the weights number the words, if it was given or is to be found.
    fn vocabulary(
        &self,
        config: &RunConfig,
        state: &StateDict,
        device: &Device,
    ) -> anyhow::Result<Option<Vocabulary>> {
        let Some(given) = &self.vocabulary else {
            return Ok(None);
        };
        let Some(tokenizer) = config.tokenizer() else {
            anyhow::bail!(
                "--vocabulary is for ListOps, and the model is for {}: leave it out",
                config.task
            );
        };
        if tokenizer == Tokenizer::Depths {
            anyhow::bail!(
                "`depths` tokens are this project's own, and numbered its way: leave --vocabulary out"
            );
        }
        if given == "find" {
            return self.found(config, state.clone(), device).map(Some);
        }
        let text = match Path::new(given) {
            file if file.is_file() => std::fs::read_to_string(file)
                .map_err(|error| anyhow::anyhow!("could not read {given}: {error}"))?,
            _ if given.contains(['/', '.']) => anyhow::bail!(
                "there is no file {given}: name one with the words, or list them, or write `find`"
            ),
            _ => given.clone(),
        };
        Ok(Some(Vocabulary::parse(tokenizer, &text)?))
    }

    fn found(
        &self,
        config: &RunConfig,
        state: StateDict,
        device: &Device,
    ) -> anyhow::Result<Vocabulary> {
        let model = weights_file::load_state(&self.checkpoint, state, &config.model, device)?;
        let dir = self.data.as_deref().unwrap_or(&config.data.dir);
        let samples = task::open_split(config, dir, self.split)?;
        let live = LiveLine::new();
        let found = vocabulary::find(config, &model, samples.as_ref(), device, &mut |search| {
            live.searching(search);
        });
        drop(live);
        let found = found?;
        let [first, second] = &found.margin.words;
        note(format_args!(
            "the words are numbered {}: {:.2} % of {} other samples are right, {:.2} % in this project's \
             order, {:.2} % by naming the most frequent class; with {first} and {second} exchanged, the \
             closest other order, the loss is {:.4} higher",
            found.vocabulary,
            100.0 * found.after.accuracy,
            found.after.samples,
            100.0 * found.before.accuracy,
            100.0 * found.majority,
            found.margin.loss,
        ));
        Ok(found.vocabulary)
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
    let task: Result<Task, _> = preset.task.parse();
    // As the release tokenises; a model of this project's own has rows for the depths.
    let rows = preset.model.encoder.embedding.vocab_size;
    let tokenizer = match rows < Tokenizer::Depths.vocab_size() {
        true => Tokenizer::Legacy,
        false => Tokenizer::Depths,
    };
    Ok(RunConfig {
        task: preset.task.to_string(),
        preset: preset.name.to_string(),
        seed: 0,
        device: "auto".to_string(),
        model: preset.model,
        data: DataConfig {
            dir: PathBuf::from("data").join(preset.task),
            tokenizer: task
                .is_ok_and(|task| task.has_tokenizer())
                .then_some(tokenizer),
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
