//! The help of the training commands: options are the same, defaults are each task's own.

use clap::{Command, CommandFactory};

use super::{Cli, settings};
use crate::tasks::{self, Protocol};

/// The command line, each task's defaults in its help.
pub(super) fn command() -> Command {
    tasks::all()
        .iter()
        .fold(Cli::command(), |command, protocol| {
            command.mut_subcommand(protocol.task, |subcommand| described(subcommand, protocol))
        })
}

fn described(command: Command, protocol: &Protocol) -> Command {
    let (task, training) = (protocol.task, &protocol.training);
    let made = match protocol.generate {
        Some(_) => ", made there if it holds none",
        None => ", or an archive of it",
    };
    let every = match training.checkpoint_every == training.evaluate_every {
        true => "each evaluation".to_owned(),
        false => training.checkpoint_every.to_string(),
    };
    let helps = [
        (
            "preset",
            format!(
                "The model: a name from `ls-train presets` [default: {}]",
                protocol.preset
            ),
            "",
        ),
        (
            "data",
            format!("The folder with the data{made} [default: data/{task}]"),
            protocol.about_data.as_str(),
        ),
        (
            "out",
            format!("The run folder to make [default: runs/{task}-TIME]"),
            "One that exists is kept: --resume continues it.",
        ),
        (
            "seed",
            format!(
                "Seed of weights, data order and dropout [default: {}]",
                protocol.seed
            ),
            "",
        ),
        (
            "steps",
            format!(
                "Length of the schedule in steps; the warmup shrinks or grows with it [default: {}]",
                training.steps
            ),
            &format!(
                "Dev is evaluated every {} steps and after the last (`--set evaluate_every=N`).",
                training.evaluate_every
            ),
        ),
        (
            "stop_after",
            "Stop after step N all the same: evaluate and save, but leave the test for later"
                .to_owned(),
            &format!(
                "`ls-train {task} --out DIR --resume` goes on from there, as if it had not stopped."
            ),
        ),
        (
            "checkpoint_every",
            format!("Steps between checkpoints, what a kill can cost at most [default: {every}]"),
            "",
        ),
    ];
    let fields = settings::fields_help(task);
    helps.into_iter().fold(
        command.after_long_help(fields),
        |command, (name, short, more)| {
            let long = match more {
                "" => short.clone(),
                _ => format!("{short}\n\n{more}"),
            };
            command.mut_arg(name, |option| option.help(short).long_help(long))
        },
    )
}
