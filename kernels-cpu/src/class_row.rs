//! A class row reads the outputs of its document: under each head, with
//! `p = softmax([q·k, q·C_1 … q·C_n])` over the real tokens, it gets `p_0 v + Σ p_i C_i`.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::documents::{Document, Documents};
use crate::exp::exp;
use crate::real::{Lanes, Real, load, splat, store};
use crate::view::{Rows, RowsMut, View, ViewMut};

/// Inputs of [`class_row`].
#[derive(Clone, Copy, Debug)]
pub struct ClassRow<'a, T> {
    /// The class rows' queries, scaled, `[documents, h, 1, d]`.
    pub query: View<'a, T>,
    /// `[documents, h, 1, d]`
    pub key: View<'a, T>,
    /// `[documents, h, 1, d]`
    pub value: View<'a, T>,
    /// What the tokens read, `C [b, h, n, d]`.
    pub context: View<'a, T>,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
}

/// Outputs of [`class_row_backward`], all written whole.
#[derive(Debug)]
pub struct ClassRowGradients<'a, T> {
    /// `[documents, h, 1, d]`
    pub query: ViewMut<'a, T>,
    /// `[documents, h, 1, d]`
    pub key: ViewMut<'a, T>,
    /// `[documents, h, 1, d]`
    pub value: ViewMut<'a, T>,
    /// `[b, h, n, d]`
    pub context: ViewMut<'a, T>,
}

impl<'a, T: Real> ClassRow<'a, T> {
    /// The documents under each head; checks the shapes.
    fn tasks(&self) -> Vec<(Document<'a>, usize)> {
        let [b, h, n, d] = self.context.shape();
        self.documents.assert_fit(b, n);
        let documents = self.documents.list(b, n);
        let shape = [documents.len(), h, 1, d];
        self.query.assert_like("query", shape);
        self.key.assert_like("key", shape);
        self.value.assert_like("value", shape);
        self.context.assert_like("context", [b, h, n, d]);
        documents
            .into_iter()
            .flat_map(|document| (0..h).map(move |head| (document, head)))
            .collect()
    }

    fn rows(&self, document: &Document<'_>, head: usize) -> [&'a [T]; 3] {
        [self.query, self.key, self.value].map(|view| view.rows(document.number, head, 0).row(0))
    }
}

/// What the class rows read, `[documents, h, 1, d]`; 0 for a document without a real token.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn class_row<T: Real>(inputs: &ClassRow<'_, T>, output: &mut ViewMut<'_, T>) {
    output.assert_like("output", inputs.query.shape());
    let output = &*output;
    let level = Level::new();
    inputs
        .tasks()
        .par_iter()
        .for_each_init(Vec::new, |shares, (document, head)| {
            let to = output.rows(document.number, *head, 0, 1);
            dispatch!(level, simd => read(simd, inputs, document, *head, shares, to));
        });
}

/// Gradients of [`class_row`], given that of its output.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn class_row_backward<T: Real>(
    inputs: &ClassRow<'_, T>,
    d_output: View<'_, T>,
    gradients: &mut ClassRowGradients<'_, T>,
) {
    let shape = inputs.query.shape();
    d_output.assert_like("d_output", shape);
    gradients.query.assert_like("d_query", shape);
    gradients.key.assert_like("d_key", shape);
    gradients.value.assert_like("d_value", shape);
    let gradients = &*gradients;
    gradients
        .context
        .assert_like("d_context", inputs.context.shape());
    let level = Level::new();
    inputs.tasks().par_iter().for_each_init(
        || (Vec::new(), Vec::new()),
        |(shares, slopes), (document, head)| {
            let d_output = d_output.rows(document.number, *head, 0).row(0);
            let place = (document, *head);
            dispatch!(level, simd => {
                read_backward(simd, inputs, place, d_output, gradients, shares, slopes)
            });
        },
    );
}

/// `Σ a·b`
#[inline(always)]
fn dot<S: Simd, T: Real>(simd: S, a: &[T], b: &[T]) -> T {
    let lanes = Lanes::<S, T>::LEN;
    let whole = a.len() - a.len() % lanes;
    let mut sums = splat::<S, T>(simd, T::ZERO);
    for i in (0..whole).step_by(lanes) {
        sums = load::<S, T>(simd, &a[i..]).mul_add(load::<S, T>(simd, &b[i..]), sums);
    }
    let mut sum = sums.reduce_sum();
    for i in whole..a.len() {
        sum += a[i] * b[i];
    }
    sum
}

/// `to += factor · from`
#[inline(always)]
fn add_scaled<T: Real>(factor: T, from: &[T], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * *from;
    }
}

