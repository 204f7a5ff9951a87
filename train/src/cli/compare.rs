//! `ls-train compare TASK`: several attentions under one protocol, trained in turn, and a report.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, bail};
use burn::module::Module;
use clap::{ArgMatches, Args, Error, FromArgMatches, Subcommand};
use serde::Serialize;
use transformer_ls_burn::attention::AttentionConfig;
use transformer_ls_datasets::Task;
use transformer_ls_infer::device;
use transformer_ls_infer::run::{RunConfig, RunError, RunFolder, write_atomically};
use transformer_ls_infer::typed;

use super::args::{Choices, TrainArgs};
use super::goal::Goal;
use super::settings::{self, out_now};
use super::task::TaskCommand;
use super::{Done, train};
use crate::plot::{Curve, Lines, svg};
use crate::tasks::{self, Protocol};
use crate::trainer::interrupt;
use crate::trainer::progress::{duration, say};

/// A task's training options, and what is compared.
#[derive(Debug)]
pub(super) struct CompareCommand {
    task: TaskCommand,
    compared: ComparedArgs,
}

#[derive(Debug, Args)]
struct ComparedArgs {
    /// The attentions, separated by commas; each may set fields: `long_short:window=0`
    ///
    /// Kinds are those that `--set attention=KIND` takes.
    #[arg(long, value_name = "KIND[:FIELD=VALUE…]", value_delimiter = ',', default_values_t = kinds())]
    attention: Vec<String>,
    /// Train each so many times, with seeds that follow each other
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = typed::positive)]
    seeds: usize,
}

fn kinds() -> Vec<String> {
    AttentionConfig::kinds().map(str::to_owned).collect()
}

impl Subcommand for CompareCommand {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        // `run` refuses what makes no sense for many runs at once.
        let left_out = ["init", "stop_after"];
        TaskCommand::augment_subcommands(command).mut_subcommands(move |task| {
            let every = ComparedArgs::augment_args(task);
            every.mut_args(|arg| match arg.get_id().as_str() {
                "out" => arg.help("The folder to make, with a run folder for each training"),
                "resume" => arg
                    .help("Go on with the comparison in --out (which has to be given)")
                    .long_help(None),
                "preset" => arg
                    .help("The model: a name from `ls-train presets` [default: that with the task's name]")
                    .long_help(None),
                id if left_out.contains(&id) => arg.hide(true),
                _ => arg,
            })
        })
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        TaskCommand::has_subcommand(name)
    }
}

impl FromArgMatches for CompareCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let task = TaskCommand::from_arg_matches(matches)?;
        let (_, own) = matches.subcommand().expect("a task was named");
        let compared = ComparedArgs::from_arg_matches(own)?;
        Ok(Self { task, compared })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// One attention, and the runs that it is trained in.
struct Compared {
    name: String,
    runs: Vec<(PathBuf, RunConfig)>,
}

pub(super) fn run(command: &CompareCommand) -> anyhow::Result<Done> {
    let CompareCommand { task, compared } = command;
    let TaskCommand {
        task,
        args,
        choices,
    } = task;
    for (option, given) in [
        ("--init", args.init.is_some()),
        ("--stop-after", args.stop_after.is_some()),
    ] {
        if given {
            bail!("{option} is for a run of its own, not for a comparison: leave it out");
        }
    }
    let protocol = tasks::of(*task);
    let prefix = format!("compare-{task}-");
    let out = match args.resume {
        true => train::to_resume(args.out.as_deref(), &prefix)?.to_owned(),
        false => args.out.clone().unwrap_or_else(|| out_now(&prefix)),
    };
    if !args.resume && out.symlink_metadata().is_ok() {
        return Err(RunError::Exists(out).into());
    }
    let all = compared_runs(&protocol, args, choices, compared, &out)?;
    std::fs::create_dir_all(&out).map_err(RunError::io("create", &out))?;
    let count: usize = all.iter().map(|compared| compared.runs.len()).sum();
    let runs = all.iter().flat_map(|compared| &compared.runs);
    for (number, (folder, config)) in runs.enumerate() {
        let shown = folder.display();
        say(&format!("[{} of {count}] {shown}", number + 1));
        if !train_in(*task, folder, config, args)? {
            say(&format!(
                "interrupted: continue with ls-train compare {task} --out {} --resume and the same \
                 options",
                out.display()
            ));
            return Ok(Done::Interrupted);
        }
    }
    report(*task, &all, &out)?;
    Ok(Done::Completely)
}

