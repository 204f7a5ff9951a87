//! `ls-train lm`: train a language model on a text, and test it once.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use transformer_ls_datasets::corpus::Corpus;
use transformer_ls_infer::language::{CorpusKind, LanguageConfig, LanguageFolder, LanguageSummary};
use transformer_ls_infer::run::{Configuration, LANGUAGE, RunError};
use transformer_ls_infer::{device, logging, typed};

use super::Done;
use super::settings::{differences, out_now};
use super::train::{command_line, to_resume};
use crate::language::{Ending, Session, Text, presets, train};
use crate::trainer::progress::{count, duration, say, say_aside};

/// What the names of such runs begin with, in `runs/`.
const PREFIX: &str = "lm-";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ls-train lm --data book.txt                        An hour on two CPU cores; all of it in runs/
  ls-train lm --data book.txt --out runs/book --set steps=1000 --set dropout=0.2
  ls-train lm --out runs/book --resume               Go on with it
  ls-train lm --data book.txt --attention compressive    Another kind of memory, to compare with
  ls-train lm --data data/enwik8 --preset base       The paper's model and phases, for GPUs
  ls-train plot runs/book --out curve.svg            Draw its learning curve",
    after_long_help = after_long_help())]
pub(super) struct LanguageArgs {
    /// The text: a file, or a folder or archive with enwik8 or text8
    #[arg(long, value_name = "FILE|FOLDER", value_parser = typed::path(),
        required_unless_present_any = ["resume", "config"])]
    data: Option<PathBuf>,
    /// Which text it is [default: enwik8 or text8 where --data is called so or holds it, else bytes]
    #[arg(long, value_name = "NAME")]
    corpus: Option<CorpusKind>,
    /// Model and training: laptop, base (the paper's small) or large [default: laptop]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// How the model remembers [default: long-short]
    ///
    /// A few fields of the preset, which --set may change again: model.rank is 0 for transformer-xl, and
    /// for compressive so is model.window, and model.compressed is the length of the memory.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = ["config", "resume"])]
    attention: Option<presets::Recurrence>,
    /// Start from this configuration (a run's config.json) instead of a preset
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    config: Option<PathBuf>,
    /// Set any field of the configuration, for instance `--set batch_size=8`
    ///
    /// May be given several times. The fields are listed below, and with their values in the
    /// config.json of every run.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run folder to make [default: runs/lm-TIME]
    ///
    /// One that exists is kept: --resume continues it.
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    out: Option<PathBuf>,
    /// Continue the run in --out (which has to be given) from its last checkpoint
    ///
    /// It keeps its own config.json: options that would change what is learned are refused. Another
    /// --device or --data (the same text elsewhere) is taken for this time. `--set learning_rate=X`
    /// changes the rate for the rest of the present phase, which config.json then says.
    #[arg(long)]
    resume: bool,
    /// Seed of weights, dropout and samples [default: 1234]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU [default: auto]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Stop after step N all the same: evaluate and save, but leave the test for later
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    stop_after: Option<usize>,
}

/// Every name that `--set` takes.
fn after_long_help() -> String {
    let config = presets::find(presets::DEFAULT, CorpusKind::Bytes);
    let fields = config.map_or_else(Vec::new, |config| config.fields());
    let names: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
    format!(
        "Fields for --set (the part after the dot is enough where only one field has it; \
         `training.phases` takes all phases as JSON):\n{}",
        names.join(", ")
    )
}

