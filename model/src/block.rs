//! One block of the encoder.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::attention::{LongShortAttention, LongShortAttentionConfig, LongShortInput};
use crate::ops::{Layout, exact_gelu};

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
        let attended = self
            .attention
            .forward(self.attention_input(&rows, layout, dropout_seed));
        Rows {
            tokens: self.after_attention(attended.tokens, rows.tokens),
            class_row: attended
                .class_row
                .zip(rows.class_row)
                .map(|(attended, residual)| self.after_attention(attended, residual)),
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
        let attended =
            self.attention
                .forward_class_row(self.attention_input(&rows, layout, dropout_seed));
        let residual = rows.class_row.expect("rows with a class row");
        self.after_attention(attended, residual)
    }

    fn attention_input(
        &self,
        rows: &Rows,
        layout: &Layout,
        dropout_seed: Option<u64>,
    ) -> LongShortInput {
        let mut input = LongShortInput::new(self.attention_norm.forward(rows.tokens.clone()))
            .layout(layout.clone());
        if let Some(class_row) = &rows.class_row {
            input = input.class_row(class_row.clone());
        }
        match dropout_seed {
            Some(seed) => input.dropout_seed(seed),
            None => input,
        }
    }

    fn after_attention(&self, attended: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let x = self.dropout.forward(attended) + residual;
        let hidden = exact_gelu(self.ff_in.forward(self.ff_norm.forward(x.clone())));
        let hidden = self.dropout.forward(hidden);
        self.dropout.forward(self.ff_out.forward(hidden)) + x
    }
}
