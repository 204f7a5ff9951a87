//! The fused layers against their formulas in float64, written plainly: outputs against sums over
//! loops, gradients against differences of those.

use transformer_ls_kernels::Dropout;
use transformer_ls_kernels::dropout::{hash, threshold};
use transformer_ls_kernels_cpu as kernels;
use transformer_ls_kernels_cpu::{
    AfterAttention, AfterAttentionGradients, Heads, HeadsGradients, HeadsOutput,
    HeadsOutputGradients, Linear, LinearGradients, Norm, NormGradients, Real, after_attention,
    after_attention_backward, heads, heads_backward,
};

mod common;
use common::Numbers;

const EPSILON: f64 = 1e-5;

fn random(len: usize, amplitude: f64, seed: u64) -> Vec<f64> {
    let mut numbers = Numbers(seed);
    (0..len)
        .map(|_| f64::from((amplitude * (2.0 * numbers.unit() - 1.0)) as f32))
        .collect()
}

fn cast<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

fn nan<T: Real>(len: usize) -> Vec<T> {
    vec![T::from_f64(f64::NAN); len]
}

/// Largest difference, as a share of the largest exact number.
fn error<T: Real>(found: &[T], exact: &[f64]) -> f64 {
    assert_eq!(found.len(), exact.len());
    let scale = exact.iter().fold(1e-30, |a: f64, b| a.max(b.abs()));
    found.iter().zip(exact).fold(0.0, |worst: f64, (a, b)| {
        let difference = (a.to_f64() - b).abs();
        if difference <= worst {
            worst
        } else {
            difference
        }
    }) / scale
}

/// `x W + b`, row by row.
fn linear(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
    x.chunks(inputs)
        .flat_map(|row| {
            (0..outputs).map(move |j| {
                let terms = row
                    .iter()
                    .enumerate()
                    .map(|(i, x)| x * weight[i * outputs + j]);
                bias[j] + terms.sum::<f64>()
            })
        })
        .collect()
}

fn layer_norm(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let width = gamma.len();
    x.chunks(width)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let deviation = (variance + EPSILON).sqrt();
            (0..width).map(move |j| (row[j] - mean) / deviation * gamma[j] + beta[j])
        })
        .collect()
}

/// `erf x = 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`, whose terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..400 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt()))
}

/// Of entries by themselves, in vectors and tasks of every length.
#[test]
fn an_activation_is_the_formula() {
    for count in (0..40).chain([4099, 16_384, 40_001]) {
        let x = random(count, 6.0, 1);
        let d_y = random(count, 1.0, 2);
        let wanted = |i: usize| {
            let step = 1e-4;
            let slope = (gelu(x[i] + step) - gelu(x[i] - step)) / (2.0 * step);
            [gelu(x[i]), d_y[i] * slope]
        };
        check_activation::<f32>(&x, &d_y, wanted, 1e-6);
        check_activation::<f64>(&x, &d_y, wanted, 1e-8);
    }
}

fn check_activation<T: Real>(
    x: &[f64],
    d_y: &[f64],
    wanted: impl Fn(usize) -> [f64; 2],
    most: f64,
) {
    let (given, d_given) = (cast::<T>(x), cast::<T>(d_y));
    let (mut y, mut d_x) = (nan::<T>(x.len()), nan::<T>(x.len()));
    kernels::gelu(&given, &mut y);
    kernels::gelu_backward(&d_given, &given, &mut d_x);
    for i in 0..x.len() {
        for (found, wanted) in [y[i], d_x[i]].into_iter().zip(wanted(i)) {
            let off = (found.to_f64() - wanted).abs();
            assert!(
                off <= most * wanted.abs().max(1.0),
                "{off:e} off at {}",
                x[i]
            );
        }
    }
}

/// From inputs to outputs.
type Function = Box<dyn Fn(&[Vec<f64>]) -> Vec<Vec<f64>> + Sync>;

/// A list of tensors, the parameters of a function, and the function.
struct Case {
    inputs: Vec<Vec<f64>>,
    function: Function,
    /// The gradients of its outputs.
    d_outputs: Vec<Vec<f64>>,
}

