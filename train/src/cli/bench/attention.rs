//! `ls-train bench attention`

use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};

use anyhow::bail;
use clap::Args;
use transformer_ls_datasets::atomic::Unfinished;
use transformer_ls_infer::device;
use transformer_ls_infer::run::write_atomically;
use transformer_ls_infer::typed;

use super::progress::three_figures;
use super::{CommonArgs, length, measure, one_of, peak};
use crate::bench::job::{Line, Pass, Path, Sizes, Subject};
use crate::bench::picture;
use crate::cli::table::{Side, table};
use crate::cli::{Done, print};
use crate::drawing::Format;
use crate::trainer::progress::say_aside;

const LEGEND: &str = "
fused    this project's attention as the device computes it (ls-train devices)
plain    the same in Burn's tensor operations
dense    softmax attention of every token to every token, in Burn's tensor operations
peak     the most memory in use: reserved on a device with memory of its own, else the process's
floor    the time that the device needs to move the inputs and outputs, at the bandwidth of a copy
";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ls-train bench attention --n 1K,4K --path fused,plain     The two implementations beside each other
  ls-train bench attention --device wgpu --out bench.svg    On a GPU, with a picture
  ls-train bench attention --json > bench.jsonl             A line of JSON a measurement")]
pub(super) struct AttentionArgs {
    /// Tokens a document; K stands for 1024
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1K,2K,4K,8K,16K,32K,64K",
        value_parser = length
    )]
    n: Vec<usize>,
    /// Documents a batch
    #[arg(long, value_name = "B", default_value = "1", value_parser = length)]
    b: usize,
    /// Which implementations
    #[arg(
        long,
        value_name = "PATH,…",
        value_delimiter = ',',
        default_value = "fused,plain,dense"
    )]
    path: Vec<Path>,
    /// What is done with them
    #[arg(
        long,
        value_name = "PASS,…",
        value_delimiter = ',',
        default_value = "forward,forward_backward",
        value_parser = one_of(&[Pass::Forward, Pass::ForwardBackward])
    )]
    pass: Vec<Pass>,
    /// Heads
    #[arg(long, value_name = "H", default_value = "2", value_parser = typed::positive)]
    heads: usize,
    /// Width of a head
    #[arg(long, value_name = "D", default_value = "32", value_parser = typed::positive)]
    head_width: usize,
    /// Landmarks a head; 0: none
    #[arg(long, value_name = "R", default_value = "32")]
    rank: usize,
    /// Window in tokens; 0: none
    #[arg(long, value_name = "W", default_value = "8")]
    window: usize,
    #[command(flatten)]
    common: CommonArgs,
    /// Draw time and memory over the number of tokens into this SVG or PNG file
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &AttentionArgs) -> anyhow::Result<Done> {
    check(args)?;
    let chosen = device::resolve(&args.common.device)?;
    let subject = Subject::Attention(Sizes {
        h: args.heads,
        d: args.head_width,
        r: args.rank,
        w: args.window,
    });
    let wanted = (&args.pass[..], &args.path[..], &args.n[..]);
    let jobs = args.common.jobs(&chosen, &subject, args.b, wanted);
    let (done, lines) = measure(&jobs, &chosen, args.common.json)?;
    if !args.common.json && !lines.is_empty() {
        print(&for_people(&lines))?;
    }
    if let (Some(out), Done::Completely) = (&args.out, done) {
        write_atomically(out, &Format::of(out)?.encode(picture::svg(&lines)?)?)?;
        say_aside(&format!("wrote {}", out.display()));
    }
    Ok(done)
}

/// Everything that can be wrong with the command line, before anybody waits.
fn check(args: &AttentionArgs) -> anyhow::Result<()> {
    if args.rank == 0 && args.window == 0 {
        bail!(
            "without landmarks (--rank 0) and without window (--window 0) attention sees nothing: give one of them"
        );
    }
    for (option, size) in [
        ("--heads", args.heads),
        ("--head-width", args.head_width),
        ("--rank", args.rank),
        ("--window", args.window),
    ] {
        if size > super::LONGEST {
            bail!(
                "{option} {size} is too much: give at most {}",
                super::LONGEST
            );
        }
    }
    args.out.as_deref().map_or(Ok(()), check_out)
}

/// That the picture can be written where it is to go.
fn check_out(out: &FilePath) -> anyhow::Result<()> {
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

fn for_people(lines: &[Line]) -> String {
    let columns = [
        ("path", Side::Left),
        ("pass", Side::Left),
        ("n", Side::Right),
        ("ms", Side::Right),
        ("GFLOP/s", Side::Right),
        ("peak", Side::Right),
        ("floor ms", Side::Right),
        ("ms / floor", Side::Right),
    ];
    let figure = |number: Option<f64>| number.map_or("-".to_owned(), three_figures);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let floor = line.floor_milliseconds;
            vec![
                line.path.to_string(),
                line.pass.to_string(),
                line.n.to_string(),
                three_figures(line.milliseconds),
                figure(line.gflops),
                peak(line),
                figure(floor),
                figure(floor.map(|floor| line.milliseconds / floor)),
            ]
        })
        .collect();
    let heading = lines.first().map_or_else(String::new, Line::heading);
    heading + "\n\n" + &table(&columns, &rows) + LEGEND
}
