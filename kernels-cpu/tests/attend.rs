//! `attend` and its backward pass against the dense formulas and finite differences.

mod common;

use common::dense::{Attend, Attended};
use common::{Batch, Layout, Memory, Numbers, Tensor, assert_close};
use transformer_ls_kernels_cpu as kernels;
use transformer_ls_kernels_cpu::{AttendGradients, Dropout, Real};

struct Sizes {
    b: usize,
    h: usize,
    n: usize,
    d: usize,
    w: usize,
    r: usize,
}

fn case(sizes: Sizes, batch: Batch) -> Attend {
    let Sizes { b, h, n, d, w, r } = sizes;
    let seed = (n * 1009 + r * 31 + d * 7 + w) as u64;
    let documents = batch.list(b, n).len();
    Attend {
        query: Tensor::random([b, h, n, d], 1.0, seed),
        key: Tensor::random([b, h, n, d], 1.0, seed + 1),
        value: Tensor::random([b, h, n, d], 1.0, seed + 2),
        landmark_key: Tensor::random([documents, h, r, d], 1.0, seed + 3),
        landmark_value: Tensor::random([documents, h, r, d], 1.0, seed + 4),
        bias: None,
        batch,
        window: w,
        scale: 1.5,
        dropout: None,
    }
}

fn with_bias(mut case: Attend) -> Attend {
    let reach = case.window + case.halo() - 1;
    let shape = [1, 1, case.query.shape[1], 2 * reach + 1];
    case.bias = Some(Tensor::random(shape, 1.0, 77));
    case
}

/// The kernels' results, with tensors lying in memory as said.
fn run<T: Real>(case: &Attend, d_output: &Tensor, layout: Layout) -> Attended {
    let [query, key] = [&case.query, &case.key].map(|x| Memory::<T>::of(x, layout));
    let value = Memory::<T>::of(&case.value, Layout::ROW_MAJOR);
    let landmark_key = Memory::<T>::of(&case.landmark_key, layout);
    let landmark_value = Memory::<T>::of(&case.landmark_value, Layout::HEADS_SIDE_BY_SIDE);
    let bias: Option<Vec<T>> = case
        .bias
        .as_ref()
        .map(|bias| bias.data.iter().map(|&x| T::from_f64(x)).collect());
    let inputs = kernels::Attend {
        query: query.view(),
        key: key.view(),
        value: value.view(),
        landmark_key: landmark_key.view(),
        landmark_value: landmark_value.view(),
        bias: bias.as_deref(),
        documents: case.batch.documents(),
        window: case.window,
        scale: case.scale,
        dropout: case.dropout,
    };
    let [b, h, n, _] = case.query.shape;
    let nan = T::from_f64(f64::NAN);
    let mut output = Memory::<T>::unwritten(case.query.shape, layout);
    let mut log_sum_exp = vec![nan; b * h * n];
    kernels::attend(&inputs, &mut output.view_mut(), &mut log_sum_exp);
    let d_output = Memory::<T>::of(d_output, layout);
    let mut d_query = Memory::<T>::unwritten(case.query.shape, layout);
    let mut d_key = Memory::<T>::unwritten(case.query.shape, layout);
    let mut d_value = Memory::<T>::unwritten(case.query.shape, Layout::ROW_MAJOR);
    let mut d_landmark_key = Memory::<T>::unwritten(case.landmark_key.shape, layout);
    let mut d_landmark_value = Memory::<T>::unwritten(case.landmark_key.shape, layout);
    let mut d_bias = bias.as_ref().map(|bias| vec![nan; bias.len()]);
    let mut gradients = AttendGradients {
        query: d_query.view_mut(),
        key: d_key.view_mut(),
        value: d_value.view_mut(),
        landmark_key: d_landmark_key.view_mut(),
        landmark_value: d_landmark_value.view_mut(),
        bias: d_bias.as_deref_mut(),
    };
    kernels::attend_backward(&inputs, d_output.view(), &log_sum_exp, &mut gradients);
    let tensor = |data: &[T], shape| Tensor {
        shape,
        data: data.iter().map(|x| x.to_f64()).collect(),
    };
    Attended {
        output: output.tensor(),
        log_sum_exp: tensor(&log_sum_exp, [b, h, n, 1]),
        d_query: d_query.tensor(),
        d_key: d_key.tensor(),
        d_value: d_value.tensor(),
        d_landmark_key: d_landmark_key.tensor(),
        d_landmark_value: d_landmark_value.tensor(),
        d_bias: d_bias.map(|data| tensor(&data, case.bias.as_ref().unwrap().shape)),
    }
}

fn check<T: Real>(case: &Attend, name: &str, layout: Layout, epsilon: f64) {
    check_within::<T>(case, name, layout, epsilon, 1.0);
}

