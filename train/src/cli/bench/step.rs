//! `ls-train bench step`

use clap::Args;
use transformer_ls_burn::presets;
use transformer_ls_infer::device;

use super::progress::three_figures;
use super::{CommonArgs, length, measure, one_of, peak};
use crate::bench::job::{Line, Pass, Path, Subject};
use crate::bench::step::model;
use crate::cli::table::{Side, table};
use crate::cli::{Done, print};
use crate::trainer::progress::rate;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ls-train bench step --preset text --b 8                   On documents of the preset's length
  ls-train bench step --n 1K,2K,4K --pass forward --json    Shorter and longer ones, forward alone")]
pub(super) struct StepArgs {
    /// The model: a name from `ls-train presets`
    #[arg(long, value_name = "NAME", default_value = "listops")]
    preset: String,
    /// Samples a batch
    #[arg(long, value_name = "B", default_value = "32", value_parser = length)]
    b: usize,
    /// Tokens a document; K stands for 1024 [default: the preset's longest]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = length)]
    n: Vec<usize>,
    /// Which implementations of attention
    #[arg(
        long,
        value_name = "PATH,…",
        value_delimiter = ',',
        default_value = "fused,plain",
        value_parser = one_of(&[Path::Fused, Path::Plain])
    )]
    path: Vec<Path>,
    /// What is done with the model
    #[arg(
        long,
        value_name = "PASS,…",
        value_delimiter = ',',
        default_value = "train_step,forward",
        value_parser = one_of(&[Pass::TrainStep, Pass::Forward])
    )]
    pass: Vec<Pass>,
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: &StepArgs) -> anyhow::Result<Done> {
    let mut lengths = args.n.clone();
    if lengths.is_empty() {
        let longest = presets::find(&args.preset)
            .map_or(1, |preset| preset.model.encoder.embedding.max_length);
        lengths.push(longest);
    }
    lengths.sort_unstable();
    let mut documents = 1;
    for &n in &lengths {
        documents = if model(&args.preset, n)?.pair { 2 } else { 1 };
    }
    let chosen = device::resolve(&args.common.device)?;
    let subject = Subject::Step {
        preset: args.preset.clone(),
        documents,
    };
    let wanted = (&args.pass[..], &args.path[..], &lengths[..]);
    let jobs = args.common.jobs(&chosen, &subject, args.b, wanted);
    let (done, lines) = measure(&jobs, &chosen, args.common.json)?;
    if !args.common.json && !lines.is_empty() {
        print(&for_people(&lines))?;
    }
    Ok(done)
}

fn for_people(lines: &[Line]) -> String {
    let columns = [
        ("path", Side::Left),
        ("pass", Side::Left),
        ("n", Side::Right),
        ("ms", Side::Right),
        ("tokens/s", Side::Right),
        ("peak", Side::Right),
    ];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.path.to_string(),
                line.pass.to_string(),
                line.n.to_string(),
                three_figures(line.milliseconds),
                line.tokens_per_second.map_or_else(String::new, rate),
                peak(line),
            ]
        })
        .collect();
    let heading = lines.first().map_or_else(String::new, Line::heading);
    heading + "\n\n" + &table(&columns, &rows)
}