/// What is to be trained; everything that can be wrong with it is found before anything is.
fn compared_runs(
    protocol: &Protocol,
    args: &TrainArgs,
    choices: &Choices,
    compared: &ComparedArgs,
    out: &Path,
) -> anyhow::Result<Vec<Compared>> {
    // Whatever the task's command trains: what is compared is published with the task's own name.
    let args = &TrainArgs {
        preset: args
            .preset
            .clone()
            .or_else(|| args.config.is_none().then(|| protocol.task.to_string())),
        ..args.clone()
    };
    let base = settings::new_run(protocol, args, choices, Goal::Classify)?;
    let max_length = base.model.encoder.embedding.max_length;
    let mut all: Vec<Compared> = Vec::new();
    for named in &compared.attention {
        let mut parts = named.split(':');
        let kind = parts.next().unwrap_or_default().replace('-', "_");
        let fields: Vec<String> = parts.map(str::to_owned).collect();
        let name = [vec![kind.clone()], fields.clone()].concat().join("-");
        let name = name.replace('=', "_");
        if all.iter().any(|compared| compared.name == name) {
            bail!("`{named}` is named twice: leave one of them out");
        }
        let mut config = base.clone();
        config
            .set("attention", &kind)
            .and_then(|()| {
                let attention = &mut config.model.encoder.block.attention;
                *attention = attention.clone().with_longest(max_length);
                config.set_all(&fields)
            })
            .and_then(|()| config.validate())
            .map_err(|error| anyhow!("--attention {named}: {error}"))?;
        let seeds = (config.seed..).take(compared.seeds);
        let runs: Vec<(PathBuf, RunConfig)> = seeds
            .map(|seed| {
                let mut config = config.clone();
                config.seed = seed;
                (out.join(format!("{name}-{seed}")), config)
            })
            .collect();
        for (folder, config) in &runs {
            refuse_another(folder, config)?;
        }
        all.push(Compared { name, runs });
    }
    Ok(all)
}

/// Refuses a run that is there already and was begun with other settings than these; where it runs is none.
fn refuse_another(folder: &Path, config: &RunConfig) -> anyhow::Result<()> {
    if !RunFolder::is_run(folder) {
        return Ok(());
    }
    let there = RunFolder::open(folder)?.config().clone();
    let mut here = config.clone();
    here.device.clone_from(&there.device);
    here.data.dir.clone_from(&there.data.dir);
    here.data.cache.clone_from(&there.data.cache);
    let differing = settings::differences(there.fields(), here.fields());
    if !differing.is_empty() {
        bail!(
            "{} is a run with other settings: {}. Give the options that the comparison began with, or \
             another --out",
            folder.display(),
            differing.join(", ")
        );
    }
    Ok(())
}

/// Trains in a process of its own, so that memory is this run's alone. `false`: a signal came.
fn train_in(
    task: Task,
    folder: &Path,
    config: &RunConfig,
    args: &TrainArgs,
) -> anyhow::Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(task.name).arg("--out").arg(folder);
    if args.tensorboard {
        command.arg("--tensorboard");
    }
    let asked = folder.with_extension("json");
    match RunFolder::is_run(folder) {
        true => {
            command.arg("--resume");
            // What may differ from session to session.
            if let Some(device) = &args.device {
                command.arg("--device").arg(device);
            }
            if let Some(data) = &args.data {
                command.arg("--data").arg(data);
            }
        }
        false => {
            write_atomically(&asked, config.to_json().as_bytes())?;
            command.arg("--config").arg(&asked);
        }
    }
    let child = command.spawn();
    let mut child = child.context("cannot start this program again")?;
    let status = interrupt::wait_with(&mut child)?;
    let _ = std::fs::remove_file(&asked);
    match status.code() {
        Some(0) if !interrupt::requested() => Ok(true),
        Some(code) if code == 0 || interrupt::is_status(code) => Ok(false),
        _ => bail!(
            "{} could not be trained ({status}); what it said stands above. Go on with --resume once \
             that is mended",
            folder.display()
        ),
    }
}

/// A row of the report.
#[derive(Debug, Serialize)]
struct Row {
    attention: String,
    config: AttentionConfig,
    parameters: usize,
    /// Forward, of a document of the greatest length.
    gflop: f64,
    /// Of each run.
    test_accuracy: Vec<f64>,
    dev_accuracy: Vec<f64>,
    steps: usize,
    /// Evaluations included.
    seconds_per_step: f64,
    peak_bytes: Option<u64>,
    runs: Vec<PathBuf>,
}

