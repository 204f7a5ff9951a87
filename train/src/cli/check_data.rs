//! `ls-train check-data TASK PATH`

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use transformer_ls_datasets::check::check;
use transformer_ls_datasets::{Options, Task};
use transformer_ls_infer::typed;

use super::{Done, print};
use crate::tasks;
use crate::trainer::progress::say_aside;

#[derive(Debug, Args)]
pub(super) struct CheckDataArgs {
    /// The task
    task: Task,
    /// The folder with the data, or an archive of it [default: data/TASK; that of listops-values is
    /// data/listops-short]
    #[arg(value_parser = typed::path())]
    path: Option<PathBuf>,
}

pub(super) fn run(args: &CheckDataArgs) -> anyhow::Result<Done> {
    let task = args.task;
    let path = args.path.clone().unwrap_or_else(|| tasks::folder(task));
    if let Some(archive) = task.archive(&path, &Options::default()) {
        let bytes = archive.metadata().map_or(0, |file| file.len());
        // Not a part of the report.
        say_aside(&format!(
            "reading {} through ({} MB)",
            archive.display(),
            bytes / 1_000_000
        ));
    }
    let report = check(task, &path);
    let done = print(&format!("{report}\n"))?;
    if !report.is_usable() {
        bail!(
            "{} can't be used for {task}: see the report",
            path.display()
        );
    }
    Ok(done)
}
