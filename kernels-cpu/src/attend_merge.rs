//! What the threads of the windowed path's backward pass each write to memory of their own, and
//! how it is added up: always in the order of the parts.

use std::ops::Range;

use crate::parallel::*;
use transformer_ls_kernels::Visibility;

use crate::attend::Sizes;
use crate::attend_backward::AttendGradients;
use crate::attend_gradients::Part;
use crate::documents::Document;
use crate::padded_bias::Places;
use crate::real::Real;
use crate::tile::TILE;

/// How one part's own memory lies. For keys, then for values: a row for each landmark, then rows
/// for the keys before the part's own that its queries see, then those after them. Last, the bias, the
/// relative keys and the landmarks' bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial {
    landmarks: usize,
    width: usize,
    /// Keys that a part's queries see on either side of its own; 0 where no document has two parts.
    border: usize,
    /// Length of a padded row of the bias, and its entries for landmarks; 0 where its gradient isn't wanted.
    bias: usize,
    bias_of_landmarks: usize,
    relative_keys: usize,
    landmark_bias: usize,
    part: usize,
    visibility: Visibility,
}

impl Partial {
    /// Queries of a document that one thread takes at least. The shorter, the more work is there
    /// for many threads, and the more there is to add up.
    const LEAST: usize = 1024;

    pub fn new(
        sizes: Sizes,
        visibility: Visibility,
        bias: bool,
        relative_keys: bool,
        landmark_bias: bool,
    ) -> Self {
        let border = visibility.window.border();
        let part = match border {
            Some(border) => Self::LEAST.max((4 * border).next_multiple_of(TILE)),
            // Queries see keys from all over: their document is one part.
            None => sizes.tokens.max(1),
        };
        let if_given = |given: bool, count: usize| if given { count } else { 0 };
        Self {
            landmarks: sizes.landmarks,
            width: sizes.width,
            border: border.filter(|_| sizes.tokens > part).unwrap_or(0),
            bias: if_given(bias, Places::new(visibility).padded_len()),
            bias_of_landmarks: if_given(
                bias,
                sizes.entries.saturating_sub(visibility.window.offsets()),
            ),
            relative_keys: if_given(relative_keys, sizes.entries),
            landmark_bias: if_given(landmark_bias, sizes.landmarks),
            part,
            visibility,
        }
    }

    /// Queries of a document that one thread takes.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Never 0, so that each part has memory, be there anything to put into it or not.
    pub fn len(&self) -> usize {
        (self.landmark_bias_at() + self.landmark_bias).max(1)
    }

    fn relative_keys_at(&self) -> usize {
        2 * self.side() + self.bias + self.bias_of_landmarks
    }

    fn landmark_bias_at(&self) -> usize {
        self.relative_keys_at() + self.relative_keys * self.width
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

    /// Which row after the landmarks' is that of a key of the document that isn't the part's own.
    fn border_row(&self, own: &Range<usize>, key: usize) -> usize {
        match key < own.start {
            true => key + self.border - own.start,
            false => key - own.end + self.border,
        }
    }

    /// The rows of the landmarks; side 0 is keys, 1 values.
    #[inline(always)]
    pub fn landmarks_mut<'p, T>(&self, partial: &'p mut [T], side: usize) -> &'p mut [T] {
        &mut partial[side * self.side()..][..self.landmarks * self.width]
    }

    /// The row of a key of the document that isn't the part's own.
    #[inline(always)]
    pub fn border_mut<'p, T>(
        &self,
        partial: &'p mut [T],
        side: usize,
        own: &Range<usize>,
        key: usize,
    ) -> &'p mut [T] {
        &mut partial[self.place(side, self.landmarks + self.border_row(own, key))]
    }

    /// The totals of the padded bias, and those of its entries for landmarks.
    #[inline(always)]
    pub fn bias_mut<'p, T>(&self, partial: &'p mut [T]) -> (&'p mut [T], &'p mut [T]) {
        partial[2 * self.side()..self.relative_keys_at()].split_at_mut(self.bias)
    }

    /// The totals of the landmarks' bias.
    #[inline(always)]
    pub fn landmark_bias_mut<'p, T>(&self, partial: &'p mut [T]) -> &'p mut [T] {
        &mut partial[self.landmark_bias_at()..][..self.landmark_bias]
    }

    /// The rows of the relative keys.
    #[inline(always)]
    pub fn relative_keys_mut<'p, T>(&self, partial: &'p mut [T]) -> &'p mut [T] {
        &mut partial[self.relative_keys_at()..][..self.relative_keys * self.width]
    }
}

/// What the parts of one document under one head have written, in order.
type OfHead<'d, 'r, T> = (&'d Document<'d>, usize, Vec<&'r [T]>);

/// Adds up the landmarks' gradients, and those of keys that queries of other parts see.
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
            let rows = tokens.rows(document.batch, *head, document.start, document.keys);
            for (number, partial) in partials.iter().enumerate() {
                let start = number * layout.part;
                let queries = start..(start + layout.part).min(document.len);
                let own = Part::new(queries, document, &layout.visibility).keys;
                let before = own.start - layout.border.min(own.start)..own.start;
                let after = own.end..(own.end + layout.border).min(document.keys);
                for key in before.chain(after) {
                    // SAFETY: as above.
                    let to = unsafe { rows.row(key) };
                    let row = layout.landmarks + layout.border_row(&own, key);
                    add_row(to, layout.row(partial, side, row));
                }
            }
        }
    });
}

/// Adds up the bias's gradients, `[h, entries]`.
pub(crate) fn merge_bias<T: Real>(layout: Partial, partials: &[OfHead<'_, '_, T>], to: &mut [T]) {
    let offsets = layout.visibility.window.offsets();
    let entries = offsets + layout.bias_of_landmarks;
    to.fill(T::ZERO);
    for (_, head, partials) in partials {
        let to = &mut to[head * entries..][..entries];
        for partial in partials {
            let totals = &partial[2 * layout.side()..layout.relative_keys_at()];
            add_row(&mut to[..offsets], &totals[TILE..]);
            add_row(&mut to[offsets..], &totals[layout.bias..]);
        }
    }
}

/// Adds up the gradients of the landmarks' bias, `[documents, h, r]`.
pub(crate) fn merge_landmark_bias<T: Real>(
    layout: Partial,
    partials: &[OfHead<'_, '_, T>],
    heads: usize,
    to: &mut [T],
) {
    let length = layout.landmark_bias;
    to.fill(T::ZERO);
    for (document, head, partials) in partials {
        let at = (document.number * heads + head) * length;
        for partial in partials {
            add_row(
                &mut to[at..][..length],
                &partial[layout.landmark_bias_at()..],
            );
        }
    }
}

/// Adds up the relative keys' gradients, `[h, offsets, d]`.
pub(crate) fn merge_relative_keys<T: Real>(
    layout: Partial,
    partials: &[OfHead<'_, '_, T>],
    to: &mut [T],
) {
    let length = layout.relative_keys * layout.width;
    to.fill(T::ZERO);
    for (_, head, partials) in partials {
        for partial in partials {
            let totals = &partial[layout.relative_keys_at()..][..length];
            add_row(&mut to[head * length..][..length], totals);
        }
    }
}

fn add_row<T: Real>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
