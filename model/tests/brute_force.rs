//! `project` and `attend` against dense masked attention in float64, written independently, on
//! every backend: values and gradients.

mod common;
#[path = "brute_force/dense.rs"]
mod dense;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use dense::{Problem, Random, project};
use proptest::prelude::*;
use transformer_ls_burn::ops::{
    self, Attend, AttentionDropout, Grid, LandmarksSeen, Visibility, Window,
};
use transformer_ls_burn::{Boundaries, Layout};

/// Largest difference, relative to the largest value (at least 1).
fn error(ours: &[f32], dense: &[f64]) -> f64 {
    assert_eq!(ours.len(), dense.len());
    let scale = dense.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    ours.iter().zip(dense).fold(0.0, |max: f64, (&a, b)| {
        assert!(a.is_finite(), "{a} where {b} is right");
        max.max((f64::from(a) - b).abs() / scale)
    })
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("float32")
}

/// `[b, h, n, d]` values as a view of memory `[b, n, h, d]`, which is how modules split heads.
fn strided(x: &[f64], [b, h, n, d]: [usize; 4], device: &Device) -> Tensor<4> {
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    Tensor::<4>::from_data(TensorData::new(x, [b, h, n, d]), device)
        .swap_dims(1, 2)
        .mul_scalar(1.0)
        .swap_dims(1, 2)
}

fn leaf(x: &[f64], shape: [usize; 4], device: &Device) -> Tensor<4> {
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    tracked(Tensor::from_data(TensorData::new(x, shape), device))
}

fn tracked<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.device().is_autodiff() {
        true => x.require_grad(),
        false => x,
    }
}

/// The problem as a batch of the crate, padded or packed. Packed documents are cropped: their
/// padding must be at the end.
struct Ours {
    inputs: [Tensor<4>; 5],
    landmark_bias: Option<Tensor<3>>,
    bias: Option<Tensor<2>>,
    relative_keys: Option<Tensor<3>>,
    layout: Layout,
    visibility: Visibility,
    scale: f64,
    dropout: AttentionDropout,
}

impl Ours {
    fn new(problem: &Problem, packed: bool, device: &Device) -> Self {
        let Problem {
            b,
            h,
            n,
            m,
            d,
            r,
            visibility,
            ..
        } = *problem;
        let tokens = [b, h, n, d];
        let keys = [b, h, m, d];
        let landmarks = [b, h, r, d];
        let lengths: Vec<usize> = problem
            .real
            .chunks(n)
            .map(|row| row.iter().filter(|&&real| real).count())
            .collect();
        let layout = match packed {
            true => Layout::Packed(Boundaries::from_lengths(&lengths)),
            false if problem.real.iter().all(|&real| real) => Layout::Full,
            false => Layout::Padded(Tensor::<2, Bool>::from_data(
                TensorData::new(problem.real.clone(), [b, n]),
                device,
            )),
        };
        let [q, k, v, lk, lv, bias, relative_keys, landmark_bias] = &problem.inputs;
        let offsets = bias.len() / h;
        let table = |table: &[f64], shape: &[usize]| {
            let table: Vec<f32> = table.iter().map(|&x| x as f32).collect();
            TensorData::new(table, shape)
        };
        let landmark_bias = (problem.with_landmark_bias).then(|| {
            let data = table(landmark_bias, &[b, h, r]);
            tracked(Tensor::from_data(data, device))
        });
        let bias = (problem.with_bias)
            .then(|| tracked(Tensor::from_data(table(bias, &[h, offsets]), device)));
        let relative_keys = problem.with_relative_keys.then(|| {
            let data = table(relative_keys, &[h, offsets, d]);
            tracked(Tensor::from_data(data, device))
        });
        Self {
            inputs: [
                leaf(q, tokens, device),
                leaf(k, keys, device),
                leaf(v, keys, device),
                leaf(lk, landmarks, device),
                leaf(lv, landmarks, device),
            ],
            landmark_bias,
            bias,
            relative_keys,
            layout,
            visibility,
            scale: problem.scale,
            dropout: problem.dropout,
        }
    }

