//! Language models over characters with causal attention, and the memory between segments.

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
/// every segment sees at least as far back as the memory is long. Built by [`LanguageModelConfig`], whose
/// fields also make it a Transformer-XL (`rank` 0) or a Compressive Transformer (`compressed` above 0).
#[derive(Module, Debug)]
pub struct LanguageModel {
    /// A row for each token, `[vocabulary, D]`; logits are products with the same rows.
    pub embedding: Embedding,
    /// Attention and feed-forward layers.
    pub layers: Vec<LanguageModelLayer>,
    /// Added to logits, `[vocabulary]`.
    pub output_bias: Param<Tensor<1>>,
    /// Dropout of embeddings, of the window's sinusoids and of the last layer's outputs.
    pub dropout: Dropout,
    /// Rows of compressed memory.
    compressed: usize,
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
    /// What compressing the memory has lost, `[1]`, summed over the layers: to be added to a loss. There is
    /// none without compressed memory, or where no gradients are computed.
    pub reconstruction: Option<Tensor<1>>,
}

/// How far a model is off the text that comes after a [`Segment`].
#[derive(Clone, Debug)]
pub struct Losses {
    /// `−log p` of each target, `[b, M]`.
    pub tokens: Tensor<2>,
    /// As in [`Predictions`].
    pub reconstruction: Option<Tensor<1>>,
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
    /// Panics if the rows are not made of whole chunks where there are landmarks.
    pub fn memory(&self, b: usize, rows: usize) -> Memory {
        self.layers[0].attention.check_memory(rows);
        let [_, d_model] = self.embedding.weight.dims();
        let zeros = |rows: usize| Tensor::zeros([b, rows, d_model], &self.device());
        Memory::new(self.layers.len(), zeros(rows), zeros(self.compressed))
    }

    /// # Panics
    ///
    /// Panics if the memory is another model's, or of another number of texts.
    fn check(&self, memory: &Memory, texts: usize) {
        let [_, d_model] = self.embedding.weight.dims();
        memory.check(self.layers.len(), [texts, self.compressed, d_model]);
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
        let (memory, reconstruction) = self.remember(segment.memory, inputs);
        Predictions {
            logits: self.logits(self.dropout.forward(hidden)),
            memory,
            reconstruction,
        }
    }

    /// A memory with a segment taken in, given the layers' inputs `[b, n, D]`; and what is lost with the
    /// rows that make room for it.
    pub(crate) fn remember(
        &self,
        memory: Memory,
        inputs: Vec<Tensor<3>>,
    ) -> (Memory, Option<Tensor<1>>) {
        let compress = |(number, layer): (usize, &LanguageModelLayer)| {
            layer.compress(&inputs[number], memory.leaving(number, &inputs[number]))
        };
        let compressed: Vec<_> = self
            .layers
            .iter()
            .enumerate()
            .filter_map(compress)
            .collect();
        let (rows, losses): (Vec<_>, Vec<_>) = compressed.into_iter().unzip();
        let lost = losses.into_iter().flatten().reduce(|a, b| a + b);
        (memory.followed_by(inputs, rows), lost)
    }

    /// The losses of targets `[b, M]`, given a segment whose tokens they come after; and the memory for the
    /// next one.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there are not as many targets as tokens.
    pub fn loss(&self, segment: Segment, targets: Tensor<2, Int>) -> (Losses, Memory) {
        let [b, n] = segment.tokens.dims();
        assert_shape!(targets, [b, n]);
        let predictions = self.forward(segment);
        let log_probabilities = log_softmax(predictions.logits, 2);
        let of_targets = log_probabilities.gather(2, targets.reshape([b, n, 1]));
        let losses = Losses {
            tokens: of_targets.reshape([b, n]).neg(),
            reconstruction: predictions.reconstruction,
        };
        (losses, predictions.memory)
    }

    /// The last layer's outputs `[b, M, D]`, and every layer's inputs.
    pub(crate) fn hidden(&self, segment: &Segment) -> (Tensor<3>, Vec<Tensor<3>>) {
        let Segment {
            tokens,
            memory,
            dropout_seed,
        } = segment;
        let [b, n] = tokens.dims();
        self.check(memory, b);
        let mut hidden = self.dropout.forward(self.embed(tokens.clone()));
        let attention = &self.layers[0].attention;
        let mut distances = attention.distances(n, memory.seen(), &hidden.device());
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
        // The smaller one is turned, for turning may be copying.
        let products = match b * n < self.vocabulary() {
            true => table.matmul(rows.transpose()).transpose(),
            false => rows.matmul(table.transpose()),
        };
        (products + bias).reshape([b, n, self.vocabulary()])
    }
}
