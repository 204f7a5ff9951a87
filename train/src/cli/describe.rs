//! The help of the training commands: options are the same, defaults are each task's own.

use clap::{Command, CommandFactory};

use super::goal::Goal;
use super::{Cli, settings};
use crate::tasks::{self, Protocol};

/// The command line, each task's defaults in its help.
pub(super) fn command() -> Command {
    let protocols = tasks::all();
    let with = |goal: Goal| {
        let protocols = protocols.clone();
        move |command: Command| {
            protocols.iter().fold(command, |command, protocol| {
                command.mut_subcommand(protocol.task.name, |task| described(task, protocol, goal))
            })
        }
    };
    with(Goal::Classify)(Cli::command()).mut_subcommand("pretrain", with(Goal::FillIn))
}

fn described(command: Command, protocol: &Protocol, goal: Goal) -> Command {
    let task = protocol.task;
    let (own, preset) = match goal {
        Goal::Classify => (protocol.own.as_ref(), protocol.preset()),
        Goal::FillIn => (None, task.name),
    };
    let training = own.map_or(&protocol.training, |own| &own.training);
    let prefix = goal.prefix();
    let about = match goal {
        Goal::Classify => None,
        Goal::FillIn => Some(format!(
            "Fill in hidden tokens of {task}'s inputs ({:.0} % of them, `--set mask=…`)",
            100.0 * protocol.strong.pretraining.mask
        )),
    };
    let command = match about {
        Some(about) => command.about(about),
        None => command,
    };
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
                "The model: a name from `ls-train presets` [default: {preset}]"
            ),
            "",
        ),
        (
            "data",
            format!(
                "The folder with the data{made} [default: {}]",
                protocol.folder(preset).display()
            ),
            protocol.about_data.as_str(),
        ),
        (
            "out",
            format!(
                "The run folder to make [default: runs/{}{task}-TIME]",
                goal.prefix().replace(' ', "-")
            ),
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
            match goal {
                Goal::Classify => {
                    "Stop after step N all the same: evaluate and save, but leave the test for later"
                }
                Goal::FillIn => "Stop after step N all the same: evaluate and save",
            }
            .to_owned(),
            &format!(
                "`ls-train {prefix}{task} --out DIR --resume` goes on from there, as if it had not stopped."
            ),
        ),
        (
            "checkpoint_every",
            format!("Steps between checkpoints, what a kill can cost at most [default: {every}]"),
            "",
        ),
    ];
    let fields = settings::fields_help(protocol, goal);
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
