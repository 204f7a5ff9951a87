//! Embeddings, blocks and pooling: a vector for each document.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::attention::{AttentionMaps, BatchLayout, NoMaps};
use crate::block::{Block, BlockConfig, HiddenStates};
use crate::embedding::{EmbeddingConfig, TokenEmbedding};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::fields::{FieldError, Fields};
use crate::ops::layers::{embedding, layer_norm};
use crate::ops::{self, Layout};
use crate::seed::mix;
use crate::tokens::Tokens;

/// How a document's rows become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over all rows, padded ones counted as zeros (as released). A packed document is
    /// divided by the model's `max_length`.
    MeanAll,
    /// The mean over real tokens.
    MeanReal,
    /// The largest value of each feature over real tokens; zeros for a document without any.
    MaxReal,
    /// The row of the last real token; zeros for a document without any.
    Last,
    /// A learned class row in every block.
    ClassEvery,
    /// A learned class row in the last block alone.
    #[default]
    ClassLast,
}

impl Pooling {
    /// Whether there is a learned class row.
    pub fn has_class_row(self) -> bool {
        matches!(self, Self::ClassEvery | Self::ClassLast)
    }
}

/// Models larger than this are a slip of the keyboard.
const LARGEST_PARAMETERS: u128 = 1 << 32;

/// Configuration of an [`Encoder`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EncoderConfig {
    /// What is embedded, and how.
    #[serde(flatten)]
    pub embedding: EmbeddingConfig,
    /// Every block. Its width is the model's.
    #[serde(flatten)]
    pub block: BlockConfig,
    /// Blocks.
    pub layers: usize,
    /// One block used for all layers.
    pub tied: bool,
    /// How rows become one vector.
    pub pooling: Pooling,
}

impl Default for EncoderConfig {
    /// The sizes that all 2021 presets share.
    fn default() -> Self {
        Self {
            embedding: EmbeddingConfig::default(),
            block: BlockConfig::default(),
            layers: 2,
            tied: false,
            pooling: Pooling::ClassLast,
        }
    }
}

impl EncoderConfig {
    /// Width `D` of the rows.
    pub fn d_model(&self) -> usize {
        self.block.d_model()
    }

    /// Multiplications and additions of all blocks for a document of `n` tokens, forward: see
    /// [`AttentionConfig::flops`](crate::attention::AttentionConfig::flops).
    pub fn flops(&self, n: usize) -> f64 {
        self.layers as f64 * self.block.flops(n)
    }

    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let layers = [("layers", self.layers)];
        refuse_zero(layers)?;
        refuse_too_large(layers)?;
        self.embedding.validate()?;
        self.block.validate()?;
        let longest = self.embedding.max_length;
        if let Some(window) = self.block.attention.window()
            && window > longest
        {
            let problem = format!("must be at most max_length {longest}, {window} is not");
            return Err(ConfigError::new("window", problem));
        }
        if let Some(known) = self.block.attention.longest()
            && known < longest
        {
            let problem = format!("must be at least max_length {longest}, {known} is not");
            return Err(ConfigError::new("projected_length", problem));
        }
        let parameters = self.embedding.rows() * self.d_model() as u128
            + self.layers as u128 * self.block.parameters();
        if parameters > LARGEST_PARAMETERS {
            let problem = format!(
                "and the other sizes make a model of {parameters} parameters; at most \
                 {LARGEST_PARAMETERS} are built"
            );
            return Err(ConfigError::new("d_model", problem));
        }
        Ok(())
    }

    pub(crate) fn read(fields: &Fields) -> Result<Self, FieldError> {
        Ok(Self {
            embedding: fields.part()?,
            block: BlockConfig::read(fields)?,
            layers: fields.get("layers")?,
            tied: fields.get("tied")?,
            pooling: fields.get("pooling")?,
        })
    }

    /// Builds the encoder.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Encoder, ConfigError> {
        self.validate()?;
        let d_model = self.d_model();
        let blocks = if self.tied { 1 } else { self.layers };
        let class_row = self.pooling.has_class_row();
        Ok(Encoder {
            embedding: self.embedding.init(d_model, device),
            blocks: (0..blocks).map(|_| self.block.init(device)).collect(),
            norm: LayerNormConfig::new(d_model).init(device),
            class_embedding: class_row.then(|| Initializer::Zeros.init([1, 1, d_model], device)),
            dropout: DropoutConfig::new(self.block.dropout).init(),
            layers: self.layers,
            tied: self.tied,
            max_length: self.embedding.max_length,
            pooling: self.pooling,
        })
    }
}