fn check_within<T: Real>(case: &Attend, name: &str, layout: Layout, epsilon: f64, slack: f64) {
    let d_output = Tensor::random(case.query.shape, 1.0, 99);
    let exact = case.run::<f64>(&d_output);
    let same = case.run::<T>(&d_output);
    let ours = run::<T>(case, &d_output, layout);
    let none = Tensor::zeros([0; 4]);
    let [b0, b1, b2] = [&ours, &same, &exact].map(|x| x.d_bias.as_ref().unwrap_or(&none));
    for (what, ours, same, exact, times) in [
        ("output", &ours.output, &same.output, &exact.output, 2.0),
        ("log_sum_exp", &ours.log_sum_exp, &same.log_sum_exp, &exact.log_sum_exp, 2.0),
        ("d_query", &ours.d_query, &same.d_query, &exact.d_query, 3.0),
        ("d_key", &ours.d_key, &same.d_key, &exact.d_key, 3.0),
        ("d_value", &ours.d_value, &same.d_value, &exact.d_value, 3.0),
        ("d_landmark_key", &ours.d_landmark_key, &same.d_landmark_key, &exact.d_landmark_key, 3.0),
        (
            "d_landmark_value",
            &ours.d_landmark_value,
            &same.d_landmark_value,
            &exact.d_landmark_value,
            3.0,
        ),
        ("d_bias", b0, b1, b2, 3.0),
    ] {
        assert_close(&format!("{name}: {what}"), ours, same, exact, slack * times, epsilon);
    }
}

fn check_both(case: &Attend, name: &str) {
    let layouts = [Layout::HEADS_SIDE_BY_SIDE, Layout::ROW_MAJOR, Layout::GAPS];
    for (number, layout) in layouts.into_iter().enumerate() {
        let name = format!("{name}, layout {number}");
        check::<f32>(case, &name, layout, f64::from(f32::EPSILON));
        check::<f64>(case, &name, layout, 20.0 * f64::EPSILON);
    }
}

#[test]
fn shapes_that_divide_nothing() {
    for n in [1, 7, 63, 129] {
        for w in [0, 1, 3, 8, 16] {
            for r in [0, 1, 5, 32, 254] {
                for d in [4, 8, 32, 33, 64] {
                    // All combinations of a few, a few combinations of all.
                    if (n + w + r + d) % 3 != 0 && d != 32 {
                        continue;
                    }
                    let sizes = Sizes { b: 2, h: 2, n, d, w, r };
                    let batch = Batch::of_lengths(&[n, n / 2], n);
                    let name = format!("n {n}, w {w}, r {r}, d {d}");
                    check_both(&case(sizes, batch), &name);
                }
            }
        }
    }
}

#[test]
fn wide_heads_and_wide_windows() {
    for (n, w, r, d) in [(150, 64, 5, 128), (150, 200, 0, 130), (70, 33, 32, 129)] {
        let sizes = Sizes { b: 1, h: 1, n, d, w, r };
        check_both(&case(sizes, Batch::Full), &format!("n {n}, w {w}, r {r}, d {d}"));
    }
}

#[test]
fn holes_and_documents_of_padding_alone() {
    let (b, n) = (3, 129);
    let mut numbers = Numbers(5);
    for w in [0, 1, 3, 8, 16] {
        for r in [0, 33] {
            let mut mask: Vec<u8> = (0..b * n).map(|_| u8::from(numbers.unit() < 0.5)).collect();
            mask[n..2 * n].fill(0);
            let sizes = Sizes { b, h: 2, n, d: 33, w, r };
            let case = with_bias_if(w > 0, case(sizes, Batch::Padded(mask.clone())));
            check_both(&case, &format!("holes, w {w}, r {r}"));
            let d_output = Tensor::random(case.query.shape, 1.0, 3);
            let ours = run::<f32>(&case, &d_output, Layout::HEADS_SIDE_BY_SIDE);
            for index in ours.output.indices() {
                if mask[index[0] * n + index[2]] == 0 {
                    let parts = [&ours.output, &ours.d_query, &ours.d_key, &ours.d_value];
                    assert!(parts.iter().all(|x| x.at(index) == 0.0));
                    let [b, h, i, _] = index;
                    assert_eq!(ours.log_sum_exp.at([b, h, i, 0]), 0.0);
                }
            }
        }
    }
}

fn with_bias_if(wanted: bool, case: Attend) -> Attend {
    if wanted { with_bias(case) } else { case }
}

#[test]
fn packed_documents() {
    for w in [0, 3, 8] {
        let lengths = [5, 0, 1, 64, 33, 0];
        let sizes = Sizes { b: 1, h: 2, n: 103, d: 32, w, r: 33 };
        check_both(&case(sizes, Batch::packed(&lengths)), &format!("packed, w {w}"));
    }
}

