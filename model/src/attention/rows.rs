//! Queries, keys and values of rows, and how an attention that reads one document at a time goes
//! through a batch.

use burn::nn::{Dropout, Linear};
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, DType, Tensor};

use super::batch::BatchLayout;
use super::heads::{AttentionInput, Contexts, check_heads, merge, split};
use super::rotary::check_rotary;
use crate::error::{ConfigError, check_dropout, refuse_too_large};
use crate::ops::class_row::{class_row, reads_by_kernels};
use crate::ops::layers::{embedding, layer_norm_through, linear, linear_through};
use crate::ops::{self, Layout};
use crate::seed::mix;

/// Checks the fields that all attentions have.
pub(super) fn check_fields(
    d_model: usize,
    heads: usize,
    attention_dropout: f64,
    rotary: bool,
) -> Result<(), ConfigError> {
    refuse_too_large([("d_model", d_model)])?;
    check_heads(d_model, heads)?;
    check_dropout("attention_dropout", attention_dropout)?;
    match rotary {
        true => check_rotary(d_model / heads),
        false => Ok(()),
    }
}

/// Queries, keys and values, all `[b, h, m, d]`.
#[derive(Clone)]
pub(super) struct Rows {
    pub query: Tensor<4>,
    pub key: Tensor<4>,
    pub value: Tensor<4>,
}

impl Rows {
    /// The outputs of the layers `[W_q, W_k, W_v]` for `x` `[b, m, D]`.
    pub fn of(x: Tensor<3>, [query, key, value]: [&Linear; 3], heads: usize) -> Self {
        let (query, x) = linear_through(x, query);
        let (key, x) = linear_through(x, key);
        Self {
            query: split(query, heads),
            key: split(key, heads),
            value: split(linear(x, value), heads),
        }
    }

    pub fn map(self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            query: change(self.query),
            key: change(self.key),
            value: change(self.value),
        }
    }

    /// These rows from `first` on.
    pub fn narrow(&self, first: usize, count: usize) -> Self {
        self.clone().map(|rows| rows.narrow(2, first, count))
    }

    /// These heads from `first` on.
    pub fn heads(&self, first: usize, count: usize) -> Self {
        self.clone().map(|rows| rows.narrow(1, first, count))
    }

    /// `first`'s rows, then these.
    fn behind(self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        let cat = |a, b| Tensor::cat(vec![a, b], 2);
        Self {
            query: cat(first.query, self.query),
            key: cat(first.key, self.key),
            value: cat(first.value, self.value),
        }
    }
}

/// `1 / √d` for heads of the width of these.
pub(super) fn scale_of(heads: &Tensor<4>) -> f64 {
    let [_, _, _, d] = heads.dims();
    (d as f64).powf(-0.5)
}

/// Which rows of documents are tokens.
#[derive(Clone)]
pub(super) struct Real {
    /// `[b, m]`
    pub mask: Tensor<2, Bool>,
    /// 1 for a token, 0 for padding, `[b, 1, m, 1]`.
    pub shares: Tensor<4>,
}

/// Documents that are read at once, one a row of the batch.
pub(super) struct Part {
    /// The class rows, where there are any, stand in front of the tokens.
    pub rows: Rows,
    /// How many rows in front are no tokens: 1 with a class row, else 0.
    pub own: usize,
    /// Which rows are tokens; none if all are.
    pub real: Option<Real>,
    pub dropout_seed: Option<u64>,
}

impl Part {
    /// How the tokens lie, without what stands in front of them; from the row `first` on.
    pub fn layout_from(&self, first: usize) -> Layout {
        match &self.real {
            None => Layout::Full,
            Some(real) => {
                let [_, m] = real.mask.dims();
                Layout::Padded(real.mask.clone().narrow(1, first, m - first))
            }
        }
    }

    /// The tokens' contexts `[b, h, n, d]` behind that of the class row, where there is one, which reads
    /// the whole document.
    pub fn behind_class_row(&self, tokens: Tensor<4>) -> Tensor<4> {
        if self.own == 0 {
            return tokens;
        }
        let Rows { query, key, value } = self.rows.clone();
        let query = query.narrow(2, 0, self.own);
        let read = read_document(query, key, value, self.layout_from(0));
        Tensor::cat(vec![read, tokens], 2)
    }

