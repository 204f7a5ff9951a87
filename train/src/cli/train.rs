//! `ls-train TASK`: train, and test once. `ls-train pretrain TASK`: the same to fill in tokens, without
//! a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use transformer_ls_datasets::{DatasetError, Samples, Split};
use transformer_ls_infer::run::{RunConfig, RunError, RunFolder, Summary};
use transformer_ls_infer::task::{Data, TaskError, Watch};
use transformer_ls_infer::{device, logging};

use super::args::{Choices, TrainArgs};
use super::counted::{Counted, Unit};
use super::generate::generate_for;
use super::goal::Goal;
use super::task::TaskCommand;
use super::{Done, settings};
use crate::tasks::{self, Protocol};
use crate::tensorboard::EventFiles;
use crate::trainer::progress::{duration, say};
use crate::trainer::{Display, EncoderRun, Ending, Session, Splits, check_precision, train};

pub(super) fn run(command: &TaskCommand, goal: Goal) -> anyhow::Result<Done> {
    let TaskCommand {
        task,
        args,
        choices,
    } = command;
    let protocol = tasks::of(*task);
    let display = Display::detect();
    let Start {
        folder,
        config,
        learning_rate,
        splits,
    } = match args.resume {
        true => resume(&protocol, args, choices, goal)?,
        false => match start(&protocol, args, choices, goal)? {
            Some(started) => started,
            None => return Ok(Done::Interrupted),
        },
    };
    log_to(display, folder.path());
    let is_finished = |summary: &Summary| finished(folder.config(), summary);
    if let Some(summary) = folder.read_summary()?.filter(is_finished) {
        EventFiles::open(&folder, args.tensorboard)?;
        say(&format!("{} is finished already", folder.path().display()));
        report(&folder, &summary);
        return Ok(Done::Completely);
    }
    let chosen = device::resolve(&config.device)?;
    let splits = match splits {
        Some(splits) => splits,
        None => match open(&config)? {
            Some(splits) => splits,
            None => return Ok(Done::Interrupted),
        },
    };
    let session = Session {
        stop_after: args.stop_after,
        learning_rate,
        command: command_line(),
        tensorboard: args.tensorboard,
        display,
    };
    let (folder, ending) = train(folder, &chosen, &splits, &session)?;
    match ending {
        Ending::Finished(summary) | Ending::Pretrained(summary) => {
            report(&folder, &summary);
            Ok(Done::Completely)
        }
        Ending::Stopped(summary) => {
            say(&format!(
                "stopped after step {} as asked{}: continue with {}",
                summary.steps,
                match goal {
                    Goal::Classify => ", not tested yet",
                    Goal::FillIn => "",
                },
                continue_with(&config, &folder)
            ));
            Ok(Done::Completely)
        }
        Ending::Interrupted { step } => {
            say(&format!(
                "interrupted and saved at step {step}: continue with {}",
                continue_with(&config, &folder)
            ));
            Ok(Done::Interrupted)
        }
    }
}

fn finished(config: &RunConfig, summary: &Summary) -> bool {
    match Goal::of(config) {
        Goal::Classify => summary.test_accuracy.is_some(),
        Goal::FillIn => summary.steps >= config.training.steps,
    }
}

/// What a session begins with.
struct Start {
    folder: RunFolder,
    /// The run's configuration, with the places that this session takes instead of the run's.
    config: RunConfig,
    /// Another peak of the learning rate, if a resume asks for one.
    learning_rate: Option<f64>,
    /// The samples, where they have been opened.
    splits: Option<Splits>,
}

/// A new run folder, once everything that can be wrong with the command line has been looked at
/// and the data is there; `None` if the user stopped the generator, or the packing.
fn start(
    protocol: &Protocol,
    args: &TrainArgs,
    choices: &Choices,
    goal: Goal,
) -> anyhow::Result<Option<Start>> {
    let mut config = settings::new_run(protocol, args, choices, goal)?;
    let source = match (&args.init, &config.init) {
        (Some(run), _) => Some(EncoderRun::open(run)?),
        (None, Some(init)) => Some(EncoderRun::named(init)?),
        (None, None) => None,
    };
    if let Some(source) = &source {
        source.fits(&config)?;
        if source.task() != config.task {
            say(&format!(
                "note: the encoder to start from learned another task, {}",
                source.task()
            ));
        }
        config.init = Some(source.config());
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| settings::default_out(protocol.task, goal));
    if out.symlink_metadata().is_ok() {
        return Err(RunError::Exists(out).into());
    }
    check_precision(&config.training, &device::resolve(&config.device)?)?;
    if generate_for(protocol, &config)? == Done::Interrupted {
        return Ok(None);
    }
    let Some(splits) = open(&config)? else {
        return Ok(None);
    };
    let weights = source.as_ref().map(EncoderRun::bytes);
    Ok(Some(Start {
        folder: RunFolder::create_from(&out, &config, weights)?,
        config,
        learning_rate: None,
        splits: Some(splits),
    }))
}

