//! What can be measured, and what comes out.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::ops::{AttentionPath, attention_path};
use transformer_ls_infer::device::ChosenDevice;

use super::cost::{Shape, cost};
use super::timing::{Budget, Timing};

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

/// What is done with attention, or with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Pass {
    /// The output alone
    Forward,
    /// The output and the gradients of all inputs
    ForwardBackward,
    /// Forward pass, loss, backward pass and optimizer
    TrainStep,
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

display_as_on_the_command_line!(Path, Pass);

/// What a measurement is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Attention alone, forward or forward and backward.
    Attention(Sizes),
    /// A model on full documents, forward or a step of training; dense attention it has none.
    Step {
        /// The preset's name.
        preset: String,
        /// Documents of a sample.
        documents: usize,
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

/// One measurement, as a child process is told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The device's name.
    pub device: String,
    /// Which implementation of attention.
    pub path: Path,
    /// What is done.
    pub pass: Pass,
    /// What it is done with.
    pub subject: Subject,
    /// Batch rows, or samples.
    pub b: usize,
    /// Tokens of each document.
    pub n: usize,
    /// How long to measure.
    pub budget: Budget,
}

impl Job {
    /// What a log calls it.
    pub fn label(&self) -> String {
        let of = match &self.subject {
            Subject::Attention(_) => String::new(),
            Subject::Step { preset, .. } => format!("{preset} "),
        };
        format!("{of}{} n {}", self.series(), self.n)
    }

    /// Measurements that differ in length alone.
    pub fn series(&self) -> String {
        format!("{} {}", self.path, self.pass)
    }

    /// Attention's shape.
    pub(super) fn shape(&self, sizes: &Sizes) -> Shape {
        let (b, n, Sizes { h, d, r, w }) = (self.b, self.n, *sizes);
        Shape { b, n, h, d, r, w }
    }
}

/// What a child process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Time and memory of a run.
    pub timing: Timing,
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

/// A line of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The device's name.
    pub device: String,
    /// The hardware's name.
    pub adapter: String,
    /// Which implementation.
    pub path: Path,
    /// What was done.
    pub pass: Pass,
    /// The preset, of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Batch rows, or samples.
    pub b: usize,
    /// Tokens of each document.
    pub n: usize,
    /// The other sizes, of attention.
    #[serde(flatten)]
    pub sizes: Option<Sizes>,
    /// The median time.
    pub milliseconds: f64,
    /// What the mathematics of attention asks for ([`cost`]), by the time; in 10⁹ operations a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// Tokens of all documents of a model's batch, by the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// The most memory in use.
    pub peak_bytes: Option<u64>,
    /// How long the device needs to move the bytes that attention has to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_milliseconds: Option<f64>,
}

impl Line {
    /// What `figures` say of `job`.
    pub fn new(job: &Job, chosen: &ChosenDevice, figures: &Figures) -> Self {
        let Timing {
            seconds,
            peak_bytes,
        } = figures.timing;
        let line = Self {
            device: chosen.name.clone(),
            adapter: chosen.adapter.clone(),
            path: job.path,
            pass: job.pass,
            preset: None,
            b: job.b,
            n: job.n,
            sizes: None,
            milliseconds: seconds * 1e3,
            gflops: None,
            tokens_per_second: None,
            peak_bytes,
            floor_milliseconds: None,
        };
        match &job.subject {
            Subject::Attention(sizes) => {
                let cost = cost(job.path, job.pass, &job.shape(sizes));
                Self {
                    sizes: Some(*sizes),
                    gflops: Some(cost.flops / seconds / 1e9),
                    floor_milliseconds: figures
                        .bytes_per_second
                        .map(|rate| cost.bytes / rate * 1e3),
                    ..line
                }
            }
            Subject::Step { preset, documents } => Self {
                preset: Some(preset.clone()),
                tokens_per_second: Some((documents * job.b * job.n) as f64 / seconds),
                ..line
            },
        }
    }

    /// On which device, and of which attention: the heading of a table or a picture.
    pub fn heading(&self) -> String {
        let Self {
            device, adapter, b, ..
        } = self;
        match (&self.preset, self.sizes) {
            (Some(preset), _) => {
                format!(
                    "preset {preset} on {device} ({adapter}): batch {b}, documents of full length"
                )
            }
            (None, Some(Sizes { h, d, r, w })) => format!(
                "{device} ({adapter}): batch {b}, {h} heads of width {d}, rank {r}, window {w}"
            ),
            (None, None) => format!("{device} ({adapter}): batch {b}"),
        }
    }
}