/// Documents → vectors. Built by [`EncoderConfig`].
#[derive(Module, Debug)]
pub struct Encoder {
    /// Token and position embeddings.
    pub embedding: TokenEmbedding,
    /// One block a layer, or a single one used for all layers.
    pub blocks: Vec<Block>,
    /// LayerNorm after the last block.
    pub norm: LayerNorm,
    /// The class row at the start `[1, 1, D]`.
    pub class_embedding: Option<Param<Tensor<3>>>,
    /// Dropout after the embeddings.
    pub dropout: Dropout,
    layers: usize,
    tied: bool,
    max_length: usize,
    #[module(skip)]
    pooling: Pooling,
}

impl Encoder {
    pub(crate) fn is_tied(&self) -> bool {
        self.tied
    }

    /// A vector for each document.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]`
    /// - output: `[documents, D]`
    ///
    /// # Panics
    ///
    /// Panics if a document is longer than the model's positions, or if ids and layout do not fit.
    pub fn forward(&self, tokens: Tokens) -> Tensor<2> {
        let documents = tokens.documents();
        let batch = BatchLayout::from(tokens.layout.clone());
        let (rows, seed) = self.before_last_block(&tokens, &batch, None, |_, _| ());
        let layout = &tokens.layout;
        if rows.class_row.is_some() {
            let [_, _, d_model] = rows.tokens.dims();
            let class_row = self.last_block().forward_class_row(rows, &batch, seed);
            return layer_norm(class_row, &self.norm).reshape([documents, d_model]);
        }
        let rows = self.last_block().forward(rows, &batch, seed);
        let rows = layer_norm(rows.tokens, &self.norm);
        match self.pooling {
            Pooling::MaxReal => max_real(rows, layout),
            Pooling::Last => last(rows, layout),
            _ => self.mean(rows, layout),
        }
    }

    /// A vector for each token, `[b, n, D]`, with `flag` `[D]` in the place of masked ones. Class
    /// rows take part as they do when documents are classified.
    pub(crate) fn forward_tokens(&self, tokens: Tokens, flag: Option<Tensor<1>>) -> Tensor<3> {
        let batch = BatchLayout::from(tokens.layout.clone());
        let (rows, seed) = self.before_last_block(&tokens, &batch, flag, |_, _| ());
        let rows = self.last_block().forward(rows, &batch, seed);
        layer_norm(rows.tokens, &self.norm)
    }

    /// What the heads of each layer attend to in one document, as it is classified.
    ///
    /// # Shapes
    ///
    /// - ids: `[1, n]`
    /// - output: a layer's [`AttentionMaps`] each, from the first to the last
    ///
    /// # Errors
    ///
    /// The model's attention has no such maps.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if it isn't one document.
    pub fn attention_maps(&self, tokens: Tokens) -> Result<Vec<AttentionMaps>, NoMaps> {
        let batch = BatchLayout::from(tokens.layout.clone());
        let mut maps = Vec::with_capacity(self.layers);
        let (rows, _) = self.before_last_block(&tokens, &batch, None, |block, rows| {
            maps.push(block.attention_maps(rows, &batch));
        });
        maps.push(self.last_block().attention_maps(&rows, &batch));
        maps.into_iter().collect()
    }

    fn last_block(&self) -> &Block {
        &self.blocks[(self.layers - 1) % self.blocks.len()]
    }