pub(super) fn run(args: &LanguageArgs) -> anyhow::Result<Done> {
    logging::start(None);
    let start = match args.resume {
        true => resume(args)?,
        false => start(args)?,
    };
    let (mut folder, config) = (start.folder, start.config);
    let is_tested = |summary: &LanguageSummary| summary.test_bits_per_character.is_some();
    if let Some(summary) = folder.read_summary()?.filter(is_tested) {
        say(&format!("{} is finished already", folder.path().display()));
        report(folder.path(), &summary);
        return Ok(Done::Completely);
    }
    let chosen = device::resolve(&config.device)?;
    let text = match start.text {
        Some(text) => text,
        None => same_text(&config)?,
    };
    let session = Session {
        stop_after: args.stop_after,
        learning_rate: start.learning_rate,
        command: command_line(),
    };
    let ending = train(&mut folder, &chosen, &text, &session)?;
    let go_on = continue_with(&folder, &config);
    match ending {
        Ending::Finished(summary) => {
            report(folder.path(), &summary);
            Ok(Done::Completely)
        }
        Ending::Stopped(summary) => {
            say(&format!(
                "stopped after step {} as asked, not tested yet: continue with {go_on}",
                summary.steps
            ));
            Ok(Done::Completely)
        }
        Ending::Interrupted { step } => {
            say(&format!(
                "interrupted and saved at step {step}: continue with {go_on}"
            ));
            Ok(Done::Interrupted)
        }
    }
}

/// What a session begins with.
struct Start {
    folder: LanguageFolder,
    /// The run's configuration, with the places that this session takes instead of the run's.
    config: LanguageConfig,
    /// The number of a phase and its other learning rate, if a resume asks for one.
    learning_rate: Option<(usize, f64)>,
    /// The text, where it has been opened.
    text: Option<Text>,
}

/// A new run folder, once everything that can be wrong with the command line and the text has been
/// looked at.
fn start(args: &LanguageArgs) -> anyhow::Result<Start> {
    let mut config = match (&args.config, &args.data) {
        (Some(path), _) => LanguageConfig::from_file(path)?,
        (None, Some(data)) => {
            let kind = args.corpus.unwrap_or_else(|| CorpusKind::of(data));
            let name = args.preset.as_deref().unwrap_or(presets::DEFAULT);
            let mut config = from_preset(name, kind)?;
            if let Some(kind) = args.attention {
                kind.choose(&mut config);
            }
            config
        }
        (None, None) => bail!("name the text with --data"),
    };
    config.training.rate_changes.clear();
    choose(&mut config, args);
    if args.corpus.is_none() && args.data.is_some() {
        config.data.corpus = CorpusKind::of(&config.data.path);
    }
    config.set_all(&args.set)?;
    refuse_another_task(&config)?;
    let out = args.out.clone().unwrap_or_else(|| out_now(PREFIX));
    if out.symlink_metadata().is_ok() {
        return Err(RunError::Exists(out).into());
    }
    device::resolve(&config.device)?;
    let corpus = open(&config)?;
    config.data.vocabulary = corpus.vocabulary().clone();
    config.data.sha256 = corpus.sha256();
    config.model.vocab_size = config.data.vocabulary.len();
    config.validate()?;
    let text = Text::new(&corpus, &config)?;
    if let Some(warning) = corpus.warning() {
        say_aside(&format!("warning: {warning}"));
    }
    Ok(Start {
        folder: LanguageFolder::create(&out, &config)?,
        config,
        learning_rate: None,
        text: Some(text),
    })
}

fn from_preset(name: &str, kind: CorpusKind) -> anyhow::Result<LanguageConfig> {
    let Some(config) = presets::find(name, kind) else {
        let names: Vec<&str> = presets::ALL.iter().map(|(name, _)| *name).collect();
        bail!(
            "there is no preset `{name}` of a language model: there are {}, and `small` for base",
            names.join(", ")
        );
    };
    Ok(config)
}

/// Enters the options that a new run and a resumed one take alike.
fn choose(config: &mut LanguageConfig, args: &LanguageArgs) {
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(device) = &args.device {
        config.device.clone_from(device);
    }
    if let Some(path) = &args.data {
        config.data.path.clone_from(path);
    }
    config.data.corpus = args.corpus.unwrap_or(config.data.corpus);
}

fn refuse_another_task(config: &LanguageConfig) -> anyhow::Result<()> {
    if config.task != LANGUAGE {
        bail!(
            "`--set task={task}` cannot turn a language model into a classifier: run `ls-train {task}`",
            task = config.task
        );
    }
    Ok(())
}

