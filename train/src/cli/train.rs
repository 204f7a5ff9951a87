//! `ls-train TASK`: train, and test once.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::bail;
use clap::Args;
use transformer_ls_datasets::Split;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_infer::device;
use transformer_ls_infer::run::{RunConfig, RunError, RunFolder, Summary};
use transformer_ls_infer::task::open_split;

use super::generate::generate;
use super::{Done, settings};
use crate::tasks::{self, Generate, Protocol};
use crate::trainer::progress::{duration, say};
use crate::trainer::{Display, Ending, Sitting, Splits, train};

// The defaults are the protocol's, which a test compares with these words.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The model: a name from `ls-train presets` [default: listops]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(super) preset: Option<String>,
    /// Start from this configuration (a run's config.json) instead of a preset
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set any field of the configuration, for instance `--set batch_size=16`
    ///
    /// May be given several times. The fields are listed below, and with their values in the
    /// config.json of every run.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The folder with the data, made there if it holds none [default: data/listops]
    ///
    /// Making it takes 661 MB. A folder with the published `lra_release` in it serves too.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The run folder to make [default: runs/listops-TIME]
    ///
    /// One that exists is kept: --resume continues it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out (which has to be given) from its last checkpoint
    ///
    /// It keeps its own config.json: options that would change it are refused.
    #[arg(long)]
    resume: bool,
    /// Seed of weights, data order and dropout [default: 1234]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Length of the schedule in steps; the warmup shrinks or grows with it [default: 5000]
    ///
    /// Dev is evaluated every 50 steps and after the last (`--set evaluate_every=N`).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) steps: Option<usize>,
    /// Stop after step N all the same: evaluate and save, but leave the test for later
    ///
    /// `ls-train listops --out DIR --resume` goes on from there, as if it had not stopped.
    #[arg(long, value_name = "N", value_parser = positive)]
    stop_after: Option<usize>,
    /// Steps between checkpoints, what a kill can cost at most [default: each evaluation]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) checkpoint_every: Option<usize>,
    /// How expressions become tokens: `brackets` or `legacy` [default: brackets]
    ///
    /// `brackets` keeps the tree. `legacy` loses the tree: about 38 % at most. The published figures
    /// are those of `legacy`; never compare figures across the two.
    #[arg(long, value_name = "NAME")]
    pub(super) tokenizer: Option<Tokenizer>,
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("has to be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("has to be a whole number".to_owned()),
    }
}

pub(super) fn run(task: &str, args: &TrainArgs) -> anyhow::Result<Done> {
    let protocol = tasks::find(task).ok_or_else(|| anyhow::anyhow!("there is no task {task}"))?;
    let display = Display::detect();
    let folder = match args.resume {
        true => resume(&protocol, args)?,
        false => match start(&protocol, args)? {
            Some(folder) => folder,
            None => return Ok(Done::Interrupted),
        },
    };
    let folder = Arc::new(folder);
    log_to(display, folder.path());
    if let Some(summary) = folder.read_summary()?.filter(finished) {
        say(&format!("{} is finished already", folder.path().display()));
        report(&folder, &summary);
        return Ok(Done::Completely);
    }
    let config = folder.config();
    let chosen = device::resolve(&config.device)?;
    let splits = open(config)?;
    let sitting = Sitting {
        stop_after: args.stop_after,
        command: command_line(),
        display,
    };
    match train(folder.clone(), &chosen, &splits, &sitting)? {
        Ending::Finished(summary) => {
            report(&folder, &summary);
            Ok(Done::Completely)
        }
        Ending::Stopped(summary) => {
            say(&format!(
                "stopped after step {} as asked, not tested yet: continue with {}",
                summary.steps,
                continue_with(task, folder.path())
            ));
            Ok(Done::Completely)
        }
        Ending::Interrupted { step } => {
            say(&format!(
                "interrupted and saved at step {step}: continue with {}",
                continue_with(task, folder.path())
            ));
            Ok(Done::Interrupted)
        }
    }
}

