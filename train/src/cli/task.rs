//! The subcommands that train: one a task, each with the options that the task has.

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};
use transformer_ls_datasets::Task;

use super::args::{Choices, TrainArgs};
use crate::tasks;

/// A task, and what is to be done with it.
#[derive(Debug)]
pub(super) struct TaskCommand {
    pub(super) task: Task,
    pub(super) args: TrainArgs,
    pub(super) choices: Choices,
}

impl Subcommand for TaskCommand {
    fn augment_subcommands(command: Command) -> Command {
        let all = tasks::all().into_iter().map(|protocol| {
            let task = protocol.task;
            let every = TrainArgs::augment_args(Command::new(task.name));
            let every = Choices::augment_args(every);
            let is_offered = |arg: &&Arg| match arg.get_id().as_str() {
                "tokenizer" => task.has_tokenizer(),
                "difficulty" => task.has_difficulty,
                _ => true,
            };
            Command::new(task.name)
                .args(every.get_arguments().filter(is_offered))
                .about(protocol.about)
                .aliases(task.alias)
        });
        command.subcommands(all)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name.parse::<Task>().is_ok()
    }
}

impl FromArgMatches for TaskCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (name, matches) = matches
            .subcommand()
            .ok_or_else(|| Error::raw(ErrorKind::MissingSubcommand, "name a task\n"))?;
        let task = name
            .parse::<Task>()
            .map_err(|error| Error::raw(ErrorKind::InvalidSubcommand, format!("{error}\n")))?;
        Ok(Self {
            task,
            args: TrainArgs::from_arg_matches(matches)?,
            choices: Choices {
                tokenizer: chosen(matches, "tokenizer"),
                difficulty: chosen(matches, "difficulty"),
            },
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What was chosen; `None` where the task has no such option.
fn chosen<T: Copy + Send + Sync + 'static>(matches: &ArgMatches, option: &str) -> Option<T> {
    matches.try_get_one(option).ok().flatten().copied()
}
