//! `ls-train bench attention` and `ls-train bench step`

mod attention;
mod progress;
mod step;

use std::collections::HashSet;

use anyhow::bail;
use clap::{Args, Subcommand};
use transformer_ls_infer::typed;

use super::{Done, print};
use crate::bench::BenchError;
use crate::bench::child::{self, Outcome};
use crate::bench::job::{Figures, Job, Path};
use crate::bench::timing::Budget;
use crate::trainer::interrupt;
use progress::Progress;

/// No document is longer (16 million tokens).
const LONGEST: usize = 1 << 24;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Attention alone: this project's, the same in plain tensor operations, and dense softmax
    Attention(attention::AttentionArgs),
    /// A preset's training step, or its forward pass, on documents of full length
    Step(step::StepArgs),
    /// One measurement, for the two others: the job comes on the standard input
    #[command(hide = true)]
    Measure,
}

/// How long to measure, the same for both.
#[derive(Debug, Args)]
struct BudgetArgs {
    /// At most so many timed runs a measurement; the median counts
    #[arg(long, value_name = "N", default_value = "50", value_parser = typed::positive)]
    repeats: usize,
    /// Begin no further run after so many seconds a measurement
    ///
    /// Three runs are made all the same, unless one takes that long.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
}

impl BudgetArgs {
    fn budget(&self) -> Budget {
        Budget {
            repeats: self.repeats,
            seconds: self.seconds,
        }
    }
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Done> {
    match &args.what {
        What::Attention(args) => attention::run(args),
        What::Step(args) => step::run(args),
        What::Measure => print(&(child::answer()? + "\n")),
    }
}

/// A number of tokens: `4096`, `4K`, `1M`.
fn length(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 1 << 10),
        Some((end, 'm' | 'M')) => (&text[..end], 1 << 20),
        _ => (text, 1),
    };
    match digits
        .parse::<usize>()
        .map(|number| number.checked_mul(factor))
    {
        Ok(Some(0)) => Err("has to be at least 1".to_owned()),
        Ok(Some(length)) if length <= LONGEST => Ok(length),
        Ok(_) => Err("has to be at most 16M".to_owned()),
        Err(_) => Err("has to be a whole number, or one followed by K (1024)".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("has to be a number above 0".to_owned()),
    }
}

/// Each value once, in its place; lengths are sorted besides.
fn each_once<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(value) {
            kept.push(*value);
        }
    }
    kept
}

/// Measures `jobs`, whose lengths grow within a path and pass. What is too large, and what dies,
/// is said in a sentence, and longer documents are then left out.
fn measure(
    jobs: &[Job],
    too_large: &dyn Fn(&Job) -> Option<String>,
    take: &mut dyn FnMut(&Job, &Figures, &Progress) -> anyhow::Result<()>,
) -> anyhow::Result<Done> {
    let progress = Progress::start(jobs.len());
    let mut left_out: HashSet<String> = HashSet::new();
    let mut explained: HashSet<Path> = HashSet::new();
    let mut measured = 0;
    interrupt::asked(true);
    for job in jobs {
        let series = series(job);
        if left_out.contains(&series) {
            progress.skip();
            continue;
        }
        progress.begin(&job.label());
        let outcome = match too_large(job) {
            Some(reason) => Outcome::Failed(reason),
            None => child::run(job, &interrupt::requested)?,
        };
        match outcome {
            Outcome::Measured(figures) => {
                if explained.insert(job.path())
                    && let Some(note) = explanation(job.path(), &figures.taken)
                {
                    progress.say(&note);
                }
                take(job, &figures, &progress)?;
                progress.finish(&job.label(), &figures);
                measured += 1;
            }
            Outcome::Failed(reason) => {
                let from = length_of(job);
                progress.skip();
                progress.say(&format!("{series}: left out from n {from} on: {reason}"));
                left_out.insert(series);
            }
            Outcome::Interrupted => {
                interrupt::asked(false);
                progress.clear();
                return Ok(Done::Interrupted);
            }
        }
    }
    interrupt::asked(false);
    progress.clear();
    match measured {
        0 => bail!(BenchError::Nothing),
        _ => Ok(Done::Completely),
    }
}

/// Measurements that differ in length alone.
fn series(job: &Job) -> String {
    match job {
        Job::Attention(job) => format!("{} {}", job.path, job.pass),
        Job::Step(job) => format!("{} {}", job.path, job.pass),
    }
}

fn length_of(job: &Job) -> usize {
    match job {
        Job::Attention(job) => job.shape.n,
        Job::Step(job) => job.n,
    }
}

/// What a path turned out to be on this device, where its name does not say it.
fn explanation(path: Path, (taken, reason): &(String, String)) -> Option<String> {
    match (path, taken.as_str()) {
        (Path::Fused, "plain") => Some(format!("fused takes the plain path here: {reason}")),
        (Path::Fused, _) => Some(format!("fused takes the path {taken} here: {reason}")),
        (Path::Plain | Path::Dense, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_parsed() {
        for (text, tokens) in [("1", 1), ("4K", 4096), ("64k", 65_536), ("1M", 1 << 20)] {
            assert_eq!(length(text), Ok(tokens), "{text}");
        }
        for wrong in [
            "",
            "0",
            "0K",
            "K",
            "-1",
            "1.5K",
            "17M",
            "99999999999999999999M",
            "é",
        ] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
