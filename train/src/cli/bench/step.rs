//! `ls-train bench step`

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use transformer_ls_burn::presets;
use transformer_ls_infer::device;

use super::progress::three_figures;
use super::{BudgetArgs, each_once, length, measure};
use crate::bench::job::{Job, Path, StepJob, StepLine, StepPass};
use crate::bench::limits::{bytes, free_bytes, least_step_bytes, too_large};
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
        value_parser = PossibleValuesParser::new(["fused", "plain"]).map(|name| match name.as_str() {
            "plain" => Path::Plain,
            _ => Path::Fused,
        })
    )]
    path: Vec<Path>,
    /// What is done with the model
    #[arg(
        long,
        value_name = "PASS,…",
        value_delimiter = ',',
        default_value = "train_step,forward"
    )]
    pass: Vec<StepPass>,
    /// A name from `ls-train devices`; auto: a GPU if any, else the CPU
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    #[command(flatten)]
    budget: BudgetArgs,
    /// Print a line of JSON a measurement
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StepArgs) -> anyhow::Result<Done> {
    let mut lengths = each_once(&args.n);
    lengths.sort_unstable();
    if lengths.is_empty() {
        let longest = presets::find(&args.preset)
            .map_or(1, |preset| preset.model.encoder.embedding.max_length);
        lengths.push(longest);
    }
    let mut documents = 1;
    for &n in &lengths {
        documents = if model(&args.preset, n)?.pair { 2 } else { 1 };
    }
    let chosen = device::resolve(&args.device)?;
    let mut jobs = Vec::new();
    for pass in each_once(&args.pass) {
        for path in each_once(&args.path) {
            for &n in &lengths {
                jobs.push(Job::Step(StepJob {
                    device: chosen.name.clone(),
                    path,
                    pass,
                    preset: args.preset.clone(),
                    b: args.b,
                    n,
                    budget: args.budget.budget(),
                }));
            }
        }
    }
    let mut lines: Vec<StepLine> = Vec::new();
    let too_large = |job: &Job| match job {
        Job::Step(job) => {
            let model = model(&job.preset, job.n).ok()?;
            let needed = least_step_bytes(job.pass, &model, job.b);
            too_large(needed, &chosen, free_bytes())
        }
        Job::Attention(_) => None,
    };
    let done = measure(&jobs, &too_large, &mut |job, figures, progress| {
        let Job::Step(job) = job else {
            return Ok(());
        };
        let line = StepLine::new(job, documents, &chosen, figures);
        if args.json {
            let text = serde_json::to_string(&line)? + "\n";
            progress.aside(|| print(&text))?;
        }
        lines.push(line);
        Ok(())
    })?;
    if !args.json && !lines.is_empty() {
        print(&for_people(&lines))?;
    }
    Ok(done)
}

fn for_people(lines: &[StepLine]) -> String {
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
                rate(line.tokens_per_second),
                line.peak_bytes
                    .map_or("-".to_owned(), |peak| bytes(peak as f64)),
            ]
        })
        .collect();
    let heading = lines.first().map_or_else(String::new, |line| {
        format!(
            "preset {} on {} ({}): batch {}, documents of full length\n\n",
            line.preset, line.device, line.adapter, line.b
        )
    });
    heading + &table(&columns, &rows)
}
