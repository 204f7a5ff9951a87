//! Token and position embeddings.

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig as TableConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::ops::fused::Fused;
use crate::ops::{Layout, layers};
use crate::tokens::Tokens;

/// Standard deviation of both tables at the start (the release's `lra/model.py`).
const INITIAL_DEVIATION: f64 = 0.02;

/// What a token is to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// One of `vocab_size` ids with a learned row each: the protocol of the Long Range Arena, in
    /// which id 0 is padding, black pixels included.
    #[default]
    Ids,
    /// A brightness from 0 to 255, normalised to `(id / 255 − input_mean) / input_deviation` and
    /// embedded by a linear layer: the protocol of S4 and of Mega. Black is a number like any other.
    Floats,
}

/// What is added to a token's embedding for its position in its document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Nothing.
    None,
    /// A learned row for each position.
    #[default]
    Learned,
    /// The sum of two learned rows, one for the pixel's row of a square image and one for its column
    /// (Ho et al. 2019, "Axial Attention in Multidimensional Transformers").
    Axial,
}

/// Configuration of a [`TokenEmbedding`]. Its width is given where it is built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingConfig {
    /// Token ids, padding included: ids lie in `0..vocab_size`.
    pub vocab_size: usize,
    /// Positions, in tokens: the longest document.
    pub max_length: usize,
    /// What a token is.
    #[serde(default)]
    pub input: Input,
    /// The brightness, of 1, that becomes 0 where tokens are floats.
    #[serde(default = "half")]
    pub input_mean: f64,
    /// The brightness above the mean that becomes 1 where tokens are floats.
    #[serde(default = "half")]
    pub input_deviation: f64,
    /// What is added to a token's embedding for its position.
    #[serde(default)]
    pub positions: Positions,
}

fn half() -> f64 {
    0.5
}

impl Default for EmbeddingConfig {
    /// The release's default vocabulary and its longest document.
    fn default() -> Self {
        Self {
            vocab_size: 512,
            max_length: 4096,
            input: Input::Ids,
            input_mean: half(),
            input_deviation: half(),
            positions: Positions::Learned,
        }
    }
}

impl EmbeddingConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("max_length", self.max_length),
        ];
        refuse_zero(sizes)?;
        refuse_too_large(sizes)?;
        if self.positions == Positions::Axial && self.max_length.isqrt().pow(2) != self.max_length {
            let problem = format!(
                "are for square images: model.max_length {} is no square number",
                self.max_length
            );
            return Err(ConfigError::new("positions", problem));
        }
        if !self.input_mean.is_finite() {
            return Err(ConfigError::new("input_mean", "must be a number"));
        }
        if !(self.input_deviation.is_finite() && self.input_deviation > 0.0) {
            let problem = format!("must be above 0, and is {}", self.input_deviation);
            return Err(ConfigError::new("input_deviation", problem));
        }
        Ok(())
    }

    /// Rows of its tables: vocabulary and positions.
    pub(crate) fn rows(&self) -> u128 {
        let length = self.max_length as u128;
        let positions = match self.positions {
            Positions::None => 0,
            Positions::Learned => length,
            Positions::Axial => 2 * length.isqrt(),
        };
        self.vocab_size as u128 + positions
    }

    /// Builds the embedding for a model of width `d_model`.
    pub fn init(&self, d_model: usize, device: &Device) -> TokenEmbedding {
        let table = |rows| {
            TableConfig::new(rows, d_model)
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: INITIAL_DEVIATION,
                })
                .init(device)
        };
        let floats = self.input == Input::Floats;
        TokenEmbedding {
            token: (!floats).then(|| table(self.vocab_size)),
            pixel: floats.then(|| LinearConfig::new(1, d_model).init(device)),
            position: (self.positions == Positions::Learned).then(|| table(self.max_length)),
            axes: (self.positions == Positions::Axial).then(|| {
                let side = self.max_length.isqrt();
                Axes {
                    row: table(side),
                    column: table(side),
                }
            }),
            max_length: self.max_length,
            mean: self.input_mean,
            deviation: self.input_deviation,
        }
    }
}

/// The sum of an embedding of each token and, where there is a table of them, one of its position
/// in its document. Built by [`EmbeddingConfig`].
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// Rows by token id `[vocabulary, D]`, for [`Input::Ids`].
    pub token: Option<Embedding>,
    /// 1 → `D`, for [`Input::Floats`].
    pub pixel: Option<Linear>,
    /// Rows by position `[max_length, D]`, for [`Positions::Learned`].
    pub position: Option<Embedding>,
    /// Rows by a pixel's row and by its column, for [`Positions::Axial`].
    pub axes: Option<Axes>,
    max_length: usize,
    mean: f64,
    deviation: f64,
}

