//! Segments and the windows around them, as dense tensors.

use burn::backend::Backend;

use super::prim::Prim;
use crate::ops::halo;

/// Segments of one width over a sequence of `tokens`.
#[derive(Clone, Copy)]
pub(super) struct Segments {
    pub tokens: usize,
    pub width: usize,
    /// How many segments there are; the last may be shorter than the others.
    pub count: usize,
    /// Tokens seen on either side of a segment.
    pub halo: usize,
}

impl Segments {
    pub fn new(tokens: usize, width: usize) -> Self {
        Self {
            tokens,
            width,
            count: tokens.div_ceil(width),
            halo: halo(width),
        }
    }

    /// Keys that a segment's queries see: `w + 2e`.
    pub fn span(&self) -> usize {
        self.width + 2 * self.halo
    }

    /// Tokens after the last segment is filled up.
    pub fn padded(&self) -> usize {
        self.count * self.width
    }

    /// `[b, h, n, d]` → `[b, h, segments, w, d]`, filled up with zeros.
    pub fn split<B: Backend>(&self, x: Prim<B>) -> Prim<B> {
        let [b, h, n, d] = x.dims();
        x.pad(2, 0, self.padded() - n)
            .reshape([b, h, self.count, self.width, d])
    }

    /// Undoes [`split`](Self::split).
    pub fn merge<B: Backend>(&self, x: Prim<B>) -> Prim<B> {
        let [b, h, _, _, d] = x.dims();
        x.reshape([b, h, self.padded(), d])
            .narrow(2, 0, self.tokens)
    }

    /// `[b, h, n, d]` → `[b, h, segments, w + 2e, d]`: the rows around each segment, zeros
    /// outside the sequence.
    pub fn windows<B: Backend>(&self, x: Prim<B>) -> Prim<B> {
        let [b, h, n, d] = x.dims();
        let (w, e, padded) = (self.width, self.halo, self.padded());
        let x = x.pad(2, e, padded + w - n);
        let shifted = |start: usize, rows: usize| {
            x.clone()
                .narrow(2, start, padded)
                .reshape([b, h, self.count, w, d])
                .narrow(3, 0, rows)
        };
        Prim::cat(vec![shifted(0, e), shifted(e, w), shifted(e + w, e)], 3)
    }

    /// The adjoint of [`windows`](Self::windows): rows that several windows share are summed.
    pub fn fold<B: Backend>(&self, x: Prim<B>) -> Prim<B> {
        let [b, h, _, _, d] = x.dims();
        let (w, e, padded) = (self.width, self.halo, self.padded());
        let placed = |start: usize, rows: usize, at: usize| {
            x.clone()
                .narrow(3, start, rows)
                .pad(3, 0, w - rows)
                .reshape([b, h, padded, d])
                .pad(2, at, e + w - at)
        };
        placed(0, e, 0)
            .add(placed(e, w, e))
            .add(placed(e + w, e, e + w))
            .narrow(2, e, self.tokens)
    }

    /// Column of an [`OffsetBias`](crate::ops::OffsetBias) table for each query row of a segment
    /// and each key of its window, row-major `[w, w + 2e]`.
    pub fn offset_columns(&self) -> Vec<i32> {
        let reach = self.width - 1 + self.halo;
        (0..self.width)
            .flat_map(|row| {
                (0..self.span()).map(move |column| (row + self.halo + reach - column) as i32)
            })
            .collect()
    }
}