fn resume(
    protocol: &Protocol,
    args: &TrainArgs,
    choices: &Choices,
    goal: Goal,
) -> anyhow::Result<Start> {
    let out = to_resume(
        args.out.as_deref(),
        &settings::run_prefix(protocol.task, goal),
    )?;
    let config = RunFolder::open(out)?.config().clone();
    let of = Goal::of(&config);
    if config.task != protocol.task.name || of != goal {
        bail!(
            "{} is a {}{} run: continue it with {}",
            out.display(),
            of.prefix(),
            config.task,
            command(&config, out)
        );
    }
    let (config, learning_rate) = settings::resumed(&config, args, choices)?;
    Ok(Start {
        folder: RunFolder::resume(out)?,
        config,
        learning_rate,
        splits: None,
    })
}

/// The run to resume, which has to be named: the newest one whose name begins so is the example.
pub(super) fn to_resume<'a>(out: Option<&'a Path>, prefix: &str) -> anyhow::Result<&'a Path> {
    let Some(out) = out else {
        let example = newest_run(prefix).unwrap_or_else(|| Path::new("runs").join("<name>"));
        bail!(
            "--resume needs the run to continue: add --out, for instance --out {}",
            example.display()
        );
    };
    Ok(out)
}

/// The newest run in `runs/` whose name begins so (the rest of it sorts by time).
fn newest_run(prefix: &str) -> Option<PathBuf> {
    std::fs::read_dir("runs")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| RunFolder::is_run(path))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix))
        })
        .max()
}

/// The samples; `None` if the user stopped while they were opened.
fn open(config: &RunConfig) -> anyhow::Result<Option<Splits>> {
    let data = {
        let counted = Counted::new("reading the archive", Unit::Bytes);
        let progress = |done, total| counted.at(done, Some(total));
        let dir = &config.data.dir;
        Data::of(config, dir, &Split::ALL, &progress, &Counted::cancelled)
    };
    let data = match data {
        Err(TaskError::Data(DatasetError::Cancelled)) => {
            say("stopped while reading the archive. Run the same command again to start over");
            return Ok(None);
        }
        data => data?,
    };
    let split = |split| -> anyhow::Result<Option<Arc<dyn Samples>>> {
        let opened = {
            let what = format!("packing {} {split}", config.task);
            let counted = Counted::new(&what, Unit::Samples);
            let watch = Watch {
                progress: &counted.samples(),
                cancelled: &Counted::cancelled,
            };
            data.open(split, watch)
        };
        match opened {
            // Samples that are not packed, or are packed already, are opened without asking in between.
            Ok(_) if Counted::cancelled() => {
                say("stopped while the samples were opened. Run the same command again to go on");
                Ok(None)
            }
            Ok(samples) => Ok(Some(Arc::from(samples))),
            Err(TaskError::Data(DatasetError::Cancelled)) => {
                say(&format!(
                    "stopped while packing the {split} samples. Run the same command again to go on: \
                     splits that are packed stay so"
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    };
    let Some(train) = split(Split::Train)? else {
        return Ok(None);
    };
    let Some(dev) = split(Split::Dev)? else {
        return Ok(None);
    };
    let Some(test) = split(Split::Test)? else {
        return Ok(None);
    };
    Ok(Some(Splits { train, dev, test }))
}

fn report(folder: &RunFolder, summary: &Summary) {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    match Goal::of(folder.config()) {
        Goal::Classify => report_test(summary, percent),
        Goal::FillIn => {
            if let (Some(step), Some(loss)) = (summary.best_step, summary.best_dev_loss) {
                say(&format!("best dev loss {loss:.4} (model of step {step})"));
            }
            say(&format!(
                "start from it with ls-train {} --init {}, and the same --set model.…",
                folder.config().task,
                folder.path().display()
            ));
        }
    }
    say(&format!(
        "{} steps in {}; everything is in {}",
        summary.steps,
        duration(summary.wall_seconds),
        folder.path().display()
    ));
}

fn report_test(summary: &Summary, percent: impl Fn(f64) -> String + Copy) {
    let test = summary.test_accuracy.map_or("-".to_owned(), percent);
    let best = match (summary.best_step, summary.best_dev_accuracy) {
        (Some(step), Some(accuracy)) => {
            format!(" (model of step {step}, dev {})", percent(accuracy))
        }
        _ => String::new(),
    };
    say(&format!("test accuracy {test}{best}"));
}

/// The command that continues a run as this session did.
fn continue_with(here: &RunConfig, folder: &RunFolder) -> String {
    let places = settings::places(folder.config(), here);
    let command = command(folder.config(), folder.path());
    std::iter::once(command)
        .chain(places)
        .collect::<Vec<_>>()
        .join(" ")
}

fn command(config: &RunConfig, out: &Path) -> String {
    let prefix = Goal::of(config).prefix();
    format!(
        "ls-train {prefix}{} --out {} --resume",
        config.task,
        out.display()
    )
}

/// The command as it was typed, program's folder left out, quoted where a shell would want it.
pub(super) fn command_line() -> String {
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

/// Warnings of the libraries never go into a dashboard.
fn log_to(display: Display, run: &Path) {
    let log = || {
        let name = run.join("training.log");
        File::options().create(true).append(true).open(name).ok()
    };
    match display {
        Display::Lines => logging::start(None),
        Display::Dashboard => {
            if let Some(file) = log() {
                logging::start(Some(file));
            }
        }
    }
}