/// The two tables of [`Positions::Axial`].
#[derive(Module, Debug)]
pub struct Axes {
    /// Rows by a pixel's row in the image `[side, D]`.
    pub row: Embedding,
    /// Rows by its column `[side, D]`.
    pub column: Embedding,
}

impl Axes {
    /// The sum of row and column of every pixel, read row by row `[side * side, D]`.
    fn table(&self) -> Tensor<2> {
        let [side, d_model] = self.row.weight.dims();
        let row = self.row.weight.val().reshape([side, 1, d_model]);
        let column = self.column.weight.val().reshape([1, side, d_model]);
        (row + column).reshape([side * side, d_model])
    }
}

impl TokenEmbedding {
    /// Embeds a batch.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]`
    /// - output: `[b, n, D]`
    ///
    /// # Panics
    ///
    /// Panics if a document is longer than the model's positions.
    pub fn forward(&self, tokens: &Tokens) -> Tensor<3> {
        self.embed(tokens, None)
    }

    /// [`forward`](Self::forward), with masked tokens: nothing of the token itself enters, and
    /// `flag` `[D]` does instead.
    pub(crate) fn embed(&self, tokens: &Tokens, flag: Option<Tensor<1>>) -> Tensor<3> {
        let [b, n] = tokens.ids.dims();
        tokens.layout.check(b, n);
        let longest = match &tokens.layout {
            Layout::Full | Layout::Padded(_) => n,
            Layout::Packed(boundaries) => boundaries.ranges().map(|r| r.len()).max().unwrap_or(0),
        };
        assert!(
            longest <= self.max_length,
            "a document of {longest} tokens exceeds the model's {} positions",
            self.max_length
        );
        let position = self.position_table();
        let embedded = match (&self.token, &self.pixel) {
            (Some(token), _) => {
                let (table, ids) = with_flag_row(token.weight.val(), tokens, flag);
                if let Some(position) = &position {
                    let position = position.clone();
                    if let Some(fused) = Fused::of(&table) {
                        return fused.embed(table, position, ids, &tokens.layout);
                    }
                    if layers::shader_layers(&table) {
                        return layers::embed(table, Some(position), ids, &tokens.layout);
                    }
                }
                layers::embedding(table, ids)
            }
            (None, Some(pixel)) => self.pixels(pixel, tokens, flag),
            (None, None) => unreachable!("built with one of the two"),
        };
        match position {
            None => embedded,
            Some(position) => embedded + positions(position, tokens),
        }
    }

    /// `[max_length, D]`
    fn position_table(&self) -> Option<Tensor<2>> {
        let learned = self.position.as_ref().map(|table| table.weight.val());
        learned.or_else(|| self.axes.as_ref().map(Axes::table))
    }

    /// `x w + b`, elementwise, for a product with one column can be wrong (burn#5122). A masked
    /// token is the number 0 and the flag, a second channel.
    fn pixels(&self, pixel: &Linear, tokens: &Tokens, flag: Option<Tensor<1>>) -> Tensor<3> {
        let weight = pixel.weight.val();
        let [_, d_model] = weight.dims();
        let [b, n] = tokens.ids.dims();
        let numbers = normalised(tokens.ids.clone(), self.mean, self.deviation)
            .cast(weight.dtype())
            .reshape([b, n, 1]);
        let row = |x: Tensor<1>| x.reshape([1, 1, d_model]);
        let weight = row(weight.reshape([d_model]));
        let embedded = match (&tokens.masked, flag) {
            (Some(masked), Some(flag)) => {
                let masked = masked.clone().reshape([b, n, 1]);
                let channel = masked.clone().float().cast(numbers.dtype());
                numbers.mask_fill(masked, 0.0) * weight + channel * row(flag)
            }
            _ => numbers * weight,
        };
        match &pixel.bias {
            Some(bias) => embedded + row(bias.val()),
            None => embedded,
        }
    }
}

/// `(id / 255 − mean) / deviation`
pub(crate) fn normalised<const D: usize>(
    ids: Tensor<D, Int>,
    mean: f64,
    deviation: f64,
) -> Tensor<D> {
    (ids.float() / 255.0 - mean) / deviation
}

