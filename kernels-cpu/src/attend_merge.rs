//! What the threads of the windowed path's backward pass each write to memory of their own, and
//! how it is added up: always in the order of the parts.

use std::ops::Range;

use rayon::prelude::*;

use crate::attend::Sizes;
use crate::attend_backward::AttendGradients;
use crate::documents::Document;
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

    fn place(&self, side: usize, row: usize) -> Range<usize> {
        let start = side * self.side() + row * self.width;
        start..start + self.width
    }

    fn row<'p, T>(&self, partial: &'p [T], side: usize, row: usize) -> &'p [T] {
        &partial[self.place(side, row)]
    }

    /// Which row after the landmarks' is that of a token of the document outside the part.
    fn border_row(&self, part: &Range<usize>, token: usize) -> usize {
        match token < part.start {
            true => token + self.border - part.start,
            false => token - part.end + self.border,
        }
    }

    /// The row of a landmark; side 0 is keys, 1 values.
    #[inline(always)]
    pub fn landmark_mut<'p, T>(
        &self,
        partial: &'p mut [T],
        side: usize,
        landmark: usize,
    ) -> &'p mut [T] {
        &mut partial[self.place(side, landmark)]
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
        &mut partial[self.place(side, self.landmarks + self.border_row(part, token))]
    }

    /// The totals of the padded bias.
    #[inline(always)]
    pub fn bias_mut<'p, T>(&self, partial: &'p mut [T]) -> &'p mut [T] {
        &mut partial[2 * self.side()..][..self.bias]
    }
}

/// What the parts of one document under one head have written, in order.
type OfHead<'d, 'r, T> = (&'d Document<'d>, usize, Vec<&'r [T]>);

/// Adds up the landmarks' gradients, and those of tokens that queries of other parts see.
pub(crate) fn merge<T: Real>(
    layout: Partial,
    partials: &[OfHead<'_, '_, T>],
    gradients: &AttendGradients<'_, T>,
) {
    let sides = [
        (&gradients.landmark_key, &gradients.key),
        (&gradients.landmark_value, &gradients.value),
    ];
    partials.par_iter().for_each(|(document, head, partials)| {
        for (side, (landmarks, tokens)) in sides.into_iter().enumerate() {
            let rows = landmarks.rows(document.number, *head, 0, layout.landmarks);
            for landmark in 0..layout.landmarks {
                // SAFETY: this document under this head is this call's alone.
                let row = unsafe { rows.row(landmark) };
                row.fill(T::ZERO);
                for partial in partials {
                    add_row(row, layout.row(partial, side, landmark));
                }
            }
            if partials.len() <= 1 {
                continue;
            }
            let rows = tokens.rows(document.batch, *head, document.start, document.len);
            for (number, partial) in partials.iter().enumerate() {
                let start = number * layout.part;
                let part = start..(start + layout.part).min(document.len);
                let before = part.start - layout.border.min(part.start)..part.start;
                let after = part.end..(part.end + layout.border).min(document.len);
                for token in before.chain(after) {
                    // SAFETY: as above.
                    let to = unsafe { rows.row(token) };
                    let row = layout.landmarks + layout.border_row(&part, token);
                    add_row(to, layout.row(partial, side, row));
                }
            }
        }
    });
}

/// Adds up the bias's gradients, `[h, 2·reach + 1]`.
pub(crate) fn merge_bias<T: Real>(layout: Partial, partials: &[OfHead<'_, '_, T>], to: &mut [T]) {
    let offsets = 2 * layout.reach + 1;
    to.fill(T::ZERO);
    for (_, head, partials) in partials {
        for partial in partials {
            let totals = &partial[2 * layout.side() + TILE..][..offsets];
            add_row(&mut to[head * offsets..][..offsets], totals);
        }
    }
}

fn add_row<T: Real>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
