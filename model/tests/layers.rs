//! The layers around attention as operations, on every backend: outputs, and gradients by their own
//! backward passes, against the plain bodies with Burn's autodiff.

use burn::backend::Dispatch;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::ops::layers::{
    AfterAttentionLayers, HeadsLayers, HeadsOutput, HeadsOutputGradients, LayersBackend,
    LinearLayer, NormLayer, plain,
};
use transformer_ls_burn::ops::{AttentionDropout, Documents, OptionalTensor};
use transformer_ls_burn::{Boundaries, ops};

mod common;

const B: usize = 2;
const N: usize = 70;
const HEADS: usize = 2;
const D: usize = 12;
const RANK: usize = 5;
const HIDDEN: usize = 20;

/// Numbers in [−1, 1) from a linear congruential generator.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

struct Inputs {
    device: Device,
    /// As they are differentiated: tokens, then parameters.
    tokens: Vec<Tensor<3>>,
    vectors: Vec<Tensor<1>>,
    matrices: Vec<Tensor<2>>,
}

impl Inputs {
    fn new(device: &Device, tokens: usize, vectors: &[usize], matrices: &[[usize; 2]]) -> Self {
        let mut seed = 0;
        let mut next = |len| {
            seed += 1;
            numbers(len, seed)
        };
        let tracked = device.is_autodiff();
        Self {
            device: device.clone(),
            tokens: (0..tokens)
                .map(|_| {
                    let data = TensorData::new(next(B * N * D), [B, N, D]);
                    require(Tensor::from_data(data, device), tracked)
                })
                .collect(),
            vectors: vectors
                .iter()
                .map(|&len| {
                    let data = TensorData::new(next(len), [len]);
                    require(Tensor::from_data(data, device), tracked)
                })
                .collect(),
            matrices: matrices
                .iter()
                .map(|&[rows, columns]| {
                    let data = TensorData::new(next(rows * columns), [rows, columns]);
                    require(Tensor::from_data(data, device), tracked)
                })
                .collect(),
        }
    }

    fn linear(&self, matrix: usize, vector: usize) -> LinearLayer<Dispatch> {
        LinearLayer {
            weight: self.matrices[matrix].clone().into_dispatch(),
            bias: self.vectors[vector].clone().into_dispatch(),
        }
    }

    fn norm(&self, vector: usize) -> NormLayer<Dispatch> {
        NormLayer {
            gain: self.vectors[vector].clone().into_dispatch(),
            offset: self.vectors[vector + 1].clone().into_dispatch(),
        }
    }

    fn heads_layers(&self) -> HeadsLayers<Dispatch> {
        HeadsLayers {
            norm: self.norm(0),
            window_norm: self.norm(2),
            query: self.linear(0, 4),
            key: self.linear(1, 5),
            value: self.linear(2, 6),
            projection: self.linear(3, 7),
        }
    }

    fn after_attention_layers(&self) -> AfterAttentionLayers<Dispatch> {
        AfterAttentionLayers {
            norm: self.norm(0),
            output: self.linear(0, 2),
            ff_in: self.linear(1, 3),
            ff_out: self.linear(2, 4),
        }
    }

    /// Gradients of a loss, of all inputs in order.
    fn gradients(&self, loss: Tensor<1>) -> Vec<Vec<f32>> {
        let gradients = loss.backward();
        let mut found = Vec::new();
        for x in &self.tokens {
            found.push(host(x.grad(&gradients).expect("a gradient")));
        }
        for x in &self.vectors {
            found.push(host(x.grad(&gradients).expect("a gradient")));
        }
        for x in &self.matrices {
            found.push(host(x.grad(&gradients).expect("a gradient")));
        }
        found
    }
}

fn require<const R: usize>(x: Tensor<R>, tracked: bool) -> Tensor<R> {
    if tracked { x.require_grad() } else { x }
}

fn host<const R: usize>(x: Tensor<R>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("float32")
}

/// Largest difference, as a share of the largest number.
fn assert_near(what: &str, found: &[f32], exact: &[f32], tolerance: f32) {
    assert_eq!(found.len(), exact.len(), "{what}");
    let scale = exact.iter().fold(1e-3, |a: f32, b| a.max(b.abs()));
    for (i, (a, b)) in found.iter().zip(exact).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * scale,
            "{what}: [{i}] is {a}, not {b} (largest {scale})"
        );
    }
}