    /// `x` `[b, h, m, d]`, zero in the rows that are no tokens.
    pub fn only_real(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.real {
            None => x,
            Some(real) => {
                let shares = real.shares.clone().cast(x.dtype());
                x * shares
            }
        }
    }
}

/// A batch as queries, keys and values.
pub(super) struct Prepared {
    /// `[b, h, n, d]`
    pub tokens: Rows,
    /// `[documents, h, 1, d]`
    pub class_row: Option<Rows>,
    pub layout: BatchLayout,
    pub residual: Tensor<3>,
    pub dropout_seed: Option<u64>,
}

impl Prepared {
    /// What `read` makes of tokens and class rows, after the norm; the tokens' queries and keys
    /// turned by their positions, where that is asked for.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the width or each other.
    pub fn new(
        input: AttentionInput,
        d_model: usize,
        rotary: bool,
        read: impl Fn(Tensor<3>) -> Rows,
    ) -> Self {
        input.check(d_model);
        let AttentionInput {
            tokens,
            layout,
            class_row,
            dropout_seed,
            norm,
        } = input;
        let (tokens, residual) = match &norm {
            Some(norm) => layer_norm_through(tokens, norm),
            None => (tokens.clone(), tokens),
        };
        let mut tokens = read(tokens);
        if rotary {
            let [_, _, n, d] = tokens.query.dims();
            let rotation = layout.rotation(n, d, &residual.device());
            tokens.query = rotation.turn(tokens.query);
            tokens.key = rotation.turn(tokens.key);
        }
        Self {
            tokens,
            class_row: class_row.map(read),
            layout,
            residual,
            dropout_seed,
        }
    }

    /// The outputs of the layers `[W_q, W_k, W_v]`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn of(input: AttentionInput, layers: [&Linear; 3], heads: usize, rotary: bool) -> Self {
        let [d_model, _] = layers[0].weight.dims();
        Self::new(input, d_model, rotary, |x| Rows::of(x, layers, heads))
    }

    /// The contexts `[b, h, m, d]` that `attend` gives for the rows of documents. Those of a packed
    /// batch are given to it one by one, all others at once.
    ///
    /// What it gives for rows that are no tokens counts as zero.
    pub fn by_document(self, attend: impl Fn(&Part) -> Tensor<4>) -> Contexts {
        let Self {
            tokens,
            class_row,
            layout,
            residual,
            dropout_seed,
        } = self;
        let own = usize::from(class_row.is_some());
        let (tokens, class_row) = match layout.layout() {
            Layout::Full | Layout::Padded(_) => {
                let real = layout.real_rows(own).zip(layout.real_shares(own));
                let part = Part {
                    rows: tokens.behind(class_row),
                    own,
                    real: real.map(|(mask, shares)| Real { mask, shares }),
                    dropout_seed,
                };
                apart(part.only_real(attend(&part)), own)
            }
            Layout::Packed(boundaries) => {
                let [_, _, d_model] = residual.dims();
                let options = (&residual.device(), residual.dtype());
                let (mut contexts, mut class_rows) = (Vec::new(), Vec::new());
                for (document, range) in boundaries.ranges().enumerate() {
                    if range.is_empty() {
                        class_rows.push(Tensor::zeros([1, 1, d_model], options));
                        continue;
                    }
                    let row = class_row.clone();
                    let row = row.map(|row| row.map(|row| row.narrow(0, document, 1)));
                    let part = Part {
                        rows: tokens.narrow(range.start, range.len()).behind(row),
                        own,
                        real: None,
                        // The same seed would drop the same entries of every document.
                        dropout_seed: dropout_seed.map(|seed| mix(seed ^ document as u64)),
                    };
                    let (context, row) = apart(attend(&part), own);
                    contexts.push(context);
                    class_rows.extend(row);
                }
                let class_rows = class_row.map(|_| Tensor::cat(class_rows, 0));
                (Tensor::cat(contexts, 1), class_rows)
            }
        };
        Contexts {
            tokens,
            class_row,
            residual,
        }
    }
}

