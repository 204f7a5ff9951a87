//! Language models over characters with causal long-short attention, and the memory between segments.

mod config;
mod decoding;
mod layer;
mod memory;

use burn::module::{Module, Param};
use burn::nn::{Dropout, Embedding};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, assert_shape};

pub use config::LanguageModelConfig;
pub use decoding::Decoding;
pub use layer::{LanguageModelLayer, LanguageModelLayerConfig};
pub use memory::Memory;

use crate::ops::layers::embedding;
use crate::seed::mix;

/// A causal language model (Zhu et al. 2021, section 4.2; the release's
/// `autoregressive/model_lib/transformer_ls.py`): tokens → logits for the token that comes next.
///
/// It reads a text segment by segment. A [`Memory`] holds what it keeps of those before, so that
/// every segment sees at least as far back as the memory is long. Built by [`LanguageModelConfig`].
#[derive(Module, Debug)]
pub struct LanguageModel {
    /// A row for each token, `[vocabulary, D]`; logits are products with the same rows.
    pub embedding: Embedding,
    /// Attention and feed-forward layers.
    pub layers: Vec<LanguageModelLayer>,
    /// Added to logits, `[vocabulary]`.
    pub output_bias: Param<Tensor<1>>,
    /// Dropout of embeddings and of the window's sinusoids.
    pub dropout: Dropout,
}

/// A segment of text and what is read along with it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Ids `[b, M]`, any `M ≥ 1`.
    pub tokens: Tensor<2, Int>,
    /// What is kept of the text before.
    pub memory: Memory,
    /// Seed of attention dropout, so that a step can be repeated.
    pub dropout_seed: Option<u64>,
}

/// What a model makes of a [`Segment`].
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Scores of every token as the next one, `[b, M, vocabulary]`.
    pub logits: Tensor<3>,
    /// What is kept for the next segment.
    pub memory: Memory,
}

impl LanguageModel {
    /// Ids that the model knows.
    pub fn vocabulary(&self) -> usize {
        self.embedding.weight.dims()[0]
    }

    /// The device that its weights are on.
    pub fn device(&self) -> Device {
        self.embedding.weight.val().device()
    }

    /// The memory before any text, zeros, of so many rows for each of `b` texts.
    ///
    /// # Panics
    ///
    /// Panics if the rows are not made of whole chunks.
    pub fn memory(&self, b: usize, rows: usize) -> Memory {
        let chunk = self.layers[0].attention.chunk;
        assert!(
            rows.is_multiple_of(chunk),
            "a memory of {rows} rows is not made of whole chunks of {chunk}"
        );
        let [_, d_model] = self.embedding.weight.dims();
        Memory::zeros(self.layers.len(), [b, rows, d_model], &self.device())
    }

    /// Logits of a segment, and the memory for the next one.
    ///
    /// # Shapes
    ///
    /// As in [`Segment`] and [`Predictions`].
    ///
    /// # Panics
    ///
    /// Panics if the memory is another model's, or of another number of texts.
    pub fn forward(&self, segment: Segment) -> Predictions {
        let (hidden, inputs) = self.hidden(&segment);
        Predictions {
            logits: self.logits(hidden),
            memory: segment.memory.followed_by(inputs),
        }
    }

    /// `−log p` of each target, `[b, M]`, given a segment whose tokens they come after; and the memory
    /// for the next one.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there are not as many targets as tokens.
    pub fn loss(&self, segment: Segment, targets: Tensor<2, Int>) -> (Tensor<2>, Memory) {
        let [b, n] = segment.tokens.dims();
        assert_shape!(targets, [b, n]);
        let Predictions { logits, memory } = self.forward(segment);
        let of_targets = log_softmax(logits, 2).gather(2, targets.reshape([b, n, 1]));
        (of_targets.reshape([b, n]).neg(), memory)
    }

    /// The last layer's outputs `[b, M, D]`, and every layer's inputs.
    pub(crate) fn hidden(&self, segment: &Segment) -> (Tensor<3>, Vec<Tensor<3>>) {
        let Segment {
            tokens,
            memory,
            dropout_seed,
        } = segment;
        let [b, n] = tokens.dims();
        memory.check(self.layers.len(), b, self.embedding.weight.dims()[1]);
        let mut hidden = self.dropout.forward(self.embed(tokens.clone()));
        let attention = &self.layers[0].attention;
        let mut distances = attention.distances(n, memory.rows(), &hidden.device());
        distances.window = self.dropout.forward(distances.window);
        let mut inputs = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            inputs.push(hidden.clone());
            let seed = dropout_seed.map(|seed| mix(seed.wrapping_add(number as u64)));
            hidden = layer.forward(hidden, memory.layer(number), &distances, seed);
        }
        (hidden, inputs)
    }

    /// Rows of tokens `[b, n]`, times √D.
    pub(crate) fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let table = self.embedding.weight.val();
        let [_, d_model] = table.dims();
        embedding(table, tokens) * (d_model as f64).sqrt()
    }

    /// Products with the embedding's rows.
    pub(crate) fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [b, n, d_model] = hidden.dims();
        let table = self.embedding.weight.val();
        let bias = self.output_bias.val().unsqueeze();
        let rows = hidden.reshape([b * n, d_model]);
        (rows.matmul(table.transpose()) + bias).reshape([b, n, self.vocabulary()])
    }
}
