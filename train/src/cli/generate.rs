//! `ls-train generate TASK`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use transformer_ls_datasets::pathfinder::Difficulty;
use transformer_ls_datasets::{DatasetError, State, Task};
use transformer_ls_infer::run::RunConfig;
use transformer_ls_infer::typed;

use super::Done;
use super::counted::{Counted, Unit};
use crate::tasks::{self, Generate, Protocol};
use crate::trainer::progress::say;

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// The task
    #[arg(value_parser = can_be_made())]
    task: Task,
    /// The folder to write to [default: data/TASK; listops-values has data/listops-short, which
    /// `ls-train listops` makes itself]
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    data: Option<PathBuf>,
    /// How many samples, all splits together [default: 100000 for listops, which take 661 MB;
    /// 200000 images for the others]
    ///
    /// Of the expressions of listops 96 % are for training, 2 % for dev and 2 % for test; of images
    /// 80, 10 and 10 %.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// How long the contours are: easy, medium or hard (not for listops) [default: hard]
    #[arg(long, value_name = "NAME")]
    difficulty: Option<Difficulty>,
    /// The least number of tokens of an expression, brackets counted (listops alone) [default: 501; 4
    /// with --max-length]
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    min_length: Option<usize>,
    /// The greatest [default: 1999]
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    max_length: Option<usize>,
    /// The generator's seed: the same seed and count give the same files [default: 0]
    ///
    /// It is not the `--seed` of a run: runs of different seeds learn from the same data.
    #[arg(long, value_name = "N")]
    data_seed: Option<u64>,
}

/// The tasks whose data can be made.
fn can_be_made() -> impl TypedValueParser<Value = Task> {
    let protocols = tasks::all().into_iter();
    let made = protocols.filter(|protocol| protocol.generate.is_some());
    let names = made.map(|protocol| protocol.task.name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Task>())
}

pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<Done> {
    let protocol = tasks::of(args.task);
    if args.difficulty.is_some() && !protocol.task.has_difficulty {
        bail!(
            "{} comes in one difficulty: leave --difficulty out",
            protocol.task
        );
    }
    let lengths = [args.min_length, args.max_length];
    if lengths != [None; 2] && !protocol.task.has_tokenizer() {
        bail!(
            "all of {}'s images are of one size: leave --min-length and --max-length out",
            protocol.task
        );
    }
    let longest = protocol.task.longest;
    if lengths.into_iter().flatten().any(|it| it > longest) {
        bail!("what lies behind the first {longest} tokens is not read: ask for {longest} at most");
    }
    if let [Some(least), Some(most)] = lengths
        && least > most
    {
        bail!("no expression has {least} tokens or more and {most} or less: exchange the two");
    }
    let dir = args
        .data
        .clone()
        .unwrap_or_else(|| tasks::folder(protocol.task));
    let what = Generate {
        count: args.count,
        seed: args.data_seed,
        difficulty: args.difficulty,
        lengths,
    };
    generate(&protocol, &dir, &what)
}

/// Makes a run's data in its preset's folder, in an empty folder, or where its generation was
/// interrupted. A mistyped name gets no data.
pub(super) fn generate_for(protocol: &Protocol, config: &RunConfig) -> anyhow::Result<Done> {
    let data = &config.data;
    let Some(generator) = &protocol.generate else {
        return Ok(Done::Completely);
    };
    let (task, dir) = (protocol.task, data.dir.display());
    let own = protocol.own(&config.preset);
    let of_preset = own.map(|own| own.data).unwrap_or_default();
    match generator.state(data)? {
        State::Complete => return Ok(Done::Completely),
        State::Partial(error) => return Err(error.into()),
        State::Absent if data.dir != protocol.folder(&config.preset) => bail!(
            "there is nothing at {dir}: check the name, or make the data there first with `ls-train \
             generate {task} --data {dir}{}`",
            of_preset.options()
        ),
        State::Other => bail!(
            "{dir} holds no data of {task}, and other things: name the data's folder or archive, or an \
             empty folder, in which the data is made"
        ),
        State::Absent | State::Empty | State::Unfinished => {}
    }
    let what = Generate {
        difficulty: data.difficulty,
        ..of_preset
    };
    generate(protocol, &data.dir, &what)
}

/// Makes a task's data, with a progress bar. Where it can't be made, opening it will say so.
pub(super) fn generate(protocol: &Protocol, dir: &Path, what: &Generate) -> anyhow::Result<Done> {
    let Some(generator) = &protocol.generate else {
        return Ok(Done::Completely);
    };
    let what_for = format!("making {} in {}", protocol.task, dir.display());
    let counted = Counted::new(&what_for, Unit::Samples);
    let result = generator.make(dir, what, &counted.samples(), &Counted::cancelled);
    drop(counted);
    match result {
        Ok(report) => {
            say(&format!("{}: {report}", dir.display()));
            Ok(Done::Completely)
        }
        Err(DatasetError::Cancelled) => Ok(Done::Interrupted),
        Err(stopped @ DatasetError::Stopped(_)) => {
            say(&stopped.to_string());
            Ok(Done::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}
