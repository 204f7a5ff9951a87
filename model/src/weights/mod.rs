//! Weights to and from files' bytes: safetensors both ways, NVIDIA's checkpoints in.
//!
//! Everywhere outside a module, tensors carry the release's names and PyTorch's orientation
//! (a Linear weight is `[out, in]`), so that the release's checkpoints and this project's files
//! are the same thing in two containers.

mod draw;
mod language_model;
mod names;
mod record;
mod state;
#[cfg(feature = "import")]
mod torch;

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};
use burn_store::burn_pack;
use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, bridge};
use thiserror::Error;

pub use draw::draw;
pub use language_model::{language_model_state_dict, load_language_model};
pub use record::renamed_record;
pub use state::StateDict;

use crate::classifier::Classifier;
use crate::reconstruction::Decoder;
use names::{ENCODER, module_path, release_name};

/// Why weights can't be read, written or used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The bytes are no file of the format, or end too early.
    #[error("these are no {format} weights, or they are cut short: {problem}")]
    Malformed {
        /// `safetensors` or `PyTorch`.
        format: &'static str,
        /// What the reader said.
        problem: String,
    },
    /// The weights belong to another model.
    #[error("{}", different(missing, unknown, shapes))]
    OtherModel {
        /// Tensors that the model has and the file lacks.
        missing: Vec<String>,
        /// Tensors that the file has and the model lacks.
        unknown: Vec<String>,
        /// Tensors that both have: name, shape in the model, shape in the file.
        shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// There is no tensor at all.
    #[error(
        "it holds no weights: save them with `torch.save(model.state_dict(), FILE)` and take that file"
    )]
    None,
    /// A checkpoint holds something besides its weights that can't be read.
    #[error(
        "it holds more than weights, of a kind that is not read ({0}): save the weights alone with \
         `torch.save(model.state_dict(), FILE)` and take that file"
    )]
    Mixed(String),
    /// It was saved in a form that loses where its tensors lie.
    #[error(
        "it was saved with pickle protocol 0, which loses the weights: save it again with PyTorch's own \
         protocol, 2"
    )]
    ProtocolZero,
    /// A tensor is there with and without what a wrapper put before its name.
    #[error("it holds tensor {0} twice, under the prefix of a wrapper, too: save one model alone")]
    Twice(String),
    /// A tensor that should be a weight holds whole numbers or truth values.
    #[error("tensor {name} holds {dtype:?}, not floats: these are no weights of this model")]
    NoFloats {
        /// The release's name.
        name: String,
        /// What it holds.
        dtype: DType,
    },
    /// Some of the weights are beyond the numbers that the model computes in.
    #[error("tensor {name} has {count} of {of} values that are too large for float32")]
    TooLarge {
        /// The release's name.
        name: String,
        /// How many of its values.
        count: usize,
        /// How many it has.
        of: usize,
    },
    /// Some of the weights are not numbers.
    #[error("tensor {name} has {count} of {of} values that are not finite numbers")]
    NotFinite {
        /// The release's name.
        name: String,
        /// How many of its values.
        count: usize,
        /// How many it has.
        of: usize,
    },
    /// A tensor could not be read from or written to the device.
    #[error("tensor {name} can't be moved between host and device: {problem}")]
    Tensor {
        /// The release's name.
        name: String,
        /// What Burn said.
        problem: String,
    },
}

/// The sentence of [`WeightsError::OtherModel`].
fn different(
    missing: &[String],
    unknown: &[String],
    shapes: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let list = |what: &str, names: Vec<String>| {
        const SHOWN: usize = 5;
        let more = match names.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = names[..names.len().min(SHOWN)].join(", ");
        (!names.is_empty()).then(|| format!("{what} {shown}{more}"))
    };
    let shapes = shapes
        .iter()
        .map(|(name, model, file)| format!("{name} ({file:?}, the model wants {model:?})"))
        .collect();
    let parts: Vec<String> = [
        list("it lacks", missing.to_vec()),
        list("it has besides", unknown.to_vec()),
        list("of another shape are", shapes),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "these weights belong to another model: {}; use the configuration that they were trained with",
        parts.join("; ")
    )
}

/// The model's weights by the release's names, in PyTorch's orientation.
///
/// # Errors
///
/// A tensor can't be read from its device.
pub fn state_dict(model: &Classifier) -> Result<StateDict, WeightsError> {
    let tied = model.is_tied();
    collect(model, |path| release_name(path, tied))
}

/// Puts weights into a model of the same configuration.
///
/// Tensors without elements (the release stores a projection of rank 0) are passed over, and tensors of
/// whole numbers that the model has not.
///
/// # Errors
///
/// [`WeightsError::OtherModel`] names every tensor that is missing, unknown or of another shape;
/// [`WeightsError::NotFinite`] a tensor with values that are no numbers.
pub fn load(model: Classifier, state: StateDict) -> Result<Classifier, WeightsError> {
    let tied = model.is_tied();
    put(model, state, |path| release_name(path, tied), module_path)
}

