//! `ls-train bench attention`, `ls-train bench step` and `ls-train bench lm`

mod args;

use std::collections::HashSet;

use anyhow::{bail, ensure};
use transformer_ls_burn::attention::{AttentionConfig, LongShortAttentionConfig};
use transformer_ls_burn::ops::attention_path;
use transformer_ls_burn::{LanguageModelConfig, presets};
use transformer_ls_infer::device::{self, ChosenDevice, KernelTime};
use transformer_ls_infer::drawing::Format;
use transformer_ls_infer::run::{Precision, TrainingConfig, write_atomically};

use super::table::{Side, table};
use super::{Done, print};
use crate::bench::job::{Budget, Job, Line, Pass, Path, Sizes, Subject};
use crate::bench::limits::refusal;
use crate::bench::{language, picture, process, step};
use crate::trainer::progress::{bar, bytes, rate, say_aside, three_figures};
use crate::trainer::{check_precision, interrupt};
pub(super) use args::BenchArgs;
use args::{AttentionArgs, CommonArgs, LmArgs, StepArgs, What};

const LEGEND: &str = "
fused    this project's attention as the device computes it (ls-train devices)
plain    the same in Burn's tensor operations
dense    softmax attention of every token to every token, in Burn's tensor operations
peak     the most memory in use: reserved on a device with memory of its own, else the process's
floor    the time that the device needs to move the inputs and outputs, at the bandwidth of a copy
";

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Done> {
    match &args.what {
        What::Attention(args) => attention(args),
        What::Step(args) => training_step(args),
        What::Lm(args) => language_model(args),
        What::Measure { job } => print(&process::answer(job)?),
    }
}

fn attention(args: &AttentionArgs) -> anyhow::Result<Done> {
    ensure!(
        args.rank > 0 || args.window > 0,
        "without landmarks (--rank 0) and without window (--window 0) attention sees nothing: give one of them"
    );
    args.out.as_deref().map_or(Ok(()), args::check_out)?;
    let sizes = Sizes {
        h: args.heads,
        d: args.head_width,
        r: args.rank,
        w: args.window,
    };
    let kinds = kinds(args)?;
    let subjects: Vec<(Path, Subject)> = match kinds.is_empty() {
        true => {
            let paths = args.path.iter();
            paths
                .map(|&path| (path, Subject::Attention(sizes)))
                .collect()
        }
        false => {
            let kinds = kinds.into_iter();
            kinds
                .map(|module| (Path::Fused, Subject::Module { module }))
                .collect()
        }
    };
    let (done, lines) = measure(&args.common, &subjects, args.b, (&args.pass, &args.n))?;
    if !args.common.json && !lines.is_empty() {
        let text = match args.attention.is_empty() {
            true => {
                let columns = [PATH, PASS, N, MS, GFLOPS, PEAK, FLOOR, TIMES_FLOOR];
                for_people(&lines, &columns) + LEGEND
            }
            false => for_people(&lines, &[KIND, PASS, N, MS, GFLOPS, PEAK]),
        };
        print(&(text + &kernels(&lines)))?;
    }
    if let (Some(out), Done::Completely) = (&args.out, done) {
        write_atomically(out, &Format::of(out)?.encode(picture::svg(&lines)?)?)?;
        say_aside(&format!("wrote {}", out.display()));
    }
    Ok(done)
}

/// The attentions that `--attention` names, as large as the other options say where a kind has such a
/// size.
fn kinds(args: &AttentionArgs) -> anyhow::Result<Vec<AttentionConfig>> {
    ensure!(
        args.attention.is_empty() || args.common.precision == Precision::F32,
        "attentions of other kinds are measured in float32: leave out --precision"
    );
    let sizes = LongShortAttentionConfig::new(args.heads * args.head_width, args.heads)
        .with_window(args.window)
        .with_rank(args.rank);
    let sizes = AttentionConfig::from(sizes);
    let all: Vec<&str> = AttentionConfig::kinds().collect();
    let named = args.attention.iter().flat_map(|name| match name.as_str() {
        "all" => all.clone(),
        name => vec![name],
    });
    let longest = args.n.iter().copied().max().unwrap_or(1);
    let read = |name: &str| {
        let kind = sizes
            .to_kind(&name.replace('-', "_"))?
            .with_longest(longest);
        kind.validate()?;
        anyhow::Ok(kind)
    };
    named
        .map(|name| read(name).map_err(|error| anyhow::anyhow!("--attention {name}: {error}")))
        .collect()
}

