//! Why nothing was measured, each with a next step for the user.

use burn::backend::ExecutionError;
use burn::tensor::TensorReadError;
use transformer_ls_burn::ConfigError as ModelError;
use transformer_ls_infer::device::DeviceError;

use crate::drawing::DrawingError;
use crate::trainer::TrainError;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model's configuration is no model.
    #[error("{0}: choose another length with --n")]
    Model(#[from] ModelError),
    /// The model could not be made.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// There is no such preset.
    #[error("there is no preset `{name}`: use one of {known}")]
    Preset {
        /// The name asked for.
        name: String,
        /// The names that are known, for the sentence.
        known: String,
    },
    /// The device gave up.
    #[error("the device failed: {0}")]
    Execution(String),
    /// The device returned something else than what was asked for.
    #[error(
        "the device computed nonsense without reporting a failure (its magnitudes add up to {0}), \
         most likely because a tensor is too large for it"
    )]
    Nonsense(f64),
    /// This program could not start itself.
    #[error(
        "cannot start another process of this program to measure in: {0}. Check that the program's \
         file is still where it was started from"
    )]
    Start(std::io::Error),
    /// The measuring process was not asked what to measure.
    #[error("`bench measure` is started by `bench attention` and `bench step`: use one of them")]
    NoJob,
    /// Everything that was asked for was left out.
    #[error("nothing could be measured: ask for shorter documents (--n) or fewer of them (--b)")]
    Nothing,
    /// The picture could not be drawn.
    #[error(transparent)]
    Drawing(#[from] DrawingError),
}

impl From<TensorReadError> for BenchError {
    fn from(error: TensorReadError) -> Self {
        Self::Execution(root_cause(&error.to_string()))
    }
}

impl From<ExecutionError> for BenchError {
    fn from(error: ExecutionError) -> Self {
        Self::Execution(root_cause(&error.to_string()))
    }
}

/// What lies at the bottom of a device's report of many lines: the cause that it names last, or its
/// first line where it names none.
fn root_cause(report: &str) -> String {
    let lines: Vec<&str> = report.lines().map(str::trim).collect();
    let last = lines.iter().rposition(|line| *line == "Caused by:");
    let cause = last
        .and_then(|index| lines.get(index + 1))
        .or(lines.first());
    cause.copied().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_report_becomes_its_cause() {
        let report = "An error happened during execution\nCaused by:\n  Several failures at once\n\
                      Caused by:\n  can't allocate buffer of size: 536870912\nNo backtrace \
                      available\nAsked at:\nNo backtrace available";
        assert_eq!(
            root_cause(report),
            "can't allocate buffer of size: 536870912"
        );
        assert_eq!(root_cause("lost"), "lost");
        assert_eq!(root_cause(""), "");
    }
}
