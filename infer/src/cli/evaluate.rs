//! `ls-infer evaluate`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use transformer_ls_datasets::Split;
use transformer_ls_infer::evaluate::{Evaluation, evaluate};
use transformer_ls_infer::task::{self, Watch};
use transformer_ls_infer::typed;

use super::live::LiveLine;
use super::options::{DeviceOption, predictor};

/// Find out how many samples of a split a model gets right
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// The run folder; without one, the small ListOps model that comes with the program
    #[arg(value_name = "RUN", value_parser = typed::path())]
    run: Option<PathBuf>,
    /// The part of the data: train, dev or test
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Test)]
    split: Split,
    /// The folder with the data, or an archive of it [default: that which the run was trained on]
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    data: Option<PathBuf>,
    /// Write the result as a JSON object
    #[arg(long)]
    json: bool,
    /// Samples that are computed at once [default: as the run evaluated]
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    batch_size: Option<usize>,
    #[command(flatten)]
    device: DeviceOption,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    split: Split,
    device: &'a str,
    adapter: &'a str,
    #[serde(flatten)]
    evaluation: Evaluation,
}

impl Evaluate {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let device = self.device.resolve()?;
        let (predictor, name) = predictor(self.run.as_deref(), &device)?;
        let config = predictor.config();
        let dir = self.data.as_deref().unwrap_or(&config.data.dir);
        let live = LiveLine::new();
        let reading = |done, total| live.reading(done, total);
        let data = task::Data::of(config, dir, &[self.split], &reading, &|| false)?;
        let watch = Watch {
            progress: &|done, total| live.packing(done, total),
            ..Watch::nobody()
        };
        let dataset = data.open(self.split, watch)?;
        let batch_size = self.batch_size.unwrap_or(config.training.eval_batch_size);
        let evaluation = evaluate(
            predictor.model(),
            dataset.as_ref(),
            predictor.batcher(),
            batch_size,
            predictor.device(),
            &mut |progress| {
                live.show(progress);
                ControlFlow::Continue(())
            },
        )?;
        drop(live);
        let mut out = io::stdout().lock();
        if self.json {
            let report = Report {
                run: &name,
                split: self.split,
                device: &device.name,
                adapter: &device.adapter,
                evaluation,
            };
            let line = serde_json::to_string(&report)?;
            writeln!(out, "{line}")?;
        } else {
            let Evaluation {
                loss,
                accuracy,
                correct,
                samples,
                seconds,
                ..
            } = evaluation;
            writeln!(
                out,
                "{name}, {split}: accuracy {percent:.2} % ({correct} of {samples}), loss {loss:.4}, \
                 {seconds:.1} s on {device} ({adapter})",
                split = self.split,
                percent = 100.0 * accuracy,
                device = device.name,
                adapter = device.adapter,
            )?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