    /// The rows that the last block takes, and its dropout's seed. `visit` is shown each block before it
    /// with the rows that it takes.
    fn before_last_block(
        &self,
        tokens: &Tokens,
        layout: &BatchLayout,
        flag: Option<Tensor<1>>,
        mut visit: impl FnMut(&Block, &HiddenStates),
    ) -> (HiddenStates, Option<u64>) {
        let seed = |layer: usize| {
            tokens
                .dropout_seed
                .map(|seed| mix(seed.wrapping_add(layer as u64)))
        };
        let class_row = || {
            self.class_embedding.as_ref().map(|class_row| {
                let [_, _, d_model] = class_row.dims();
                class_row.val().expand([tokens.documents(), 1, d_model])
            })
        };
        let mut rows = HiddenStates {
            tokens: self.dropout.forward(self.embedding.embed(tokens, flag)),
            class_row: None,
        };
        if self.pooling == Pooling::ClassEvery {
            rows.class_row = class_row();
        }
        for layer in 0..self.layers - 1 {
            let block = &self.blocks[layer % self.blocks.len()];
            visit(block, &rows);
            rows = block.forward(rows, layout, seed(layer));
        }
        if rows.class_row.is_none() {
            rows.class_row = class_row();
        }
        (rows, seed(self.layers - 1))
    }

    /// The mean over the rows of each document, `[b, n, D]` → `[documents, D]`. Float16 has no room
    /// for the count of a long document's tokens, nor for their sum.
    fn mean(&self, x: Tensor<3>, layout: &Layout) -> Tensor<2> {
        match x.dtype() {
            narrow @ (DType::F16 | DType::BF16) => {
                self.mean_as_is(x.cast(DType::F32), layout).cast(narrow)
            }
            _ => self.mean_as_is(x, layout),
        }
    }

    fn mean_as_is(&self, x: Tensor<3>, layout: &Layout) -> Tensor<2> {
        let [b, n, d_model] = x.dims();
        match layout {
            Layout::Full => x.mean_dim(1).reshape([b, d_model]),
            Layout::Padded(mask) => {
                let real = mask.clone().float().cast(x.dtype());
                let sum = (x * real.clone().reshape([b, n, 1])).sum_dim(1);
                let sum = sum.reshape([b, d_model]);
                match self.pooling {
                    Pooling::MeanReal => sum / real.sum_dim(1).clamp_min(1.0),
                    _ => sum / n as f64,
                }
            }
            Layout::Packed(boundaries) => {
                // With equal scores, the projection is each document's mean.
                let device = x.device();
                let scores = Tensor::zeros([1, 1, 1, n], (&device, x.dtype()));
                let x = x.reshape([1, 1, n, d_model]);
                let mean = ops::project(scores, x.clone(), x, layout.clone()).key;
                let mean = mean.reshape([boundaries.count(), d_model]);
                match self.pooling {
                    Pooling::MeanReal => mean,
                    _ => {
                        let share = |range: std::ops::Range<usize>| {
                            range.len() as f32 / self.max_length as f32
                        };
                        let shares: Vec<f32> = boundaries.ranges().map(share).collect();
                        let shares = Tensor::<1>::from_floats(shares.as_slice(), &device);
                        let shares = shares.cast(mean.dtype());
                        mean * shares.reshape([-1, 1])
                    }
                }
            }
        }
    }
}

/// The largest value of each feature over each document's real tokens, `[b, n, D]` → `[documents, D]`.
fn max_real(x: Tensor<3>, layout: &Layout) -> Tensor<2> {
    let [b, n, d_model] = x.dims();
    match layout {
        Layout::Full => x.max_dim(1).reshape([b, d_model]),
        Layout::Padded(mask) => {
            let padding = mask.clone().bool_not().reshape([b, n, 1]);
            // Less than any value behind a LayerNorm, and finite, for a product with 0 follows.
            let largest = x
                .mask_fill(padding.expand([b, n, d_model]), -1e4)
                .max_dim(1);
            let real = mask.clone().int().max_dim(1).float().cast(largest.dtype());
            largest.reshape([b, d_model]) * real
        }
        Layout::Packed(boundaries) => {
            let largest = boundaries.ranges().map(|range| match range.is_empty() {
                true => Tensor::zeros([1, d_model], (&x.device(), x.dtype())),
                false => {
                    let document = x.clone().narrow(1, range.start, range.len());
                    document.max_dim(1).reshape([1, d_model])
                }
            });
            Tensor::cat(largest.collect(), 0)
        }
    }
}

