//! One layer of a language model.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::attention::causal::normal_linear;
use crate::attention::{CausalAttention, CausalAttentionConfig, Distances};
use crate::error::{ConfigError, check_dropout, refuse_too_large, refuse_zero};
use crate::ops::layers::{exact_gelu, layer_norm, linear, linear_onto};

/// Configuration of a [`LanguageModelLayer`].
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageModelLayerConfig {
    /// How the heads attend. Its width is the layer's.
    pub attention: CausalAttentionConfig,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// LayerNorms in front of attention and feed-forward layers, else behind them.
    pub pre_norm: bool,
    /// The exact GELU between the feed-forward layers, else ReLU.
    pub gelu: bool,
    /// Dropout after attention and after both feed-forward layers.
    pub dropout: f64,
}

impl LanguageModelLayerConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_zero([("d_ff", self.d_ff)])?;
        refuse_too_large([("d_ff", self.d_ff)])?;
        check_dropout("dropout", self.dropout)?;
        self.attention.validate()
    }

    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the attention.
    pub fn init(&self, device: &Device) -> LanguageModelLayer {
        let d_model = self.attention.d_model;
        let norm = || LayerNormConfig::new(d_model).init(device);
        LanguageModelLayer {
            attention: self.attention.init(device),
            attention_norm: norm(),
            ff_in: normal_linear(d_model, self.d_ff, true, device),
            ff_out: normal_linear(self.d_ff, d_model, true, device),
            ff_norm: norm(),
            dropout: DropoutConfig::new(self.dropout).init(),
            pre_norm: self.pre_norm,
            gelu: self.gelu,
        }
    }
}

/// Attention and feed-forward layers with residuals, as released.
///
/// Pre-norm the residuals run on normalised rows, the memory's too:
/// `H ← LN1(H)`, `H ← H + drop(C W_o)`, `H ← LN2(H)`, `H ← H + FFN(H)`; post-norm
/// `H ← LN1(H + drop(C W_o))`, `H ← LN2(H + FFN(H))`. Built by [`LanguageModelLayerConfig`].
#[derive(Module, Debug)]
pub struct LanguageModelLayer {
    /// Maps rows to contexts.
    pub attention: CausalAttention,
    /// `LN1`
    pub attention_norm: LayerNorm,
    /// `D` → `d_ff`
    pub ff_in: Linear,
    /// `d_ff` → `D`
    pub ff_out: Linear,
    /// `LN2`
    pub ff_norm: LayerNorm,
    /// Dropout after attention and after both feed-forward layers.
    pub dropout: Dropout,
    pub(crate) pre_norm: bool,
    gelu: bool,
}

impl LanguageModelLayer {
    /// The layer's outputs for a segment.
    ///
    /// # Shapes
    ///
    /// - hidden and output: `[b, M, D]`
    /// - memory: `[b, L, D]`, this layer's inputs for the rows before
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit the module or each other.
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        memory: Tensor<3>,
        distances: &Distances,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let (hidden, memory) = match self.pre_norm {
            true => [hidden, memory]
                .map(|rows| layer_norm(rows, &self.attention_norm))
                .into(),
            false => (hidden, memory),
        };
        let contexts = self
            .attention
            .contexts(hidden.clone(), memory, distances, dropout_seed);
        self.after_attention(hidden, contexts)
    }

    /// What follows attention: given its inputs, normalised where that comes first, and what the heads
    /// read.
    pub(crate) fn after_attention(&self, hidden: Tensor<3>, contexts: Tensor<3>) -> Tensor<3> {
        let own_norm = |rows, norm, wanted: bool| match wanted {
            true => layer_norm(rows, norm),
            false => rows,
        };
        let hidden = linear_onto(hidden, contexts, &self.attention.output, &self.dropout);
        let hidden = match self.pre_norm {
            true => layer_norm(hidden, &self.ff_norm),
            false => layer_norm(hidden, &self.attention_norm),
        };
        let inside = linear(hidden.clone(), &self.ff_in);
        let inside = match self.gelu {
            true => exact_gelu(inside),
            false => relu(inside),
        };
        let inside = self.dropout.forward(inside);
        let output = linear_onto(hidden, inside, &self.ff_out, &self.dropout);
        own_norm(output, &self.ff_norm, !self.pre_norm)
    }
}