fn training_step(args: &StepArgs) -> anyhow::Result<Done> {
    let mut lengths = args.n.clone();
    if lengths.is_empty() {
        let preset = presets::find(&args.preset);
        lengths.push(preset.map_or(1, |preset| preset.model.encoder.embedding.max_length));
    }
    lengths.sort_unstable();
    let mut documents = Vec::new();
    let mut b = args.b;
    for &n in &lengths {
        let model = step::model(&args.preset, n)?;
        if let Some(file) = &args.lengths {
            documents = args::read_lengths(file, step::documents_a_sample(&model), n)?;
            b = documents[0].len() / step::documents_a_sample(&model);
        }
    }
    let subject = Subject::Step {
        preset: args.preset.clone(),
        packing: args.packing,
        lengths: documents,
    };
    let paths = args.path.iter();
    let subjects: Vec<_> = paths.map(|&path| (path, subject.clone())).collect();
    let (done, lines) = measure(&args.common, &subjects, b, (&args.pass, &lengths))?;
    if !args.common.json && !lines.is_empty() {
        let columns = [PATH, PASS, N, MS, TOKENS, PEAK];
        print(&(for_people(&lines, &columns) + &kernels(&lines)))?;
    }
    Ok(done)
}

/// A line of JSON: what was measured, and the figures.
fn language_model(args: &LmArgs) -> anyhow::Result<Done> {
    let chosen = device::resolve(&args.device)?;
    check_profile(args.profile, &chosen)?;
    let model = LanguageModelConfig {
        vocab_size: args.vocabulary,
        d_model: args.d_model,
        heads: args.heads,
        layers: args.layers,
        d_ff: args.d_ff,
        window: args.window,
        chunk: args.chunk,
        rank: args.rank,
        dropout: args.dropout,
        ..LanguageModelConfig::default()
    };
    model
        .validate()
        .map_err(|error| anyhow::anyhow!("{error}: choose another size"))?;
    ensure!(
        args.memory.is_multiple_of(args.chunk),
        "--memory {} has to be made of whole chunks of {} characters (--chunk)",
        args.memory,
        args.chunk
    );
    let characters = args.characters;
    ensure!(
        characters == 0 || characters >= 2 * language::UNCOUNTED,
        "--characters has to be 0 or at least {}: the first hundred are not counted",
        2 * language::UNCOUNTED
    );
    ensure!(
        !args.profile || args.steps > 0,
        "--profile times a step of training: give --steps 1 or more"
    );
    let work = language::Work {
        model,
        segment: args.segment,
        memory: args.memory,
        batch: args.batch,
        steps: args.steps,
        characters,
        profile: args.profile,
    };
    let figures = language::measure(&work, &chosen.device)?;
    let line = serde_json::json!({
        "device": chosen.name,
        "adapter": chosen.adapter,
        "model": work.model,
        "segment": work.segment,
        "memory": work.memory,
        "batch": work.batch,
        "figures": figures,
    });
    print(&format!("{line}\n"))
}

fn check_profile(profile: bool, chosen: &ChosenDevice) -> anyhow::Result<()> {
    ensure!(
        !profile || device::is_cubecl(&chosen.device),
        "{} has no kernels to tell apart: give the name of a GPU with --device, or leave out --profile",
        chosen.name
    );
    Ok(())
}

/// Measures every combination, shorter documents first. What is too large, and what dies, is said
/// in a sentence, and longer documents are then left out.
fn measure(
    common: &CommonArgs,
    subjects: &[(Path, Subject)],
    b: usize,
    (passes, lengths): (&[Pass], &[usize]),
) -> anyhow::Result<(Done, Vec<Line>)> {
    let chosen = device::resolve(&common.device)?;
    check_profile(common.profile, &chosen)?;
    let precision = common.precision;
    let training = TrainingConfig {
        precision,
        ..TrainingConfig::default()
    };
    check_precision(&training, &chosen)?;
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    let mut jobs: Vec<Job> = Vec::new();
    for &pass in passes {
        for (path, subject) in subjects {
            for &n in &lengths {
                let job = Job {
                    device: chosen.name.clone(),
                    adapter: chosen.adapter.clone(),
                    path: *path,
                    pass,
                    b,
                    n,
                    precision,
                    profile: common.profile,
                    subject: subject.clone(),
                };
                if !jobs.contains(&job) {
                    jobs.push(job);
                }
            }
        }
    }
    let budget = Budget {
        repeats: common.repeats,
        seconds: common.seconds,
    };
    let bar = bar(jobs.len() as u64, "measuring");
    let say = |line: &str| bar.suspend(|| say_aside(line));
    let is_fused = |(path, subject): &(Path, Subject)| {
        *path == Path::Fused && !matches!(subject, Subject::Module { .. })
    };
    if subjects.iter().any(is_fused) {
        let taken = attention_path(&chosen.device);
        let (kind, reason) = (taken.kind, taken.reason);
        say(&format!("fused takes the path {kind} here: {reason}"));
    }
    let mut left_out = HashSet::new();
    let mut lines = Vec::new();
    let mut done = Done::Completely;
    interrupt::asked(true);
    for job in &jobs {
        let (label, series) = (job.label(), job.series());
        bar.set_message(format!("measuring {label}"));
        let measured = match refusal(job, &chosen) {
            _ if left_out.contains(&series) => {
                bar.inc(1);
                continue;
            }
            Some(reason) => Err(anyhow::anyhow!(reason)),
            None => process::measure(job, &budget, &say),
        };
        bar.inc(1);
        match measured {
            Ok(Some(line)) => {
                if common.json {
                    let text = serde_json::to_string(&line)? + "\n";
                    bar.suspend(|| print(&text))?;
                }
                if bar.is_hidden() {
                    let (place, count) = (bar.position(), jobs.len());
                    let (ms, peak) = ((MS.2)(&line), (PEAK.2)(&line));
                    say(&format!("{place}/{count} {label}: {ms} ms, {peak}"));
                }
                lines.push(line);
            }
            Ok(None) => {
                done = Done::Interrupted;
                break;
            }
            Err(reason) => {
                say(&format!("{series}: left out from n {} on: {reason}", job.n));
                left_out.insert(series);
            }
        }
    }
    interrupt::asked(false);
    bar.finish_and_clear();
    if done == Done::Completely && lines.is_empty() {
        bail!("nothing could be measured: ask for shorter documents (--n) or fewer of them (--b)");
    }
    Ok((done, lines))
}