fn assert_all_near(what: &str, found: &[Vec<f32>], exact: &[Vec<f32>]) {
    assert_eq!(found.len(), exact.len());
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        assert_near(&format!("{what}, {i}"), found, exact, 1e-5);
    }
}

fn tensors(output: HeadsOutput<Dispatch>) -> ([Tensor<4>; 6], Tensor<3>) {
    let four = [
        output.query,
        output.key,
        output.value,
        output.scores,
        output.projected_key,
        output.projected_value,
    ];
    (
        four.map(Tensor::from_dispatch),
        Tensor::from_dispatch(output.residual),
    )
}

fn weights<const R: usize>(shape: [usize; R], seed: u32, device: &Device) -> Tensor<R> {
    let values = numbers(shape.iter().product(), seed);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Outputs in host memory, a loss that weighs them, and the weights.
fn weigh_heads(
    output: HeadsOutput<Dispatch>,
    device: &Device,
) -> (Vec<Vec<f32>>, Tensor<1>, Vec<Tensor<4>>, Tensor<3>) {
    let (four, residual) = tensors(output);
    let mut outputs: Vec<_> = four.iter().map(|x| host(x.clone())).collect();
    outputs.push(host(residual.clone()));
    let d_residual = weights([B, N, D], 90, device);
    let mut loss = (residual * d_residual.clone()).sum();
    let mut d_outputs = Vec::new();
    for (i, x) in four.into_iter().enumerate() {
        let d = weights(x.dims(), 91 + i as u32, device);
        loss = loss + (x * d.clone()).sum();
        d_outputs.push(d);
    }
    (outputs, loss, d_outputs, d_residual)
}

fn heads_inputs(device: &Device) -> Inputs {
    let vectors = [D, D, D, D, D, D, D, HEADS * RANK];
    let matrices = [[D, D], [D, D], [D, D], [D, HEADS * RANK]];
    Inputs::new(device, 1, &vectors, &matrices)
}

#[test]
fn heads_agree_with_the_plain_body() {
    for (name, device) in common::devices() {
        let autodiff = device.clone().autodiff();
        let inputs = heads_inputs(&autodiff);
        let x = || inputs.tokens[0].clone().into_dispatch();
        let plain = plain::heads::<Dispatch>(x(), inputs.heads_layers(), HEADS);
        let (exact, loss, _, _) = weigh_heads(plain, &autodiff);
        let exact_gradients = inputs.gradients(loss);

        let found = <Dispatch as LayersBackend>::heads(x(), inputs.heads_layers(), HEADS);
        let (found, loss, _, _) = weigh_heads(found, &autodiff);
        assert_all_near(&format!("{name}, outputs"), &found, &exact);
        let gradients = inputs.gradients(loss);
        assert_all_near(&format!("{name}, gradients"), &gradients, &exact_gradients);

        // The plain backward pass, and one of which nobody read the scores or the residual.
        let inputs = heads_inputs(&device);
        let x = || inputs.tokens[0].clone().into_dispatch();
        let output = plain::heads::<Dispatch>(x(), inputs.heads_layers(), HEADS);
        let (_, _, d, d_residual) = weigh_heads(output, &device);
        let given = |i: usize| OptionalTensor::Some(d[i].clone().into_dispatch());
        let d_output = |whole: bool| HeadsOutputGradients::<Dispatch> {
            query: given(0),
            key: given(1),
            value: given(2),
            scores: if whole {
                given(3)
            } else {
                OptionalTensor::None
            },
            projected_key: given(4),
            projected_value: given(5),
            residual: match whole {
                true => OptionalTensor::Some(d_residual.clone().into_dispatch()),
                false => OptionalTensor::None,
            },
        };
        let layers = || inputs.heads_layers();
        let whole = plain::heads_backward::<Dispatch>(d_output(true), x(), layers());
        let d_x = host(Tensor::<3>::from_dispatch(whole.x));
        assert_near(&format!("{name}, plain"), &d_x, &exact_gradients[0], 1e-5);
        let key = host(Tensor::<2>::from_dispatch(whole.layers.key.weight));
        assert_near(&format!("{name}, plain"), &key, &exact_gradients[10], 1e-5);

        let plain = plain::heads_backward::<Dispatch>(d_output(false), x(), layers());
        let found = <Dispatch as LayersBackend>::heads_backward(d_output(false), x(), layers());
        let [plain_x, found_x] = [plain.x, found.x].map(|x| host(Tensor::<3>::from_dispatch(x)));
        assert_near(&format!("{name}, parts"), &found_x, &plain_x, 1e-5);
        let [plain_w, found_w] = [plain.layers, found.layers]
            .map(|layers| host(Tensor::<2>::from_dispatch(layers.projection.weight)));
        assert_near(&format!("{name}, parts"), &found_w, &plain_w, 1e-5);
        assert!(found_w.iter().all(|&x| x == 0.0));
    }
}

fn after_attention_inputs(device: &Device) -> Inputs {
    let vectors = [D, D, D, HIDDEN, D];
    Inputs::new(device, 2, &vectors, &[[D, D], [D, HIDDEN], [HIDDEN, D]])
}

#[test]
fn after_attention_agrees_with_the_plain_body() {
    let dropped = AttentionDropout {
        probability: 0.3,
        seed: 5,
    };
    for (name, device) in common::devices() {
        for dropout in [AttentionDropout::OFF, dropped] {
            let autodiff = device.clone().autodiff();
            let inputs = after_attention_inputs(&autodiff);
            let tokens = || {
                let [context, residual] = [0, 1].map(|i| inputs.tokens[i].clone().into_dispatch());
                (context, residual)
            };
            let loss = |x: Tensor<3>| (x * weights([B, N, D], 90, &inputs.device)).sum();
            let (context, residual) = tokens();
            let layers = inputs.after_attention_layers();
            let exact = plain::after_attention::<Dispatch>(context, residual, layers, dropout);
            let exact = Tensor::<3>::from_dispatch(exact);
            let exact_gradients = inputs.gradients(loss(exact.clone()));

            let (context, residual) = tokens();
            let layers = inputs.after_attention_layers();
            let found =
                <Dispatch as LayersBackend>::after_attention(context, residual, layers, dropout);
            let found = Tensor::<3>::from_dispatch(found);
            let gradients = inputs.gradients(loss(found.clone()));
            assert_near(&format!("{name}, output"), &host(found), &host(exact), 1e-5);
            assert_all_near(&format!("{name}, gradients"), &gradients, &exact_gradients);

            let inputs = after_attention_inputs(&device);
            let [context, residual] = [0, 1].map(|i| inputs.tokens[i].clone().into_dispatch());
            let plain = plain::after_attention_backward::<Dispatch>(
                weights([B, N, D], 90, &device).into_dispatch(),
                context,
                residual,
                inputs.after_attention_layers(),
                dropout,
            );
            let d_context = host(Tensor::<3>::from_dispatch(plain.context));
            let d_residual = host(Tensor::<3>::from_dispatch(plain.residual));
            let d_in = host(Tensor::<2>::from_dispatch(plain.layers.ff_in.weight));
            for (i, d) in [(0, d_context), (1, d_residual), (8, d_in)] {
                assert_near(&format!("{name}, plain {i}"), &d, &exact_gradients[i], 1e-5);
            }
        }
    }
}

#[test]
fn embeddings_agree_with_the_plain_body() {
    const VOCABULARY: usize = 9;
    const POSITIONS: usize = 80;
    let packed = Boundaries::from_lengths(&[50, 0, 70, 20]);
    for (name, device) in common::devices() {
        for packed in [None, Some(packed.clone())] {
            let [b, n] = if packed.is_some() { [1, B * N] } else { [B, N] };
            let ids: Vec<i32> = (0..b * n).map(|i| ((i * i + i) % 7) as i32).collect();
            let autodiff = device.clone().autodiff();
            let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [b, n]), &autodiff);
            let inputs = Inputs::new(&autodiff, 0, &[], &[[VOCABULARY, D], [POSITIONS, D]]);
            let run = |plain: bool| {
                let body = match plain {
                    true => plain::embed::<Dispatch>,
                    false => <Dispatch as LayersBackend>::embed,
                };
                let [token, position] = [0, 1].map(|i| inputs.matrices[i].clone().into_dispatch());
                let output = body(token, position, ids.clone().into_dispatch(), packed.clone());
                let output = Tensor::<3>::from_dispatch(output);
                let loss = (output.clone() * weights([b, n, D], 90, &autodiff)).sum();
                (host(output), inputs.gradients(loss))
            };
            let ((found, gradients), (exact, exact_gradients)) = (run(false), run(true));
            assert_near(&format!("{name}, embeddings"), &found, &exact, 1e-6);
            assert_all_near(&format!("{name}, tables"), &gradients, &exact_gradients);
        }
    }
}

