//! What can be measured, and what comes out.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use strum::Display;
use transformer_ls_burn::attention::AttentionConfig;
use transformer_ls_infer::device::KernelTime;
use transformer_ls_infer::run::{Packing, Precision};

/// Which implementation of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum, Display)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Path {
    /// Long-short attention as the device computes it (see `ls-train devices`)
    Fused,
    /// Long-short attention in Burn's own tensor operations
    Plain,
    /// Softmax attention of every token to every token, in Burn's own tensor operations
    Dense,
}

/// What is done with attention, or with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum, Display)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Pass {
    /// The output alone
    Forward,
    /// The output and the gradients of all inputs
    ForwardBackward,
    /// Forward pass, loss, backward pass and optimizer
    TrainStep,
}

/// What a measurement is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subject {
    /// Attention alone, forward or forward and backward.
    Attention(Sizes),
    /// An attention of any kind as a module: the layers of queries, keys and values, and the heads.
    Module {
        /// How the heads attend.
        module: AttentionConfig,
    },
    /// A model, forward or a step of training.
    Step {
        /// The preset's name.
        preset: String,
        /// How documents are put into a batch.
        packing: Packing,
        /// For each batch the lengths of its documents, in tokens; none: all are full.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lengths: Vec<Vec<usize>>,
    },
}

/// The sizes of attention that are not the batch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Heads.
    pub h: usize,
    /// Head width.
    pub d: usize,
    /// Landmarks a head.
    pub r: usize,
    /// Window.
    pub w: usize,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The device's name.
    pub device: String,
    /// The hardware's name.
    pub adapter: String,
    /// Which implementation of attention.
    pub path: Path,
    /// What is done.
    pub pass: Pass,
    /// Batch rows, or samples.
    pub b: usize,
    /// Tokens of each document.
    pub n: usize,
    /// What it is computed in.
    #[serde(default)]
    pub precision: Precision,
    /// Whether every kernel is timed as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// What it is done with.
    #[serde(flatten)]
    pub subject: Subject,
}

impl Job {
    /// What a log calls it.
    pub fn label(&self) -> String {
        let of = match &self.subject {
            Subject::Attention(_) | Subject::Module { .. } => String::new(),
            Subject::Step { preset, .. } => format!("{preset} "),
        };
        format!("{of}{} n {}", self.series(), self.n)
    }

    /// Measurements that differ in length alone.
    pub fn series(&self) -> String {
        format!("{} {}", self.variant(), self.pass)
    }

    /// What is compared: the kind of a module, else the implementation.
    pub fn variant(&self) -> String {
        match &self.subject {
            Subject::Module { module } => module.kind().to_owned(),
            _ => self.path.to_string(),
        }
    }

    /// On which device, and of which sizes: the heading of a table or a picture.
    pub fn heading(&self) -> String {
        let half = match self.precision {
            Precision::F32 => "",
            Precision::F16 => ", float16",
        };
        let on = format!("{} ({}){half}: batch {}", self.device, self.adapter, self.b);
        match &self.subject {
            Subject::Attention(Sizes { h, d, r, w }) => {
                format!("{on}, {h} heads of width {d}, rank {r}, window {w}")
            }
            Subject::Module { module } => {
                let (width, h) = (module.d_model(), module.heads());
                format!("{on}, modules of width {width} with {h} heads")
            }
            Subject::Step {
                preset, lengths, ..
            } => {
                let length = match lengths.is_empty() {
                    true => "full",
                    false => "given",
                };
                format!("preset {preset} on {on}, documents of {length} length")
            }
        }
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Timed runs at most.
    pub repeats: usize,
    /// No run is begun after so many seconds (three runs are, unless one takes that long).
    pub seconds: f64,
}

/// What came out: a line of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was measured.
    #[serde(flatten)]
    pub job: Job,
    /// The median time.
    pub milliseconds: f64,
    /// What the mathematics of attention asks for, by the time; in 10⁹ operations a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// Tokens of all documents of a model's batch, by the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// In a profile: the bytes that the device reads and writes in a second when it copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<f64>,
    /// The kernels of a single run of a profile, the most expensive first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelTime>,
    /// The most memory in use.
    pub peak_bytes: Option<u64>,
    /// How long the device needs to move the bytes that attention has to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_milliseconds: Option<f64>,
}
