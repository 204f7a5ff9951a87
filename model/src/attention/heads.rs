//! What every attention takes and gives, and how rows become heads.

use burn::nn::LayerNorm;
use burn::tensor::{Bool, Tensor, assert_shape};

use super::batch::BatchLayout;
use crate::error::ConfigError;
use crate::ops::{Boundaries, Layout};

/// What an attention takes.
#[derive(Clone, Debug)]
pub struct AttentionInput {
    pub(super) tokens: Tensor<3>,
    pub(super) layout: BatchLayout,
    pub(super) class_row: Option<Tensor<3>>,
    pub(super) dropout_seed: Option<u64>,
    /// Applied to the tokens first.
    pub(super) norm: Option<LayerNorm>,
}

impl AttentionInput {
    /// Tokens `[b, n, D]`, one document a row, all of them real.
    pub fn new(tokens: Tensor<3>) -> Self {
        Self {
            tokens,
            layout: Layout::Full.into(),
            class_row: None,
            dropout_seed: None,
            norm: None,
        }
    }

    /// A LayerNorm of the tokens before anything else, which attention can compute in the same pass
    /// as its own layers. The class row stays as it is.
    pub fn norm(mut self, norm: &LayerNorm) -> Self {
        self.norm = Some(norm.clone());
        self
    }

    /// Marks padding: mask `[b, n]`, true = a real token.
    pub fn mask(self, mask: Tensor<2, Bool>) -> Self {
        self.layout(Layout::Padded(mask))
    }

    /// The row `[1, Σn, D]` holds these documents end to end.
    pub fn packed(self, boundaries: Boundaries) -> Self {
        self.layout(Layout::Packed(boundaries))
    }

    /// How documents lie in the batch.
    pub fn layout(mut self, layout: impl Into<BatchLayout>) -> Self {
        self.layout = layout.into();
        self
    }

    /// A class row for each document, `[documents, 1, D]`: every token sees it, and it reads the
    /// whole document.
    pub fn class_row(mut self, class_row: Tensor<3>) -> Self {
        self.class_row = Some(class_row);
        self
    }

    /// Seed of attention dropout, so that a step can be repeated. Without it every call draws
    /// another one of this process.
    pub fn dropout_seed(mut self, seed: u64) -> Self {
        self.dropout_seed = Some(seed);
        self
    }

    /// Checks the shapes against each other and against the width of the module.
    pub(super) fn check(&self, d_model: usize) {
        let [b, n, _] = self.tokens.dims();
        assert_shape!(self.tokens, [b, n, d_model]);
        let layout = self.layout.layout();
        layout.check(b, n);
        if let Some(row) = &self.class_row {
            let documents = layout.documents(b);
            assert_shape!(row, [documents, 1, d_model]);
        }
    }
}

/// What the heads read for each row, side by side: an attention's output before `W_o`.
#[derive(Clone, Debug)]
pub struct Contexts {
    /// `[b, n, D]`
    pub tokens: Tensor<3>,
    /// `[documents, 1, D]` where there was a class row.
    pub class_row: Option<Tensor<3>>,
    /// The tokens as they came in, `[b, n, D]`, for the residual: a gradient that comes back through
    /// here needs no memory of its own where one kernel computes norm and heads.
    pub residual: Tensor<3>,
}

/// `[b, n, h·k]` → `[b, h, n, k]`
pub(super) fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, features] = x.dims();
    match n {
        // There is nothing to swap.
        1 => x.reshape([b, heads, 1, features / heads]),
        _ => x.reshape([b, n, heads, features / heads]).swap_dims(1, 2),
    }
}

/// `[b, h, n, d]` → `[b, n, h·d]`
pub(super) fn merge(x: Tensor<4>) -> Tensor<3> {
    let [b, h, n, d] = x.dims();
    x.swap_dims(1, 2).reshape([b, n, h * d])
}

/// Refuses heads that the width can't be split into.
pub(super) fn check_heads(d_model: usize, heads: usize) -> Result<(), ConfigError> {
    if d_model == 0 {
        return Err(ConfigError::new("d_model", "must be at least 1"));
    }
    if heads == 0 || !d_model.is_multiple_of(heads) {
        let problem = format!("must divide d_model {d_model}, {heads} does not");
        return Err(ConfigError::new("heads", problem));
    }
    Ok(())
}