/// The tokens' rows and the class row, where it is the first, of contexts `[b, h, m, d]`:
/// `[b, n, D]` and `[b, 1, D]`.
fn apart(contexts: Tensor<4>, own: usize) -> (Tensor<3>, Option<Tensor<3>>) {
    let rows = merge(contexts);
    let [_, m, _] = rows.dims();
    match own {
        0 => (rows, None),
        own => {
            let class_row = rows.clone().narrow(1, 0, own);
            (rows.narrow(1, own, m - own), Some(class_row))
        }
    }
}

/// What a masked score is: finite, for a row of nothing else has to have a softmax.
pub(super) fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => -6e4,
        _ => -1e9,
    }
}

/// `dropout(softmax(scale · Q Kᵀ)) V` over the keys that are tokens; all `[b, h, m, d]`.
pub(super) fn dense(part: &Part, dropout: &Dropout) -> Tensor<4> {
    let Rows { query, key, value } = part.rows.clone();
    let [b, h, m, _] = query.dims();
    // One row sees itself, and Burn's products with one row can be wrong (burn#5122).
    if m == 1 {
        return value;
    }
    let scale = scale_of(&query);
    let mut scores = (query * scale).matmul(key.swap_dims(2, 3));
    if let Some(real) = &part.real {
        let padding = real.mask.clone().bool_not().reshape([b, 1, 1, m]);
        let lowest = lowest(scores.dtype());
        scores = scores.mask_fill(padding.expand([b, h, m, m]), lowest);
    }
    dropout.forward(softmax(scores, 3)).matmul(value)
}

/// What single rows read of a whole document: `softmax(scale · Q Kᵀ) V`, `[b, h, g, d]`, for few
/// queries `[b, h, g, d]`.
///
/// The sum over a document is a projection of rank `g`.
pub(super) fn read_document(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    layout: Layout,
) -> Tensor<4> {
    let [_, _, g, _] = query.dims();
    let query = query.clone() * scale_of(&query);
    // Elementwise rather than products with one row, for which see burn#5122.
    let scores = (0..g)
        .map(|row| (query.clone().narrow(2, row, 1) * key.clone()).sum_dim(3))
        .map(|scores| scores.swap_dims(2, 3));
    let scores = Tensor::cat(scores.collect(), 2);
    ops::project(scores, value.clone(), value, layout).value
}

/// The class row reads its own value and those of its document: with
/// `p = softmax([q·k, q·K_1 … q·K_n])` over the real tokens, `p_0 v + Σ p_i V_i`.
/// `[documents, h, 1, d]`; the row's query is scaled already.
///
/// The sum over tokens is a projection of rank 1, whose log-sum-exp gives `p_0`.
pub(super) fn read_by_class_row(
    row: Rows,
    key: Tensor<4>,
    value: Tensor<4>,
    layout: &BatchLayout,
) -> Tensor<4> {
    // [documents, h, 1, d] → [1, h, Σn, d] where documents are packed.
    let query = match layout.owners(&key.device()) {
        None => row.query.clone(),
        Some(owners) => {
            let [documents, h, _, d] = row.query.dims();
            let queries = row.query.clone().reshape([documents, h * d]);
            split(embedding(queries, owners.unsqueeze()), h)
        }
    };
    // Elementwise rather than a product with one row, for which see burn#5122.
    let scores = (query * key).sum_dim(3).swap_dims(2, 3);
    let read = ops::project(scores, value.clone(), value, layout.layout().clone());
    let own_score = (row.query * row.key).sum_dim(3);
    let own_share = sigmoid(own_score - read.log_sum_exp);
    let tokens_share = own_share.clone().neg() + 1.0;
    let read = own_share * row.value + tokens_share * read.value;
    match layout.real_documents(&read.device()) {
        Some(real) => {
            let real = real.cast(read.dtype());
            read * real
        }
        None => read,
    }
}

/// The same over outputs, which are keys and values at once: one kernel where there is one.
pub(super) fn read_outputs(row: Rows, context: Tensor<4>, layout: &BatchLayout) -> Tensor<4> {
    if reads_by_kernels(&context) {
        let row = [row.query, row.key, row.value];
        return class_row(row, context, layout.layout().clone());
    }
    read_by_class_row(row, context.clone(), context, layout)
}