#[test]
fn class_rows_agree_with_the_plain_body() {
    const WIDTH: usize = 6;
    let packed = Boundaries::from_lengths(&[50, 0, 70, 20]);
    let mask = |device: &Device| {
        let real: Vec<bool> = (0..B * N).map(|i| i < N && i % 3 != 1).collect();
        Tensor::<2, Bool>::from_data(TensorData::new(real, [B, N]), device)
    };
    for (name, device) in common::devices() {
        for layout in 0..3 {
            let autodiff = device.clone().autodiff();
            let documents = || match layout {
                0 => Documents::<Dispatch>::Full,
                1 => Documents::Padded(mask(&autodiff).into_dispatch()),
                _ => Documents::Packed(packed.clone()),
            };
            let ([b, n], count) = match layout {
                2 => ([1, B * N], packed.count()),
                _ => ([B, N], B),
            };
            let own = [count, HEADS, 1, WIDTH];
            let leaf = |shape: [usize; 4], seed| weights(shape, seed, &autodiff).require_grad();
            let rows = [1, 2, 3].map(|seed| leaf(own, seed));
            // A view of memory `[b, n, h, d]`, as attention gives it.
            let memory = leaf([b, n, HEADS, WIDTH], 4);
            let run = |plain: bool| {
                let body = match plain {
                    true => ops::plain::class_row::<Dispatch>,
                    false => <Dispatch as LayersBackend>::class_row,
                };
                let [query, key, value] = rows.each_ref().map(|row| row.clone().into_dispatch());
                let context = memory.clone().swap_dims(1, 2).into_dispatch();
                let output = body(query, key, value, context, documents());
                let output = Tensor::<4>::from_dispatch(output);
                let loss = (output.clone() * weights(own, 90, &autodiff)).sum();
                let gradients = loss.backward();
                let mut all: Vec<_> = rows.iter().collect();
                all.push(&memory);
                let gradients = all
                    .into_iter()
                    .map(|x| host(x.grad(&gradients).expect("one")));
                (host(output), gradients.collect::<Vec<_>>())
            };
            let ((found, gradients), (exact, exact_gradients)) = (run(false), run(true));
            assert_near(&format!("{name}, {layout}"), &found, &exact, 1e-5);
            assert_all_near(&format!("{name}, {layout}"), &gradients, &exact_gradients);

            // The plain backward pass.
            let plain = ops::plain::class_row_backward::<Dispatch>(
                weights(own, 90, &device).into_dispatch(),
                weights(own, 1, &device).into_dispatch(),
                weights(own, 2, &device).into_dispatch(),
                weights(own, 3, &device).into_dispatch(),
                weights([b, n, HEADS, WIDTH], 4, &device)
                    .swap_dims(1, 2)
                    .into_dispatch(),
                match layout {
                    0 => Documents::Full,
                    1 => Documents::Padded(mask(&device).into_dispatch()),
                    _ => Documents::Packed(packed.clone()),
                },
            );
            let four = [plain.query, plain.key, plain.value];
            let mut found: Vec<_> = four.map(|x| host(Tensor::<4>::from_dispatch(x))).into();
            found.push(host(
                Tensor::<4>::from_dispatch(plain.context).swap_dims(1, 2),
            ));
            assert_all_near(
                &format!("{name}, {layout}, plain"),
                &found,
                &exact_gradients,
            );
        }
    }
}
