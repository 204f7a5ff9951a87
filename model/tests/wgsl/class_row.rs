//! A class row's reading and its gradients against loops on the host in float64.

use burn::backend::Dispatch;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use transformer_ls_burn::Boundaries;
use transformer_ls_burn::ops::Documents;
use transformer_ls_burn::ops::class_row::{ClassRow, ClassRowBackend};

use super::compare::float;

/// How documents lie, heads, width.
const CASES: [(Lie, usize, usize); 9] = [
    (Lie::Full(1, 1), 1, 1),
    (Lie::Full(2, 300), 2, 32),
    (Lie::Full(1, 63), 3, 7),
    (Lie::Full(3, 17), 1, 256),
    (Lie::Full(1, 4099), 2, 40),
    (Lie::Padded(3, 130), 2, 32),
    (Lie::Padded(2, 65), 1, 33),
    (Lie::Packed(&[5, 0, 200, 1, 64]), 2, 32),
    (Lie::Packed(&[129, 700]), 1, 100),
];

#[derive(Clone, Copy, Debug)]
enum Lie {
    Full(usize, usize),
    /// Documents and tokens of a row; the last document has no real token.
    Padded(usize, usize),
    Packed(&'static [usize]),
}

impl Lie {
    fn is_real(self, document: usize, token: usize) -> bool {
        match self {
            Self::Padded(documents, length) => {
                document + 1 < documents && token % 5 != 2 && token < length - document * 7
            }
            _ => true,
        }
    }

    /// Of each document its row of the batch, its first token there and its length.
    fn documents(self) -> Vec<[usize; 3]> {
        match self {
            Self::Full(documents, length) | Self::Padded(documents, length) => {
                (0..documents).map(|row| [row, 0, length]).collect()
            }
            Self::Packed(lengths) => {
                let mut start = 0;
                let place = |&length: &usize| {
                    start += length;
                    [0, start - length, length]
                };
                lengths.iter().map(place).collect()
            }
        }
    }

    /// Rows of the batch and their tokens.
    fn batch(self) -> [usize; 2] {
        match self {
            Self::Full(documents, length) | Self::Padded(documents, length) => [documents, length],
            Self::Packed(lengths) => [1, lengths.iter().sum()],
        }
    }

    fn given(self, device: &Device) -> Documents<Dispatch> {
        let [rows, length] = self.batch();
        match self {
            Self::Full(..) => Documents::Full,
            Self::Padded(..) => {
                let real = (0..rows * length).map(|i| self.is_real(i / length, i % length));
                let real = TensorData::new(real.collect::<Vec<bool>>(), [rows, length]);
                Documents::Padded(Tensor::<2, Bool>::from_data(real, device).into_dispatch())
            }
            Self::Packed(lengths) => Documents::Packed(Boundaries::from_lengths(lengths)),
        }
    }
}

/// Numbers between -1 and 1 that the storage type has exactly.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    let value = |i: usize| ((i * 7919 + i / 31 + seed * 104_729) % 2003 % 129) as f64 / 64.0 - 1.0;
    (0..count).map(value).collect()
}

/// Readings of many sizes and layouts, and what is read and written with memory in any order.
pub fn check_class_rows(device: &Device, dtype: DType) {
    for (lie, heads, width) in CASES {
        // Scores of any size: sharp and flat ones.
        for size in [1.0, 30.0] {
            check(device, dtype, lie, heads, width, size);
        }
    }
}

