//! Classification of one document or of a pair (Long Range Arena).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::attention::LongShortAttentionConfig;
use crate::embedding::{Input, Positions};
use crate::encoder::{Encoder, Pooling};
use crate::error::ConfigError;
use crate::seed::mix;
use crate::tokens::Tokens;

/// No size is larger; the largest sequence is one of 16 million tokens.
const LARGEST_SIZE: usize = 1 << 24;

/// Models larger than this are a slip of the keyboard.
const LARGEST_PARAMETERS: u128 = 1 << 32;

/// Configuration of a [`Classifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Token ids, padding included: ids lie in `0..vocab_size`.
    pub vocab_size: usize,
    /// Classes.
    pub classes: usize,
    /// Positions, in tokens: the longest document.
    pub max_length: usize,
    /// Width `D`.
    pub d_model: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Width of the classifier's hidden layer.
    pub d_head: usize,
    /// Blocks.
    pub layers: usize,
    /// Rank `r` of the projection; 0 = off.
    pub rank: usize,
    /// Window `w` in tokens; 0 = off.
    pub window: usize,
    /// Odd length of the convolution over values; null = none.
    pub conv_kernel: Option<usize>,
    /// Dropout of embeddings, attention outputs and feed-forward layers.
    pub dropout: f64,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
    /// One block used for all layers.
    pub tied: bool,
    /// Rotary positions on queries and keys.
    pub rotary: bool,
    /// A learned score by distance inside the window.
    pub offset_bias: bool,
    /// How rows become one vector.
    pub pooling: Pooling,
    /// Classify pairs of documents.
    pub pair: bool,
    /// What a token is.
    #[serde(default)]
    pub input: Input,
    /// The brightness, of 1, that becomes 0 where tokens are floats.
    #[serde(default = "half")]
    pub input_mean: f64,
    /// The brightness above the mean that becomes 1 where tokens are floats.
    #[serde(default = "half")]
    pub input_deviation: f64,
    /// What is added to a token's embedding for its position.
    #[serde(default)]
    pub positions: Positions,
}

fn half() -> f64 {
    0.5
}

impl Default for ClassifierConfig {
    /// The sizes that all 2021 presets share (LRA: 2 layers of width 64, 2 heads) with the
    /// release's default vocabulary.
    fn default() -> Self {
        Self {
            vocab_size: 512,
            classes: 2,
            max_length: 4096,
            d_model: 64,
            heads: 2,
            d_ff: 128,
            d_head: 128,
            layers: 2,
            rank: 32,
            window: 8,
            conv_kernel: None,
            dropout: 0.0,
            attention_dropout: 0.0,
            tied: false,
            rotary: false,
            offset_bias: false,
            pooling: Pooling::ClassLast,
            pair: false,
            input: Input::Ids,
            input_mean: half(),
            input_deviation: half(),
            positions: Positions::Learned,
        }
    }
}

impl ClassifierConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("classes", self.classes),
            ("vocab_size", self.vocab_size),
            ("max_length", self.max_length),
            ("d_ff", self.d_ff),
            ("d_head", self.d_head),
            ("layers", self.layers),
        ] {
            if value == 0 {
                return Err(ConfigError::new(field, "must be at least 1"));
            }
        }
        for (field, value) in [
            ("classes", self.classes),
            ("vocab_size", self.vocab_size),
            ("max_length", self.max_length),
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("d_head", self.d_head),
            ("layers", self.layers),
            ("rank", self.rank),
            ("window", self.window),
            ("conv_kernel", self.conv_kernel.unwrap_or(0)),
        ] {
            if value > LARGEST_SIZE {
                let problem = format!("must be at most {LARGEST_SIZE}, {value} is not");
                return Err(ConfigError::new(field, problem));
            }
        }
        if self.window > self.max_length {
            let problem = format!(
                "must be at most max_length {}, {} is not",
                self.max_length, self.window
            );
            return Err(ConfigError::new("window", problem));
        }
        if self.positions == Positions::Axial && self.max_length.isqrt().pow(2) != self.max_length {
            let problem = format!(
                "are for square images: model.max_length {} is no square number",
                self.max_length
            );
            return Err(ConfigError::new("positions", problem));
        }
        if self.parameters() > LARGEST_PARAMETERS {
            let problem = format!(
                "and the other sizes make a model of {} parameters; at most {LARGEST_PARAMETERS} are built",
                self.parameters()
            );
            return Err(ConfigError::new("d_model", problem));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let problem = format!("must lie in [0, 1), {} does not", self.dropout);
            return Err(ConfigError::new("dropout", problem));
        }
        if !self.input_mean.is_finite() {
            return Err(ConfigError::new("input_mean", "must be a number"));
        }
        if !(self.input_deviation.is_finite() && self.input_deviation > 0.0) {
            let problem = format!("must be above 0, and is {}", self.input_deviation);
            return Err(ConfigError::new("input_deviation", problem));
        }
        self.attention().validate()
    }

    /// About how many parameters the model has: its large matrices'.
    fn parameters(&self) -> u128 {
        let [vocabulary, length, d, d_ff, rank, layers] = [
            self.vocab_size,
            self.max_length,
            self.d_model,
            self.d_ff,
            self.rank,
            self.layers,
        ]
        .map(|size| size as u128);
        let block = d * (4 * d + 2 * d_ff + self.heads as u128 * rank);
        let positions = match self.positions {
            Positions::None => 0,
            Positions::Learned => length,
            Positions::Axial => 2 * length.isqrt(),
        };
        (vocabulary + positions) * d + layers * block
    }

    /// Builds the model.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Classifier, ConfigError> {
        self.validate()?;
        let pooled = if self.pair { 4 } else { 1 } * self.d_model;
        Ok(Classifier {
            encoder: Encoder::init(self, device),
            head: Head {
                hidden: LinearConfig::new(pooled, self.d_head).init(device),
                output: LinearConfig::new(self.d_head, self.classes).init(device),
            },
        })
    }

    /// Configuration of each block's attention.
    pub fn attention(&self) -> LongShortAttentionConfig {
        LongShortAttentionConfig::new(self.d_model, self.heads)
            .with_window(self.window)
            .with_rank(self.rank)
            .with_conv_kernel(self.conv_kernel)
            .with_dropout(self.attention_dropout)
            .with_rotary(self.rotary)
            .with_offset_bias(self.offset_bias)
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
        self.output.forward(relu(self.hidden.forward(pooled)))
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
}