fn report(task: Task, all: &[Compared], out: &Path) -> anyhow::Result<()> {
    let (mut rows, mut curves) = (Vec::new(), Vec::new());
    let mut hardware = String::new();
    let mut length = 0;
    for Compared { name, runs } in all {
        let mut summaries = Vec::new();
        for (path, _) in runs {
            let folder = RunFolder::open(path)?;
            let summary = folder.read_summary()?;
            summaries.push(summary.with_context(|| format!("{} has no summary", path.display()))?);
            let run = path.file_name().unwrap_or_default().to_string_lossy();
            curves.push(Curve {
                name: run.into_owned(),
                lines: Lines::Classifying(folder.read_metrics()?),
            });
        }
        let (_, config) = runs.first().context("no seed was asked for")?;
        let model = &config.model;
        let own = device::resolve(&summaries[0].device)?;
        length = model.encoder.embedding.max_length;
        hardware = format!("{} ({})", summaries[0].device, summaries[0].adapter);
        let (steps, seconds) = summaries
            .iter()
            .fold((0, 0.0), |(steps, seconds), summary| {
                (steps + summary.steps, seconds + summary.wall_seconds)
            });
        rows.push(Row {
            attention: name.clone(),
            config: model.encoder.block.attention.clone(),
            parameters: model.init(&own.device)?.num_params(),
            gflop: model.encoder.flops(length) / 1e9,
            test_accuracy: summaries.iter().filter_map(|it| it.test_accuracy).collect(),
            dev_accuracy: summaries
                .iter()
                .filter_map(|it| it.best_dev_accuracy)
                .collect(),
            steps: summaries[0].steps,
            seconds_per_step: seconds / steps.max(1) as f64,
            peak_bytes: summaries.iter().filter_map(|it| it.peak_bytes).max(),
            runs: runs.iter().map(|(path, _)| path.clone()).collect(),
        });
    }
    let json = serde_json::to_string_pretty(&rows)? + "\n";
    write_atomically(&out.join("report.json"), json.as_bytes())?;
    let table = markdown(&rows);
    let text = format!(
        "# {task}: attentions compared\n\n{table}\n\
         Trained on {hardware}. Operations (multiplications and additions) are those of all blocks, \
         forward, for a document of {length} tokens, as counted from the formulas. Seconds are of a \
         step, evaluations included.\n\n![Accuracy over steps](accuracy.svg)\n"
    );
    write_atomically(&out.join("report.md"), text.as_bytes())?;
    write_atomically(&out.join("accuracy.svg"), svg(&curves)?.as_bytes())?;
    say(&format!("\n{table}"));
    let seconds: f64 = rows
        .iter()
        .map(|row| row.seconds_per_step * (row.steps * row.runs.len()) as f64)
        .sum();
    say(&format!(
        "{} trained in {}; the report is {}",
        rows.len(),
        duration(seconds),
        out.join("report.md").display()
    ));
    Ok(())
}

/// `1.2 ± 0.3`, of one value without a spread; in percent.
fn percent(values: &[f64]) -> String {
    let count = values.len() as f64;
    if values.is_empty() {
        return "-".to_owned();
    }
    let mean = values.iter().sum::<f64>() / count;
    let square: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    match values.len() {
        1 => format!("{:.2}", 100.0 * mean),
        _ => format!(
            "{:.2} ± {:.2}",
            100.0 * mean,
            100.0 * (square / (count - 1.0)).sqrt()
        ),
    }
}

fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| attention | test accuracy (%) | best dev (%) | parameters | GFLOP | s / step | peak memory \
         (MB) |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let peak = row
            .peak_bytes
            .map_or("-".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
        text += &format!(
            "| {} | {} | {} | {} | {:.3} | {:.3} | {peak} |\n",
            row.attention,
            percent(&row.test_accuracy),
            percent(&row.dev_accuracy),
            row.parameters,
            row.gflop,
            row.seconds_per_step,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_samples() {
        assert_eq!(percent(&[0.5]), "50.00");
        // Deviations of ±1 from 51: the root of 2 / (2 − 1).
        assert_eq!(percent(&[0.5, 0.52]), "51.00 ± 1.41");
        assert_eq!(percent(&[]), "-");
    }
}