fn check(device: &Device, dtype: DType, lie: Lie, heads: usize, width: usize, size: f64) {
    let (documents, [rows, length]) = (lie.documents(), lie.batch());
    let of_rows = documents.len() * heads * width;
    // In memory `[documents, 1, h, d]` and `[b, n, h, d]`, as modules split heads.
    let scale = size / width as f64;
    let query: Vec<f64> = numbers(of_rows, 1).iter().map(|x| x * scale).collect();
    let rounded = TensorData::new(query, [of_rows]).convert_dtype(dtype);
    let query: Vec<f64> = rounded.convert::<f64>().try_into_vec().expect("float64");
    let (key, value, d_output) = (
        numbers(of_rows, 2),
        numbers(of_rows, 3),
        numbers(of_rows, 4),
    );
    let tokens = numbers(rows * length * heads * width, 5);

    let mut output = vec![0.0; of_rows];
    let mut d_rows = [(); 3].map(|()| vec![0.0; of_rows]);
    let mut d_tokens = vec![0.0; tokens.len()];
    for (document, [row, start, count]) in documents.iter().copied().enumerate() {
        for head in 0..heads {
            let own = (document * heads + head) * width..(document * heads + head + 1) * width;
            let at = |token: usize| {
                let first = ((row * length + start + token) * heads + head) * width;
                first..first + width
            };
            let real: Vec<usize> = (0..count).filter(|&t| lie.is_real(document, t)).collect();
            if real.is_empty() {
                continue;
            }
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (q, k, v) = (&query[own.clone()], &key[own.clone()], &value[own.clone()]);
            let d = &d_output[own.clone()];
            // The row itself, then the tokens.
            let mut scores = vec![dot(q, k)];
            scores.extend(real.iter().map(|&token| dot(q, &tokens[at(token)])));
            let top = scores.iter().fold(f64::MIN, |max, x| max.max(*x));
            let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
            let shares: Vec<f64> = scores.iter().map(|s| (s - top).exp() / total).collect();
            for c in 0..width {
                let read = real
                    .iter()
                    .zip(&shares[1..])
                    .map(|(&token, share)| share * tokens[at(token)][c]);
                output[own.start + c] = shares[0] * v[c] + read.sum::<f64>();
            }
            let delta = dot(d, &output[own.clone()]);
            let d_own = shares[0] * (dot(d, v) - delta);
            let [d_query, d_key, d_value] = &mut d_rows;
            for c in 0..width {
                d_query[own.start + c] += d_own * k[c];
                d_key[own.start + c] = d_own * q[c];
                d_value[own.start + c] = shares[0] * d[c];
            }
            for (&token, share) in real.iter().zip(&shares[1..]) {
                let d_score = share * (dot(d, &tokens[at(token)]) - delta);
                for c in 0..width {
                    d_query[own.start + c] += d_score * tokens[at(token)][c];
                    d_tokens[at(token).start + c] = share * d[c] + d_score * q[c];
                }
            }
        }
    }

    let tensor = |values: &[f64], [b, n]: [usize; 2]| {
        let data = TensorData::new(values.to_vec(), [b, n, heads, width]).convert_dtype(dtype);
        Tensor::<4>::from_data(data, (device, dtype))
            .swap_dims(1, 2)
            .into_dispatch()
    };
    let row = |values: &[f64]| tensor(values, [documents.len(), 1]);
    let inputs = || ClassRow::<Dispatch> {
        query: row(&query),
        key: row(&key),
        value: row(&value),
        context: tensor(&tokens, [rows, length]),
    };
    let read = || Dispatch::class_row(inputs(), lie.given(device));
    let back = || {
        let gradients = Dispatch::class_row_backward(row(&d_output), inputs(), lie.given(device));
        let rows = [gradients.query, gradients.key, gradients.value];
        let in_memory = |x| {
            float::<4>(
                Tensor::<4>::from_dispatch(x)
                    .swap_dims(1, 2)
                    .into_dispatch(),
            )
        };
        let mut all = rows.map(in_memory).to_vec();
        all.push(in_memory(gradients.context));
        all
    };
    let what = format!("{lie:?}, {heads} heads of {width}, scores of {size}, {dtype:?}");
    let found = float::<4>(
        Tensor::<4>::from_dispatch(read())
            .swap_dims(1, 2)
            .into_dispatch(),
    );
    assert_near(&found, &output, dtype, 2e-6, &format!("output of {what}"));
    let found = back();
    let names = ["d query", "d key", "d value", "d tokens"];
    let wanted = d_rows.iter().chain([&d_tokens]);
    for ((name, found), wanted) in names.iter().zip(&found).zip(wanted) {
        assert_near(found, wanted, dtype, 6e-6, &format!("{name} of {what}"));
    }
    assert!(found == back(), "other bits the second time: {what}");
}

/// That no number is off by more than this share of the largest; in float16 by a few of its roundings.
fn assert_near(found: &[f64], wanted: &[f64], dtype: DType, share: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    // In float16 there is nothing between 0 and 6e-8.
    let (share, least) = match dtype {
        DType::F16 => (1e-3, 6e-8),
        _ => (share, 1e-12),
    };
    for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
        let off = (a - b).abs();
        assert!(
            off <= share * largest + least,
            "{what}: {a}, not {b}, at {i}"
        );
    }
}
