//! How fast the kernels are, next to what the processor can do.
//!
//! ```text
//! cargo run --release --example speed [-- repetitions]
//! ```
//!
//! Prints milliseconds and GFLOP/s of each operation for ListOps' sizes (32 documents of 2048
//! tokens, 2 heads of 32 features, rank 32 and a class row, window 8), padded and packed. The FLOP
//! are those of the formulas: `4·rows·d·r` for `project` and `8·rows·d·r` for its backward pass,
//! `4·rows·d·(2w + r)` for `attend` and `10·rows·d·(2w + r)` for its backward pass. The peak is
//! measured: products of numbers that stay in registers.

use std::hint::black_box;
use std::time::Instant;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use rayon::prelude::*;
use transformer_ls_kernels::{Boundaries, Dropout, Window};
use transformer_ls_kernels_cpu::{
    Attend, AttendGradients, Documents, Project, ProjectGradients, View, ViewMut, attend,
    attend_backward, project, project_backward,
};

const H: usize = 2;
const D: usize = 32;
const R: usize = 32;
const W: usize = 8;

fn main() {
    let repetitions = std::env::args().nth(1).map_or(10, |argument| {
        argument.parse().expect("the number of repetitions")
    });
    println!(
        "threads: {}, {:?}",
        rayon::current_num_threads(),
        Level::new()
    );
    println!("peak: {:.0} GFLOP/s in registers", peak());
    let full = vec![2048; 32];
    measure("32 full documents", &full, repetitions, Dropout::OFF);
    let mut seed = 1_u32;
    let lengths: Vec<usize> = (0..32)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            500 + (seed >> 16) as usize % 1500
        })
        .collect();
    measure(
        "32 packed documents of 500 to 2000 tokens",
        &lengths,
        repetitions,
        Dropout::OFF,
    );
    let dropout = Dropout {
        probability: 0.1,
        seed: 1,
    };
    measure(
        "32 full documents, dropout 0.1",
        &full,
        repetitions,
        dropout,
    );
}

/// Multiply-adds of all threads, in 10⁹ FLOP a second.
fn peak() -> f64 {
    const STEPS: usize = 20_000_000;
    const CHAINS: usize = 12;
    #[inline(always)]
    fn run<S: Simd>(simd: S, steps: usize) -> f32 {
        let factor = S::f32s::splat(simd, black_box(0.999));
        let mut sums = [S::f32s::splat(simd, 1.0); CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, factor);
            }
        }
        let total = sums.into_iter().reduce(|a, b| a + b).unwrap();
        total.reduce_sum() + (S::f32s::LEN as f32) * 1e9
    }
    let threads = rayon::current_num_threads();
    let mut best = f64::INFINITY;
    let mut lanes = 0.0;
    for _ in 0..3 {
        let start = Instant::now();
        let sums: Vec<f32> = (0..threads)
            .into_par_iter()
            .map(|_| dispatch!(Level::new(), simd => run(simd, STEPS)))
            .collect();
        best = best.min(start.elapsed().as_secs_f64());
        lanes = f64::from((sums[0] / 1e9).round());
    }
    2.0 * lanes * (threads * STEPS * CHAINS) as f64 / best / 1e9
}

/// Numbers at the start of a cache line, as allocators for tensors place them.
struct Aligned {
    data: Vec<f32>,
    start: usize,
}

impl Aligned {
    fn zeros(len: usize) -> Self {
        let data = vec![0.0; len + 16];
        let start = data.as_ptr().align_offset(64).min(16);
        Self { data, start }
    }

    fn random(len: usize, seed: u32) -> Self {
        let mut numbers = Self::zeros(len + 16);
        let mut x = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        for to in &mut numbers.data {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *to = (x >> 8) as f32 / 8_388_608.0 - 1.0;
        }
        numbers
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..]
    }
}

