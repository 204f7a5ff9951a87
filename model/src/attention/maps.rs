//! What the heads of an attention attend to, as numbers to look at.

use burn::tensor::Tensor;

/// What each head of long-short attention attends to in one document.
///
/// Shares are probabilities of the softmax, 0 out of sight. Those of a query through the window and
/// through the landmarks sum to 1 together. A padded token has no share and gives none.
///
/// # Shapes
///
/// `n` tokens, `h` heads, rank `r`.
#[derive(Clone, Debug)]
pub struct AttentionMaps {
    /// The share that a query (second dimension) gives a token through the window, `[h, n, n]`.
    pub window: Tensor<3>,
    /// The share that a query gives a landmark, `[h, n, r]`. Where there is a class row it is a landmark
    /// too, the first of then `1 + r`. None if there is no landmark.
    pub landmarks: Option<Tensor<3>>,
    /// The weight that a token has in a landmark, `[h, r, n]`; those of a landmark sum to 1. The class
    /// row's landmark is made of no token, and isn't here. None at rank 0.
    pub projection: Option<Tensor<3>>,
    /// The share that the class row gives itself, and then each token, `[h, 1 + n]`; they sum to 1. None
    /// where there is no class row.
    ///
    /// It reads a token's output of this attention, not the token itself: what the query of the same
    /// place in `window` and `landmarks` has read.
    pub class_row: Option<Tensor<2>>,
}

/// This model's heads have no such maps.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "this model's attention is of the kind `{0}`, and maps show that of the kind `long_short` alone: \
     take a model of that kind"
)]
pub struct NoMaps(pub &'static str);

/// The share of each of `count` values in what `read` makes of them, `[…, count]`, for heads of width
/// `d` on the device of `like`.
///
/// What attention reads is linear in the values. So it is given values that are rows of the identity
/// matrix `[1, h, count, d]`, `d` columns at a time, and its outputs are the shares themselves.
pub(super) fn shares_of(
    [h, count, d]: [usize; 3],
    like: &Tensor<4>,
    read: &dyn Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let columns = count.next_multiple_of(d);
    let identity = Tensor::<2>::eye(columns, &like.device()).cast(like.dtype());
    let identity = identity.narrow(0, 0, count).reshape([1, 1, count, columns]);
    let blocks = (0..columns).step_by(d);
    let blocks = blocks.map(|first| read(identity.clone().narrow(3, first, d).repeat_dim(1, h)));
    Tensor::cat(blocks.collect(), 3).narrow(3, 0, count)
}
