//! `summary.json`: how a run ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a run ended: the figures to report, and what is needed to get them again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Accuracy of the best model on the test split; `null` where the run was ended before.
    pub test_accuracy: Option<f64>,
    /// The best accuracy on the dev split; of a pretraining run, the share of hidden tokens found
    /// where the loss was lowest.
    pub best_dev_accuracy: Option<f64>,
    /// The loss of that evaluation.
    #[serde(default)]
    pub best_dev_loss: Option<f64>,
    /// The step it was reached at.
    pub best_step: Option<usize>,
    /// Optimizer steps taken.
    pub steps: usize,
    /// Seconds of all sessions together.
    pub wall_seconds: f64,
    /// On a device its reserved memory at most; on a CPU backend the process's resident memory at
    /// most; `null` where the system does not tell.
    pub peak_bytes: Option<u64>,
    /// The device's name, as `--device` takes it.
    pub device: String,
    /// The hardware's own name.
    pub adapter: String,
    /// The command line.
    pub command: String,
    /// The versions of this project's crates and of Burn.
    pub versions: BTreeMap<String, String>,
    /// The seed.
    pub seed: u64,
}

/// The versions that a summary records: this project's and Burn's.
pub fn versions() -> BTreeMap<String, String> {
    [
        ("transformer-ls-burn", env!("CARGO_PKG_VERSION")),
        // Asked for as `0.22.1` by the workspace, fixed by its lock file.
        ("burn", "0.22.1"),
    ]
    .into_iter()
    .map(|(name, version)| (name.to_string(), version.to_string()))
    .collect()
}
