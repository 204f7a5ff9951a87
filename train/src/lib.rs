//! Training Long-Short Transformers: Long Range Arena protocols and the `ls-train` command.
//!
//! The crate leads from a command line to a finished run folder:
//!
//! * [`tasks`]: what a task is made of, one [`Protocol`](tasks::Protocol) a file;
//! * [`optim`]: AdamW with a cycled β₁, the linear one-cycle schedule, and what else a run may
//!   ask for;
//! * [`trainer`]: the loop counted in steps on top of `burn-train`, checkpoints,
//!   `metrics.jsonl`, progress;
//! * [`language`]: the loop that trains language models;
//! * [`plot`]: learning curves of runs; [`tensorboard`]: event files;
//! * `bench`: time and memory of attention and of a training step;
//! * [`cli`]: one subcommand a file.
//!
//! Batches, the run folder, loading, evaluating and drawing come from `transformer-ls-infer`.

#![warn(missing_docs)]

mod bench;
pub mod cli;
pub mod language;
pub mod optim;
pub mod plot;
pub mod tasks;
pub mod tensorboard;
pub mod trainer;
