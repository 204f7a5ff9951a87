//! Training Long-Short Transformers: Long Range Arena protocols and the `ls-train` command.
//!
//! The crate goes from a parsed command line to a finished run folder:
//!
//! * [`tasks`]: what a task is made of, one [`Protocol`](tasks::Protocol) a file;
//! * [`optim`]: AdamW with a cycled β₁ and the linear one-cycle schedule;
//! * [`trainer`]: the loop counted in steps on top of `burn-train`, checkpoints,
//!   `metrics.jsonl`, progress;
//! * [`plot`]: learning curves of runs;
//! * [`bench`](mod@bench): time and memory of attention and of a training step;
//! * [`cli`]: one subcommand a file.
//!
//! Batches, the run folder, loading and evaluating come from `transformer-ls-infer`:
//! evaluating is inferring.

#![warn(missing_docs)]

pub mod bench;
pub mod cli;
pub mod optim;
pub mod plot;
pub mod tasks;
pub mod trainer;