    /// `[b, h, n, d]` → what the layout holds, as a strided view.
    fn lay(&self, x: Tensor<4>) -> Tensor<4> {
        let x = x.swap_dims(1, 2).mul_scalar(1.0);
        match &self.layout {
            Layout::Packed(boundaries) => {
                let parts: Vec<_> = boundaries
                    .ranges()
                    .enumerate()
                    .filter(|(_, range)| !range.is_empty())
                    .map(|(row, range)| x.clone().narrow(0, row, 1).narrow(1, 0, range.len()))
                    .collect();
                Tensor::cat(parts, 1).swap_dims(1, 2)
            }
            _ => x.swap_dims(1, 2),
        }
    }

    fn attend(&self, r: usize) -> ops::Attended {
        let [q, k, v, lk, lv] = self.inputs.clone();
        let landmarks = (r > 0).then_some((lk, lv));
        ops::attend(Attend {
            query: self.lay(q),
            key: self.lay(k),
            value: self.lay(v),
            landmarks,
            landmark_bias: self.landmark_bias.clone(),
            bias: self.bias.clone(),
            relative_keys: self.relative_keys.clone(),
            layout: self.layout.clone(),
            visibility: self.visibility,
            scale: self.scale,
            dropout: self.dropout,
        })
    }
}

/// Rows `[rows per document…]` of `[b, h, n, x]` that a packed batch holds, in its order.
fn cropped(x: &[f64], [b, h, n, width]: [usize; 4], real: &[bool]) -> Vec<f64> {
    let length = |row: usize| real[row * n..][..n].iter().filter(|&&real| real).count();
    (0..h)
        .flat_map(|head| {
            (0..b).flat_map(move |row| {
                (0..length(row)).flat_map(move |i| {
                    let start = ((row * h + head) * n + i) * width;
                    x[start..start + width].to_vec()
                })
            })
        })
        .collect()
}

fn check_values(problem: &Problem, tolerance: f64) {
    let (output, sums) = problem.attend();
    let Problem { b, h, n, d, .. } = *problem;
    for (name, device) in common::devices() {
        let ours = Ours::new(problem, false, &device).attend(problem.r);
        let worst = error(&values(ours.output), &output);
        assert!(worst < tolerance, "{name}: output {worst:.1e}");
        let worst = error(&values(ours.log_sum_exp), &sums);
        assert!(worst < tolerance, "{name}: log-sum-exp {worst:.1e}");
        let at_end = problem
            .real
            .chunks(n)
            .all(|row| row.is_sorted_by(|a, b| a >= b));
        if at_end && problem.m == n && problem.real.iter().any(|&real| real) {
            let ours = Ours::new(problem, true, &device).attend(problem.r);
            let output = cropped(&output, [b, h, n, d], &problem.real);
            let worst = error(&values(ours.output), &output);
            assert!(worst < tolerance, "{name}: packed output {worst:.1e}");
        }
    }
}

fn check_gradients(problem: &Problem) {
    let d_output = Random::new(99).many(problem.inputs[0].len(), 1.0);
    let dense = problem.attend_gradients(&d_output);
    let Problem { b, h, n, d, r, .. } = *problem;
    for (name, device) in common::devices() {
        let device = device.autodiff();
        for packed in [false, true] {
            if packed && problem.m != n {
                continue;
            }
            let ours = Ours::new(problem, packed, &device);
            let output = ours.attend(r).output;
            let weights = strided(&d_output, [b, h, n, d], &device);
            let gradients = (output * ours.lay(weights)).sum().backward();
            for (which, input) in ours.inputs.iter().enumerate() {
                if r == 0 && which > 2 {
                    continue;
                }
                let gradient = input.grad(&gradients).expect("every input has a gradient");
                let worst = error(&values(gradient), &dense[which]);
                assert!(
                    worst < 2e-5,
                    "{name} packed {packed}: input {which} {worst:.1e}"
                );
            }
            if let Some(bias) = &ours.landmark_bias {
                let gradient = bias.grad(&gradients).expect("the bias has a gradient");
                let worst = error(&values(gradient), &dense[7]);
                assert!(
                    worst < 2e-5,
                    "{name} packed {packed}: landmark bias {worst:.1e}"
                );
            }
            if let Some(bias) = &ours.bias {
                let gradient = bias.grad(&gradients).expect("the bias has a gradient");
                let worst = error(&values(gradient), &dense[5]);
                assert!(worst < 2e-5, "{name} packed {packed}: bias {worst:.1e}");
            }
            if let Some(keys) = &ours.relative_keys {
                let gradient = keys.grad(&gradients).expect("the keys have a gradient");
                let worst = error(&values(gradient), &dense[6]);
                assert!(
                    worst < 2e-5,
                    "{name} packed {packed}: relative keys {worst:.1e}"
                );
            }
        }
    }
}