/// A column of a table: its heading, its side, and what a line has there.
type Column = (&'static str, Side, fn(&Line) -> String);

const PATH: Column = ("path", Side::Left, |line| line.job.path.to_string());
const KIND: Column = ("attention", Side::Left, |line| line.job.variant());
const PASS: Column = ("pass", Side::Left, |line| line.job.pass.to_string());
const N: Column = ("n", Side::Right, |line| line.job.n.to_string());
const MS: Column = ("ms", Side::Right, |line| three_figures(line.milliseconds));
const GFLOPS: Column = ("GFLOP/s", Side::Right, |line| figure(line.gflops));
const TOKENS: Column = ("tokens/s", Side::Right, |line| {
    line.tokens_per_second.map_or_else(String::new, rate)
});
const PEAK: Column = ("peak", Side::Right, |line| {
    let peak = line.peak_bytes.map(|peak| bytes(peak as f64));
    peak.unwrap_or_else(|| "-".to_owned())
});
const FLOOR: Column = ("floor ms", Side::Right, |line| {
    figure(line.floor_milliseconds)
});
const TIMES_FLOOR: Column = ("ms / floor", Side::Right, |line| {
    figure(
        line.floor_milliseconds
            .map(|floor| line.milliseconds / floor),
    )
});

fn figure(number: Option<f64>) -> String {
    number.map_or("-".to_owned(), three_figures)
}

fn for_people(lines: &[Line], columns: &[Column]) -> String {
    let heading = lines
        .first()
        .map_or_else(String::new, |line| line.job.heading());
    let headings: Vec<_> = columns
        .iter()
        .map(|(name, side, _)| (*name, *side))
        .collect();
    let row = |line: &Line| columns.iter().map(|(_, _, cell)| cell(line)).collect();
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    heading + "\n\n" + &table(&headings, &rows)
}

/// What the kernels of each profiled run took, a table a run.
fn kernels(lines: &[Line]) -> String {
    let profiled = lines.iter().filter(|line| !line.kernels.is_empty());
    profiled.map(kernels_of).collect()
}

fn kernels_of(line: &Line) -> String {
    let seconds: f64 = line.kernels.iter().map(|kernel| kernel.seconds).sum();
    let launches: usize = line.kernels.iter().map(|kernel| kernel.launches).sum();
    let row = |kernel: &KernelTime| {
        let bytes = kernel.bytes.map(|bytes| bytes as f64);
        let floor = bytes.zip(line.bytes_per_second).map(|(b, rate)| b / rate);
        let percent = |part: f64, whole: f64| format!("{:.1}", 100.0 * part / whole);
        // Burn's types name all that they are made of.
        let name: Vec<_> = kernel.name.split(" | ").take(2).collect();
        vec![
            name.join(" "),
            kernel.launches.to_string(),
            three_figures(kernel.seconds * 1e3),
            percent(kernel.seconds, seconds),
            figure(bytes.map(|bytes| bytes / 1e6)),
            floor.map_or("-".to_owned(), |floor| percent(floor, kernel.seconds)),
        ]
    };
    let rows: Vec<_> = line.kernels.iter().map(row).collect();
    let headings = [
        ("kernel", Side::Left),
        ("launches", Side::Right),
        ("ms", Side::Right),
        ("% of all", Side::Right),
        ("MB", Side::Right),
        ("% of copy", Side::Right),
    ];
    let heading = format!(
        "\n{}: {launches} launches, {} ms on the device, which copies {}/s\n\n",
        line.job.label(),
        three_figures(seconds * 1e3),
        bytes(line.bytes_per_second.unwrap_or(0.0)),
    );
    heading + &table(&headings, &rows) + PROFILE_LEGEND
}

const PROFILE_LEGEND: &str = "
MB           what the launches have to move, each tensor once; known of this project's shaders
% of copy    how near that comes to the speed at which the device copies
";
