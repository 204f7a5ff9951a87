//! How fast the fused layers are, next to what the processor can do.
//!
//! ```text
//! cargo run --release --example layers [-- repetitions]
//! ```
//!
//! Prints milliseconds and GFLOP/s of each operation for ListOps' sizes (32 documents of 2048 tokens,
//! width 64, feed-forward width 128, 2 heads of rank 32): FLOP of the products that are computed,
//! those of a backward pass that computes the forward pass again included.

use std::time::Instant;

use transformer_ls_kernels::Dropout;
use transformer_ls_kernels_cpu::{
    AfterAttention, AfterAttentionGradients, Documents, Embed, Heads, HeadsGradients, HeadsOutput,
    HeadsOutputGradients, Linear, LinearGradients, Norm, NormGradients, after_attention,
    after_attention_backward, embed, embed_backward, heads, heads_backward,
};

const ROWS: usize = 32 * 2048;
const D: usize = 64;
const HIDDEN: usize = 128;

fn numbers(len: usize) -> Vec<f32> {
    let mut x = len as u32;
    (0..len)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((x >> 8) as f32 / 8_388_608.0 - 1.0) * 0.3
        })
        .collect()
}

fn measure(name: &str, products: usize, repetitions: usize, mut run: impl FnMut()) {
    run();
    let best = (0..repetitions)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    let gflops = 2e-9 * (products * ROWS) as f64 / best;
    println!("{name:28} {:7.2} ms {gflops:6.0} GFLOP/s", best * 1e3);
}

fn main() {
    let repetitions = std::env::args().nth(1).map_or(10, |argument| {
        argument.parse().expect("the number of repetitions")
    });
    println!("threads: {}", rayon::current_num_threads());
    let square = numbers(D * D);
    let wide = numbers(D * HIDDEN);
    let vector = numbers(HIDDEN);
    let linear = |weight, outputs| Linear {
        weight,
        bias: &vector[..outputs],
    };
    let norm = Norm {
        gamma: &vector[..D],
        beta: &vector[..D],
        epsilon: 1e-5,
    };
    let tokens: Vec<Vec<f32>> = (0..8).map(|_| numbers(ROWS * D)).collect();
    let inputs = Heads {
        x: &tokens[0],
        norm: Some(norm),
        query: linear(&square, D),
        key: linear(&square, D),
        value: linear(&square, D),
        projection: Some(linear(&square, D)),
        window_norm: Some(norm),
    };
    let mut out: Vec<Vec<f32>> = (0..4).map(|_| vec![0.0; ROWS * D]).collect();
    measure("heads", 4 * D * D, repetitions, || {
        let [query, key, value, scores] = out.as_mut_slice() else {
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
    });
    let d_output = HeadsOutputGradients {
        query: vec![&tokens[1]],
        key: vec![&tokens[2], &tokens[3]],
        value: vec![&tokens[4], &tokens[5]],
        scores: vec![&tokens[6]],
        x: vec![&tokens[7]],
    };
    let mut weights: Vec<Vec<f32>> = (0..4).map(|_| vec![0.0; D * HIDDEN]).collect();
    let mut biases: Vec<Vec<f32>> = (0..8).map(|_| vec![0.0; HIDDEN]).collect();
    measure("heads, backward", 10 * D * D, repetitions, || {
        let mut weights = weights.iter_mut();
        let mut biases = biases.iter_mut();
        let mut bias = || &mut biases.next().expect("enough")[..D];
        let mut linear = |bias| LinearGradients {
            weight: &mut weights.next().expect("enough")[..D * D],
            bias,
        };
        let mut gradients = HeadsGradients {
            x: &mut out[0],
            query: linear(bias()),
            key: linear(bias()),
            value: linear(bias()),
            projection: Some(linear(bias())),
            norm: Some(NormGradients {
                gamma: bias(),
                beta: bias(),
            }),
            window_norm: Some(NormGradients {
                gamma: bias(),
                beta: bias(),
            }),
        };
        heads_backward(&inputs, &d_output, &mut gradients);
    });
    let inputs = AfterAttention {
        context: &tokens[0],
        residual: &tokens[1],
        output: linear(&square, D),
        norm,
        ff_in: linear(&wide, HIDDEN),
        ff_out: linear(&wide, D),
        adds_norm: false,
        dropout: Dropout::OFF,
    };
    let layers = D * D + 2 * D * HIDDEN;
    measure("after attention", layers, repetitions, || {
        after_attention(&inputs, &mut out[0], None);
    });
    let again = D * D + D * HIDDEN;
    measure(
        "after attention, backward",
        2 * layers + again,
        repetitions,
        || {
            let mut all = weights.iter_mut().zip(&mut biases);
            let mut linear = |inputs: usize, outputs: usize| {
                let (weight, bias) = all.next().expect("enough");
                LinearGradients {
                    weight: &mut weight[..inputs * outputs],
                    bias: &mut bias[..outputs],
                }
            };
            let (output, ff_in, ff_out) = (linear(D, D), linear(D, HIDDEN), linear(HIDDEN, D));
            let (gamma, beta) = all.next().expect("enough");
            let (context, residual) = out.split_at_mut(1);
            let mut gradients = AfterAttentionGradients {
                context: &mut context[0],
                residual: &mut residual[0],
                output,
                norm: NormGradients {
                    gamma: &mut gamma[..D],
                    beta: &mut beta[..D],
                },
                ff_in,
                ff_out,
            };
            after_attention_backward(&inputs, None, &tokens[2], &mut gradients);
        },
    );
    let ids: Vec<u32> = (0..ROWS).map(|i| (i * i % 15) as u32).collect();
    let inputs = Embed {
        token: &wide[..16 * D],
        position: &tokens[0][..2048 * D],
        width: D,
        ids: &ids,
        documents: Documents::Rows { mask: None },
        batch: 32,
    };
    measure("embed", 0, repetitions, || embed(&inputs, &mut out[0]));
    let (mut d_token, mut d_position) = (vec![0.0; 16 * D], vec![0.0; 2048 * D]);
    measure("embed, backward", 0, repetitions, || {
        embed_backward(&inputs, &tokens[1], [&mut d_token, &mut d_position]);
    });
}
