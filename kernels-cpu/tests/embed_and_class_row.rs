//! Embeddings against loops, and the class row's reading against its formula in float64; gradients
//! against differences.

use transformer_ls_kernels::Boundaries;
use transformer_ls_kernels_cpu::{
    ClassRow, ClassRowGradients, Documents, Embed, Real, View, ViewMut, class_row,
    class_row_backward, embed, embed_backward,
};

mod common;
use common::Numbers;

fn random(len: usize, seed: u64) -> Vec<f64> {
    let mut numbers = Numbers(seed);
    (0..len)
        .map(|_| f64::from((2.0 * numbers.unit() - 1.0) as f32))
        .collect()
}

fn cast<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

fn nan<T: Real>(len: usize) -> Vec<T> {
    vec![T::from_f64(f64::NAN); len]
}

fn assert_near<T: Real>(what: &str, found: &[T], exact: &[f64], tolerance: f64) {
    assert_eq!(found.len(), exact.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(exact).enumerate() {
        let difference = (a.to_f64() - b).abs();
        assert!(
            difference <= tolerance * b.abs().max(1.0),
            "{what} [{i}]: {a:?}, not {b}"
        );
    }
}

/// Lengths of packed documents, or padded rows of one length.
fn embeds<T: Real>(lengths: &[usize], packed: bool, width: usize, tolerance: f64) {
    const VOCABULARY: usize = 7;
    let positions = lengths.iter().max().unwrap() + 3;
    let boundaries = Boundaries::from_lengths(lengths);
    let total = boundaries.total();
    let mut numbers = Numbers(3);
    // Id 5 never comes.
    let ids: Vec<u32> = (0..total).map(|_| (numbers.next() % 5) as u32).collect();
    let (token, position) = (random(VOCABULARY * width, 1), random(positions * width, 2));
    let d_output = random(total * width, 4);
    let mut exact = vec![0.0; total * width];
    let mut d_token = vec![0.0; token.len()];
    let mut d_position = vec![0.0; position.len()];
    for (document, len) in lengths.iter().enumerate() {
        for place in 0..*len {
            let row = boundaries.range(document).start + place;
            for k in 0..width {
                let (t, p) = (ids[row] as usize * width + k, place * width + k);
                exact[row * width + k] = token[t] + position[p];
                d_token[t] += d_output[row * width + k];
                d_position[p] += d_output[row * width + k];
            }
        }
    }
    let (token, position): (Vec<T>, Vec<T>) = (cast(&token), cast(&position));
    let inputs = Embed {
        token: &token,
        position: &position,
        width,
        ids: &ids,
        documents: match packed {
            true => Documents::Packed(&boundaries),
            false => Documents::Rows { mask: None },
        },
        batch: if packed { 1 } else { lengths.len() },
    };
    let mut output = nan::<T>(exact.len());
    embed(&inputs, &mut output);
    assert_near("output", &output, &exact, tolerance);
    let (mut found_token, mut found_position) = (nan::<T>(token.len()), nan::<T>(position.len()));
    let to = [&mut *found_token, &mut *found_position];
    embed_backward(&inputs, &cast(&d_output), to);
    assert_near("d_token", &found_token, &d_token, 50.0 * tolerance);
    assert_near("d_position", &found_position, &d_position, tolerance);
}

#[test]
fn embeddings_are_sums_of_rows() {
    embeds::<f64>(&[3, 0, 2100, 1, 70], true, 5, 1e-13);
    embeds::<f32>(&[3, 0, 2100, 1, 70], true, 64, 1e-6);
    embeds::<f64>(&[40, 40, 40], false, 16, 1e-13);
    embeds::<f32>(&[1], false, 1, 1e-6);
}

struct Case {
    /// `[documents, h, d]` three times, then `[rows, h, d]`.
    inputs: [Vec<f64>; 4],
    lengths: Vec<usize>,
    mask: Option<Vec<u8>>,
    heads: usize,
    width: usize,
}

impl Case {
    fn new(lengths: &[usize], mask: Option<Vec<u8>>, heads: usize, width: usize) -> Self {
        let (own, total) = (lengths.len() * heads * width, lengths.iter().sum::<usize>());
        Self {
            inputs: [
                random(own, 1),
                random(own, 2),
                random(own, 3),
                random(total * heads * width, 4),
            ],
            lengths: lengths.to_vec(),
            mask,
            heads,
            width,
        }
    }

    fn exact(&self, [query, key, value, context]: [&[f64]; 4]) -> Vec<f64> {
        let (h, d) = (self.heads, self.width);
        let mut output = vec![0.0; query.len()];
        let mut start = 0;
        for (document, len) in self.lengths.iter().enumerate() {
            for head in 0..h {
                let own = (document * h + head) * d;
                let q = &query[own..own + d];
                let dot = |x: &[f64]| q.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
                let rows = (start..start + len)
                    .filter(|&row| self.mask.as_ref().is_none_or(|mask| mask[row] != 0))
                    .map(|row| &context[(row * h + head) * d..][..d]);
                let rows: Vec<_> = rows.collect();
                if rows.is_empty() {
                    continue;
                }
                let all = std::iter::once((dot(&key[own..own + d]), &value[own..own + d]))
                    .chain(rows.into_iter().map(|row| (dot(row), row)));
                let all: Vec<_> = all.collect();
                let sum: f64 = all.iter().map(|(score, _)| score.exp()).sum();
                for (score, row) in all {
                    for k in 0..d {
                        output[own + k] += score.exp() / sum * row[k];
                    }
                }
            }
            start += len;
        }
        output
    }

    fn run<T: Real>(&self, d_output: &[f64]) -> (Vec<T>, [Vec<T>; 4]) {
        let (h, d, documents) = (self.heads, self.width, self.lengths.len());
        let boundaries = Boundaries::from_lengths(&self.lengths);
        let total = boundaries.total();
        let padded = self.mask.is_some();
        let (b, n) = if padded {
            (documents, total / documents)
        } else {
            (1, total)
        };
        let inputs = self.inputs.each_ref().map(|x| cast::<T>(x));
        let own = [documents, h, 1, d];
        let (tokens, strides) = ([b, h, n, d], [n * h * d, d, h * d, 1]);
        let [query, key, value] = [0, 1, 2].map(|i| View::contiguous(&inputs[i], own));
        let inputs = ClassRow {
            query,
            key,
            value,
            context: View::new(&inputs[3], tokens, strides),
            documents: match &self.mask {
                Some(mask) => Documents::Rows { mask: Some(mask) },
                None => Documents::Packed(&boundaries),
            },
        };
        let mut output = nan::<T>(d_output.len());
        class_row(&inputs, &mut ViewMut::contiguous(&mut output, own));
        let mut found = self.inputs.each_ref().map(|x| nan::<T>(x.len()));
        let [query, key, value, context] = &mut found;
        let mut gradients = ClassRowGradients {
            query: ViewMut::contiguous(query, own),
            key: ViewMut::contiguous(key, own),
            value: ViewMut::contiguous(value, own),
            context: ViewMut::new(context, tokens, strides),
        };
        let d_output = cast::<T>(d_output);
        class_row_backward(&inputs, View::contiguous(&d_output, own), &mut gradients);
        (output, found)
    }

    fn check(&self) {
        let exact = self.exact(self.inputs.each_ref().map(|x| x.as_slice()));
        let d_output = random(exact.len(), 9);
        let (output, gradients) = self.run::<f64>(&d_output);
        assert_near("output", &output, &exact, 1e-13);
        for which in 0..4 {
            let len = self.inputs[which].len();
            for entry in (0..len).step_by((len / 23).max(1)) {
                let loss = |shift: f64| {
                    let mut inputs = self.inputs.clone();
                    inputs[which][entry] += shift;
                    let output = self.exact(inputs.each_ref().map(|x| x.as_slice()));
                    output
                        .iter()
                        .zip(&d_output)
                        .map(|(y, d)| y * d)
                        .sum::<f64>()
                };
                let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                let found = gradients[which][entry];
                assert!(
                    (found - difference).abs() < 1e-9,
                    "d input {which} [{entry}]: {found}, not {difference}"
                );
            }
        }
        let (output, single) = self.run::<f32>(&d_output);
        assert_near("float32", &output, &exact, 1e-6);
        for (single, double) in single.iter().zip(&gradients) {
            assert_near("float32 gradient", single, double, 1e-6);
        }
    }
}

#[test]
fn class_rows_read_packed_documents() {
    Case::new(&[5, 0, 70, 1, 33], None, 2, 8).check();
    Case::new(&[17], None, 3, 5).check();
    Case::new(&[40, 9], None, 1, 32).check();
}

#[test]
fn class_rows_read_real_tokens_alone() {
    let n = 37;
    let mask = (0..3 * n)
        .map(|i| u8::from(i / n != 1 && i % 3 != 0))
        .collect();
    Case::new(&[n; 3], Some(mask), 2, 16).check();
}

/// Scores far apart: no overflow, and all weight on the largest.
#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(&[20, 3], None, 1, 4);
    case.inputs[0].iter_mut().for_each(|x| *x *= 500.0);
    let (output, gradients) = case.run::<f32>(&[1.0; 8]);
    assert!(output.iter().all(|x| x.is_finite() && x.abs() <= 1.0));
    assert!(gradients.iter().flatten().all(|x| x.is_finite()));
}