impl Case {
    fn loss(&self, inputs: &[Vec<f64>]) -> f64 {
        let outputs = (self.function)(inputs);
        let pairs = outputs
            .iter()
            .flatten()
            .zip(self.d_outputs.iter().flatten());
        pairs.map(|(y, dy)| y * dy).sum()
    }

    /// Central differences for a few entries of every input: (input, entry, derivative).
    fn differences(&self, entries: usize) -> Vec<(usize, usize, f64)> {
        const STEP: f64 = 1e-5;
        let mut found = Vec::new();
        for which in 0..self.inputs.len() {
            let len = self.inputs[which].len();
            for entry in (0..len).step_by((len / entries).max(1)) {
                let mut inputs = self.inputs.clone();
                inputs[which][entry] += STEP;
                let above = self.loss(&inputs);
                inputs[which][entry] -= 2.0 * STEP;
                let below = self.loss(&inputs);
                found.push((which, entry, (above - below) / (2.0 * STEP)));
            }
        }
        found
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: usize,
    width: usize,
    /// heads · rank, or the hidden width.
    other: usize,
}

const SIZES: [Sizes; 5] = [
    Sizes {
        rows: 1,
        width: 1,
        other: 1,
    },
    Sizes {
        rows: 67,
        width: 6,
        other: 10,
    },
    Sizes {
        rows: 300,
        width: 16,
        other: 0,
    },
    Sizes {
        rows: 130,
        width: 64,
        other: 64,
    },
    Sizes {
        rows: 65,
        width: 40,
        other: 100,
    },
];

/// x, LN, query, key, value, LN_win, projection; the norms empty if they are left out.
fn heads_case(sizes: Sizes, normed: bool) -> Case {
    let Sizes { rows, width, other } = sizes;
    let norm = if normed { width } else { 0 };
    let shapes = [
        rows * width,
        norm,
        norm,
        width * width,
        width,
        width * width,
        width,
        width * width,
        width,
        norm,
        norm,
        width * other,
        other,
    ];
    let inputs = shapes.into_iter().enumerate();
    Case {
        inputs: inputs
            .map(|(i, len)| random(len, if i == 0 { 2.0 } else { 0.7 }, i as u64))
            .collect(),
        function: Box::new(|p| {
            let norm = |x: Vec<f64>, i: usize| match p[i].is_empty() {
                true => x,
                false => layer_norm(&x, &p[i], &p[i + 1]),
            };
            let x = norm(p[0].clone(), 1);
            let windowed = |x: Vec<f64>| norm(x, 9);
            vec![
                linear(&x, &p[3], &p[4]),
                windowed(linear(&x, &p[5], &p[6])),
                windowed(linear(&x, &p[7], &p[8])),
                match p[12].is_empty() {
                    true => Vec::new(),
                    false => linear(&x, &p[11], &p[12]),
                },
                p[0].clone(),
            ]
        }),
        d_outputs: [width, width, width, other, width]
            .into_iter()
            .enumerate()
            .map(|(i, width)| random(rows * width, 1.0, 100 + i as u64))
            .collect(),
    }
}

fn heads_inputs<T: Real>(p: &[Vec<T>]) -> Heads<'_, T> {
    let linear = |i: usize| Linear {
        weight: &p[i],
        bias: &p[i + 1],
    };
    let norm = |i: usize| {
        (!p[i].is_empty()).then(|| Norm {
            gamma: &p[i],
            beta: &p[i + 1],
            epsilon: EPSILON,
        })
    };
    Heads {
        x: &p[0],
        norm: norm(1),
        query: linear(3),
        key: linear(5),
        value: linear(7),
        window_norm: norm(9),
        projection: (!p[12].is_empty()).then(|| linear(11)),
    }
}