/// The row of each document's last real token, `[b, n, D]` → `[documents, D]`.
fn last(x: Tensor<3>, layout: &Layout) -> Tensor<2> {
    let [b, n, d_model] = x.dims();
    match layout {
        Layout::Full => x.narrow(1, n - 1, 1).reshape([b, d_model]),
        Layout::Padded(mask) => {
            // One behind the last real token's place; 0 where there is none.
            let places = Tensor::<1, Int>::arange(1..n as i64 + 1, &x.device()).unsqueeze();
            let ends = (mask.clone().int() * places).max_dim(1);
            let real = ends.clone().clamp_max(1).float().cast(x.dtype());
            let rows =
                Tensor::<1, Int>::arange(0..b as i64, &x.device()).reshape([b, 1]) * n as i64;
            let rows = rows + (ends - 1).clamp_min(0);
            let last = embedding(x.reshape([b * n, d_model]), rows);
            last.reshape([b, d_model]) * real
        }
        Layout::Packed(boundaries) => {
            let last = boundaries.ranges().map(|range| match range.is_empty() {
                true => Tensor::zeros([1, d_model], (&x.device(), x.dtype())),
                false => {
                    let row = x.clone().narrow(1, range.end - 1, 1);
                    row.reshape([1, d_model])
                }
            });
            Tensor::cat(last.collect(), 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, TensorData};

    use super::*;
    use crate::ops::Boundaries;

    /// By hand, with a document of padding alone and padding that is larger than any token.
    #[test]
    fn the_largest_of_real_tokens_is_taken() {
        let device = Device::flex();
        let host = |x: Tensor<2>| x.into_data().try_into_vec::<f32>().expect("float32");
        let rows = [[-1.0, 2.0], [-3.0, 5.0], [9.0, -4.0], [7.0, 1.0]];
        let x = Tensor::<2>::from_floats(rows, &device);
        let two = x.clone().reshape([2, 2, 2]);
        assert_eq!(
            host(max_real(two.clone(), &Layout::Full)),
            [-1.0, 5.0, 9.0, 1.0]
        );
        let mask = TensorData::new(vec![true, false, false, false], [2, 2]);
        let mask = Tensor::<2, Bool>::from_data(mask, &device);
        assert_eq!(
            host(max_real(two, &Layout::Padded(mask))),
            [-1.0, 2.0, 0.0, 0.0]
        );
        let packed = Layout::Packed(Boundaries::from_lengths(&[3, 0, 1]));
        let one = x.reshape([1, 4, 2]);
        assert_eq!(host(max_real(one, &packed)), [9.0, 5.0, 0.0, 0.0, 7.0, 1.0]);
    }

    /// By hand, with a document of padding alone and one whose padding stands in front.
    #[test]
    fn the_last_real_token_is_taken() {
        let device = Device::flex();
        let host = |x: Tensor<2>| x.into_data().try_into_vec::<f32>().expect("float32");
        let x = Tensor::<2>::from_floats([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], &device);
        let three = x.clone().reshape([3, 2, 1]);
        assert_eq!(host(last(three.clone(), &Layout::Full)), [2.0, 4.0, 6.0]);
        let mask = TensorData::new(vec![true, false, false, false, false, true], [3, 2]);
        let mask = Tensor::<2, Bool>::from_data(mask, &device);
        assert_eq!(host(last(three, &Layout::Padded(mask))), [1.0, 0.0, 6.0]);
        let packed = Layout::Packed(Boundaries::from_lengths(&[3, 0, 2, 1]));
        let one = x.reshape([1, 6, 1]);
        assert_eq!(host(last(one, &packed)), [3.0, 0.0, 5.0, 6.0]);
    }
}
