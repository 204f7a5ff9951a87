//! What can be measured, and what comes out.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::ops::{AttentionPath, attention_path};
use transformer_ls_infer::device::ChosenDevice;

use super::cost::{Shape, cost};
use super::timing::Budget;

/// Which implementation of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Path {
    /// Long-short attention as the device computes it (see `ls-train devices`)
    Fused,
    /// Long-short attention in Burn's own tensor operations
    Plain,
    /// Softmax attention of every token to every token, in Burn's own tensor operations
    Dense,
}

/// What is done with attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Pass {
    /// The output alone
    Forward,
    /// The output and the gradients of all inputs
    ForwardBackward,
}

/// What is done with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StepPass {
    /// Forward pass, loss, backward pass and optimizer
    TrainStep,
    /// Forward pass alone
    Forward,
}

macro_rules! display_as_on_the_command_line {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.to_possible_value() {
                    Some(value) => f.pad(value.get_name()),
                    None => Ok(()),
                }
            }
        }
    )*};
}

display_as_on_the_command_line!(Path, Pass, StepPass);

/// One measurement, as a child process is told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Attention alone.
    Attention(AttentionJob),
    /// A model's step.
    Step(StepJob),
}

impl Job {
    /// The path that is measured.
    pub fn path(&self) -> Path {
        match self {
            Self::Attention(job) => job.path,
            Self::Step(job) => job.path,
        }
    }

    /// What a log calls it.
    pub fn label(&self) -> String {
        match self {
            Self::Attention(job) => format!("{} {} n {}", job.path, job.pass, job.shape.n),
            Self::Step(job) => {
                format!("{} {} {} n {}", job.preset, job.path, job.pass, job.n)
            }
        }
    }
}

/// Attention alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionJob {
    /// The device's name.
    pub device: String,
    /// Which implementation.
    pub path: Path,
    /// What is done.
    pub pass: Pass,
    /// The sizes.
    pub shape: Shape,
    /// How long to measure.
    pub budget: Budget,
}

/// A model's step on full documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepJob {
    /// The device's name.
    pub device: String,
    /// Which implementation of attention: [`Path::Fused`] or [`Path::Plain`].
    pub path: Path,
    /// What is done.
    pub pass: StepPass,
    /// The preset's name.
    pub preset: String,
    /// Samples.
    pub b: usize,
    /// Tokens of each document.
    pub n: usize,
    /// How long to measure.
    pub budget: Budget,
}

/// What a child process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The median time of a run.
    pub seconds: f64,
    /// The most memory in use; see [`timing`](super::timing).
    pub peak_bytes: Option<u64>,
    /// Bytes read and written in a second when the device copies a large tensor.
    pub bytes_per_second: Option<f64>,
    /// What the device makes of attention in this process, and why.
    pub taken: (String, String),
}

impl Figures {
    /// The attention that `chosen` computes in this process.
    pub(super) fn taken(chosen: &ChosenDevice) -> (String, String) {
        let AttentionPath { name, reason } = attention_path(&chosen.device);
        (name.to_string(), reason.to_string())
    }
}

/// A line of `bench attention --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionLine {
    /// The device's name.
    pub device: String,
    /// The hardware's name.
    pub adapter: String,
    /// Which implementation.
    pub path: Path,
    /// What was done.
    pub pass: Pass,
    /// Batch rows.
    pub b: usize,
    /// Tokens a row.
    pub n: usize,
    /// Heads.
    pub h: usize,
    /// Head width.
    pub d: usize,
    /// Landmarks a head.
    pub r: usize,
    /// Window.
    pub w: usize,
    /// The median time.
    pub milliseconds: f64,
    /// What the mathematics asks for ([`cost`]), by the time; in 10⁹ operations a second.
    pub gflops: f64,
    /// The most memory in use.
    pub peak_bytes: Option<u64>,
    /// How long the device needs to move the bytes that have to be moved.
    pub floor_milliseconds: Option<f64>,
}

impl AttentionLine {
    /// What `figures` say of `job`.
    pub fn new(job: &AttentionJob, chosen: &ChosenDevice, figures: &Figures) -> Self {
        let Shape { b, n, h, d, r, w } = job.shape;
        let cost = cost(job.path, job.pass, &job.shape);
        Self {
            device: chosen.name.clone(),
            adapter: chosen.adapter.clone(),
            path: job.path,
            pass: job.pass,
            b,
            n,
            h,
            d,
            r,
            w,
            milliseconds: figures.seconds * 1e3,
            gflops: cost.flops / figures.seconds / 1e9,
            peak_bytes: figures.peak_bytes,
            floor_milliseconds: figures.bytes_per_second.map(|rate| cost.bytes / rate * 1e3),
        }
    }
}

/// A line of `bench step --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// The device's name.
    pub device: String,
    /// The hardware's name.
    pub adapter: String,
    /// Which implementation of attention.
    pub path: Path,
    /// What was done.
    pub pass: StepPass,
    /// The preset.
    pub preset: String,
    /// Samples.
    pub b: usize,
    /// Tokens of each document.
    pub n: usize,
    /// The median time.
    pub milliseconds: f64,
    /// Tokens of all documents, by the time.
    pub tokens_per_second: f64,
    /// The most memory in use.
    pub peak_bytes: Option<u64>,
}

impl StepLine {
    /// What `figures` say of `job`, whose samples are of `documents` documents each.
    pub fn new(job: &StepJob, documents: usize, chosen: &ChosenDevice, figures: &Figures) -> Self {
        Self {
            device: chosen.name.clone(),
            adapter: chosen.adapter.clone(),
            path: job.path,
            pass: job.pass,
            preset: job.preset.clone(),
            b: job.b,
            n: job.n,
            milliseconds: figures.seconds * 1e3,
            tokens_per_second: (documents * job.b * job.n) as f64 / figures.seconds,
            peak_bytes: figures.peak_bytes,
        }
    }
}
