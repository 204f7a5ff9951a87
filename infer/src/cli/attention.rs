//! `ls-infer attention`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use transformer_ls_datasets::printable::printable;
use transformer_ls_infer::drawing::Format;
use transformer_ls_infer::maps::{Maps, View, picture};
use transformer_ls_infer::run::write_atomically;
use transformer_ls_infer::{typed, weights_file};

use super::options::{DeviceOption, check_out, predictor, take_run};

/// Show what each head of a classifier attends to in one input
///
/// The picture has a row for each layer and a column for each head. A query's row says how much it
/// attends to each token through the window, and to each landmark. Below is how much of each token is in each
/// landmark. The class row, where the model has one, comes first: it attends to what the other queries have
/// read. For Image and Pathfinder the numbers are shown as images; to a model whose input is the
/// pixels' ids black is padding, which nothing attends to.
///
/// The model and the input are given as to `classify`. Models with another attention than `long_short`
/// have no such maps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ls-infer attention '[MAX 2 9 [MIN 4 7] 0]' -o map.png
  ls-infer attention runs/text-1 'A film of rare beauty.' -o map.svg --layer 2
  ls-infer attention runs/listops-1 '[SM 3 4 5]' --raw maps.safetensors")]
pub struct Attention {
    /// A run folder (optional), then an input such as '[MAX 2 9 [MIN 4 7] 0]'
    ///
    /// A folder that exists is taken for the run, if it comes first and there is no --run.
    #[arg(value_name = "RUN | INPUT", required = true, num_args = 1..=2, value_parser = typed::text())]
    inputs: Vec<String>,
    /// The run folder, where the first argument is not to be taken for one
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    run: Option<PathBuf>,
    /// The picture to write, as PNG or SVG by its ending
    #[arg(short, long, value_name = "FILE", value_parser = typed::path())]
    out: Option<PathBuf>,
    /// Write all numbers to a safetensors file: layers.0.window [heads, tokens, tokens], layers.0.landmarks
    /// [heads, tokens, landmarks], layers.0.projection [heads, landmarks, tokens], layers.0.class_row
    /// [heads, 1 + tokens], …
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    raw: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Draw this layer alone, counted from 1
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    layer: Option<usize>,
    /// Draw this head alone, counted from 1
    #[arg(long, value_name = "N", value_parser = typed::positive)]
    head: Option<usize>,
    /// Show the second document of a pair; else the first is shown
    #[arg(long)]
    second: bool,
    #[command(flatten)]
    device: DeviceOption,
}

impl Attention {
    pub fn run(mut self) -> anyhow::Result<ExitCode> {
        if self.out.is_none() && self.raw.is_none() {
            anyhow::bail!(
                "nothing is to be written: name a picture with --out (.png or .svg), or a file for the \
                 numbers with --raw"
            );
        }
        // What cannot be written is said before a model is loaded.
        let format = self.out.as_deref().map(Format::of).transpose()?;
        for file in [&self.out, &self.raw].into_iter().flatten() {
            check_out(file, self.force)?;
        }
        let run = take_run(self.run.take(), &mut self.inputs);
        let input = match self.inputs.as_slice() {
            [input] => input,
            [] => anyhow::bail!("there is no input: give one behind the run folder"),
            [first, ..] => anyhow::bail!(
                "there is no run folder at {first}, and one input is shown at a time: check the path, or \
                 put the input in quotes"
            ),
        };
        let device = self.device.resolve()?;
        let (predictor, model) = predictor(run.as_deref(), &device)?;
        let sample = predictor.encode(input)?;
        let maps = Maps::of(&predictor, &sample, self.second)?;
        let view = View {
            maps: &maps,
            model: &printable(&model),
            input: &printable(input),
            layer: self.layer,
            head: self.head,
        };
        let mut out = io::stdout().lock();
        if let (Some(path), Some(format)) = (&self.out, format) {
            write_atomically(path, &format.encode(picture(&view)?)?)?;
            writeln!(out, "wrote {}", path.display())?;
        }
        if let Some(path) = &self.raw {
            let mut metadata = maps.metadata();
            metadata.insert("model".to_owned(), model);
            metadata.insert("input".to_owned(), input.clone());
            weights_file::save_state(path, &maps.tensors(), &metadata)?;
            writeln!(out, "wrote {}", path.display())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
