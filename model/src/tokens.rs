//! A batch of documents as the models take it.

use burn::tensor::{Bool, Int, Tensor};

use crate::ops::Layout;

/// Token ids of a batch and how its documents lie in it.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub(crate) ids: Tensor<2, Int>,
    pub(crate) layout: Layout,
    pub(crate) dropout_seed: Option<u64>,
    /// Where tokens are hidden from the model.
    pub(crate) masked: Option<Tensor<2, Bool>>,
}

impl Tokens {
    /// Ids `[b, n]`, one document a row, every token real.
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self {
            ids,
            layout: Layout::Full,
            dropout_seed: None,
            masked: None,
        }
    }

    /// How documents lie in the batch.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Seed of attention dropout in this forward pass, so that a training step can be repeated.
    pub fn dropout_seed(mut self, seed: u64) -> Self {
        self.dropout_seed = Some(seed);
        self
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        let [b, _] = self.ids.dims();
        self.layout.documents(b)
    }
}
