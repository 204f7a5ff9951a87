//! Filling in masked tokens: what an encoder learns from a task's inputs alone.
//!
//! The objective of Amos, Berant and Gupta, "Never Train from Scratch" (ICLR 2024), section 3: some
//! tokens' values are zeroed, a flag says which, and a layer on the encoder's rows has to tell what
//! stood there. It is bidirectional: a row reads both sides of its token.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::embedding::normalised;
use crate::encoder::{Encoder, EncoderConfig};
use crate::ops::layers::{embedding, linear};
use crate::seed::mix;
use crate::tokens::Tokens;

/// How what was filled in is compared with what stood there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconstruction {
    /// Cross-entropy over the token ids.
    #[default]
    CrossEntropy,
    /// The distance of brightnesses, both normalised as [`Input::Floats`](crate::Input) are.
    L1,
}

/// Documents with some of their tokens hidden.
#[derive(Clone, Debug)]
pub struct MaskedTokens {
    tokens: Tokens,
    places: Tensor<1, Int>,
    targets: Tensor<1, Int>,
}

impl MaskedTokens {
    /// Hides tokens of a batch.
    ///
    /// # Shapes
    ///
    /// - masked: `[b, n]`, as the ids: true = hidden
    /// - places: `[m]`, where `masked` is true, in the batch read row by row
    pub fn new(tokens: Tokens, masked: Tensor<2, Bool>, places: Tensor<1, Int>) -> Self {
        let [b, n] = tokens.ids.dims();
        let targets = tokens.ids.clone().reshape([b * n]);
        Self {
            targets: targets.select(0, places.clone()),
            tokens: Tokens {
                masked: Some(masked),
                ..tokens
            },
            places,
        }
    }

    /// The same batch, of which other places `[m]` are asked for: they need not be hidden.
    pub fn at(self, places: Tensor<1, Int>) -> Self {
        let masked = self.tokens.masked.clone();
        let masked = masked.expect("a masked batch has a mask");
        Self::new(self.tokens, masked, places)
    }

    /// The ids that are hidden `[m]`.
    pub fn targets(&self) -> Tensor<1, Int> {
        self.targets.clone()
    }
}

/// What stands beside an encoder while it learns to fill in tokens, and is dropped afterwards.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Enters in the place of a masked token `[D]`.
    pub mask_flag: Param<Tensor<1>>,
    /// A row of the encoder → a logit for every id, or one normalised brightness.
    pub output: Linear,
    #[module(skip)]
    compared_by: Reconstruction,
    mean: f64,
    deviation: f64,
}

impl Decoder {
    /// A decoder for an encoder of this configuration.
    pub fn init(encoder: &EncoderConfig, compared_by: Reconstruction, device: &Device) -> Self {
        let (config, d_model) = (&encoder.embedding, encoder.d_model());
        let outputs = match compared_by {
            Reconstruction::CrossEntropy => config.vocab_size,
            Reconstruction::L1 => 1,
        };
        // As large as what it stands for is at the start.
        let deviation = match config.input {
            crate::Input::Ids => 0.02,
            crate::Input::Floats => f64::sqrt(1.0 / 3.0),
        };
        Self {
            mask_flag: Initializer::Normal {
                mean: 0.0,
                std: deviation,
            }
            .init([d_model], device),
            output: LinearConfig::new(d_model, outputs).init(device),
            compared_by,
            mean: config.input_mean,
            deviation: config.input_deviation,
        }
    }

    /// What the decoder says of every masked token, document batch after document batch.
    ///
    /// # Shapes
    ///
    /// - output: `[m, vocab_size]` or `[m, 1]`, `m` masked tokens in all batches
    ///
    /// # Panics
    ///
    /// Panics if there is no batch, or as [`Encoder::forward`].
    pub fn forward(&self, encoder: &Encoder, batches: Vec<MaskedTokens>) -> Tensor<2> {
        let rows = batches
            .into_iter()
            .enumerate()
            .map(|(index, batch)| {
                let mut tokens = batch.tokens;
                if index > 0 {
                    // The same seed would drop the same entries in both documents.
                    tokens.dropout_seed = tokens.dropout_seed.map(|seed| mix(!seed));
                }
                let rows = encoder.forward_tokens(tokens, Some(self.mask_flag.val()));
                let [b, n, d_model] = rows.dims();
                let [m] = batch.places.dims();
                let rows = rows.reshape([b * n, d_model]);
                embedding(rows, batch.places.unsqueeze()).reshape([m, d_model])
            })
            .collect();
        linear(Tensor::cat(rows, 0), &self.output)
    }

    /// The mean loss over the masked tokens, and how many of them were found: the likeliest id is
    /// the one that stood there, or the nearest brightness of 256 is.
    ///
    /// # Shapes
    ///
    /// - filled: what [`forward`](Self::forward) gives; targets: `[m]`
    /// - output: `[1]` each
    pub fn loss(&self, filled: Tensor<2>, targets: Tensor<1, Int>) -> (Tensor<1>, Tensor<1, Int>) {
        match self.compared_by {
            Reconstruction::CrossEntropy => {
                let found = filled.clone().argmax(1).squeeze_dim::<1>(1);
                let hits = found.equal(targets.clone()).int().sum();
                let likelihoods = activation::log_softmax(filled, 1);
                let likelihoods = likelihoods.gather(1, targets.unsqueeze_dim(1));
                (likelihoods.mean().neg(), hits)
            }
            Reconstruction::L1 => {
                let filled = filled.squeeze_dim::<1>(1);
                let targets = normalised(targets, self.mean, self.deviation);
                let distance = (filled.clone() - targets.cast(filled.dtype())).abs();
                let half_a_level = 0.5 / 255.0 / self.deviation;
                let hits = distance.clone().lower_elem(half_a_level).int().sum();
                (distance.mean(), hits)
            }
        }
    }
}
