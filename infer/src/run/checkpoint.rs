//! Checkpoints: `checkpoint/<step>/`, each complete or absent.

use std::fs;
use std::path::{Path, PathBuf};

use transformer_ls_datasets::atomic::folder_of;

use super::RunError;
use super::atomic::{UnfinishedFolder, remove_whole, sync_tree};

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of optimizer steps taken when it was written.
    pub step: usize,
    /// Its folder.
    pub path: PathBuf,
}

/// A checkpoint that is being written, under a temporary name.
///
/// Write whatever a resume needs into [`path`](Self::path), then [`commit`](Self::commit). One
/// that is dropped without is removed, and one that a killed process leaves behind is removed by
/// the next [`RunFolder::resume`](super::RunFolder::resume).
pub struct CheckpointWriter {
    step: usize,
    unfinished: UnfinishedFolder,
    target: PathBuf,
}

impl CheckpointWriter {
    pub(super) fn begin(checkpoints: &Path, step: usize) -> Result<Self, RunError> {
        let target = checkpoints.join(step.to_string());
        fs::create_dir_all(checkpoints).map_err(RunError::io("create the folder", checkpoints))?;
        Ok(Self {
            step,
            unfinished: UnfinishedFolder::beside(&target)?,
            target,
        })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.unfinished.path
    }

    /// Flushes everything to the disk, gives the checkpoint its name, and only then removes the
    /// older ones but one: should the disk damage the newest, the one before it serves. A
    /// checkpoint of the same step is replaced.
    ///
    /// # Errors
    ///
    /// The system's error; the older checkpoints are then still there.
    pub fn commit(self) -> Result<Checkpoint, RunError> {
        let Self {
            step,
            unfinished,
            target,
        } = self;
        sync_tree(&unfinished.path)?;
        if target.exists() {
            // A folder cannot be replaced in one step. The one in the way is of the same step of
            // the same run.
            remove_whole(&target)?;
        }
        unfinished.rename_to(&target)?;
        let checkpoints = folder_of(&target);
        let others: Vec<Checkpoint> = list(checkpoints)?
            .into_iter()
            .filter(|other| other.step != step)
            .collect();
        let before = others.iter().rev().find(|other| other.step < step);
        for older in &others {
            if Some(older) != before {
                // A rest that stays does no harm.
                let _ = remove_whole(&older.path);
            }
        }
        Ok(Checkpoint { step, path: target })
    }
}

/// The complete checkpoints of a run, oldest first.
pub(super) fn list(checkpoints: &Path) -> Result<Vec<Checkpoint>, RunError> {
    if !checkpoints.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(checkpoints).map_err(RunError::io("list", checkpoints))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(RunError::io("list", checkpoints))?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<usize>().ok());
        if let (Some(step), true) = (step, path.is_dir()) {
            found.push(Checkpoint { step, path });
        }
    }
    found.sort_by_key(|checkpoint| checkpoint.step);
    Ok(found)
}