fn run_heads<T: Real>(case: &Case) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let p: Vec<Vec<T>> = case.inputs.iter().map(|x| cast(x)).collect();
    let inputs = heads_inputs(&p);
    let mut outputs: Vec<Vec<T>> = case.d_outputs[..4].iter().map(|d| nan(d.len())).collect();
    let [query, key, value, scores] = outputs.as_mut_slice() else {
        unreachable!("four outputs");
    };
    heads(
        &inputs,
        &mut HeadsOutput {
            query,
            key,
            value,
            scores,
        },
    );

    // Keys get theirs in two pieces.
    let d: Vec<Vec<T>> = case.d_outputs.iter().map(|d| cast(d)).collect();
    let half: Vec<T> = case.d_outputs[1]
        .iter()
        .map(|&x| T::from_f64(0.5 * x))
        .collect();
    let d_output = HeadsOutputGradients {
        query: vec![&d[0]],
        key: vec![&half, &half],
        value: vec![&d[2]],
        scores: vec![&d[3]],
        x: vec![&d[4]],
    };
    let mut g: Vec<Vec<T>> = p.iter().map(|x| nan(x.len())).collect();
    let mut gradients = g.iter_mut();
    let mut next = || gradients.next().unwrap().as_mut_slice();
    let x = next();
    let first = NormGradients {
        gamma: next(),
        beta: next(),
    };
    let mut linear = || LinearGradients {
        weight: next(),
        bias: next(),
    };
    let (query, key, value) = (linear(), linear(), linear());
    let window_norm = NormGradients {
        gamma: next(),
        beta: next(),
    };
    let projection = LinearGradients {
        weight: next(),
        bias: next(),
    };
    let mut gradients = HeadsGradients {
        x,
        norm: inputs.norm.is_some().then_some(first),
        query,
        key,
        value,
        window_norm: inputs.window_norm.is_some().then_some(window_norm),
        projection: inputs.projection.is_some().then_some(projection),
    };
    heads_backward(&inputs, &d_output, &mut gradients);
    (outputs, g)
}

/// context, residual, output, LN, in, out.
fn after_case(sizes: Sizes, dropout: Dropout, adds_norm: bool) -> Case {
    let Sizes { rows, width, other } = sizes;
    let shapes = [
        rows * width,
        rows * width,
        width * width,
        width,
        width,
        width,
        width * other,
        other,
        other * width,
        width,
    ];
    let drop = move |site: u32, width: usize, mut x: Vec<f64>| {
        let Dropout { probability, seed } = dropout;
        if !dropout.is_off() {
            for (i, x) in x.iter_mut().enumerate() {
                let place = [(i / width) as u32, (i % width) as u32];
                let kept = hash(seed, site, 0, place[0], place[1]) >= threshold(probability);
                *x = if kept { *x / (1.0 - probability) } else { 0.0 };
            }
        }
        x
    };
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    Case {
        inputs: shapes
            .into_iter()
            .enumerate()
            .map(|(i, len)| random(len, if i < 2 { 2.0 } else { 0.7 }, i as u64))
            .collect(),
        function: Box::new(move |p| {
            let y = sum(&p[1], &drop(0, width, linear(&p[0], &p[2], &p[3])));
            let normed = layer_norm(&y, &p[4], &p[5]);
            let hidden = linear(&normed, &p[6], &p[7]);
            let hidden = drop(1, other, hidden.into_iter().map(gelu).collect());
            let y = if adds_norm { normed } else { y };
            vec![sum(&y, &drop(2, width, linear(&hidden, &p[8], &p[9])))]
        }),
        d_outputs: vec![random(rows * width, 1.0, 100)],
    }
}

fn run_after<T: Real>(
    case: &Case,
    dropout: Dropout,
    adds_norm: bool,
) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let p: Vec<Vec<T>> = case.inputs.iter().map(|x| cast(x)).collect();
    let linear = |i: usize| Linear {
        weight: &p[i],
        bias: &p[i + 1],
    };
    let inputs = AfterAttention {
        context: &p[0],
        residual: &p[1],
        output: linear(2),
        norm: Norm {
            gamma: &p[4],
            beta: &p[5],
            epsilon: EPSILON,
        },
        ff_in: linear(6),
        ff_out: linear(8),
        adds_norm,
        dropout,
    };
    let mut kept = nan(inputs.kept_len());
    let [output, same] = [None, Some(kept.as_mut_slice())].map(|kept| {
        let mut output = nan(p[0].len());
        after_attention(&inputs, &mut output, kept);
        output
    });
    assert_eq!(output, same, "keeping changes nothing");
    let [g, same] = [None, Some(kept.as_slice())].map(|kept| {
        let mut g: Vec<Vec<T>> = p.iter().map(|x| nan(x.len())).collect();
        let [
            context,
            residual,
            w,
            b,
            gamma,
            beta,
            w_in,
            b_in,
            w_out,
            b_out,
        ] = g.as_mut_slice()
        else {
            unreachable!("ten inputs");
        };
        let mut gradients = AfterAttentionGradients {
            context,
            residual,
            output: LinearGradients { weight: w, bias: b },
            norm: NormGradients { gamma, beta },
            ff_in: LinearGradients {
                weight: w_in,
                bias: b_in,
            },
            ff_out: LinearGradients {
                weight: w_out,
                bias: b_out,
            },
        };
        after_attention_backward(&inputs, kept, &cast(&case.d_outputs[0]), &mut gradients);
        g
    });
    assert_eq!(g, same, "what was kept is what is computed again");
    (vec![output], g)
}