#[test]
fn values_at_awkward_sizes() {
    for (n, w, r) in [
        (1, 1, 0),
        (1, 8, 5),
        (7, 3, 1),
        (7, 16, 0),
        (63, 8, 5),
        (129, 16, 32),
        (129, 0, 32),
        (63, 1, 254),
    ] {
        let problem = Problem::new([2, 2, n, 8], [w, r], 1.0, (n * 31 + w) as u64, |_, _| true);
        check_values(&problem, 1e-5);
    }
}

#[test]
fn values_with_padding_holes_and_empty_documents() {
    for (w, r) in [(3, 5), (8, 0), (0, 4)] {
        // Document 1 is shorter, 2 has holes, 3 has no token at all.
        let problem = Problem::new([4, 2, 21, 4], [w, r], 1.0, 5, |row, token| match row {
            0 => true,
            1 => token < 10,
            2 => token % 3 != 1,
            _ => false,
        });
        check_values(&problem, 1e-5);
        let at_end = Problem::new([4, 2, 21, 4], [w, r], 1.0, 6, |row, token| {
            token < [21, 0, 10, 1][row]
        });
        check_values(&at_end, 1e-5);
    }
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    // Scores reach ±80 and beyond, where exp overflows float32.
    let mut problem = Problem::new([1, 1, 33, 16], [8, 5], 80.0, 3, |_, _| true);
    problem.scale = 1.0;
    check_values(&problem, 2e-4);
}

#[test]
fn an_offset_bias_is_added_to_window_scores() {
    let mut problem = Problem::new([2, 2, 21, 4], [4, 3], 1.0, 11, |row, t| row == 0 || t < 9);
    problem.with_bias = true;
    check_values(&problem, 1e-5);
    check_gradients(&problem);
}

#[test]
fn gradients_are_those_of_the_dense_computation() {
    for (n, w, r) in [(7, 3, 2), (13, 4, 0), (9, 0, 3), (6, 1, 1)] {
        let problem = Problem::new([2, 2, n, 4], [w, r], 1.0, n as u64, |row, t| {
            row == 0 || t < n / 2
        });
        check_gradients(&problem);
    }
}

#[test]
fn queries_meet_relative_keys_besides_their_own() {
    for with_bias in [false, true] {
        let mut problem = Problem::new([2, 2, 21, 4], [4, 3], 1.0, 12, |row, t| row == 0 || t < 9);
        problem.with_bias = with_bias;
        problem.with_relative_keys = true;
        check_values(&problem, 1e-5);
        check_gradients(&problem);
    }
}

/// Every pattern in every body, by a table of who sees whom: queries and keys of one number in all
/// layouts, and of two with keys in front, landmarks of finished chunks among them.
#[test]
fn every_pattern_is_its_definition() {
    let grid = |columns, tile, halo| {
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        })
    };
    let chunks = LandmarksSeen::Chunks {
        before: 1,
        chunk: 3,
        rows: 1,
    };
    for window in [
        Window::All,
        Window::segments(3),
        Window::Causal { width: 1 },
        Window::Causal { width: 4 },
        grid(4, 2, 1),
        grid(3, 2, 0),
    ] {
        let bias = window.offsets() > 0;
        let mut problem = Problem::new([2, 2, 13, 4], [0, 3], 1.0, 21, |row, t| row == 0 || t < 7);
        problem.see(window.into(), 13);
        problem.with_bias = bias;
        problem.with_relative_keys = bias;
        check_values(&problem, 1e-5);
        check_gradients(&problem);
        let problem = problem.with_landmark_terms();
        check_values(&problem, 1e-5);
        check_gradients(&problem);
        for (keys, memory, landmarks) in [(17, 5, chunks), (8, 0, LandmarksSeen::All)] {
            let mut problem = Problem::new([2, 1, 11, 4], [0, 4], 1.0, 22, |_, _| true);
            let visibility = Visibility {
                window,
                memory,
                landmarks,
            };
            problem.see(visibility, keys);
            problem.with_bias = bias;
            problem.with_relative_keys = bias;
            check_values(&problem, 1e-5);
            check_gradients(&problem);
            let problem = problem.with_landmark_terms();
            check_values(&problem, 1e-5);
            check_gradients(&problem);
        }
    }
}

