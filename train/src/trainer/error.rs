//! Why a training run ended without a result, each with a next step for the user.

use std::path::PathBuf;

use burn::tensor::TensorReadError;
use transformer_ls_burn::ConfigError as ModelError;
use transformer_ls_datasets::{DatasetError, Split};
use transformer_ls_infer::evaluate::EvaluateError;
use transformer_ls_infer::language::{LanguageRunError, ScoreError};
use transformer_ls_infer::run::RunError;
use transformer_ls_infer::weights_file::WeightsFileError;

/// Why a run can't start from another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderRunError {
    /// The other run can't be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its weights can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsFileError),
    /// Its encoder is another one.
    #[error(
        "this run can't start from {}, which differs in {}: set the same here (--set), or leave \
         --init out", .run.display(), .fields.join(", ")
    )]
    Differs {
        /// The other run.
        run: PathBuf,
        /// `field (A there, B here)`, each.
        fields: Vec<String>,
    },
    /// Its weights are not those that a configuration names.
    #[error(
        "{} does not hold the weights that the configuration names by their SHA-256: name the run \
         to start from with --init", .0.display()
    )]
    Changed(PathBuf),
}

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The run folder could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model's configuration is no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The schedule or the optimizer cannot be.
    #[error(transparent)]
    Optim(#[from] crate::optim::OptimError),
    /// The run can't start from another.
    #[error(transparent)]
    EncoderRun(#[from] EncoderRunError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The text can't be trained on.
    #[error(transparent)]
    Text(#[from] DatasetError),
    /// A language model could not be evaluated.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The best language model could not be read back.
    #[error(transparent)]
    LanguageRun(#[from] LanguageRunError),
    /// Another learning rate was asked for a phase that is over or has not begun.
    #[error(
        "the run is in phase {present} (counted from 0): the learning rate of that one can be changed \
         (--set training.phases.{present}.learning_rate=…), not that of phase {phase}"
    )]
    OtherPhase {
        /// The phase that was named.
        phase: usize,
        /// The phase that the run is in.
        present: usize,
    },
    /// A sample could not be read.
    #[error("reading the {split} samples failed: {cause}")]
    Data {
        /// The split.
        split: Split,
        /// What the data set said.
        cause: String,
    },
    /// The device could not hand back a result.
    #[error(
        "{device} failed while training near step {step}: {cause}. The last checkpoint, if there is \
         one, is intact: continue with --resume, or on --device flex"
    )]
    Device {
        /// The device.
        device: String,
        /// The step.
        step: usize,
        /// What the device said.
        cause: String,
    },
    /// The device can't be trained on in the precision that was asked for.
    #[error(
        "{0} does not train in float16, which takes a GPU (wgpu, cuda or rocm) that computes in it: \
         leave precision=f16 out (of a bench --precision f16), or choose another --device"
    )]
    NoHalf(String),
    /// Passes in float16 overflow, however little their loss is scaled up.
    #[error(
        "float16 has no room for the gradients by step {0}, and has not had for many steps: start a \
         new run without precision=f16, or go on at a lower rate (--resume --set learning_rate=5e-5)"
    )]
    HalfOverflow(usize),
    /// The device has too little memory.
    #[error(
        "{device} ran out of memory near step {step}: start a new run with a smaller batch \
         (--set batch_size=…), or take --device flex"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// The step.
        step: usize,
    },
    /// The loss or the weights left the numbers.
    #[error("training diverged: {what} by step {step}. {way_back}")]
    Diverged {
        /// What is not a number.
        what: String,
        /// The step.
        step: usize,
        /// How to continue.
        way_back: WayBack,
    },
    /// No checkpoint of the run can be used.
    #[error(
        "none of the checkpoints in {} can be used ({problem}). Start a new run with another \
         --out; the settings of this one can be reused with --config {}",
        .folder.display(), .config.display()
    )]
    NoUsableCheckpoint {
        /// The folder of the checkpoints.
        folder: PathBuf,
        /// What is wrong with the newest.
        problem: String,
        /// The run's configuration.
        config: PathBuf,
    },
    /// A file of a checkpoint could not be written.
    #[error("cannot write {}: {cause}. Free some space, then continue with --resume", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        cause: std::io::Error,
    },
    /// A file could not be read back.
    #[error("cannot read {}: {cause}. Check the disk, then continue with --resume", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        cause: std::io::Error,
    },
    /// Training stopped for a reason that is none of the user's.
    #[error(
        "training stopped by an error inside ({0}). The last checkpoint is intact: continue with \
         --resume"
    )]
    Internal(String),
}

/// How a run that has diverged can continue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WayBack {
    /// The step of the last checkpoint: what was not a number was never saved.
    pub checkpoint: Option<usize>,
    /// The peak of the learning rate that was too high.
    pub learning_rate: f64,
    /// Whether it may be Burn's operation fusion, which GPUs use.
    pub is_gpu: bool,
}

impl std::fmt::Display for WayBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.checkpoint {
            Some(step) => write!(
                f,
                "The last checkpoint, of step {step}, is good: go on from there at a lower rate"
            ),
            None => write!(
                f,
                "No checkpoint was written before: start again at a lower rate"
            ),
        }?;
        // A tenth, or what the published protocols train at.
        let lower = (self.learning_rate / 10.0).min(1e-4);
        write!(f, " with --resume --set learning_rate={lower:e}")?;
        if self.is_gpu {
            write!(
                f,
                "; on a GPU, compare with a build without operation fusion first \
                 (--no-default-features --features flex,wgpu)"
            )?;
        }
        Ok(())
    }
}

impl TrainError {
    pub(crate) fn device(device: &str, step: usize) -> impl FnOnce(TensorReadError) -> Self + '_ {
        move |cause| Self::of_device(device, step, &cause.to_string())
    }

    /// Drivers give causes of many lines, of which a sentence is wanted.
    fn of_device(device: &str, step: usize, cause: &str) -> Self {
        let device = device.to_owned();
        let lower = cause.to_ascii_lowercase();
        let memory = [
            "can't allocate",
            "out of memory",
            "out_of_memory",
            "outofmemory",
        ];
        if memory.iter().any(|sign| lower.contains(sign)) {
            return Self::OutOfMemory { device, step };
        }
        let cause = cause.lines().next().unwrap_or_default();
        let cause = cause.trim_end_matches([':', '.']).to_owned();
        Self::Device {
            device,
            step,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Burn 0.22.1 reports a buffer that llvmpipe has no room for.
    const NO_ROOM: &str = "An IO error happened\nCaused by:\n  An IO error happened\nCaused by:\n  \
        can't allocate buffer of size: 838860800\nNo backtrace available";

    #[test]
    fn a_device_without_memory_gives_one_sentence() {
        let sentence = TrainError::of_device("wgpu", 3, NO_ROOM).to_string();
        assert!(
            sentence.starts_with("wgpu ran out of memory near step 3: start"),
            "{sentence}"
        );
        assert!(!sentence.contains('\n'), "{sentence}");
        let sentence =
            TrainError::of_device("wgpu", 3, "The device was lost:\n  at a\n").to_string();
        assert!(
            sentence.starts_with("wgpu failed while training near step 3: The device was lost. "),
            "{sentence}"
        );
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}