fn open(config: &LanguageConfig) -> anyhow::Result<Corpus> {
    let data = &config.data;
    Ok(match data.corpus.published() {
        Some(which) => Corpus::published(which, &data.path)?,
        None => Corpus::file(&data.path, data.splits)?,
    })
}

/// The text that a run began with.
fn same_text(config: &LanguageConfig) -> anyhow::Result<Text> {
    let corpus = open(config)?;
    // It names a byte that the model does not know.
    let text = Text::new(&corpus, config)?;
    if corpus.sha256() != config.data.sha256 {
        bail!(
            "{} is not the text that the run began with, as its SHA-256 tells: name that one with \
             --data, or start a new run with another --out",
            corpus.path().display()
        );
    }
    Ok(text)
}

/// An existing run, with the device and the place of the text that are given, since the text may have been
/// moved and a device may be gone; and another learning rate. Other changes are refused.
fn resume(args: &LanguageArgs) -> anyhow::Result<Start> {
    let out = to_resume(args.out.as_deref(), PREFIX)?;
    let config = LanguageFolder::open(out)?.config().clone();
    let mut changed = config.clone();
    let phases = 0..config.training.phases.len();
    for number in phases.clone() {
        changed.training.phases[number].learning_rate = config.training.present_rate(number);
    }
    choose(&mut changed, args);
    if let Some(preset) = &args.preset {
        changed.preset = from_preset(preset, config.data.corpus)?.preset;
    }
    changed.set_all(&args.set)?;
    if let Some(path) = &args.config
        && LanguageConfig::from_file(path)? != config
    {
        bail!(
            "--resume continues the run with its own config.json, which differs from {}: leave \
             --config out, or start a new run with another --out",
            path.display()
        );
    }
    let mut learning_rate = None;
    for (number, phase) in changed.training.phases.iter_mut().enumerate() {
        let Some(own) = config.training.phases.get(number) else {
            break;
        };
        let asked = std::mem::replace(&mut phase.learning_rate, own.learning_rate);
        if asked != config.training.present_rate(number) {
            learning_rate = Some((number, asked));
        }
    }
    let mut here = config.clone();
    here.device.clone_from(&changed.device);
    here.data.path.clone_from(&changed.data.path);
    let differing = differences(here.fields(), changed.fields());
    if !differing.is_empty() {
        bail!(
            "--resume continues the run with its own config.json: {}. Leave these options out, or \
             start a new run with another --out",
            differing.join(", ")
        );
    }
    if let Some((number, rate)) = learning_rate {
        changed.training.phases[number].learning_rate = rate;
    }
    changed.validate()?;
    Ok(Start {
        folder: LanguageFolder::resume(out)?,
        config: here,
        learning_rate,
        text: None,
    })
}

fn report(folder: &Path, summary: &LanguageSummary) {
    if let (Some(test), Some(characters)) =
        (summary.test_bits_per_character, summary.test_characters)
    {
        let best = match (summary.best_step, summary.best_dev_bits_per_character) {
            (Some(step), Some(dev)) => format!(" (model of step {step}, dev {dev:.4})"),
            _ => String::new(),
        };
        say(&format!(
            "test {test:.4} bits per character over {} characters{best}",
            count(characters as usize)
        ));
    }
    say(&format!(
        "{} steps in {}; everything is in {}",
        count(summary.steps),
        duration(summary.wall_seconds),
        folder.display()
    ));
}

/// The command that continues a run as this session did.
fn continue_with(folder: &LanguageFolder, here: &LanguageConfig) -> String {
    let there = folder.config();
    let mut command = format!("ls-train lm --out {} --resume", folder.path().display());
    if here.device != there.device {
        command += &format!(" --device {}", here.device);
    }
    if here.data.path != there.data.path {
        command += &format!(" --data {}", here.data.path.display());
    }
    command
}
