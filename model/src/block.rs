//! One block of the encoder.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::Serialize;

use crate::attention::{
    Attention, AttentionConfig, AttentionInput, AttentionMaps, BatchLayout, Contexts, NoMaps,
};
use crate::error::{ConfigError, check_dropout, refuse_too_large, refuse_zero};
use crate::fields::{FieldError, Fields};
use crate::ops::fused::{AfterAttention, AfterAttentionLayers, Fused, linear_layer};
use crate::ops::layers::{exact_gelu, layer_norm_through, linear, linear_onto, norm_layer};
use crate::seed::{hash_dropout, mix};

/// Configuration of a [`Block`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockConfig {
    /// How the heads attend. Its width is the block's.
    #[serde(flatten)]
    pub attention: AttentionConfig,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Dropout after attention and after both feed-forward layers, and of what the first block
    /// takes.
    pub dropout: f64,
}

impl Default for BlockConfig {
    /// The sizes that all 2021 presets share.
    fn default() -> Self {
        Self {
            attention: AttentionConfig::default(),
            d_ff: 128,
            dropout: 0.0,
        }
    }
}

impl BlockConfig {
    /// Width `D` of the rows.
    pub fn d_model(&self) -> usize {
        self.attention.d_model()
    }

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

    /// Multiplications and additions for a document of `n` tokens, forward: see
    /// [`AttentionConfig::flops`].
    pub fn flops(&self, n: usize) -> f64 {
        let [d, d_ff] = [self.d_model() as f64, self.d_ff as f64];
        self.attention.flops(n) + n as f64 * (2.0 * d * d + 4.0 * d * d_ff)
    }

    /// About how many parameters the block has: its large matrices'.
    pub(crate) fn parameters(&self) -> u128 {
        let [d, d_ff] = [self.d_model() as u128, self.d_ff as u128];
        self.attention.parameters() + d * (d + 2 * d_ff)
    }

    pub(crate) fn read(fields: &Fields) -> Result<Self, FieldError> {
        Ok(Self {
            attention: AttentionConfig::read(fields)?,
            d_ff: fields.get("d_ff")?,
            dropout: fields.get("dropout")?,
        })
    }

    /// Builds the block.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the attention.
    pub fn init(&self, device: &Device) -> Block {
        let d_model = self.d_model();
        let norm = || LayerNormConfig::new(d_model).init(device);
        Block {
            attention_norm: norm(),
            attention: self.attention.init(device),
            output: LinearConfig::new(d_model, d_model).init(device),
            ff_norm: norm(),
            ff_in: LinearConfig::new(d_model, self.d_ff).init(device),
            ff_out: LinearConfig::new(self.d_ff, d_model).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// Pre-norm attention and feed-forward layers with residuals:
/// `X ← drop(contexts(LN(X)) W_o) + X`, `X ← FFN(LN(X)) + X`.
///
/// A class row enters attention without the first LayerNorm (the release's `lra/model.py`). Built by
/// [`BlockConfig`].
#[derive(Module, Debug)]
pub struct Block {
    /// LayerNorm in front of attention.
    pub attention_norm: LayerNorm,
    /// Maps the rows to contexts.
    pub attention: Attention,
    /// `W_o`
    pub output: Linear,
    /// LayerNorm in front of the feed-forward layers.
    pub ff_norm: LayerNorm,
    /// `D` → `d_ff`
    pub ff_in: Linear,
    /// `d_ff` → `D`
    pub ff_out: Linear,
    /// Dropout after attention and after both feed-forward layers.
    pub dropout: Dropout,
}

/// Tokens `[b, n, D]` and, where there are any, class rows `[documents, 1, D]`.
#[derive(Clone, Debug)]
pub struct HiddenStates {
    /// `[b, n, D]`
    pub tokens: Tensor<3>,
    /// `[documents, 1, D]`
    pub class_row: Option<Tensor<3>>,
}

impl Block {
    /// The block's outputs for all rows.
    ///
    /// # Shapes
    ///
    /// As the rows given.
    ///
    /// # Panics
    ///
    /// Panics if the rows do not fit the module or the layout.
    pub fn forward(
        &self,
        rows: HiddenStates,
        layout: &BatchLayout,
        dropout_seed: Option<u64>,
    ) -> HiddenStates {
        let contexts = self.contexts(&rows, layout, dropout_seed);
        let class_row = contexts.class_row.zip(rows.class_row);
        HiddenStates {
            tokens: self.after_attention(contexts.tokens, contexts.residual, dropout_seed),
            class_row: class_row.map(|(context, residual)| {
                // The same seed would drop the same entries as the first tokens'.
                let seed = dropout_seed.map(|seed| mix(!seed));
                self.after_attention(context, residual, seed)
            }),
        }
    }

    /// The block's output for the class row alone, `[documents, 1, D]`: the same numbers without
    /// the tokens' output and feed-forward layers, which nobody reads after the last block.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there is no class row.
    pub fn forward_class_row(
        &self,
        rows: HiddenStates,
        layout: &BatchLayout,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let contexts = self.contexts(&rows, layout, dropout_seed);
        let context = contexts.class_row.expect("an input with a class row");
        let residual = rows.class_row.expect("rows with a class row");
        self.after_attention(context, residual, dropout_seed.map(|seed| mix(!seed)))
    }

    /// What the heads attend to in one document: [`Attention::maps`].
    pub(crate) fn attention_maps(
        &self,
        rows: &HiddenStates,
        layout: &BatchLayout,
    ) -> Result<AttentionMaps, NoMaps> {
        self.attention.maps(self.input(rows, layout, None))
    }

    fn contexts(
        &self,
        rows: &HiddenStates,
        layout: &BatchLayout,
        dropout_seed: Option<u64>,
    ) -> Contexts {
        self.attention
            .contexts(self.input(rows, layout, dropout_seed))
    }

    fn input(
        &self,
        rows: &HiddenStates,
        layout: &BatchLayout,
        dropout_seed: Option<u64>,
    ) -> AttentionInput {
        let mut input = AttentionInput::new(rows.tokens.clone())
            .norm(&self.attention_norm)
            .layout(layout.clone());
        if let Some(class_row) = &rows.class_row {
            input = input.class_row(class_row.clone());
        }
        if let Some(seed) = dropout_seed {
            input = input.dropout_seed(seed);
        }
        input
    }

    /// What follows attention, given what the heads read.
    fn after_attention(
        &self,
        context: Tensor<3>,
        residual: Tensor<3>,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        if let Some(fused) = Fused::of(&residual) {
            let layers = AfterAttentionLayers {
                output: linear_layer(&self.output),
                norm: norm_layer(&self.ff_norm),
                ff_in: linear_layer(&self.ff_in),
                ff_out: linear_layer(&self.ff_out),
            };
            // Attention's own dropout has the seed itself.
            let seed = dropout_seed.map(|seed| mix(seed ^ 1));
            let dropout = hash_dropout(&self.dropout, &residual.device(), seed);
            let setting = AfterAttention {
                adds_norm: false,
                dropout,
            };
            return fused.after_attention(context, residual, layers, setting);
        }
        let x = linear_onto(residual, context, &self.output, &self.dropout);
        let (normed, x) = layer_norm_through(x, &self.ff_norm);
        let hidden = exact_gelu(linear(normed, &self.ff_in));
        let hidden = self.dropout.forward(hidden);
        linear_onto(x, hidden, &self.ff_out, &self.dropout)
    }
}