/// The table with the flag as one more row, and the ids with that row's number where a token is
/// masked: the same sum as a row of zeros and the flag, without a tensor of the batch's size.
fn with_flag_row(
    table: Tensor<2>,
    tokens: &Tokens,
    flag: Option<Tensor<1>>,
) -> (Tensor<2>, Tensor<2, Int>) {
    match (&tokens.masked, flag) {
        (Some(masked), Some(flag)) => {
            let [rows, _] = table.dims();
            let ids = tokens.ids.clone().mask_fill(masked.clone(), rows as i64);
            (Tensor::cat(vec![table, flag.unsqueeze_dim(0)], 0), ids)
        }
        _ => (table, tokens.ids.clone()),
    }
}

/// The rows of `table` `[max_length, D]` that belong to a batch `[1, n, D]`.
fn positions(table: Tensor<2>, tokens: &Tokens) -> Tensor<3> {
    let [_, n] = tokens.ids.dims();
    match &tokens.layout {
        Layout::Full | Layout::Padded(_) => {
            let [_, d_model] = table.dims();
            table.narrow(0, 0, n).reshape([1, n, d_model])
        }
        Layout::Packed(boundaries) => {
            let rows: Vec<i32> = boundaries.positions().iter().map(|&p| p as i32).collect();
            let rows = TensorData::new(rows, [1, n]);
            let rows = Tensor::<2, Int>::from_data(rows, &tokens.ids.device());
            layers::embedding(table, rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, DType};

    use super::*;
    use crate::ops::Boundaries;

    const LENGTHS: [usize; 2] = [3, 2];
    const IDS: [i32; 5] = [5, 0, 7, 1, 7];
    const MASKED: [bool; 5] = [false, true, true, false, true];

    fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        assert_eq!(x.dtype(), DType::F32);
        x.into_data().try_into_vec().expect("float32")
    }

    /// Row by row on the host, with every kind of token and of position: a masked token is the flag
    /// alone, and the position stays.
    #[test]
    fn masked_tokens_are_the_flag() {
        let device = Device::flex();
        device.seed(4);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(IDS.to_vec(), [1, 5]), &device);
        let masked = TensorData::new(MASKED.to_vec(), [1, 5]);
        let masked = Tensor::<2, Bool>::from_data(masked, &device);
        let flag = Tensor::<1>::from_floats([0.5, -1.0, 2.0, 0.25], &device);
        let layout = Layout::Packed(Boundaries::from_lengths(&LENGTHS));
        let tokens = Tokens {
            masked: Some(masked),
            ..Tokens::new(ids).layout(layout)
        };
        for input in [Input::Ids, Input::Floats] {
            for positions in [Positions::None, Positions::Learned, Positions::Axial] {
                let config = EmbeddingConfig {
                    vocab_size: 8,
                    max_length: 4,
                    input,
                    input_mean: 0.25,
                    input_deviation: 0.125,
                    positions,
                };
                let embedding = config.init(4, &device);
                let rows = |table: &Embedding| host(table.weight.val());
                let learned = embedding.position.as_ref().map(rows);
                let axes = embedding.axes.as_ref();
                let axes = axes.map(|axes| (rows(&axes.row), rows(&axes.column)));
                let position = |place: usize, k: usize| match (&learned, &axes) {
                    (Some(learned), _) => learned[place * 4 + k],
                    // Of an image of two by two.
                    (_, Some((row, column))) => row[place / 2 * 4 + k] + column[place % 2 * 4 + k],
                    _ => 0.0,
                };
                let masked_rows = host(embedding.embed(&tokens, Some(flag.clone())));
                let plain_rows = host(embedding.forward(&tokens));
                let flag = host(flag.clone());
                for (at, place) in [0, 1, 2, 0, 1].into_iter().enumerate() {
                    for (k, flag) in flag.iter().enumerate() {
                        let (value, bias) = match (&embedding.token, &embedding.pixel) {
                            (Some(token), _) => {
                                let table = host(token.weight.val());
                                (table[IDS[at] as usize * 4 + k], 0.0)
                            }
                            (_, Some(pixel)) => {
                                let number = (IDS[at] as f32 / 255.0 - 0.25) / 0.125;
                                let weight = host(pixel.weight.val());
                                let bias = host(pixel.bias.as_ref().expect("a bias").val());
                                (number * weight[k], bias[k])
                            }
                            _ => panic!("no embedding"),
                        };
                        let position = position(place, k);
                        let entered = if MASKED[at] { *flag } else { value };
                        let close = |found: f32, wanted: f32| {
                            let found_at = format!("{config:?}, token {at}: {found}, {wanted}");
                            assert!((found - wanted).abs() < 1e-5, "{found_at}");
                        };
                        close(masked_rows[at * 4 + k], entered + bias + position);
                        close(plain_rows[at * 4 + k], value + bias + position);
                    }
                }
            }
        }
    }
}
