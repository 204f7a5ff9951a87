//! `ls-train bench attention` and `ls-train bench step`

mod attention;
mod progress;
mod step;

use std::collections::HashSet;

use anyhow::bail;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use transformer_ls_infer::device::ChosenDevice;
use transformer_ls_infer::typed;

use super::{Done, print};
use crate::bench::BenchError;
use crate::bench::child::{self, Outcome};
use crate::bench::job::{Job, Line, Pass, Path, Subject};
use crate::bench::limits::{bytes, refusal};
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
    /// One measurement, for the two others
    #[command(hide = true)]
    Measure {
        /// What to measure, as JSON
        job: Option<String>,
    },
}

/// What both are given.
#[derive(Debug, Args)]
struct CommonArgs {
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// At most so many timed runs a measurement; the median counts
    #[arg(long, value_name = "N", default_value = "50", value_parser = typed::positive)]
    repeats: usize,
    /// Begin no further run after so many seconds a measurement
    ///
    /// Three runs are made all the same, unless one takes that long.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Print a line of JSON a measurement
    #[arg(long)]
    json: bool,
}

impl CommonArgs {
    /// A measurement for each of these passes, paths and lengths, which grow.
    fn jobs(
        &self,
        chosen: &ChosenDevice,
        subject: &Subject,
        b: usize,
        (passes, paths, lengths): (&[Pass], &[Path], &[usize]),
    ) -> Vec<Job> {
        let mut lengths = each_once(lengths);
        lengths.sort_unstable();
        let mut jobs = Vec::new();
        for pass in each_once(passes) {
            for path in each_once(paths) {
                jobs.extend(lengths.iter().map(|&n| Job {
                    device: chosen.name.clone(),
                    path,
                    pass,
                    subject: subject.clone(),
                    b,
                    n,
                    budget: Budget {
                        repeats: self.repeats,
                        seconds: self.seconds,
                    },
                }));
            }
        }
        jobs
    }
}

/// Takes some of the values of an option, by their names.
fn one_of<T>(values: &'static [T]) -> impl TypedValueParser<Value = T>
where
    T: ValueEnum + Send + Sync + 'static,
{
    let names = values.iter().filter_map(T::to_possible_value);
    PossibleValuesParser::new(names).try_map(|name| T::from_str(&name, false))
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Done> {
    match &args.what {
        What::Attention(args) => attention::run(args),
        What::Step(args) => step::run(args),
        What::Measure { job } => print(&(child::answer(job.as_deref())? + "\n")),
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
fn measure(jobs: &[Job], chosen: &ChosenDevice, json: bool) -> anyhow::Result<(Done, Vec<Line>)> {
    let progress = Progress::start(jobs.len());
    let mut left_out: HashSet<String> = HashSet::new();
    let mut explained: HashSet<Path> = HashSet::new();
    let mut lines = Vec::new();
    let mut done = Done::Completely;
    interrupt::asked(true);
    for job in jobs {
        let series = job.series();
        if left_out.contains(&series) {
            progress.skip();
            continue;
        }
        progress.begin(&job.label());
        let outcome = match refusal(job, chosen) {
            Some(reason) => Outcome::Failed(reason),
            None => child::run(job, &interrupt::requested)?,
        };
        match outcome {
            Outcome::Measured(figures) => {
                if explained.insert(job.path)
                    && let Some(note) = explanation(job.path, &figures.taken)
                {
                    progress.say(&note);
                }
                let line = Line::new(job, chosen, &figures);
                if json {
                    let text = serde_json::to_string(&line)? + "\n";
                    progress.aside(|| print(&text))?;
                }
                progress.finish(&job.label(), &figures.timing);
                lines.push(line);
            }
            Outcome::Failed(reason) => {
                progress.skip();
                progress.say(&format!("{series}: left out from n {} on: {reason}", job.n));
                left_out.insert(series);
            }
            Outcome::Interrupted => {
                done = Done::Interrupted;
                break;
            }
        }
    }
    interrupt::asked(false);
    progress.clear();
    match (done, lines.len()) {
        (Done::Completely, 0) => bail!(BenchError::Nothing),
        _ => Ok((done, lines)),
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

/// The memory of a line of a table.
fn peak(line: &Line) -> String {
    line.peak_bytes
        .map_or("-".to_owned(), |peak| bytes(peak as f64))
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