/// Puts the encoder of some weights into a model, bit by bit, and leaves the model's head as it is.
/// What the weights hold besides (another head, a decoder) is passed over.
///
/// # Errors
///
/// As [`load`], for the tensors of the encoder.
pub fn load_encoder(model: Classifier, state: StateDict) -> Result<Classifier, WeightsError> {
    let mut own = state_dict(&model)?;
    own.tensors.retain(|name, _| !is_encoder(name));
    load(model, own.with(state.encoder()))
}

/// A decoder's weights, by its module paths after `decoder.`, in PyTorch's orientation.
///
/// # Errors
///
/// As [`state_dict`].
pub fn decoder_state_dict(decoder: &Decoder) -> Result<StateDict, WeightsError> {
    collect(decoder, |path| format!("{DECODER}{path}"))
}

/// Puts weights into a decoder of the same configuration.
///
/// # Errors
///
/// As [`load`].
pub fn load_decoder(decoder: Decoder, state: StateDict) -> Result<Decoder, WeightsError> {
    let path = |name: &str| name.strip_prefix(DECODER).unwrap_or(name).to_owned();
    put(decoder, state, |path| format!("{DECODER}{path}"), path)
}

/// What the name of every tensor of a decoder begins with.
const DECODER: &str = "decoder.";

pub(super) fn is_encoder(name: &str) -> bool {
    name.starts_with(ENCODER)
}

/// A module's floats, by names made of their paths.
fn collect<M: ModuleSnapshot>(
    module: &M,
    name: impl Fn(&str) -> String,
) -> Result<StateDict, WeightsError> {
    let mut tensors = BTreeMap::new();
    for tensor in module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let name = name(&tensor.name);
        let data = bridge::into_data(tensor).map_err(|error| WeightsError::Tensor {
            name: name.clone(),
            problem: error.to_string(),
        })?;
        if data.dtype().is_float() {
            tensors.insert(name, data);
        }
    }
    Ok(StateDict { tensors })
}

/// Undoes [`collect`]: `path` undoes `name`.
fn put<M: ModuleSnapshot>(
    mut module: M,
    state: StateDict,
    name: impl Fn(&str) -> String,
    path: impl Fn(&str) -> String,
) -> Result<M, WeightsError> {
    let wanted: BTreeMap<String, Vec<usize>> = module
        .collect(None, Some(Box::new(BurnToPyTorchAdapter)), true)
        .into_iter()
        .filter(|tensor| tensor.dtype.is_float())
        .map(|tensor| (name(&tensor.name), tensor.shape.to_vec()))
        .collect();
    let mut given = state.tensors;
    // Counters and indices of modules are no weights; where a weight should be, they are an error.
    given.retain(|name, data| {
        data.num_elements() > 0 && (data.dtype().is_float() || wanted.contains_key(name))
    });
    let missing: Vec<String> = wanted
        .keys()
        .filter(|name| !given.contains_key(*name))
        .cloned()
        .collect();
    let unknown: Vec<String> = given
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .cloned()
        .collect();
    let shapes: Vec<_> = wanted
        .iter()
        .filter_map(|(name, shape)| {
            let other = given.get(name)?.shape().to_vec();
            (other != *shape).then(|| (name.clone(), shape.clone(), other))
        })
        .collect();
    if !(missing.is_empty() && unknown.is_empty() && shapes.is_empty()) {
        return Err(WeightsError::OtherModel {
            missing,
            unknown,
            shapes,
        });
    }
    if let Some((name, data)) = given.iter().find(|(_, data)| !data.dtype().is_float()) {
        let (name, dtype) = (name.clone(), data.dtype());
        return Err(WeightsError::NoFloats { name, dtype });
    }
    let state = StateDict { tensors: given };
    state.check_finite()?;
    let tensors: Vec<burn_pack::Tensor> = state
        .tensors
        .into_iter()
        .map(|(name, data)| bridge::from_data(to_f32(data), path(&name), None))
        .collect();
    let result = module.apply(tensors, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    match result.errors.first() {
        None => Ok(module),
        Some(error) => Err(WeightsError::Tensor {
            name: "of the file".into(),
            problem: error.to_string(),
        }),
    }
}

fn to_f32(data: TensorData) -> TensorData {
    data.convert_dtype(DType::F32)
}

/// Reads safetensors into a model of the same configuration.
///
/// # Errors
///
/// The bytes are malformed, or belong to another model.
pub fn load_safetensors(model: Classifier, bytes: &[u8]) -> Result<Classifier, WeightsError> {
    load(model, StateDict::from_safetensors(bytes)?)
}

/// Writes a model as safetensors, with this metadata.
///
/// # Errors
///
/// A tensor can't be read from its device.
pub fn save_safetensors(
    model: &Classifier,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsError> {
    state_dict(model)?.to_safetensors(metadata)
}

/// Reads a checkpoint of NVIDIA's release (`torch.save({"model_state_dict": …})`), or weights that
/// PyTorch saved in another of the usual ways, into a model of the same configuration.
///
/// # Errors
///
/// The bytes are malformed, or belong to another model.
#[cfg(feature = "import")]
pub fn load_release(model: Classifier, bytes: &[u8]) -> Result<Classifier, WeightsError> {
    load(model, StateDict::from_torch(bytes)?)
}
