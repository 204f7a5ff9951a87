//! What a language model's run writes down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use transformer_ls_datasets::Split;

use crate::run::null_as_nan;

/// A line of `metrics.jsonl`: how the model did on a split after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageLine {
    /// Optimizer steps taken so far.
    pub step: usize,
    /// The phase that they are in, counted from 0.
    pub phase: usize,
    /// On which part of the text.
    pub split: Split,
    /// Mean `−log₂ p` of a byte.
    #[serde(deserialize_with = "null_as_nan")]
    pub bits_per_character: f64,
    /// Over how many bytes. Of dev and test it is all but the first, which nothing comes before.
    pub characters: u64,
    /// The learning rate of the step.
    #[serde(deserialize_with = "null_as_nan")]
    pub learning_rate: f64,
    /// Bytes a second.
    #[serde(deserialize_with = "null_as_nan")]
    pub characters_per_second: f64,
    /// Seconds since the run was started, breaks between sessions left out.
    #[serde(deserialize_with = "null_as_nan")]
    pub seconds: f64,
    /// Bytes that the device's memory pools hold; `null` on a CPU backend, which has none.
    pub device_bytes: Option<u64>,
}

/// How a run ended: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageSummary {
    /// Bits per character of the best model on the test split; `null` where the run was ended before.
    pub test_bits_per_character: Option<f64>,
    /// Over how many bytes.
    pub test_characters: Option<u64>,
    /// The lowest bits per character on the dev split.
    pub best_dev_bits_per_character: Option<f64>,
    /// The step that they were reached at.
    pub best_step: Option<usize>,
    /// Optimizer steps taken.
    pub steps: usize,
    /// Bytes that the steps learned from, each time counted.
    pub characters: u64,
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
