//! A class row reads the outputs of its document: with `p = softmax([q·k, q·C_1 … q·C_n])` over the
//! real tokens, it gets `y = p_0 v + Σ p_i C_i`.
//!
//! ```text
//! g_0 = dy·v,   g_i = dy·C_i,   ds = p ∘ (g − Σ p g)
//! dq = ds_0 k + Σ ds_i C_i,   dk = ds_0 q,   dv = p_0 dy,   dC_i = p_i dy + ds_i q
//! ```

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::wide::Wide;
use crate::ops::Documents;
use crate::ops::layers::ClassRowGradients;

/// See [`LayersBackend::class_row`](crate::ops::layers::LayersBackend::class_row).
pub fn class_row<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    context: FloatTensor<B>,
    documents: Documents<B>,
) -> FloatTensor<B> {
    let dtype = query.dtype();
    let rows = Rows::<B>::new(query, key, value);
    let context = Wide::<B>::widen(context);
    let output = match documents {
        Documents::Full => rows.read(context, None),
        Documents::Padded(mask) => rows.read(context, Some(mask)),
        Documents::Packed(boundaries) => {
            let read = |(document, range): (usize, std::ops::Range<usize>)| match range.len() {
                0 => rows
                    .query
                    .zeros_like_with(rows.of(document).query.dims::<4>()),
                length => rows
                    .of(document)
                    .read(context.clone().narrow(2, range.start, length), None),
            };
            Wide::cat(boundaries.ranges().enumerate().map(read).collect(), 0)
        }
    };
    output.narrow_to(dtype)
}

/// See [`LayersBackend::class_row_backward`](crate::ops::layers::LayersBackend::class_row_backward).
pub fn class_row_backward<B: Backend>(
    d_output: FloatTensor<B>,
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    context: FloatTensor<B>,
    documents: Documents<B>,
) -> ClassRowGradients<B> {
    let dtype = query.dtype();
    let rows = Rows::<B>::new(query, key, value);
    let context = Wide::<B>::widen(context);
    let d_output = Wide::<B>::widen(d_output);
    let [query, key, value, context] = match documents {
        Documents::Full => rows.read_backward(d_output, context, None),
        Documents::Padded(mask) => rows.read_backward(d_output, context, Some(mask)),
        Documents::Packed(boundaries) => {
            let mut all = [const { Vec::new() }; 4];
            for (document, range) in boundaries.ranges().enumerate() {
                let own = rows.of(document);
                let gradients = match range.len() {
                    0 => {
                        let zeros = || own.query.zeros_like_with(own.query.dims::<4>());
                        [zeros(), zeros(), zeros(), context.clone().narrow(2, 0, 0)]
                    }
                    length => own.read_backward(
                        d_output.clone().narrow(0, document, 1),
                        context.clone().narrow(2, range.start, length),
                        None,
                    ),
                };
                for (all, one) in all.iter_mut().zip(gradients) {
                    all.push(one);
                }
            }
            let [query, key, value, context] = all;
            [
                Wide::cat(query, 0),
                Wide::cat(key, 0),
                Wide::cat(value, 0),
                Wide::cat(context, 2),
            ]
        }
    };
    ClassRowGradients {
        query: query.narrow_to(dtype),
        key: key.narrow_to(dtype),
        value: value.narrow_to(dtype),
        context: context.narrow_to(dtype),
    }
}

/// Class rows, `[documents, h, 1, d]`.
struct Rows<B: Backend> {
    query: Wide<B>,
    key: Wide<B>,
    value: Wide<B>,
}

/// Shares of the class row's own key `[b, h, 1, 1]` and of the tokens `[b, h, n, 1]`.
struct Shares<B: Backend> {
    own: Wide<B>,
    tokens: Wide<B>,
}

impl<B: Backend> Rows<B> {
    fn new(query: FloatTensor<B>, key: FloatTensor<B>, value: FloatTensor<B>) -> Self {
        Self {
            query: Wide::widen(query),
            key: Wide::widen(key),
            value: Wide::widen(value),
        }
    }

    fn of(&self, document: usize) -> Self {
        Self {
            query: self.query.clone().narrow(0, document, 1),
            key: self.key.clone().narrow(0, document, 1),
            value: self.value.clone().narrow(0, document, 1),
        }
    }

    fn shares(&self, context: Wide<B>, mask: Option<BoolTensor<B>>) -> Shares<B> {
        let own = self.query.clone().mul(self.key.clone()).sum_dim(3);
        let scores = self.query.clone().mul(context).sum_dim(3);
        let [b, h, n, _] = scores.dims();
        let real = match mask {
            Some(mask) => {
                let mask = B::bool_reshape(mask, Shape::new([b, 1, n, 1]));
                Wide::indicator(mask, &scores)
            }
            None => scores.ones_like_with([b, 1, n, 1]),
        };
        let scores = scores.add(real.clone().hide_zeros());
        let all = Wide::cat(vec![own.clone(), scores.clone()], 2);
        let max = all.detach().max_dim(2);
        // 0 for a document without a real token, its own key's weight too.
        let any = real.max_dim(2).mul(own.ones_like_with([b, h, 1, 1]));
        let own = own.sub(max.clone()).exp();
        let tokens = scores.sub(max).exp();
        let sum = own.clone().add(tokens.clone().sum_dim(2));
        Shares {
            own: own.div(sum.clone()).mul(any.clone()),
            tokens: tokens.div(sum).mul(any),
        }
    }

    fn read(&self, context: Wide<B>, mask: Option<BoolTensor<B>>) -> Wide<B> {
        let Shares { own, tokens } = self.shares(context.clone(), mask);
        let of_tokens = tokens.mul(context).sum_dim(2);
        own.mul(self.value.clone()).add(of_tokens)
    }

    /// Of query, key, value and context.
    fn read_backward(
        &self,
        d_output: Wide<B>,
        context: Wide<B>,
        mask: Option<BoolTensor<B>>,
    ) -> [Wide<B>; 4] {
        let Shares { own, tokens } = self.shares(context.clone(), mask);
        let own_slope = d_output.clone().mul(self.value.clone()).sum_dim(3);
        let slopes = d_output.clone().mul(context.clone()).sum_dim(3);
        let mean = own
            .clone()
            .mul(own_slope.clone())
            .add(tokens.clone().mul(slopes.clone()).sum_dim(2));
        let d_own = own.clone().mul(own_slope.sub(mean.clone()));
        let d_scores = tokens.clone().mul(slopes.sub(mean));
        let d_query = d_own
            .clone()
            .mul(self.key.clone())
            .add(d_scores.clone().mul(context).sum_dim(2));
        [
            d_query,
            d_own.mul(self.query.clone()),
            own.mul(d_output.clone()),
            tokens.mul(d_output).add(d_scores.mul(self.query.clone())),
        ]
    }
}