/// Writes each token's share `p_i`, 0 where it is padded, and returns `p_0`. If no token is real,
/// all shares are 0, the class row's own too.
#[inline(always)]
fn shares<S: Simd, T: Real>(
    simd: S,
    document: &Document<'_>,
    [query, key]: [&[T]; 2],
    context: Rows<'_, T>,
    shares: &mut Vec<T>,
) -> T {
    let lanes = Lanes::<S, T>::LEN;
    shares.clear();
    shares.resize(document.len.next_multiple_of(lanes), T::NEG_INFINITY);
    let own = dot(simd, query, key);
    let mut largest = T::NEG_INFINITY;
    for token in 0..document.len {
        if document.is_real(token) {
            let score = dot(simd, query, context.row(token));
            shares[token] = score;
            if score > largest {
                largest = score;
            }
        }
    }
    if largest == T::NEG_INFINITY {
        shares.fill(T::ZERO);
        return T::ZERO;
    }
    if own > largest {
        largest = own;
    }
    let mut sums = splat::<S, T>(simd, T::ZERO);
    for share in shares.chunks_exact_mut(lanes) {
        let weight = exp::<S, T>(simd, load::<S, T>(simd, share) - largest);
        sums += weight;
        store::<S, T>(weight, share);
    }
    let own = (own - largest).exp();
    let scale = T::ONE / (sums.reduce_sum() + own);
    for share in shares.iter_mut() {
        *share *= scale;
    }
    own * scale
}

#[inline(always)]
fn read<S: Simd, T: Real>(
    simd: S,
    inputs: &ClassRow<'_, T>,
    document: &Document<'_>,
    head: usize,
    of_tokens: &mut Vec<T>,
    to: RowsMut<'_, T>,
) {
    // SAFETY: this document's row under this head is this call's alone.
    let to = unsafe { to.row(0) };
    simd.vectorize(
        #[inline(always)]
        || {
            let [query, key, value] = inputs.rows(document, head);
            let context = inputs.context.rows(document.batch, head, document.start);
            let own = shares(simd, document, [query, key], context, of_tokens);
            to.fill(T::ZERO);
            add_scaled(own, value, to);
            for (token, &share) in of_tokens[..document.len].iter().enumerate() {
                if document.is_real(token) {
                    add_scaled(share, context.row(token), to);
                }
            }
        },
    );
}

#[inline(always)]
fn read_backward<S: Simd, T: Real>(
    simd: S,
    inputs: &ClassRow<'_, T>,
    (document, head): (&Document<'_>, usize),
    d_output: &[T],
    gradients: &ClassRowGradients<'_, T>,
    of_tokens: &mut Vec<T>,
    slopes: &mut Vec<T>,
) {
    let [d_query, d_key, d_value] = [&gradients.query, &gradients.key, &gradients.value]
        .map(|view| view.rows(document.number, head, 0, 1));
    // SAFETY: this document's rows under this head are this call's alone, here and below.
    let [d_query, d_key, d_value] = [d_query, d_key, d_value].map(|rows| unsafe { rows.row(0) });
    let (batch, start) = (document.batch, document.start);
    let d_context = gradients.context.rows(batch, head, start, document.len);
    simd.vectorize(
        #[inline(always)]
        || {
            let [query, key, value] = inputs.rows(document, head);
            let context = inputs.context.rows(batch, head, start);
            let own = shares(simd, document, [query, key], context, of_tokens);
            slopes.clear();
            slopes.resize(document.len, T::ZERO);
            let own_slope = dot(simd, d_output, value);
            let mut mean = own * own_slope;
            for token in 0..document.len {
                if document.is_real(token) {
                    slopes[token] = dot(simd, d_output, context.row(token));
                    mean += of_tokens[token] * slopes[token];
                }
            }
            let d_own = own * (own_slope - mean);
            d_query.fill(T::ZERO);
            d_key.fill(T::ZERO);
            d_value.fill(T::ZERO);
            add_scaled(d_own, key, d_query);
            add_scaled(d_own, query, d_key);
            add_scaled(own, d_output, d_value);
            for token in 0..document.len {
                // SAFETY: as above.
                let to = unsafe { d_context.row(token) };
                if !document.is_real(token) {
                    to.fill(T::ZERO);
                    continue;
                }
                let share = of_tokens[token];
                let d_score = share * (slopes[token] - mean);
                add_scaled(d_score, context.row(token), d_query);
                for ((to, d), q) in to.iter_mut().zip(d_output).zip(query) {
                    *to = share * *d + d_score * *q;
                }
            }
        },
    );
}