/// float64 against the formulas, float32 against float64.
fn check(
    case: &Case,
    exact: (Vec<Vec<f64>>, Vec<Vec<f64>>),
    found: (Vec<Vec<f32>>, Vec<Vec<f32>>),
) {
    let formula = (case.function)(&case.inputs);
    for (i, output) in exact.0.iter().enumerate() {
        let error = error(output, &formula[i]);
        assert!(error < 1e-13, "output {i}: {error}");
    }
    for (which, entry, difference) in case.differences(7) {
        let derivative = exact.1[which][entry];
        let scale = exact.1[which].iter().fold(1.0, |a: f64, b| a.max(b.abs()));
        assert!(
            (derivative - difference).abs() < 2e-8 * scale,
            "d input {which} [{entry}]: {derivative}, not {difference}"
        );
    }
    for (exact, found) in [(exact.0, found.0), (exact.1, found.1)] {
        for (i, (exact, found)) in exact.iter().zip(&found).enumerate() {
            let error = error(found, exact);
            assert!(error < 3e-6, "float32, number {i}: {error}");
        }
    }
}

#[test]
fn heads_are_those_of_the_formulas() {
    for sizes in SIZES {
        for normed in [true, false] {
            let case = heads_case(sizes, normed);
            // A LayerNorm of one feature is its beta, and its gradients are differences of nothing.
            if sizes.width > 1 || !normed {
                check(&case, run_heads(&case), run_heads(&case));
            }
        }
    }
}

#[test]
fn after_attention_is_that_of_the_formulas() {
    let dropped = Dropout {
        probability: 0.3,
        seed: 11,
    };
    for sizes in SIZES {
        let sizes = Sizes {
            other: sizes.other.max(3),
            ..sizes
        };
        // A LayerNorm of one feature is its beta, and its gradients are differences of nothing.
        for adds_norm in [false, sizes.width > 1] {
            for dropout in [Dropout::OFF, dropped] {
                let case = after_case(sizes, dropout, adds_norm);
                let exact = run_after(&case, dropout, adds_norm);
                check(&case, exact, run_after(&case, dropout, adds_norm));
            }
        }
    }
}

/// Rows in many parts, on one thread and on three.
#[test]
fn threads_change_nothing() {
    let sizes = Sizes {
        rows: 1100,
        width: 8,
        other: 12,
    };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let (a, b) = (
            heads_case(sizes, true),
            after_case(sizes, Dropout::OFF, true),
        );
        pool.install(|| {
            (
                run_heads::<f32>(&a),
                run_after::<f32>(&b, Dropout::OFF, true),
            )
        })
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn no_rows_are_no_work() {
    let sizes = Sizes {
        rows: 0,
        width: 8,
        other: 4,
    };
    for normed in [true, false] {
        let (outputs, gradients) = run_heads::<f32>(&heads_case(sizes, normed));
        assert!(outputs.iter().all(Vec::is_empty));
        assert!(gradients[1..].iter().flatten().all(|&x| x == 0.0));
    }
    let case = after_case(sizes, Dropout::OFF, false);
    let (outputs, gradients) = run_after::<f32>(&case, Dropout::OFF, false);
    assert!(outputs[0].is_empty() && gradients[2..].iter().flatten().all(|&x| x == 0.0));
}
