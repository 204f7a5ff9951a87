//! One block of the encoder.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::attention::{LongShortAttention, LongShortAttentionConfig, LongShortInput};
use crate::ops::layers::{AfterAttentionModules, after_attention, fused_layers, layer_norm};
use crate::ops::{Layout, exact_gelu};
use crate::seed::{hash_dropout, mix};

/// Pre-norm attention and feed-forward layers with residuals:
/// `X ← drop(attention(LN(X))) + X`, `X ← FFN(LN(X)) + X`.
///
/// A class row enters attention without the first LayerNorm (the release's `lra/model.py`).
#[derive(Module, Debug)]
pub struct Block {
    /// LayerNorm in front of attention.
    pub attention_norm: LayerNorm,
    /// Long-short attention.
    pub attention: LongShortAttention,
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
pub struct Rows {
    /// `[b, n, D]`
    pub tokens: Tensor<3>,
    /// `[documents, 1, D]`
    pub class_row: Option<Tensor<3>>,
}

impl Block {
    pub(crate) fn init(
        attention: &LongShortAttentionConfig,
        d_ff: usize,
        dropout: f64,
        device: &Device,
    ) -> Self {
        let d_model = attention.d_model;
        let norm = || LayerNormConfig::new(d_model).init(device);
        Self {
            attention_norm: norm(),
            attention: attention.init(device),
            ff_norm: norm(),
            ff_in: LinearConfig::new(d_model, d_ff).init(device),
            ff_out: LinearConfig::new(d_ff, d_model).init(device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// The block's outputs for all rows.
    ///
    /// # Shapes
    ///
    /// As the rows given.
    ///
    /// # Panics
    ///
    /// Panics if the rows do not fit the module or the layout.
    pub fn forward(&self, rows: Rows, layout: &Layout, dropout_seed: Option<u64>) -> Rows {
        let contexts = self
            .attention
            .contexts(self.attention_input(&rows, layout, dropout_seed));
        let class_row = contexts.class_row.zip(rows.class_row);
        Rows {
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
        rows: Rows,
        layout: &Layout,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let contexts = self
            .attention
            .contexts(self.attention_input(&rows, layout, dropout_seed));
        let context = contexts.class_row.expect("an input with a class row");
        let residual = rows.class_row.expect("rows with a class row");
        self.after_attention(context, residual, dropout_seed.map(|seed| mix(!seed)))
    }

    fn attention_input(
        &self,
        rows: &Rows,
        layout: &Layout,
        dropout_seed: Option<u64>,
    ) -> LongShortInput {
        let mut input = LongShortInput::new(rows.tokens.clone())
            .norm(&self.attention_norm)
            .layout(layout.clone());
        if let Some(class_row) = &rows.class_row {
            input = input.class_row(class_row.clone());
        }
        match dropout_seed {
            Some(seed) => input.dropout_seed(seed),
            None => input,
        }
    }

    /// What follows attention, given what the heads read.
    fn after_attention(
        &self,
        context: Tensor<3>,
        residual: Tensor<3>,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let output = &self.attention.output;
        if fused_layers(&residual) {
            let modules = AfterAttentionModules {
                output,
                norm: &self.ff_norm,
                ff_in: &self.ff_in,
                ff_out: &self.ff_out,
            };
            // Attention's own dropout has the seed itself.
            let seed = dropout_seed.map(|seed| mix(seed ^ 1));
            let dropout = hash_dropout(&self.dropout, &residual.device(), seed);
            return after_attention(context, residual, modules, dropout);
        }
        let x = self.dropout.forward(output.forward(context)) + residual;
        let hidden = exact_gelu(self.ff_in.forward(layer_norm(x.clone(), &self.ff_norm)));
        let hidden = self.dropout.forward(hidden);
        self.dropout.forward(self.ff_out.forward(hidden)) + x
    }
}
