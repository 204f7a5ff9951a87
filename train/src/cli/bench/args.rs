//! What `ls-train bench` is given.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use transformer_ls_datasets::atomic::Unfinished;
use transformer_ls_infer::drawing::Format;
use transformer_ls_infer::run::{Packing, Precision};
use transformer_ls_infer::typed;

use crate::bench::job::{Pass, Path};

/// No document is longer (16 million tokens).
const LONGEST: usize = 1 << 24;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Attention alone: this project's, the same in plain tensor operations, and dense softmax
    Attention(AttentionArgs),
    /// A preset's training step, or its forward pass, on random documents
    Step(StepArgs),
    /// A language model's training and writing, in characters a second, as a line of JSON
    Lm(LmArgs),
    /// One measurement, for the two others
    #[command(hide = true)]
    Measure {
        /// What to measure, as JSON
        job: String,
    },
}

/// What both are given.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// At most so many timed runs a measurement; the median counts
    #[arg(long, value_name = "N", default_value = "50", value_parser = typed::positive)]
    pub repeats: usize,
    /// Begin no further run after so many seconds a measurement
    ///
    /// Three runs are made all the same, unless one takes that long.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    pub seconds: f64,
    /// Print a line of JSON a measurement
    #[arg(long)]
    pub json: bool,
    /// Time every kernel of a run as well, on a GPU
    #[arg(long)]
    pub profile: bool,
    /// What it is computed in
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub precision: Precision,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ls-train bench attention --n 1K,4K --path fused,plain     The two implementations beside each other
  ls-train bench attention --device wgpu --out bench.svg    On a GPU, with a picture
  ls-train bench attention --attention all --pass forward   What other attentions cost
  ls-train bench attention --json > bench.jsonl             A line of JSON a measurement
  ls-train bench attention --n 4K --path fused --profile    Which kernels a GPU's time goes to")]
pub(super) struct AttentionArgs {
    /// Tokens a document; K stands for 1024
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1K,2K,4K,8K,16K,32K,64K",
        value_parser = length
    )]
    pub n: Vec<usize>,
    /// Documents a batch
    #[arg(long, value_name = "B", default_value = "1", value_parser = length)]
    pub b: usize,
    /// Which implementations
    #[arg(
        long,
        value_name = "PATH,…",
        value_delimiter = ',',
        default_value = "fused,plain,dense"
    )]
    pub path: Vec<Path>,
    /// Instead, attentions of these kinds as modules, with the layers of queries, keys and values; all:
    /// of every kind (`ls-train compare --help` names them)
    #[arg(
        long,
        value_name = "KIND,…",
        value_delimiter = ',',
        conflicts_with = "path"
    )]
    pub attention: Vec<String>,
    /// What is done with them
    #[arg(
        long,
        value_name = "PASS,…",
        value_delimiter = ',',
        default_value = "forward,forward_backward",
        value_parser = one_of(&[Pass::Forward, Pass::ForwardBackward])
    )]
    pub pass: Vec<Pass>,
    /// Heads
    #[arg(long, value_name = "H", default_value = "2", value_parser = length)]
    pub heads: usize,
    /// Width of a head
    #[arg(long, value_name = "D", default_value = "32", value_parser = length)]
    pub head_width: usize,
    /// Landmarks a head; 0: none
    #[arg(long, value_name = "R", default_value = "32", value_parser = size)]
    pub rank: usize,
    /// Window in tokens; 0: none
    #[arg(long, value_name = "W", default_value = "8", value_parser = size)]
    pub window: usize,
    #[command(flatten)]
    pub common: CommonArgs,
    /// Draw time and memory over the number of tokens into this SVG or PNG file
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ls-train bench step --preset text --b 8                   On documents of the preset's length
  ls-train bench step --n 1K,2K,4K --pass forward --json    Shorter and longer ones, forward alone
  ls-train bench step --path fused --profile                Which kernels a GPU's time goes to")]
pub(super) struct StepArgs {
    /// The model: a name from `ls-train presets`
    #[arg(long, value_name = "NAME", default_value = "listops")]
    pub preset: String,
    /// Samples a batch
    #[arg(long, value_name = "B", default_value = "32", value_parser = length)]
    pub b: usize,
    /// Tokens a document; K stands for 1024 [default: the preset's longest]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = length)]
    pub n: Vec<usize>,
    /// Documents of other lengths than full: a file with a batch a line, the lengths of its
    /// documents in tokens
    #[arg(long, value_name = "FILE", conflicts_with_all = ["n", "b"], value_parser = typed::path())]
    pub lengths: Option<PathBuf>,
    /// How documents are put into a batch; auto: what the device does best
    #[arg(long, value_name = "HOW", default_value = "auto", value_enum)]
    pub packing: Packing,
    /// Which implementations of attention
    #[arg(
        long,
        value_name = "PATH,…",
        value_delimiter = ',',
        default_value = "fused,plain",
        value_parser = one_of(&[Path::Fused, Path::Plain])
    )]
    pub path: Vec<Path>,
    /// What is done with the model
    #[arg(
        long,
        value_name = "PASS,…",
        value_delimiter = ',',
        default_value = "train_step,forward",
        value_parser = one_of(&[Pass::TrainStep, Pass::Forward])
    )]
    pub pass: Vec<Pass>,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ls-train bench lm --device flex                           The preset laptop on the CPU
  ls-train bench lm --layers 12 --d-model 512 --heads 8 --d-ff 2048 --window 512 --segment 2K --memory 2K --batch 1")]
