//! An attention with its output layer, to embed in a module of one's own.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{Attention, AttentionConfig, AttentionInput};
use crate::ops::layers::linear;

/// Configuration of an [`AttentionLayer`].
#[derive(Config, Debug, PartialEq)]
pub struct AttentionLayerConfig {
    /// How the heads attend.
    pub attention: AttentionConfig,
}

impl AttentionLayerConfig {
    /// Builds the module with PyTorch's initial distribution of Linear layers.
    ///
    /// # Panics
    ///
    /// Panics if [`AttentionConfig::validate`] refuses the attention.
    pub fn init(&self, device: &Device) -> AttentionLayer {
        let d_model = self.attention.d_model();
        AttentionLayer {
            attention: self.attention.init(device),
            output: LinearConfig::new(d_model, d_model).init(device),
        }
    }
}

/// An attention followed by its output layer: `Y = contexts(X) W_o`.
///
/// [`Block`](crate::Block) has an output layer of its own, which it computes together with what
/// follows. Built by [`AttentionLayerConfig`].
#[derive(Module, Debug)]
pub struct AttentionLayer {
    /// Maps the tokens to contexts.
    pub attention: Attention,
    /// `W_o`
    pub output: Linear,
}

/// What [`AttentionLayer::forward`] returns.
#[derive(Clone, Debug)]
pub struct AttentionOutput {
    /// `[b, n, D]`
    pub tokens: Tensor<3>,
    /// `[documents, 1, D]` where there was a class row.
    pub class_row: Option<Tensor<3>>,
}

impl AttentionLayer {
    /// Attends over the sequence.
    ///
    /// # Shapes
    ///
    /// - tokens: `[b, n, D]`, any `n ≥ 1`; class row: `[documents, 1, D]`
    /// - output: tokens `[b, n, D]`, class row `[documents, 1, D]`
    ///
    /// A padded row gives `W_o`'s bias (behind a convolution, what its kernel reaches besides), as do
    /// all rows of a document without a real token.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other.
    pub fn forward(&self, input: AttentionInput) -> AttentionOutput {
        let contexts = self.attention.contexts(input);
        AttentionOutput {
            tokens: linear(contexts.tokens, &self.output),
            class_row: contexts.class_row.map(|row| linear(row, &self.output)),
        }
    }

    /// The class row's output alone: the same numbers as [`forward`](Self::forward) without the
    /// tokens' output layer.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there is no class row.
    pub fn forward_class_row(&self, input: AttentionInput) -> Tensor<3> {
        let class_row = self.attention.contexts(input).class_row;
        linear(class_row.expect("an input with a class row"), &self.output)
    }
}
