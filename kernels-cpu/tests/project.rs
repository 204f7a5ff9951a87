//! `project` and its backward pass against the dense formulas and finite differences.

mod common;

use common::dense::{Project, Projected};
use common::{
    Batch, Memory, MemoryLayout, Numbers, Tensor, assert_close, assert_slopes, inner_product,
};
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
fn run<T: Real>(
    case: &Project,
    d_output: &Tensor,
    scores: MemoryLayout,
    others: MemoryLayout,
) -> Projected {
    let memory = Memory::<T>::of(&case.scores, scores);
    let key = Memory::<T>::of(&case.key, others);
    let value = Memory::<T>::of(&case.value, MemoryLayout::ROW_MAJOR);
    let inputs = kernels::Project {
        scores: memory.view(),
        key: key.view(),
        value: value.view(),
        documents: case.batch.documents(),
    };
    let landmarks = MemoryLayout { gap: 0, ..others };
    let mut output = Memory::<T>::unwritten(case.output_shape(), landmarks);
    kernels::project(&inputs, &mut output.view_mut());
    let d_output = Memory::<T>::of(d_output, others);
    let mut d_scores = Memory::<T>::unwritten(case.scores.shape, scores);
    let mut d_key = Memory::<T>::unwritten(case.key.shape, others);
    let mut d_value = Memory::<T>::unwritten(case.key.shape, MemoryLayout::ROW_MAJOR);
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

/// Checks the kernels' results against those of the dense formulas, in both precisions.
fn check(case: &Project, name: &str) {
    let layouts = [
        (
            MemoryLayout::LANDMARKS_SIDE_BY_SIDE,
            MemoryLayout::HEADS_SIDE_BY_SIDE,
        ),
        (MemoryLayout::ROW_MAJOR, MemoryLayout::ROW_MAJOR),
        (MemoryLayout::GAPS, MemoryLayout::GAPS),
    ];
    let d_output = Tensor::random(case.output_shape(), 1.0, 99);
    let exact = case.run::<f64>(&d_output);
    let float32 = case.run::<f32>(&d_output);
    let (exact, float32) = (exact.parts(), float32.parts());
    for (scores, others) in layouts {
        let name = format!("{name}, {others:?}");
        let ours = run::<f32>(case, &d_output, scores, others);
        let epsilon = f64::from(f32::EPSILON);
        assert_close(&name, &ours.parts(), &float32, &exact, epsilon, 1.0);
        let ours = run::<f64>(case, &d_output, scores, others);
        let epsilon = 20.0 * f64::EPSILON;
        assert_close(&name, &ours.parts(), &exact, &exact, epsilon, 1.0);
    }
}

#[test]
fn shapes_that_divide_nothing() {
    for n in [1, 7, 63, 129] {
        for r in [0, 1, 5, 32, 254] {
            for d in [4, 8, 32, 33, 64] {
                let batch = Batch::of_lengths(&[n, n / 2], n);
                let case = case(2, 2, r, n, d, batch, 2.0);
                check(&case, &format!("n {n}, r {r}, d {d}"));
            }
        }
    }
}

#[test]
fn parts_are_merged() {
    let batch = Batch::of_lengths(&[1500, 513, 3], 1500);
    check(&case(3, 1, 33, 1500, 8, batch, 5.0), "several parts");
    // The first part and the last hold padding alone.
    let mask = (0..1600).map(|token| u8::from((600..1000).contains(&token)));
    let batch = Batch::Padded(mask.collect());
    check(&case(1, 1, 5, 1600, 4, batch, 5.0), "padding in front");
}

#[test]
fn holes_and_documents_of_padding_alone() {
    let (b, n) = (3, 129);
    let mut numbers = Numbers(5);
    let mut mask: Vec<u8> = (0..b * n).map(|_| u8::from(numbers.unit() < 0.5)).collect();
    mask[n..2 * n].fill(0);
    let case = case(b, 2, 33, n, 33, Batch::Padded(mask), 2.0);
    check(&case, "holes");
    let d_output = Tensor::random(case.output_shape(), 1.0, 3);
    let ours = run::<f32>(
        &case,
        &d_output,
        MemoryLayout::ROW_MAJOR,
        MemoryLayout::ROW_MAJOR,
    );
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
    check(&case, "packed");
}

#[test]
fn large_scores() {
    let batch = Batch::of_lengths(&[129, 40], 129);
    check(&case(2, 2, 32, 129, 32, batch, 80.0), "scores ±80");
}

#[test]
fn finite_differences() {
    let batch = Batch::of_lengths(&[9, 4], 9);
    let mut case = case(2, 1, 5, 9, 4, batch, 2.0);
    let d_output = Tensor::random(case.output_shape(), 1.0, 7);
    let (row, other) = (MemoryLayout::ROW_MAJOR, MemoryLayout::HEADS_SIDE_BY_SIDE);
    let gradients = run::<f64>(&case, &d_output, row, other);
    let loss = |case: &Project| {
        let output = run::<f64>(case, &d_output, row, other).output;
        inner_product(&output, &d_output)
    };
    assert_slopes(
        &mut case,
        "scores",
        |case| &mut case.scores,
        &gradients.d_scores,
        loss,
    );
    assert_slopes(
        &mut case,
        "key",
        |case| &mut case.key,
        &gradients.d_key,
        loss,
    );
    assert_slopes(
        &mut case,
        "value",
        |case| &mut case.value,
        &gradients.d_value,
        loss,
    );
}
