//! The sum of a token's and a position's row of two tables, and the tables' gradients.

use crate::parallel::*;
use fearless_simd::Level;
use fearless_simd::dispatch;
use fearless_simd::prelude::*;

use crate::documents::Documents;
use crate::layers::add;
use crate::real::Real;

/// Rows that a thread takes at once.
const PIECE: usize = 1024;

/// Inputs of [`embed`].
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a, T> {
    /// A row for each id, `[vocabulary, D]`.
    pub token: &'a [T],
    /// A row for each position in a document, `[positions, D]`.
    pub position: &'a [T],
    /// `D`
    pub width: usize,
    /// Which token it is, `[b, n]`.
    pub ids: &'a [u32],
    /// How documents lie in the batch. Masks change nothing: padding is embedded too.
    pub documents: Documents<'a>,
    /// `b`
    pub batch: usize,
}

/// Rows of one document, or some of them: the first one's place in the batch, its position, and
/// how many.
#[derive(Clone, Copy)]
struct Piece {
    row: usize,
    position: usize,
    len: usize,
}

impl<T: Real> Embed<'_, T> {
    fn tokens(&self) -> usize {
        self.ids.len() / self.batch.max(1)
    }

    fn pieces(&self, longest: usize) -> Vec<Piece> {
        let tokens = self.tokens();
        self.documents.assert_fit(self.batch, tokens);
        let mut pieces = Vec::new();
        for document in self.documents.list(self.batch, tokens) {
            for position in (0..document.len).step_by(longest) {
                pieces.push(Piece {
                    row: document.batch * tokens + document.start + position,
                    position,
                    len: longest.min(document.len - position),
                });
            }
        }
        pieces
    }
}

/// `output[row] = token[id] + position[place in its document]`, `[b, n, D]`, written whole.
///
/// # Panics
///
/// Panics if the shapes do not fit, or if an id or a position has no row.
pub fn embed<T: Real>(inputs: &Embed<'_, T>, output: &mut [T]) {
    let width = inputs.width;
    assert_eq!(
        output.len(),
        inputs.ids.len() * width,
        "the output's length"
    );
    let mut rest = output;
    let mut tasks = Vec::new();
    for piece in inputs.pieces(PIECE) {
        let (own, others) = rest.split_at_mut(piece.len * width);
        tasks.push((piece, own));
        rest = others;
    }
    let level = Level::new();
    tasks.par_iter_mut().for_each(|(piece, output)| {
        dispatch!(level, simd => simd.vectorize(
            #[inline(always)]
            || {
                let ids = &inputs.ids[piece.row..][..piece.len];
                let positions = &inputs.position[piece.position * width..];
                let positions = positions[..piece.len * width].chunks_exact(width);
                let rows = output.chunks_exact_mut(width);
                for ((to, id), position) in rows.zip(ids).zip(positions) {
                    let token = &inputs.token[*id as usize * width..][..width];
                    for ((to, token), position) in to.iter_mut().zip(token).zip(position) {
                        *to = *token + *position;
                    }
                }
            }
        ));
    });
}

/// Gradients of both tables, written whole, given the output's `[b, n, D]`.
///
/// # Panics
///
/// As [`embed`].
pub fn embed_backward<T: Real>(
    inputs: &Embed<'_, T>,
    d_output: &[T],
    [d_token, d_position]: [&mut [T]; 2],
) {
    assert_eq!(
        d_output.len(),
        inputs.ids.len() * inputs.width,
        "d_output's length"
    );
    assert_eq!(d_token.len(), inputs.token.len(), "d_token's length");
    assert_eq!(
        d_position.len(),
        inputs.position.len(),
        "d_position's length"
    );
    position_gradients(inputs, d_output, d_position);
    token_gradients(inputs, d_output, d_token);
}

/// A thread takes some positions of all documents.
fn position_gradients<T: Real>(inputs: &Embed<'_, T>, d_output: &[T], d_position: &mut [T]) {
    const POSITIONS: usize = 32;
    let width = inputs.width;
    let documents = inputs.pieces(usize::MAX);
    let level = Level::new();
    d_position
        .par_chunks_mut(POSITIONS * width)
        .enumerate()
        .for_each(|(block, to)| {
            let first = block * POSITIONS;
            to.fill(T::ZERO);
            for document in documents.iter().filter(|document| document.len > first) {
                let len = (document.len - first).min(to.len() / width) * width;
                let from = &d_output[(document.row + first) * width..][..len];
                dispatch!(level, simd => simd.vectorize(
                    #[inline(always)]
                    || add(simd, from, &mut to[..len])
                ));
            }
        });
}

/// The rows of each id in order, cut into pieces; sums of the pieces; the sums of an id's pieces.
fn token_gradients<T: Real>(inputs: &Embed<'_, T>, d_output: &[T], d_token: &mut [T]) {
    let width = inputs.width;
    let vocabulary = d_token.len() / width;
    let mut ends = vec![0; vocabulary + 1];
    for &id in inputs.ids {
        ends[id as usize + 1] += 1;
    }
    for id in 0..vocabulary {
        ends[id + 1] += ends[id];
    }
    let mut places = ends.clone();
    let mut rows = vec![0_u32; inputs.ids.len()];
    for (row, &id) in inputs.ids.iter().enumerate() {
        rows[places[id as usize]] = row as u32;
        places[id as usize] += 1;
    }
    let pieces: Vec<(usize, &[u32])> = (0..vocabulary)
        .flat_map(|id| {
            let own = rows[ends[id]..ends[id + 1]].chunks(PIECE);
            own.map(move |piece| (id, piece))
        })
        .collect();
    let mut sums = vec![T::ZERO; pieces.len() * width];
    let level = Level::new();
    sums.par_chunks_exact_mut(width)
        .zip(&pieces)
        .for_each(|(sum, (_, rows))| {
            dispatch!(level, simd => simd.vectorize(
                #[inline(always)]
                || {
                    for &row in *rows {
                        add(simd, &d_output[row as usize * width..][..width], sum);
                    }
                }
            ));
        });
    d_token.fill(T::ZERO);
    for ((id, _), sum) in pieces.iter().zip(sums.chunks_exact(width)) {
        for (to, from) in d_token[id * width..][..width].iter_mut().zip(sum) {
            *to += *from;
        }
    }
}
