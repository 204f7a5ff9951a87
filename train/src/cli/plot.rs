//! `ls-train plot RUN… --out curve.svg|curve.png`

use std::path::{Path, PathBuf};

use clap::Args;
use transformer_ls_infer::drawing::Format;
use transformer_ls_infer::language::LanguageFolder;
use transformer_ls_infer::run::{ConfigError, RunError, RunFolder, write_atomically};
use transformer_ls_infer::typed;

use super::Done;
use crate::plot::{Curve, Lines, PlotError, svg};
use crate::trainer::progress::say;

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// The run folders, a pair of curves (train and dev) each
    #[arg(required = true, value_name = "RUN", value_parser = typed::path())]
    runs: Vec<PathBuf>,
    /// The picture to write, as SVG or PNG by its ending
    #[arg(long, value_name = "FILE", default_value = "curve.svg", value_parser = typed::path())]
    out: PathBuf,
}

pub(super) fn run(args: &PlotArgs) -> anyhow::Result<Done> {
    let format = Format::of(&args.out)?;
    let curves: Result<Vec<Curve>, anyhow::Error> =
        args.runs.iter().map(|run| curve(run)).collect();
    write_atomically(&args.out, &format.encode(svg(&curves?)?)?)?;
    say(&format!("wrote {}", args.out.display()));
    Ok(Done::Completely)
}

fn curve(path: &Path) -> anyhow::Result<Curve> {
    let curve = match RunFolder::open(path) {
        Err(RunError::Config(ConfigError::OtherKind { .. })) => Curve {
            name: name(path),
            lines: Lines::Language(LanguageFolder::open(path)?.read_metrics()?),
        },
        run => of_classifier(path, &run?)?,
    };
    match curve.is_empty() {
        true => Err(PlotError::Empty(path.to_owned()).into()),
        false => Ok(curve),
    }
}

fn of_classifier(path: &Path, run: &RunFolder) -> anyhow::Result<Curve> {
    let lines = run.read_metrics()?;
    Ok(Curve {
        name: match &run.config().init {
            Some(init) => format!("{} (from {})", name(path), name(&init.run)),
            None => name(path),
        },
        lines: match run.config().pretraining {
            Some(_) => Lines::FillingIn(lines),
            None => Lines::Classifying(lines),
        },
    })
}

/// `runs/x/` and `runs/x` are called x both.
fn name(run: &Path) -> String {
    let last = run.components().next_back();
    last.map(|name| name.as_os_str().to_string_lossy().into_owned())
        .unwrap_or_default()
}
