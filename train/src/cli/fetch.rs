//! `ls-train fetch NAME`

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use transformer_ls_datasets::corpus::Published;
use transformer_ls_datasets::fetch::{Download, FetchError, fetch, unpack};
use transformer_ls_datasets::{DatasetError, Task};
use transformer_ls_infer::typed;

use super::Done;
use super::counted::{Counted, Unit};
use crate::tasks;
use crate::trainer::progress::say;

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// A task, or a text for `ls-train lm`: enwik8 (36 MB) or text8 (31 MB)
    ///
    /// text (84 MB) and image (170 MB) have archives of their own. The others are in the Long Range
    /// Arena's archive of 8 GB, whose address is often dead: `ls-train generate` makes listops and
    /// the images of Pathfinder without it.
    #[arg(value_parser = named)]
    name: Named,
    /// The folder to download to [default: data/NAME]
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    data: Option<PathBuf>,
    /// Another address of the same file; its size and checksum have to be the published ones
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Unpack the task's folder, too: nothing needs it, archives are read where they lie
    #[arg(long)]
    unpack: bool,
}

#[derive(Clone, Copy, Debug)]
enum Named {
    Task(Task),
    Text(Published),
}

fn named(text: &str) -> Result<Named, String> {
    match (text.parse(), text.parse()) {
        (Ok(text), _) => Ok(Named::Text(text)),
        (_, Ok(task)) => Ok(Named::Task(task)),
        (_, Err(unknown)) => Err(format!("{unknown}; of texts there are enwik8 and text8")),
    }
}

impl Named {
    fn folder(self) -> PathBuf {
        match self {
            Self::Task(task) => tasks::folder(task),
            Self::Text(text) => Path::new("data").join(text.name()),
        }
    }

    fn download(self) -> Download {
        match self {
            Self::Task(task) => (task.download)(),
            Self::Text(text) => text.download(),
        }
    }

    /// The folder of the archive that is the task's.
    fn in_archive(self) -> Option<&'static str> {
        match self {
            Self::Task(task) => Some(task.in_archive),
            Self::Text(_) => None,
        }
    }
}

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<Done> {
    let folder = args.name.in_archive();
    let dir = args.data.clone().unwrap_or_else(|| args.name.folder());
    ensure!(
        folder.is_some() || !args.unpack,
        "texts are read from their archives: leave out --unpack, and give `ls-train lm --data {}`",
        dir.display()
    );
    let mut source = args.name.download();
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
    let Some(folder) = folder.filter(|_| args.unpack) else {
        return Ok(Done::Completely);
    };
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
