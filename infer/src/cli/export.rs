//! `ls-infer export`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use transformer_ls_infer::run::RunFolder;
use transformer_ls_infer::{typed, weights_file};

use super::options::DeviceOption;

/// Write the weights of a run to a safetensors file that stands alone
///
/// Tensors have the names of NVIDIA's release and PyTorch's orientation, so that PyTorch's
/// safetensors reader and `load_state_dict` take them. The run's configuration is in the file's
/// metadata, and `ls-infer import` makes a run folder of it again.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The run folder
    #[arg(value_name = "RUN", value_parser = typed::path())]
    run: PathBuf,
    /// The file to write
    #[arg(value_name = "FILE", value_parser = typed::path())]
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceOption,
}

impl Export {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.file.is_dir() {
            anyhow::bail!("{} is a folder: name a file", self.file.display());
        }
        if self.file.exists() && !self.force {
            anyhow::bail!(
                "{} exists already: replace it with `--force`, or give another name",
                self.file.display()
            );
        }
        let folder = RunFolder::open(&self.run)?;
        folder.config().validate_for_inference()?;
        let device = self.device.resolve()?;
        // Through the model, so that only weights that fit their configuration leave the folder.
        let model = folder.load_model(&device.device)?;
        let mut metadata = folder.weights_metadata()?;
        metadata
            .entry(weights_file::CONFIG_KEY.to_string())
            .or_insert_with(|| folder.config().to_json());
        weights_file::save(&self.file, &model, &metadata)?;
        let bytes = weights_file::read(&self.file)?;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{}  {}",
            weights_file::sha256(&bytes),
            self.file.display()
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
