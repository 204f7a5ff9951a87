//! Weight files: safetensors that say what they are, and NVIDIA's checkpoints.
//!
//! The metadata of a file that this project writes holds the run's configuration, so that the file
//! can stand alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use transformer_ls_burn::weights::{self, StateDict, WeightsError};
use transformer_ls_burn::{Classifier, ClassifierConfig, ConfigError as ModelConfigError};
use transformer_ls_datasets::foreign;
pub use transformer_ls_datasets::printable::sha256;

use crate::run::{RunConfig, RunError, write_atomically};

/// The metadata key that holds the run's configuration as JSON.
pub const CONFIG_KEY: &str = "run_config";
/// The metadata key that holds the optimizer steps the weights have seen.
pub const STEP_KEY: &str = "step";
/// The metadata key that holds the order in which imported ListOps weights numbered the words.
pub const VOCABULARY_KEY: &str = "imported_vocabulary";
/// The metadata key that holds the accuracy on dev, from 0 to 1.
pub const DEV_ACCURACY_KEY: &str = "dev_accuracy";

/// The metadata key that holds a language model's bits per character on dev.
pub const DEV_BITS_KEY: &str = "dev_bits_per_character";

/// Why a weight file could not be read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WeightsFileError {
    /// There is no such file.
    #[error("there is no weight file at {}: check the path", .0.display())]
    Missing(PathBuf),
    /// The system would not read it.
    #[error("could not read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        cause: std::io::Error,
    },
    /// The file ends before its header says it does.
    #[error(
        "{} is cut short: it has {found} bytes and its header promises {expected}; copy it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length that it should have.
        expected: u64,
    },
    /// The file is something else.
    #[error("{} is {kind}, and holds no weights: name the file of the weights", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The weights are malformed or belong to another model.
    #[error("{}: {cause}{}", path.display(), advice(cause))]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong; it names the tensors that differ.
        cause: WeightsError,
    },
    /// The model that the weights are for cannot be built.
    #[error("`model.{}` {}", .0.field, .0.problem)]
    Model(ModelConfigError),
    /// The file could not be written.
    #[error("{0}")]
    Unwritable(Box<RunError>),
}

impl WeightsFileError {
    pub(crate) fn of(path: &Path) -> impl FnOnce(WeightsError) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Weights { path, cause }
    }
}

fn advice(cause: &WeightsError) -> &'static str {
    match cause {
        WeightsError::NotFinite { .. } => {
            ": the model's training diverged, or the file is damaged; take another run or file"
        }
        _ => "",
    }
}

/// The two kinds of weight files that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// safetensors, as this project writes it.
    Safetensors,
    /// What `torch.save` writes (a zip archive, or a pickle in old files): NVIDIA's checkpoints.
    Torch,
}

impl Format {
    /// The kind of file, by its first bytes: a name proves nothing.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            _ if is_safetensors(bytes) => Self::Safetensors,
            [b'P', b'K', ..] | [0x80, ..] => Self::Torch,
            // Pickles of protocols 0 and 1 are text; so begin PyTorch's, with its magic number.
            _ if bytes.starts_with(b"L119547037146038801333356L") => Self::Torch,
            _ => Self::Safetensors,
        }
    }
}

/// Refuses what is no file of weights at all.
fn refuse_foreign(path: &Path, bytes: &[u8]) -> Result<(), WeightsFileError> {
    // PyTorch's files are zips.
    let is_weights = is_safetensors(bytes) || Format::of(bytes) == Format::Torch;
    match foreign::kind(bytes) {
        Some(kind) if !is_weights => Err(WeightsFileError::Foreign {
            path: path.to_path_buf(),
            kind,
        }),
        _ => Ok(()),
    }
}

/// safetensors begin with the length of a JSON header (8 bytes) and the header's `{`.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// The bytes of a file.
///
/// # Errors
///
/// A missing file, or the system's error.
pub fn read(path: &Path) -> Result<Vec<u8>, WeightsFileError> {
    std::fs::read(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => WeightsFileError::Missing(path.to_path_buf()),
        _ => WeightsFileError::Unreadable {
            path: path.to_path_buf(),
            cause,
        },
    })
}

/// Loads a weight file of either kind into a model of this configuration.
///
/// # Errors
///
/// A file that is missing, cut short or damaged, or that belongs to another model: the sentence
/// names the tensors that differ.
pub fn load(
    path: &Path,
    config: &ClassifierConfig,
    device: &Device,
) -> Result<Classifier, WeightsFileError> {
    load_bytes(path, &read(path)?, config, device)
}

/// [`load`], from bytes. `path` is for the sentences.
///
/// # Errors
///
/// As [`load`].
pub fn load_bytes(
    path: &Path,
    bytes: &[u8],
    config: &ClassifierConfig,
    device: &Device,
) -> Result<Classifier, WeightsFileError> {
    load_state(path, read_state(path, bytes)?, config, device)
}