pub(super) struct LmArgs {
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// Different characters
    #[arg(long, value_name = "N", default_value = "80", value_parser = length)]
    pub vocabulary: usize,
    /// Width of the rows
    #[arg(long, value_name = "D", default_value = "256", value_parser = length)]
    pub d_model: usize,
    /// Heads
    #[arg(long, value_name = "H", default_value = "4", value_parser = length)]
    pub heads: usize,
    /// Layers
    #[arg(long, value_name = "N", default_value = "4", value_parser = length)]
    pub layers: usize,
    /// Width of the feed-forward layers
    #[arg(long, value_name = "D", default_value = "1024", value_parser = length)]
    pub d_ff: usize,
    /// Characters that a query sees, itself among them
    #[arg(long, value_name = "W", default_value = "128", value_parser = length)]
    pub window: usize,
    /// Characters of a chunk
    #[arg(long, value_name = "C", default_value = "16", value_parser = length)]
    pub chunk: usize,
    /// Landmarks of a chunk, per head
    #[arg(long, value_name = "R", default_value = "1", value_parser = length)]
    pub rank: usize,
    /// Characters of a segment
    #[arg(long, value_name = "N", default_value = "256", value_parser = length)]
    pub segment: usize,
    /// Characters before it that the model still sees
    #[arg(long, value_name = "N", default_value = "256", value_parser = size)]
    pub memory: usize,
    /// Texts a batch of training
    #[arg(long, value_name = "B", default_value = "16", value_parser = length)]
    pub batch: usize,
    /// Dropout in training
    #[arg(long, value_name = "P", default_value = "0")]
    pub dropout: f64,
    /// Steps that count; 0: no training
    #[arg(long, value_name = "N", default_value = "5", value_parser = size)]
    pub steps: usize,
    /// Characters to write, the first hundred not counted; 0: none
    #[arg(long, value_name = "N", default_value = "10K", value_parser = size)]
    pub characters: usize,
    /// Time every kernel of a training step as well, on a GPU
    #[arg(long)]
    pub profile: bool,
}

/// Takes some of the values of an option, by their names.
fn one_of<T>(values: &'static [T]) -> impl TypedValueParser<Value = T>
where
    T: ValueEnum + Send + Sync + 'static,
{
    let names = values.iter().filter_map(T::to_possible_value);
    PossibleValuesParser::new(names).try_map(|name| T::from_str(&name, false))
}

/// A size, such as a number of tokens: `0`, `4096`, `4K`, `1M`.
fn size(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 1 << 10),
        Some((end, 'm' | 'M')) => (&text[..end], 1 << 20),
        _ => (text, 1),
    };
    match digits
        .parse::<usize>()
        .map(|number| number.checked_mul(factor))
    {
        Ok(Some(size)) if size <= LONGEST => Ok(size),
        Ok(_) => Err("has to be at most 16M".to_owned()),
        Err(_) => Err("has to be a whole number, or one followed by K (1024)".to_owned()),
    }
}

/// The same from 1 on.
fn length(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("has to be at least 1".to_owned()),
        length => Ok(length),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("has to be a number above 0".to_owned()),
    }
}

/// The lengths of a file: a batch a line, a length for each of its documents, of which a sample has
/// `per_sample` and none has more than `longest` tokens.
pub(super) fn read_lengths(
    file: &FilePath,
    per_sample: usize,
    longest: usize,
) -> anyhow::Result<Vec<Vec<usize>>> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let mut batches = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let lengths = line.split_whitespace().map(str::parse);
        let lengths: Vec<usize> = lengths.collect::<Result<_, _>>().unwrap_or_default();
        ensure!(
            !lengths.is_empty()
                && lengths.len().is_multiple_of(per_sample)
                && lengths.iter().all(|length| (1..=longest).contains(length)),
            "{name}: line {number} has to hold lengths from 1 to {longest}, {per_sample} for each \
             sample, with spaces in between"
        );
        batches.push(lengths);
    }
    ensure!(
        !batches.is_empty(),
        "{name} is empty: write the lengths of a batch's documents into each line"
    );
    Ok(batches)
}

/// Checks before the measurements that the picture can be written.
pub(super) fn check_out(out: &FilePath) -> anyhow::Result<()> {
    Format::of(out)?;
    if out.is_dir() {
        bail!("{} is a folder: give the name of a file", out.display());
    }
    if let Err(error) = Unfinished::new(out) {
        let advice = match error.kind() {
            ErrorKind::NotFound => "Make its folder first, or give another name",
            _ => "Give a name elsewhere",
        };
        bail!(
            "cannot write {}: {error}. {advice} with --out",
            out.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_parsed() {
        for (text, tokens) in [("1", 1), ("4K", 4096), ("64k", 65_536), ("1M", 1 << 20)] {
            assert_eq!(length(text), Ok(tokens), "{text}");
        }
        let too_large = "99999999999999999999M";
        for wrong in ["", "0", "0K", "K", "-1", "1.5K", "17M", too_large, "é"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
