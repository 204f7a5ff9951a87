//! `project` and its backward pass against the dense formulas and finite differences.

mod common;

use common::dense::{Project, Projected};
use common::{Batch, Layout, Memory, Numbers, Tensor, assert_close};
use transformer_ls_kernels_cpu as kernels;
use transformer_ls_kernels_cpu::{ProjectGradients, Real};

fn case(b: usize, h: usize, r: usize, n: usize, d: usize, batch: Batch, amplitude: f64) -> Project {
    let seed = (n * 1009 + r * 31 + d) as u64;
    Project {
        scores: Tensor::random([b, h, r, n], amplitude, seed),
        key: Tensor::random([b, h, n, d], 1.0, seed + 1),
        value: Tensor::random([b, h, n, d], 1.0, seed + 2),
        batch,
    }
}

/// The kernels' results, with tensors lying in memory as said.
fn run<T: Real>(case: &Project, d_output: &Tensor, scores: Layout, others: Layout) -> Projected {
    let memory = Memory::<T>::of(&case.scores, scores);
    let key = Memory::<T>::of(&case.key, others);
    let value = Memory::<T>::of(&case.value, Layout::ROW_MAJOR);
    let inputs = kernels::Project {
        scores: memory.view(),
        key: key.view(),
        value: value.view(),
        documents: case.batch.documents(),
    };
    let landmarks = Layout { gap: 0, ..others };
    let mut output = Memory::<T>::unwritten(case.output_shape(), landmarks);
    kernels::project(&inputs, &mut output.view_mut());
    let d_output = Memory::<T>::of(d_output, others);
    let mut d_scores = Memory::<T>::unwritten(case.scores.shape, scores);
    let mut d_key = Memory::<T>::unwritten(case.key.shape, others);
    let mut d_value = Memory::<T>::unwritten(case.key.shape, Layout::ROW_MAJOR);
    let mut gradients = ProjectGradients {
        scores: d_scores.view_mut(),
        key: d_key.view_mut(),
        value: d_value.view_mut(),
    };
    kernels::project_backward(&inputs, output.view(), d_output.view(), &mut gradients);
    Projected {
        output: output.tensor(),
        d_scores: d_scores.tensor(),
        d_key: d_key.tensor(),
        d_value: d_value.tensor(),
    }
}

fn check<T: Real>(case: &Project, name: &str, scores: Layout, others: Layout, epsilon: f64) {
    let d_output = Tensor::random(case.output_shape(), 1.0, 99);
    let exact = case.run::<f64>(&d_output);
    let same = case.run::<T>(&d_output);
    let ours = run::<T>(case, &d_output, scores, others);
    let pairs = [
        ("output", &ours.output, &same.output, &exact.output, 2.0),
        ("d_scores", &ours.d_scores, &same.d_scores, &exact.d_scores, 3.0),
        ("d_key", &ours.d_key, &same.d_key, &exact.d_key, 3.0),
        ("d_value", &ours.d_value, &same.d_value, &exact.d_value, 3.0),
    ];
    for (what, ours, same, exact, times) in pairs {
        assert_close(&format!("{name}: {what}"), ours, same, exact, times, epsilon);
    }
}

fn check_both(case: &Project, name: &str) {
    let layouts = [
        (Layout::LANDMARKS_SIDE_BY_SIDE, Layout::HEADS_SIDE_BY_SIDE),
        (Layout::ROW_MAJOR, Layout::ROW_MAJOR),
        (Layout::GAPS, Layout::GAPS),
    ];
    for (number, (scores, others)) in layouts.into_iter().enumerate() {
        let name = format!("{name}, layout {number}");
        check::<f32>(case, &name, scores, others, f64::from(f32::EPSILON));
        check::<f64>(case, &name, scores, others, 20.0 * f64::EPSILON);
    }
}

#[test]
fn shapes_that_divide_nothing() {
    for n in [1, 7, 63, 129] {
        for r in [0, 1, 5, 32, 254] {
            for d in [4, 8, 32, 33, 64] {
                let batch = Batch::of_lengths(&[n, n / 2], n);
                let case = case(2, 2, r, n, d, batch, 2.0);
                check_both(&case, &format!("n {n}, r {r}, d {d}"));
            }
        }
    }
}

#[test]
fn parts_are_merged() {
    let batch = Batch::of_lengths(&[1500, 513, 3], 1500);
    check_both(&case(3, 1, 33, 1500, 8, batch, 5.0), "several parts");
    // The first part and the last hold padding alone.
    let mask = (0..1600).map(|token| u8::from((600..1000).contains(&token)));
    let batch = Batch::Padded(mask.collect());
    check_both(&case(1, 1, 5, 1600, 4, batch, 5.0), "padding in front");
}

#[test]
fn holes_and_documents_of_padding_alone() {
    let (b, n) = (3, 129);
    let mut numbers = Numbers(5);
    let mut mask: Vec<u8> = (0..b * n).map(|_| u8::from(numbers.unit() < 0.5)).collect();
    mask[n..2 * n].fill(0);
    let case = case(b, 2, 33, n, 33, Batch::Padded(mask), 2.0);
    check_both(&case, "holes");
    let d_output = Tensor::random(case.output_shape(), 1.0, 3);
    let ours = run::<f32>(&case, &d_output, Layout::ROW_MAJOR, Layout::ROW_MAJOR);
    for index in ours.output.indices().filter(|index| index[0] == 1) {
        assert_eq!(ours.output.at(index), 0.0);
    }
    for index in ours.d_key.indices().filter(|index| index[0] == 1) {
        assert_eq!(ours.d_key.at(index), 0.0);
    }
}

#[test]
fn packed_documents() {
    let lengths = [5, 0, 1, 64, 33, 0];
    let case = case(1, 2, 33, 103, 32, Batch::packed(&lengths), 2.0);
    check_both(&case, "packed");
}

#[test]
fn large_scores() {
    let batch = Batch::of_lengths(&[129, 40], 129);
    check_both(&case(2, 2, 32, 129, 32, batch, 80.0), "scores ±80");
}

#[test]
fn finite_differences() {
    let batch = Batch::of_lengths(&[9, 4], 9);
    let mut case = case(2, 1, 5, 9, 4, batch, 2.0);
    let d_output = Tensor::random(case.output_shape(), 1.0, 7);
    let (row, other) = (Layout::ROW_MAJOR, Layout::HEADS_SIDE_BY_SIDE);
    let gradients = run::<f64>(&case, &d_output, row, other);
    let loss = |case: &Project| {
        let output = run::<f64>(case, &d_output, row, other).output;
        output.data.iter().zip(&d_output.data).map(|(a, b)| a * b).sum::<f64>()
    };
    let parts: [(fn(&mut Project) -> &mut Tensor, &Tensor); 3] = [
        (|case| &mut case.scores, &gradients.d_scores),
        (|case| &mut case.key, &gradients.d_key),
        (|case| &mut case.value, &gradients.d_value),
    ];
    for (part, gradient) in parts {
        for index in gradient.indices() {
            let step = 1e-5;
            *part(&mut case).at_mut(index) += step;
            let above = loss(&case);
            *part(&mut case).at_mut(index) -= 2.0 * step;
            let below = loss(&case);
            *part(&mut case).at_mut(index) += step;
            let slope = (above - below) / (2.0 * step);
            let difference = (slope - gradient.at(index)).abs();
            assert!(difference < 1e-8, "{index:?}: {slope}, {}", gradient.at(index));
        }
    }
}