#[test]
fn parts_are_merged() {
    // Several parts a document, with borders inside and across documents.
    for (w, lengths) in [(8, [2100, 1025, 3]), (7, [1024, 1500, 600]), (300, [2500, 0, 1200])] {
        let n = lengths.iter().sum();
        let sizes = Sizes { b: 1, h: 1, n, d: 4, w, r: 3 };
        let packed = with_bias(case(sizes, Batch::packed(&lengths)));
        check::<f64>(&packed, "packed parts", Layout::GAPS, 50.0 * f64::EPSILON);
        let sizes = Sizes { b: 2, h: 1, n: 2100, d: 4, w, r: 3 };
        let padded = with_bias(case(sizes, Batch::of_lengths(&[2100, 1030], 2100)));
        check::<f64>(&padded, "padded parts", Layout::GAPS, 50.0 * f64::EPSILON);
    }
}

#[test]
fn bias_by_relative_position() {
    for w in [1, 3, 8, 16, 40] {
        let sizes = Sizes { b: 2, h: 2, n: 129, d: 8, w, r: 5 };
        let batch = Batch::of_lengths(&[129, 70], 129);
        check_both(&with_bias(case(sizes, batch)), &format!("bias, w {w}"));
    }
}

#[test]
fn large_scores() {
    for scale in [32.0, -32.0] {
        let sizes = Sizes { b: 2, h: 2, n: 129, d: 4, w: 8, r: 32 };
        let mut case = case(sizes, Batch::of_lengths(&[129, 40], 129));
        // The products reach 2.5. A power of two, so that it does not matter when it is applied.
        case.scale = scale;
        // All error comes from rounding a few numbers near 80 to float32, by chance more or less.
        let layout = Layout::HEADS_SIDE_BY_SIDE;
        check_within::<f32>(&case, "scores ±80", layout, f64::from(f32::EPSILON), 2.0);
        check_within::<f64>(&case, "scores ±80", layout, 20.0 * f64::EPSILON, 2.0);
    }
}

#[test]
fn dropout() {
    for (w, r) in [(8, 33), (3, 0), (0, 5), (16, 1)] {
        for batch in [Batch::of_lengths(&[129, 70], 129), Batch::packed(&[64, 0, 65])] {
            let b = if matches!(batch, Batch::Packed(_)) { 1 } else { 2 };
            let sizes = Sizes { b, h: 2, n: 129, d: 8, w, r };
            let mut case = with_bias_if(w > 0, case(sizes, batch));
            case.dropout = Some(Dropout { probability: 0.3, seed: 42 });
            check_both(&case, &format!("dropout, w {w}, r {r}"));
        }
    }
}

#[test]
fn finite_differences() {
    for (w, dropout) in [(3, None), (8, Some(Dropout { probability: 0.4, seed: 3 }))] {
        let sizes = Sizes { b: 2, h: 1, n: 13, d: 3, w, r: 2 };
        let mut case = with_bias(case(sizes, Batch::of_lengths(&[13, 6], 13)));
        case.dropout = dropout;
        let d_output = Tensor::random(case.query.shape, 1.0, 7);
        let gradients = run::<f64>(&case, &d_output, Layout::HEADS_SIDE_BY_SIDE);
        let loss = |case: &Attend| {
            let output = run::<f64>(case, &d_output, Layout::HEADS_SIDE_BY_SIDE).output;
            output.data.iter().zip(&d_output.data).map(|(a, b)| a * b).sum::<f64>()
        };
        let parts: [(fn(&mut Attend) -> &mut Tensor, &Tensor); 6] = [
            (|case| &mut case.query, &gradients.d_query),
            (|case| &mut case.key, &gradients.d_key),
            (|case| &mut case.value, &gradients.d_value),
            (|case| &mut case.landmark_key, &gradients.d_landmark_key),
            (|case| &mut case.landmark_value, &gradients.d_landmark_value),
            (|case| case.bias.as_mut().unwrap(), gradients.d_bias.as_ref().unwrap()),
        ];
        for (number, (part, gradient)) in parts.into_iter().enumerate() {
            for index in gradient.indices() {
                let step = 1e-5;
                *part(&mut case).at_mut(index) += step;
                let above = loss(&case);
                *part(&mut case).at_mut(index) -= 2.0 * step;
                let below = loss(&case);
                *part(&mut case).at_mut(index) += step;
                let slope = (above - below) / (2.0 * step);
                let difference = (slope - gradient.at(index)).abs();
                assert!(difference < 1e-8, "{number} {index:?}: {slope}, {}", gradient.at(index));
            }
        }
    }
}