fn measure(what: &str, lengths: &[usize], repetitions: usize, dropout: Dropout) {
    let documents = lengths.len();
    let n: usize = lengths.iter().sum();
    let packed = lengths.iter().any(|&length| length != lengths[0]);
    let boundaries = Boundaries::from_lengths(lengths);
    let (batch, tokens) = match packed {
        true => (1, n),
        false => (documents, lengths[0]),
    };
    let layout = match packed {
        true => Documents::Packed(&boundaries),
        false => Documents::Rows { mask: None },
    };
    let shape = [batch, H, tokens, D];
    let strides = [tokens * H * D, D, H * D, 1];
    let scores_shape = [batch, H, R, tokens];
    let scores_strides = [tokens * H * R, R, 1, H * R];
    let landmarks_shape = [documents, H, R + 1, D];
    let [query, key, value, d_output] = [1, 2, 3, 4].map(|seed| Aligned::random(n * H * D, seed));
    let scores = Aligned::random(n * H * R, 5);
    let landmarks = [6, 7].map(|seed| Aligned::random(documents * H * (R + 1) * D, seed));
    let d_projected = Aligned::random(documents * H * R * (2 * D + 1), 8);
    let mut projected = Aligned::zeros(d_projected.len());
    let mut output = Aligned::zeros(n * H * D);
    let mut log_sum_exp = Aligned::zeros(n * H);
    let mut d_tokens = [0; 3].map(|_| Aligned::zeros(n * H * D));
    let mut d_scores = Aligned::zeros(n * H * R);
    let mut d_landmarks = [0; 2].map(|_| Aligned::zeros(documents * H * (R + 1) * D));

    let projection = Project {
        scores: View::new(&scores, scores_shape, scores_strides),
        key: View::new(&key, shape, strides),
        value: View::new(&value, shape, strides),
        documents: layout,
    };
    let attention = Attend {
        query: View::new(&query, shape, strides),
        key: projection.key,
        value: projection.value,
        landmark_key: View::contiguous(&landmarks[0], landmarks_shape),
        landmark_value: View::contiguous(&landmarks[1], landmarks_shape),
        bias: None,
        landmark_bias: None,
        relative_keys: None,
        documents: layout,
        visibility: Window::segments(W).into(),
        scale: 1.0 / (D as f64).sqrt(),
        dropout,
    };
    let products = (n * H * D) as f64;
    let projected_shape = [documents, H, R, 2 * D + 1];
    println!("{what}");
    report("project", 4.0 * products * R as f64, repetitions, || {
        project(
            &projection,
            &mut ViewMut::contiguous(&mut projected, projected_shape),
        );
    });
    report(
        "project_backward",
        8.0 * products * R as f64,
        repetitions,
        || {
            let [_, d_key, d_value] = &mut d_tokens;
            let mut gradients = ProjectGradients {
                scores: ViewMut::new(&mut d_scores, scores_shape, scores_strides),
                key: ViewMut::new(d_key, shape, strides),
                value: ViewMut::new(d_value, shape, strides),
            };
            project_backward(
                &projection,
                View::contiguous(&projected, projected_shape),
                View::contiguous(&d_projected, projected_shape),
                &mut gradients,
            );
        },
    );
    let columns = (2 * W + R + 1) as f64;
    report("attend", 4.0 * products * columns, repetitions, || {
        let mut output = ViewMut::new(&mut output, shape, strides);
        attend(&attention, &mut output, &mut log_sum_exp[..n * H]);
    });
    report(
        "attend_backward",
        10.0 * products * columns,
        repetitions,
        || {
            let [d_query, d_key, d_value] = &mut d_tokens;
            let [d_landmark_key, d_landmark_value] = &mut d_landmarks;
            let mut gradients = AttendGradients {
                query: ViewMut::new(d_query, shape, strides),
                key: ViewMut::new(d_key, shape, strides),
                value: ViewMut::new(d_value, shape, strides),
                landmark_key: ViewMut::contiguous(d_landmark_key, landmarks_shape),
                landmark_value: ViewMut::contiguous(d_landmark_value, landmarks_shape),
                bias: None,
                landmark_bias: None,
                relative_keys: None,
            };
            let d_output = View::new(&d_output, shape, strides);
            attend_backward(&attention, d_output, &log_sum_exp[..n * H], &mut gradients);
        },
    );
}

/// Prints the fastest of some runs.
fn report(operation: &str, flop: f64, repetitions: usize, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..repetitions.max(1) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "  {operation:17}{:8.2} ms{:8.0} GFLOP/s",
        best * 1e3,
        flop / best / 1e9
    );
}