/// Dropout keeps the same entries in every layout, and its gradient follows.
#[test]
fn dropout_follows_the_hash() {
    let dropout = AttentionDropout {
        probability: 0.4,
        seed: 77,
    };
    let mut problem = Problem::new([2, 2, 11, 4], [4, 3], 1.0, 8, |row, t| row == 0 || t < 6);
    problem.dropout = dropout;
    let (output, _) = problem.attend();
    for (name, device) in common::devices() {
        let ours = Ours::new(&problem, false, &device);
        let worst = error(&values(ours.attend(3).output), &output);
        assert!(worst < 1e-5, "{name}: {worst:.1e}");
    }
    check_gradients(&problem);
}

fn check_project(sizes: [usize; 5], real: Vec<bool>, size: f64, seed: u64) {
    let [b, h, r, n, d] = sizes;
    let mut random = Random::new(seed);
    let scores = random.many(b * h * r * n, size);
    let key = random.many(b * h * n * d, 1.0);
    let value = random.many(b * h * n * d, 1.0);
    let d_output = random.many(b * h * r * (2 * d + 1), 1.0);
    let (dense, gradients) = project(sizes, [&scores, &key, &value], &real, &d_output);
    for (name, device) in common::devices() {
        let device = device.autodiff();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(real.clone(), [b, n]), &device);
        let inputs = [
            leaf(&scores, [b, h, r, n], &device),
            leaf(&key, [b, h, n, d], &device),
            leaf(&value, [b, h, n, d], &device),
        ];
        let [s, k, v] = inputs.clone();
        let projected = ops::project(s, k, v, Layout::Padded(mask));
        let output = Tensor::cat(
            vec![projected.key, projected.value, projected.log_sum_exp],
            3,
        );
        let worst = error(&values(output.clone()), &dense);
        assert!(worst < 1e-5, "{name}: {worst:.1e}");
        let weights = leaf(&d_output, [b, h, r, 2 * d + 1], &device);
        let ours = (output * weights).sum().backward();
        for (which, (input, dense)) in inputs.iter().zip(&gradients).enumerate() {
            let ours = values(input.grad(&ours).expect("a gradient"));
            let worst = error(&ours, dense);
            assert!(worst < 2e-5, "{name}: gradient {which} {worst:.1e}");
        }
    }
}

#[test]
fn projection_and_its_gradients() {
    check_project([2, 2, 3, 7, 4], vec![true; 14], 1.0, 1);
    // A document with holes and one without any token.
    let real = (0..14).map(|i| i < 7 && i % 3 != 1).collect();
    check_project([2, 1, 2, 7, 4], real, 1.0, 2);
    check_project([1, 1, 1, 1, 4], vec![true], 1.0, 3);
    check_project([1, 2, 5, 9, 3], vec![true; 9], 80.0, 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random sizes and lengths on the CPU backends, whose shapes cost no compilation.
    #[test]
    fn values_at_random_sizes(
        b in 1usize..4, h in 1usize..4, n in 1usize..70, d in 1usize..20,
        w in 0usize..20, r in 0usize..40, seed in any::<u64>(),
    ) {
        prop_assume!(w + r > 0);
        let length = |row: usize| (seed as usize / (row + 1)) % (n + 1);
        let problem = Problem::new([b, h, n, d], [w, r], 2.0, seed, |row, t| t < length(row));
        let (output, _) = problem.attend();
        for (name, device) in common::devices() {
            if name == "wgpu" {
                continue;
            }
            let ours = Ours::new(&problem, false, &device).attend(r);
            let worst = error(&values(ours.output), &output);
            prop_assert!(worst < 1e-5, "{}: {:.1e}", name, worst);
            if problem.real.iter().any(|&real| real) {
                let ours = Ours::new(&problem, true, &device).attend(r);
                let output = cropped(&output, [b, h, n, d], &problem.real);
                let worst = error(&values(ours.output), &output);
                prop_assert!(worst < 1e-5, "{} packed: {:.1e}", name, worst);
            }
        }
    }
}
