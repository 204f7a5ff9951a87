//! Weights at the start: from the seed, and from another run's encoder.

use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use transformer_ls_burn::weights::{self, WeightsError};
use transformer_ls_burn::{Classifier, ClassifierConfig, Decoder, Input, Positions};
use transformer_ls_infer::device::for_drawing_weights;
use transformer_ls_infer::run::{InitConfig, RunConfig, RunError, RunFolder};
use transformer_ls_infer::weights_file::{self, WeightsFileError};

use super::error::{EncoderRunError, TrainError};
use super::model::TrainingModel;
use super::order::{Purpose, derive};

/// A model with the weights that the seed gives, the same on every device where the build has
/// Flex to draw them on.
pub(crate) fn initial_weights(
    model: &ClassifierConfig,
    seed: u64,
    device: &Device,
) -> Result<Classifier, TrainError> {
    let drawing = for_drawing_weights().unwrap_or_else(|| device.clone());
    drawing.seed(derive(seed, Purpose::Weights, 0));
    let drawn = model.init(&drawing)?;
    weights::draw(&drawn);
    let model = model.init(device)?;
    weights::state_dict(&drawn)
        .and_then(|drawn| weights::load(model, drawn))
        .map_err(internal)
}

impl TrainingModel {
    /// The model of a run with the weights that its seed gives.
    ///
    /// # Errors
    ///
    /// A configuration that is no model, or a device that fails.
    pub fn init(config: &RunConfig, device: &Device) -> Result<Self, TrainError> {
        let mut model = Self::new(initial_weights(&config.model, config.seed, device)?);
        if let Some(pretraining) = &config.pretraining {
            let drawing = for_drawing_weights().unwrap_or_else(|| device.clone());
            drawing.seed(derive(config.seed, Purpose::Weights, 1));
            let decoder =
                |device| Decoder::init(&config.model.encoder, pretraining.compared_by, device);
            let drawn = weights::decoder_state_dict(&decoder(&drawing)).map_err(internal)?;
            let decoder = weights::load_decoder(decoder(device), drawn).map_err(internal)?;
            model.decoder = Some(decoder);
        }
        Ok(model)
    }

    /// The same model with the encoder of the run that `folder`'s run starts from, if it does.
    ///
    /// # Errors
    ///
    /// A copy of the weights that is missing, damaged or not the one that `config.json` names.
    pub fn started_from(self, folder: &RunFolder) -> Result<Self, TrainError> {
        let Some(init) = &folder.config().init else {
            return Ok(self);
        };
        let path = folder.init_path();
        let bytes = weights_file::read(&path).map_err(EncoderRunError::from)?;
        if weights_file::sha256(&bytes) != init.sha256 {
            return Err(EncoderRunError::Changed(path).into());
        }
        Ok(Self {
            classifier: with_encoder(self.classifier, &path, &bytes)?,
            decoder: self.decoder,
        })
    }
}

fn internal(cause: WeightsError) -> TrainError {
    TrainError::Internal(cause.to_string())
}

/// A run whose encoder another one starts from.
#[derive(Debug)]
pub struct EncoderRun {
    folder: RunFolder,
    bytes: Vec<u8>,
}

impl EncoderRun {
    /// The best weights of a run so far.
    ///
    /// # Errors
    ///
    /// A folder that is no run, or has no weights yet.
    pub fn open(run: &Path) -> Result<Self, EncoderRunError> {
        let folder = RunFolder::open(run)?;
        let weights = folder.weights_path();
        if !weights.exists() {
            return Err(RunError::NoWeights(run.to_path_buf()).into());
        }
        let bytes = weights_file::read(&weights)?;
        Ok(Self { folder, bytes })
    }

    /// The run that a configuration names.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and if it has other weights by now.
    pub fn named(init: &InitConfig) -> Result<Self, EncoderRunError> {
        let source = Self::open(&init.run)?;
        if source.config().sha256 != init.sha256 {
            return Err(EncoderRunError::Changed(source.folder.weights_path()));
        }
        Ok(source)
    }

    /// The task it was trained for.
    pub fn task(&self) -> &str {
        &self.folder.config().task
    }

    /// Which run and which weights.
    pub fn config(&self) -> InitConfig {
        InitConfig {
            run: self.folder.path().to_path_buf(),
            sha256: weights_file::sha256(&self.bytes),
        }
    }

    /// The file of the weights.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes sure that a run of this configuration can start from here.
    ///
    /// # Errors
    ///
    /// [`EncoderRunError::Differs`] names every field that differs; or the weights are damaged.
    pub fn fits(&self, config: &RunConfig) -> Result<(), TrainError> {
        let fields = differing(self.folder.config(), config);
        if !fields.is_empty() {
            let run = self.folder.path().to_path_buf();
            return Err(EncoderRunError::Differs { run, fields }.into());
        }
        let device = for_drawing_weights().unwrap_or_default();
        let model = config.model.init(&device)?;
        with_encoder(model, &self.folder.weights_path(), &self.bytes)?;
        Ok(())
    }
}

fn with_encoder(
    model: Classifier,
    path: &Path,
    bytes: &[u8],
) -> Result<Classifier, EncoderRunError> {
    let state = weights_file::read_state(path, bytes)?;
    weights::load_encoder(model, state).map_err(|cause| {
        let path = path.to_path_buf();
        WeightsFileError::Weights { path, cause }.into()
    })
}

/// The fields that make another encoder of it, or another meaning of its weights.
fn differing(there: &RunConfig, here: &RunConfig) -> Vec<String> {
    let (model, other) = (&here.model.encoder, &there.model.encoder);
    let embedding = &model.embedding;
    let mut names: Vec<String> = ["d_ff", "layers", "tied", "input", "positions"]
        .map(str::to_owned)
        .into();
    names.extend(attention_fields(here));
    match embedding.input {
        Input::Ids => names.push("vocab_size".into()),
        Input::Floats => names.extend(["input_mean".into(), "input_deviation".into()]),
    }
    if embedding.positions != Positions::None {
        names.push("max_length".into());
    }
    if model.pooling.has_class_row() != other.pooling.has_class_row() {
        names.push("pooling".into());
    }
    let value = |config: &ClassifierConfig| serde_json::to_value(config).unwrap_or_default();
    let (old, new) = (value(&there.model), value(&here.model));
    let mut fields: Vec<String> = names
        .into_iter()
        .filter(|name| old.get(name) != new.get(name))
        .map(|name| {
            let shown = |value: &Value| value.get(&name).cloned().unwrap_or_default();
            format!("model.{name} ({} there, {} here)", shown(&old), shown(&new))
        })
        .collect();
    if let (Some(old), Some(new)) = (there.data.tokenizer, here.data.tokenizer)
        && old != new
    {
        fields.push(format!("data.tokenizer ({old} there, {new} here)"));
    }
    fields
}

/// The kind of attention and its fields, but for those that leave the weights and their meaning as
/// they are.
fn attention_fields(config: &RunConfig) -> Vec<String> {
    let attention = serde_json::to_value(&config.model.encoder.block.attention).unwrap_or_default();
    let biased = attention["offset_bias"] == true;
    let fields = attention.as_object().into_iter().flatten();
    fields
        .map(|(name, _)| name.clone())
        .filter(|name| name != "attention_dropout" && (biased || name != "window"))
        .collect()
}
