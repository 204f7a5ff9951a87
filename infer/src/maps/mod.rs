//! What a classifier's heads attend to in one input: the numbers, and a [`picture`](picture()) of them.

mod heads;
mod images;
mod matrix;
mod picture;
mod scale;
mod tokens;
mod words;

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use transformer_ls_burn::attention::{AttentionMaps, NoMaps};
use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::{Sample, TokenIds};

use crate::batch::Batcher;
use crate::evaluate::{EvaluateError, best_class};
use crate::predict::{PredictError, Predictor};
use words::{is_pixels, words};

pub use picture::{View, ViewError, picture};

/// The longest input that is shown, in tokens.
pub const LONGEST: usize = 4096;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapsError {
    /// The model's attention has no maps.
    #[error(transparent)]
    Kind(#[from] NoMaps),
    /// There would be too many numbers.
    #[error(
        "the input has {0} tokens, and at most {LONGEST} are shown, for a map is the square of that many \
         numbers a head: give a shorter input"
    )]
    TooLong(usize),
    /// The input has one document.
    #[error("the input has no second document, as a pair has: leave --second away")]
    NoSecond,
    /// The model cannot answer.
    #[error(transparent)]
    Predict(#[from] PredictError),
}

impl From<EvaluateError> for MapsError {
    fn from(error: EvaluateError) -> Self {
        Self::Predict(error.into())
    }
}

/// What the heads of every layer attend to in a document, on the host.
#[derive(Clone, Debug)]
pub struct Maps {
    /// The document's tokens, as the model takes them.
    pub ids: Vec<u16>,
    /// What they stand for.
    pub words: Vec<String>,
    /// Whether they are an image's pixels, row by row.
    pub is_image: bool,
    /// The class that the model finds.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
    /// From the first to the last.
    pub layers: Vec<LayerMaps>,
}

/// [`AttentionMaps`] on the host, of the same shapes.
#[derive(Clone, Debug)]
pub struct LayerMaps {
    /// `[h, n, n]`
    pub window: TensorData,
    /// `[h, n, r]`, or `[h, n, 1 + r]` where there is a class row.
    pub landmarks: Option<TensorData>,
    /// `[h, r, n]`
    pub projection: Option<TensorData>,
    /// `[h, 1 + n]`
    pub class_row: Option<TensorData>,
}

impl Maps {
    /// The maps of a sample's document, the first or the second of a pair.
    ///
    /// # Errors
    ///
    /// Another attention, a document that is too long or isn't there, a device that fails.
    pub fn of(predictor: &Predictor, sample: &Sample, second: bool) -> Result<Self, MapsError> {
        let config = predictor.config();
        let longest = config.model.encoder.embedding.max_length;
        let ids = sample.documents.iter().nth(usize::from(second));
        let ids = ids.ok_or(MapsError::NoSecond)?;
        let ids = ids[..ids.len().min(longest)].to_vec();
        if ids.len() > LONGEST {
            return Err(MapsError::TooLong(ids.len()));
        }
        let document = Sample {
            documents: TokenIds::One(ids.clone()),
            label: sample.label,
        };
        // Packed, for then there is no padding to look at.
        let batch = Batcher::for_model(&config.model, true);
        let batch = batch.batch(&[document], predictor.device(), None);
        let tokens = batch.tokens.into_iter().next().expect("a document");
        let layers = predictor.model().attention_maps(tokens)?;
        let layers: Result<_, _> = layers.into_iter().map(LayerMaps::read).collect();
        let answers = predictor.probabilities(std::slice::from_ref(sample))?;
        let class = best_class(&answers[0]).ok_or(EvaluateError::NotANumber)?;
        Ok(Self {
            words: words(config, &ids),
            is_image: is_pixels(config),
            ids,
            class,
            probability: answers[0][class],
            layers: layers?,
        })
    }

    /// All numbers by name, `layers.0.window` and so on.
    pub fn tensors(&self) -> StateDict {
        let mut state = StateDict::default();
        for (layer, maps) in self.layers.iter().enumerate() {
            let parts = [
                ("window", Some(&maps.window)),
                ("landmarks", maps.landmarks.as_ref()),
                ("projection", maps.projection.as_ref()),
                ("class_row", maps.class_row.as_ref()),
            ];
            for (name, part) in parts {
                let named = part.map(|part| (format!("layers.{layer}.{name}"), part.clone()));
                state.tensors.extend(named);
            }
        }
        state
    }

    /// What the numbers are of: the tokens' ids and words as JSON, and the answer.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let list = |list: serde_json::Value| list.to_string();
        BTreeMap::from([
            ("ids".to_owned(), list(self.ids.clone().into())),
            ("tokens".to_owned(), list(self.words.clone().into())),
            ("class".to_owned(), self.class.to_string()),
            ("probability".to_owned(), self.probability.to_string()),
        ])
    }
}

impl LayerMaps {
    fn read(maps: AttentionMaps) -> Result<Self, EvaluateError> {
        Ok(Self {
            window: host(maps.window)?,
            landmarks: maps.landmarks.map(host).transpose()?,
            projection: maps.projection.map(host).transpose()?,
            class_row: maps.class_row.map(host).transpose()?,
        })
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Result<TensorData, EvaluateError> {
    tensor
        .try_into_data_as::<f32>()
        .map_err(|error| EvaluateError::Device(error.to_string()))
}
