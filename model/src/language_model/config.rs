//! Configuration of a language model.

use burn::module::Initializer;
use burn::nn::{DropoutConfig, EmbeddingConfig};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{LanguageModel, LanguageModelLayerConfig};
use crate::attention::CausalAttentionConfig;
use crate::attention::causal::normal;
use crate::error::{ConfigError, refuse_too_large, refuse_zero};

/// Configuration of a [`LanguageModel`]. As JSON it is one flat object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModelConfig {
    /// Ids of tokens.
    pub vocab_size: usize,
    /// Layers.
    pub layers: usize,
    /// Width `D` of the rows.
    pub d_model: usize,
    /// Heads; they divide the width.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// A query sees itself and the `window − 1` tokens before it; 0: all that the memory holds.
    pub window: usize,
    /// Tokens of a chunk, which landmarks, or rows of compressed memory, stand for.
    pub chunk: usize,
    /// Landmarks of a chunk, per head. 0: none, and attention is that of Transformer-XL (Dai et al. 2019).
    pub rank: usize,
    /// Rows of compressed memory behind the memory proper: a Compressive Transformer (Rae et al. 2020). A
    /// chunk that leaves the memory becomes one of them.
    #[serde(default)]
    pub compressed: usize,
    /// LayerNorms in front of attention and feed-forward layers, else behind them.
    pub pre_norm: bool,
    /// The exact GELU between the feed-forward layers, else ReLU.
    pub gelu: bool,
    /// Whether queries, keys, values and `W_o` have a bias.
    pub bias: bool,
    /// Dropout of embeddings and of the last layer's outputs, after attention and after both feed-forward
    /// layers.
    pub dropout: f64,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
    /// The largest distance of a key that positions tell apart; 0 for no bound.
    pub clamp: usize,
    /// The largest number of landmarks after one that positions tell apart; 0 for no bound.
    pub landmark_clamp: usize,
}

impl Default for LanguageModelConfig {
    /// The paper's 12-layer model of enwik8 (Zhu et al. 2021, table 3): about 44 million weights.
    fn default() -> Self {
        Self {
            vocab_size: 205,
            layers: 12,
            d_model: 512,
            heads: 8,
            d_ff: 2048,
            window: 512,
            chunk: 16,
            rank: 1,
            compressed: 0,
            pre_norm: true,
            gelu: true,
            bias: false,
            dropout: 0.2,
            attention_dropout: 0.0,
            clamp: 0,
            landmark_clamp: 0,
        }
    }
}

/// Models larger than this are a slip of the keyboard.
const LARGEST_PARAMETERS: u128 = 1 << 32;

impl LanguageModelConfig {
    /// Every layer's.
    pub fn layer(&self) -> LanguageModelLayerConfig {
        LanguageModelLayerConfig {
            attention: CausalAttentionConfig {
                d_model: self.d_model,
                heads: self.heads,
                window: self.window,
                chunk: self.chunk,
                rank: self.rank,
                bias: self.bias,
                clamp: self.clamp,
                landmark_clamp: self.landmark_clamp,
                attention_dropout: self.attention_dropout,
            },
            compresses: self.compressed > 0,
            d_ff: self.d_ff,
            pre_norm: self.pre_norm,
            gelu: self.gelu,
            dropout: self.dropout,
        }
    }

    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [("vocab_size", self.vocab_size), ("layers", self.layers)];
        refuse_zero(sizes)?;
        refuse_too_large(sizes)?;
        refuse_too_large([("compressed", self.compressed)])?;
        self.layer().validate()?;
        if self.compressed > 0 {
            for (field, value) in [("rank", self.rank), ("window", self.window)] {
                if value > 0 {
                    let problem = format!(
                        "must be 0 beside compressed memory, all of which is seen and which takes the \
                         landmarks' place, and is {value}"
                    );
                    return Err(ConfigError::new(field, problem));
                }
            }
        }
        let parameters = self.parameters();
        if parameters > LARGEST_PARAMETERS {
            let problem = format!(
                "and the other sizes make a model of {parameters} parameters; at most \
                 {LARGEST_PARAMETERS} are built"
            );
            return Err(ConfigError::new("d_model", problem));
        }
        Ok(())
    }

    /// About how many parameters the model has: its large matrices'.
    fn parameters(&self) -> u128 {
        let size = |x: usize| x as u128;
        let d = size(self.d_model);
        let chunk = if self.compressed > 0 {
            size(self.chunk)
        } else {
            0
        };
        let attention = (6 + chunk) * d + size(self.heads) * size(self.rank);
        let layer = d * (attention + 2 * size(self.d_ff));
        size(self.vocab_size) * d + size(self.layers) * layer
    }

    /// Builds the model with the release's initial distributions, as
    /// [`CausalAttentionConfig::init`] has them; the embedding is N(0, 0.02).
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<LanguageModel, ConfigError> {
        self.validate()?;
        let embedding =
            EmbeddingConfig::new(self.vocab_size, self.d_model).with_initializer(normal(0.0));
        let layer = self.layer();
        Ok(LanguageModel {
            embedding: embedding.init(device),
            layers: (0..self.layers).map(|_| layer.init(device)).collect(),
            output_bias: Initializer::Zeros.init([self.vocab_size], device),
            dropout: DropoutConfig::new(self.dropout).init(),
            compressed: self.compressed,
        })
    }
}
