//! Classification of one document or of a pair (Long Range Arena).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::attention::{AttentionMaps, NoMaps};
use crate::encoder::{Encoder, EncoderConfig};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::fields::{FieldError, Fields};
use crate::ops::layers::{embedding, linear};
use crate::seed::mix;
use crate::tokens::Tokens;

/// Configuration of a [`Classifier`].
///
/// As JSON it is one flat object with the fields of all parts, which is what `config.json` of a run
/// has under `model`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierConfig {
    /// Documents → vectors.
    #[serde(flatten)]
    pub encoder: EncoderConfig,
    /// Classes.
    pub classes: usize,
    /// Width of the classifier's hidden layer.
    pub d_head: usize,
    /// Classify pairs of documents.
    pub pair: bool,
}

impl Default for ClassifierConfig {
    /// The sizes that all 2021 presets share (LRA: 2 layers of width 64, 2 heads) with the
    /// release's default vocabulary.
    fn default() -> Self {
        Self {
            encoder: EncoderConfig::default(),
            classes: 2,
            d_head: 128,
            pair: false,
        }
    }
}

impl<'de> Deserialize<'de> for ClassifierConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        Self::read(&fields).map_err(D::Error::custom)
    }
}

impl ClassifierConfig {
    fn read(fields: &Fields) -> Result<Self, FieldError> {
        let config = Self {
            encoder: EncoderConfig::read(fields)?,
            classes: fields.get("classes")?,
            d_head: fields.get("d_head")?,
            pair: fields.get("pair")?,
        };
        fields.refuse_unknown(&config)?;
        Ok(config)
    }

    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [("classes", self.classes), ("d_head", self.d_head)];
        refuse_zero(sizes)?;
        refuse_too_large(sizes)?;
        self.encoder.validate()
    }

    /// Builds the model.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Classifier, ConfigError> {
        self.validate()?;
        let pooled = if self.pair { 4 } else { 1 } * self.encoder.d_model();
        Ok(Classifier {
            encoder: self.encoder.init(device)?,
            head: Head {
                hidden: LinearConfig::new(pooled, self.d_head).init(device),
                output: LinearConfig::new(self.d_head, self.classes).init(device),
            },
        })
    }
}

/// Linear → ReLU → Linear.
#[derive(Module, Debug)]
pub struct Head {
    /// Pooled features → hidden.
    pub hidden: Linear,
    /// Hidden → classes.
    pub output: Linear,
}

impl Head {
    fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        linear(relu(linear(pooled, &self.hidden)), &self.output)
    }
}

/// The Long Range Arena model: an encoder and a classifier of its pooled vector.
#[derive(Module, Debug)]
pub struct Classifier {
    /// Documents → vectors.
    pub encoder: Encoder,
    /// Vectors → logits.
    pub head: Head,
}

impl Classifier {
    /// Whether one block serves all layers.
    pub(crate) fn is_tied(&self) -> bool {
        self.encoder.is_tied()
    }

    /// Logits of single documents.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]`
    /// - output: `[documents, classes]`
    ///
    /// # Panics
    ///
    /// Panics if a document is longer than the model's positions, if ids and layout do not fit,
    /// or if the model was built for pairs.
    pub fn forward(&self, tokens: Tokens) -> Tensor<2> {
        self.head.forward(self.encoder.forward(tokens))
    }

    /// Logits of single rows, as if each were the last one of a document: what a model with
    /// [`Pooling::Last`](crate::Pooling::Last) learns besides the documents' classes.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]`; places: `[m]`, in the batch read row by row
    /// - output: `[m, classes]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_rows(&self, tokens: Tokens, places: Tensor<1, Int>) -> Tensor<2> {
        let rows = self.encoder.forward_tokens(tokens, None);
        let ([b, n, d_model], [m]) = (rows.dims(), places.dims());
        let rows = embedding(rows.reshape([b * n, d_model]), places.unsqueeze());
        self.head.forward(rows.reshape([m, d_model]))
    }

    /// Logits of pairs, from `[a, b, a⊙b, a−b]`.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]` each
    /// - output: `[pairs, classes]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if the model was built for single documents.
    pub fn forward_pair(&self, first: Tokens, mut second: Tokens) -> Tensor<2> {
        // The same seed would drop the same entries in both documents.
        second.dropout_seed = second.dropout_seed.map(|seed| mix(!seed));
        let a = self.encoder.forward(first);
        let b = self.encoder.forward(second);
        let product = a.clone() * b.clone();
        let difference = a.clone() - b.clone();
        self.head
            .forward(Tensor::cat(vec![a, b, product, difference], 1))
    }

    /// What the heads of each layer attend to in one document: [`Encoder::attention_maps`].
    ///
    /// # Errors
    ///
    /// The model's attention has no such maps.
    ///
    /// # Panics
    ///
    /// As [`Encoder::attention_maps`].
    pub fn attention_maps(&self, document: Tokens) -> Result<Vec<AttentionMaps>, NoMaps> {
        self.encoder.attention_maps(document)
    }
}
