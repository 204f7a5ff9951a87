//! `ls-train generate TASK`

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use transformer_ls_datasets::DatasetError;

use super::Done;
use crate::tasks::{self, Generate, Protocol};
use crate::trainer::interrupt;
use crate::trainer::progress::{bar, say};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// The task
    #[arg(value_parser = PossibleValuesParser::new(tasks::all().into_iter().map(|p| p.task)))]
    task: String,
    /// The folder to write to [default: data/TASK]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many samples, all splits together [default: 100000, which take 661 MB]
    ///
    /// 96 % are for training, 2 % for dev and 2 % for test.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// The generator's seed: the same seed and count give the same files [default: 0]
    ///
    /// It is not the `--seed` of a run: runs of different seeds learn from the same data.
    #[arg(long, value_name = "N")]
    data_seed: Option<u64>,
}

pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<Done> {
    let protocol =
        tasks::find(&args.task).ok_or_else(|| anyhow::anyhow!("there is no task {}", args.task))?;
    let dir = args
        .data
        .clone()
        .unwrap_or_else(|| Path::new("data").join(protocol.task));
    let what = Generate {
        count: args.count,
        seed: args.data_seed,
    };
    generate(&protocol, &dir, &what)
}

/// Makes a task's data, with a progress bar.
pub(super) fn generate(protocol: &Protocol, dir: &Path, what: &Generate) -> anyhow::Result<Done> {
    let bar = bar(0, &format!("making {} in {}", protocol.task, dir.display()));
    interrupt::asked(true);
    let result = (protocol.generate)(
        dir,
        what,
        &|done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        },
        &interrupt::requested,
    );
    interrupt::asked(false);
    bar.finish_and_clear();
    match result {
        Ok(report) => {
            say(&format!("{}: {report}", dir.display()));
            Ok(Done::Completely)
        }
        Err(DatasetError::Cancelled) => Ok(Done::Interrupted),
        Err(error) => Err(error.into()),
    }
}
