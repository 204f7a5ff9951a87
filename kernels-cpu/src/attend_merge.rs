//! What the threads of the windowed path's backward pass each write to memory of their own, and
//! how it is added up: always in the order of the parts.

use std::ops::Range;

use rayon::prelude::*;

use crate::attend::Sizes;
use crate::attend_backward::AttendGradients;
use crate::documents::{Document, Task};
use crate::padded_bias::PaddedBias;
use crate::real::Real;
use crate::tile::TILE;
use crate::window::Window;

/// How one part's own memory lies. For keys, then for values: a row for each landmark, then rows
/// for the tokens before the part that its queries see, then those after it. Last, the bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial {
    landmarks: usize,
    width: usize,
    /// Tokens that a part's queries see on either side of it; 0 where no document has two parts.
    border: usize,
    bias: usize,
    reach: usize,
    part: usize,
}

impl Partial {
    /// Queries of a document that one thread takes at least. The shorter, the more work is there
    /// for many threads, and the more there is to add up.
    const LEAST: usize = 1024;

    pub fn new(sizes: Sizes, window: Window, with_bias: bool) -> Self {
        let reach = window.reach();
        let part = Self::LEAST.max((4 * reach).next_multiple_of(TILE));
        let padded = if with_bias {
            PaddedBias::<f32>::padded_len(window)
        } else {
            0
        };
        Self {
            landmarks: sizes.landmarks,
            width: sizes.width,
            border: if sizes.tokens > part { reach } else { 0 },
            bias: padded,
            reach,
            part,
        }
    }

    /// Queries of a document that one thread takes.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Never 0, so that each part has memory, be there anything to put into it or not.
    pub fn len(&self) -> usize {
        (2 * self.side() + self.bias).max(1)
    }

    fn side(&self) -> usize {
        (self.landmarks + 2 * self.border) * self.width
    }

    /// The row of a landmark; side 0 is keys, 1 values.
    #[inline(always)]
    pub fn landmark_mut<'p, T>(
        &self,
        partial: &'p mut [T],
        side: usize,
        landmark: usize,
    ) -> &'p mut [T] {
        &mut partial[side * self.side() + landmark * self.width..][..self.width]
    }

    /// The row of a token of the document that does not lie in the part.
    #[inline(always)]
    pub fn border_mut<'p, T>(
        &self,
        partial: &'p mut [T],
        side: usize,
        part: &Range<usize>,
        token: usize,
    ) -> &'p mut [T] {
        let row = match token < part.start {
            true => token + self.border - part.start,
            false => token - part.end + self.border,
        };
        self.landmark_mut(partial, side, self.landmarks + row)
    }

    /// The totals of the padded bias.
    #[inline(always)]
    pub fn bias_mut<'p, T>(&self, partial: &'p mut [T]) -> &'p mut [T] {
        &mut partial[2 * self.side()..][..self.bias]
    }
}

/// Adds up the landmarks' gradients, and those of tokens that queries of other parts see.
pub(crate) fn merge<T: Real>(
    layout: Partial,
    documents: &[Document<'_>],
    heads: usize,
    partials: &[T],
    gradients: &AttendGradients<'_, T>,
) {
    let mut rest = partials;
    let mut groups = Vec::with_capacity(documents.len() * heads);
    for document in documents {
        let parts = document.len.div_ceil(layout.part);
        for head in 0..heads {
            let own;
            (own, rest) = rest.split_at(parts * layout.len());
            groups.push((document, head, own));
        }
    }
    groups
        .into_par_iter()
        .for_each(|(document, head, partials)| {
            let sides = [
                (&gradients.landmark_key, &gradients.key),
                (&gradients.landmark_value, &gradients.value),
            ];
            for (side, (landmarks, tokens)) in sides.into_iter().enumerate() {
                for landmark in 0..layout.landmarks {
                    // SAFETY: this document under this head is this call's alone.
                    let row = unsafe { landmarks.row(document.number, head, landmark) };
                    row.fill(T::ZERO);
                    for partial in partials.chunks_exact(layout.len()) {
                        add_row(
                            row,
                            &partial[side * layout.side() + landmark * layout.width..],
                        );
                    }
                }
                if document.len <= layout.part {
                    continue;
                }
                for (number, partial) in partials.chunks_exact(layout.len()).enumerate() {
                    let start = number * layout.part;
                    let end = (start + layout.part).min(document.len);
                    let border = &partial[side * layout.side() + layout.landmarks * layout.width..];
                    let before = start - layout.border.min(start)..start;
                    let after = end..(end + layout.border).min(document.len);
                    let rows = (before.map(|token| (token, token + layout.border - start)))
                        .chain(after.map(|token| (token, token + layout.border - end)));
                    for (token, row) in rows {
                        // SAFETY: as above.
                        let to =
                            unsafe { tokens.row(document.batch, head, document.start + token) };
                        add_row(to, &border[row * layout.width..]);
                    }
                }
            }
        });
}

/// Adds up the bias's gradients, `[h, 2·reach + 1]`.
pub(crate) fn merge_bias<T: Real>(
    layout: Partial,
    tasks: &[Task<'_>],
    partials: &[T],
    to: &mut [T],
) {
    let offsets = 2 * layout.reach + 1;
    to.fill(T::ZERO);
    for (task, partial) in tasks.iter().zip(partials.chunks_exact(layout.len())) {
        let totals = &partial[2 * layout.side() + TILE..][..offsets];
        add_row(&mut to[task.head * offsets..][..offsets], totals);
    }
}

fn add_row<T: Real>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
