//! Token and position embeddings.

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ops::Layout;
use crate::ops::layers::{embed, fused_layers};
use crate::tokens::Tokens;

/// Standard deviation of both tables at the start (the release's `lra/model.py`).
const INITIAL_DEVIATION: f64 = 0.02;

/// The sum of a learned embedding of each token and one of its position in its document.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// Rows by token id `[vocabulary, D]`.
    pub token: Embedding,
    /// Rows by position `[max_length, D]`.
    pub position: Embedding,
}

impl TokenEmbedding {
    pub(crate) fn init(
        vocab_size: usize,
        max_length: usize,
        d_model: usize,
        device: &Device,
    ) -> Self {
        let table = |rows| {
            EmbeddingConfig::new(rows, d_model)
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: INITIAL_DEVIATION,
                })
                .init(device)
        };
        Self {
            token: table(vocab_size),
            position: table(max_length),
        }
    }

    /// Embeds a batch.
    ///
    /// # Shapes
    ///
    /// - ids: `[b, n]`
    /// - output: `[b, n, D]`
    ///
    /// # Panics
    ///
    /// Panics if a document is longer than the position table.
    pub fn forward(&self, tokens: &Tokens) -> Tensor<3> {
        let [b, n] = tokens.ids.dims();
        tokens.layout.check(b, n);
        let [max_length, d_model] = self.position.weight.dims();
        let longest = match &tokens.layout {
            Layout::Full | Layout::Padded(_) => n,
            Layout::Packed(boundaries) => boundaries.ranges().map(|r| r.len()).max().unwrap_or(0),
        };
        assert!(
            longest <= max_length,
            "a document of {longest} tokens exceeds the model's {max_length} positions"
        );
        let table = self.token.weight.val();
        if fused_layers(&table) {
            let (position, ids) = (self.position.weight.val(), tokens.ids.clone());
            return embed(table, position, ids, &tokens.layout);
        }
        let positions = match &tokens.layout {
            Layout::Full | Layout::Padded(_) => self
                .position
                .weight
                .val()
                .narrow(0, 0, n)
                .reshape([1, n, d_model]),
            Layout::Packed(boundaries) => {
                let rows: Vec<i32> = boundaries.positions().iter().map(|&p| p as i32).collect();
                let rows = TensorData::new(rows, [1, n]);
                let rows = Tensor::<2, Int>::from_data(rows, &tokens.ids.device());
                self.position.forward(rows)
            }
        };
        self.token.forward(tokens.ids.clone()) + positions
    }
}