fn finished(summary: &Summary) -> bool {
    summary.test_accuracy.is_some()
}

/// A new run folder, once everything that can be wrong with the command line has been looked at
/// and the data is there; `None` if the user stopped the generator.
fn start(protocol: &Protocol, args: &TrainArgs) -> anyhow::Result<Option<RunFolder>> {
    let config = settings::new_run(protocol, args)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| settings::default_out(protocol.task));
    if out.symlink_metadata().is_ok() {
        return Err(RunError::Exists { path: out }.into());
    }
    device::resolve(&config.device)?;
    if !(protocol.is_prepared)(&config.data.dir)
        && generate(protocol, &config.data.dir, &Generate::default())? == Done::Interrupted
    {
        return Ok(None);
    }
    open(&config)?;
    Ok(Some(RunFolder::create(&out, &config)?))
}

fn resume(protocol: &Protocol, args: &TrainArgs) -> anyhow::Result<RunFolder> {
    let Some(out) = &args.out else {
        let newest = newest_run(protocol.task);
        let example = newest.unwrap_or_else(|| Path::new("runs").join("<name>"));
        bail!(
            "--resume needs the run to continue: add --out, for instance --out {}",
            example.display()
        );
    };
    let config = RunFolder::open(out)?.config().clone();
    if config.task != protocol.task {
        bail!(
            "{} is a {} run: continue it with {}",
            out.display(),
            config.task,
            continue_with(&config.task, out)
        );
    }
    settings::refuse_changes(&config, args)?;
    Ok(RunFolder::resume(out)?)
}

/// The newest run of a task in `runs/` (their names sort by time).
fn newest_run(task: &str) -> Option<PathBuf> {
    let prefix = format!("{task}-");
    std::fs::read_dir("runs")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| RunFolder::is_run(path))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&prefix))
        })
        .max()
}

fn open(config: &RunConfig) -> anyhow::Result<Splits> {
    let split = |split| -> anyhow::Result<_> {
        Ok(Arc::from(open_split(config, &config.data.dir, split)?))
    };
    Ok(Splits {
        train: split(Split::Train)?,
        dev: split(Split::Dev)?,
        test: split(Split::Test)?,
    })
}

fn report(folder: &RunFolder, summary: &Summary) {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let test = summary.test_accuracy.map_or("-".to_owned(), percent);
    let best = match (summary.best_step, summary.best_dev_accuracy) {
        (Some(step), Some(accuracy)) => {
            format!(" (model of step {step}, dev {})", percent(accuracy))
        }
        _ => String::new(),
    };
    say(&format!("test accuracy {test}{best}"));
    say(&format!(
        "{} steps in {}; everything is in {}",
        summary.steps,
        duration(summary.wall_seconds),
        folder.path().display()
    ));
}

fn continue_with(task: &str, out: &Path) -> String {
    format!("ls-train {task} --out {} --resume", out.display())
}

/// The command as it was typed, program's folder left out, quoted where a shell would want it.
fn command_line() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word,
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .map_or("ls-train".to_owned(), |name| {
            name.to_string_lossy().into_owned()
        });
    std::iter::once(program)
        .chain(words.map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where warnings of the libraries go: to the standard error, but never into a dashboard.
///
/// `RUST_LOG` chooses what is logged.
fn log_to(display: Display, run: &Path) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,wgpu_core=error,wgpu_hal=error,naga=error,cubecl_runtime=error")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let file = match display {
        Display::Dashboard => File::options()
            .create(true)
            .append(true)
            .open(run.join("training.log"))
            .ok(),
        Display::Lines => None,
    };
    // A subscriber that is set already (library users) stays.
    let _ = match (display, file) {
        (_, Some(file)) => builder
            .with_ansi(false)
            .with_writer(Mutex::new(file))
            .try_init(),
        (Display::Dashboard, None) => return,
        (Display::Lines, None) => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .try_init(),
    };
}
