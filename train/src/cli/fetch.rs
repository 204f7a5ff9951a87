//! `ls-train fetch TASK`

use std::path::PathBuf;

use clap::Args;
use transformer_ls_datasets::fetch::{FetchError, fetch, unpack};
use transformer_ls_datasets::{DatasetError, Task};
use transformer_ls_infer::typed;

use super::Done;
use super::counted::{Counted, Unit};
use crate::tasks;
use crate::trainer::progress::say;

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The task
    ///
    /// text (84 MB) and image (170 MB) have archives of their own. The others are in the Long Range
    /// Arena's archive of 8 GB, whose address is often dead: `ls-train generate` makes listops and
    /// the images of Pathfinder without it.
    task: Task,
    /// The folder to download to [default: data/TASK]
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    data: Option<PathBuf>,
    /// Another address of the same file; its size and checksum have to be the published ones
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Unpack the task's folder, too: nothing needs it, archives are read where they lie
    #[arg(long)]
    unpack: bool,
}

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<Done> {
    let task = args.task;
    let dir = args.data.clone().unwrap_or_else(|| tasks::folder(task));
    let mut source = (task.download)();
    if let Some(url) = &args.url {
        source.url.clone_from(url);
    }
    let counted = Counted::new(&format!("fetching {}", source.file_name), Unit::Bytes);
    let fetched = fetch(
        &source,
        &dir,
        &|done, total| counted.at(done, total),
        &Counted::cancelled,
    );
    drop(counted);
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(stopped @ FetchError::Stopped { .. }) => {
            say(&stopped.to_string());
            return Ok(Done::Interrupted);
        }
        Err(error) => return Err(error.into()),
    };
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let how = match fetched.downloaded {
        0 => "was there already".to_owned(),
        bytes => format!("{} downloaded", megabytes(bytes)),
    };
    say(&format!(
        "{}: {}, {how}, whole",
        fetched.path.display(),
        megabytes(fetched.bytes)
    ));
    if !args.unpack {
        return Ok(Done::Completely);
    }
    let folder = task.in_archive;
    let counted = Counted::new(&format!("unpacking {folder}"), Unit::Bytes);
    let unpacked = unpack(
        &fetched.path,
        folder,
        &dir,
        &|read| counted.at(read, Some(fetched.bytes)),
        &Counted::cancelled,
    );
    drop(counted);
    match unpacked {
        Ok(files) => say(&format!(
            "{files} files of {folder} unpacked; the archive is not needed any more"
        )),
        Err(stopped @ DatasetError::Stopped(_)) => {
            say(&stopped.to_string());
            return Ok(Done::Interrupted);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Done::Completely)
}