/// [`load`], from tensors. `path` is for the sentences.
///
/// # Errors
///
/// Tensors that belong to another model, or are not finite.
pub fn load_state(
    path: &Path,
    state: StateDict,
    config: &ClassifierConfig,
    device: &Device,
) -> Result<Classifier, WeightsFileError> {
    let model = config.init(device).map_err(WeightsFileError::Model)?;
    weights::load(model, state).map_err(WeightsFileError::of(path))
}

/// The bytes of a file with a model's weights. `path` is for the sentences.
///
/// # Errors
///
/// A tensor that cannot be read from its device.
pub fn bytes(
    path: &Path,
    model: &Classifier,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsFileError> {
    let bytes = weights::save_safetensors(model, metadata);
    bytes.map_err(WeightsFileError::of(path))
}

/// Writes a model as safetensors, complete or not at all.
///
/// # Errors
///
/// A tensor that cannot be read from its device, or the system's error.
pub fn save(
    path: &Path,
    model: &Classifier,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsFileError> {
    write(path, &bytes(path, model, metadata)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), WeightsFileError> {
    write_atomically(path, bytes).map_err(|error| WeightsFileError::Unwritable(Box::new(error)))
}

/// Writes tensors as safetensors, complete or not at all.
///
/// # Errors
///
/// As [`save`].
pub fn save_state(
    path: &Path,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsFileError> {
    let bytes = state
        .to_safetensors(metadata)
        .map_err(WeightsFileError::of(path))?;
    write(path, &bytes)
}

/// The tensors of the bytes of a file of either kind. `path` is for the sentences.
///
/// # Errors
///
/// Bytes that are cut short, malformed, or something else.
pub fn read_state(path: &Path, bytes: &[u8]) -> Result<StateDict, WeightsFileError> {
    refuse_foreign(path, bytes)?;
    let state = match Format::of(bytes) {
        Format::Torch => StateDict::from_torch(bytes),
        Format::Safetensors => {
            check_length(path, bytes)?;
            StateDict::from_safetensors(bytes)
        }
    };
    state.map_err(WeightsFileError::of(path))
}

/// The metadata of a run's weights.
pub fn metadata(
    config: &RunConfig,
    step: Option<usize>,
    dev_accuracy: Option<f64>,
) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(CONFIG_KEY.to_string(), config.to_json())]);
    if let Some(step) = step {
        metadata.insert(STEP_KEY.to_string(), step.to_string());
    }
    if let Some(accuracy) = dev_accuracy {
        metadata.insert(DEV_ACCURACY_KEY.to_string(), accuracy.to_string());
    }
    metadata
}

/// The metadata of a file's bytes; NVIDIA's checkpoints have none. `path` is for the sentences.
///
/// # Errors
///
/// Bytes that are cut short or malformed.
pub fn read_metadata(
    path: &Path,
    bytes: &[u8],
) -> Result<BTreeMap<String, String>, WeightsFileError> {
    refuse_foreign(path, bytes)?;
    if Format::of(bytes) == Format::Torch {
        return Ok(BTreeMap::new());
    }
    check_length(path, bytes)?;
    StateDict::metadata(bytes).map_err(WeightsFileError::of(path))
}

/// Compares a safetensors file's length with what its header says. Anything else that is wrong is
/// left for the reader to find.
fn check_length(path: &Path, bytes: &[u8]) -> Result<(), WeightsFileError> {
    let found = bytes.len() as u64;
    match promised_length(bytes) {
        Some(expected) if found < expected => Err(WeightsFileError::Truncated {
            path: path.to_path_buf(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

fn promised_length(bytes: &[u8]) -> Option<u64> {
    // An empty file is what a full disk or a broken download leaves.
    if bytes.is_empty() {
        return Some(8);
    }
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    if !is_safetensors(bytes) {
        return None;
    }
    let length = u64::from_le_bytes(*length);
    let header_end = length.saturating_add(8);
    let Some(header) = usize::try_from(length).ok().and_then(|end| rest.get(..end)) else {
        return Some(header_end);
    };
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).ok()?;
    let end = |entry: &serde_json::Value| entry.get("data_offsets")?.get(1)?.as_u64();
    let data_end = entries.values().filter_map(end).max().unwrap_or(0);
    Some(header_end.saturating_add(data_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_standards_example() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn formats_are_told_apart_by_their_bytes() {
        assert_eq!(Format::of(b"PK\x03\x04rest of it"), Format::Torch);
        assert_eq!(Format::of(b"\x80\x02}q\x00(X\x05\x00"), Format::Torch);
        let old = b"L119547037146038801333356L\n.I1001\n.";
        assert_eq!(Format::of(old), Format::Torch);
        // A header of 0x80 bytes is no pickle.
        assert_eq!(Format::of(b"\x80\0\0\0\0\0\0\0{\"a\""), Format::Safetensors);
        assert_eq!(Format::of(b""), Format::Safetensors);
    }
}
