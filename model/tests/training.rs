//! Whole training steps: WGPU with Fusion and autotune against Flex, and gradients where only
//! parameters are tracked.

mod common;

use std::sync::OnceLock;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::{Boundaries, Classifier, ClassifierConfig, Layout, Tokens, weights};

const STEPS: usize = 50;
const LENGTH: usize = 40;
const BATCH: usize = 4;

fn config() -> ClassifierConfig {
    let attention = LongShortAttentionConfig::new(16, 2);
    let mut config = ClassifierConfig::default();
    config.encoder.embedding.vocab_size = 12;
    config.encoder.embedding.max_length = LENGTH;
    config.encoder.block.attention = attention.with_rank(4).with_window(4).into();
    config.encoder.block.d_ff = 32;
    config.classes = 3;
    config.d_head = 16;
    config
}

/// Every token tells the label, so that there is something to learn in a few steps.
fn batch(step: usize) -> (Vec<Vec<i32>>, Vec<i32>) {
    let mut state = step as u32 * 7919 + 1;
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let documents: Vec<Vec<i32>> = (0..BATCH)
        .map(|_| {
            let length = 10 + draw(LENGTH as u32 - 10);
            let label = draw(3) as i32;
            (0..length)
                .map(|_| 1 + label + 3 * draw(3) as i32)
                .collect()
        })
        .collect();
    let labels = documents
        .iter()
        .map(|document| (document[0] - 1) % 3)
        .collect();
    (documents, labels)
}

fn padded(documents: &[Vec<i32>], device: &Device) -> Tokens {
    let at = |row: &Vec<i32>, i: usize| row.get(i).copied();
    let cells = || {
        documents
            .iter()
            .flat_map(|row| (0..LENGTH).map(move |i| at(row, i)))
    };
    let ids: Vec<i32> = cells().map(|id| id.unwrap_or(0)).collect();
    let mask: Vec<bool> = cells().map(|id| id.is_some()).collect();
    let shape = [documents.len(), LENGTH];
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device);
    Tokens::new(Tensor::<2, Int>::from_data(
        TensorData::new(ids, shape),
        device,
    ))
    .layout(Layout::Padded(mask))
}

fn packed(documents: &[Vec<i32>], device: &Device) -> Tokens {
    let lengths: Vec<usize> = documents.iter().map(Vec::len).collect();
    let ids = documents.concat();
    let ids = TensorData::new(ids.clone(), [1, ids.len()]);
    Tokens::new(Tensor::<2, Int>::from_data(ids, device))
        .layout(Layout::Packed(Boundaries::from_lengths(&lengths)))
}

/// The same weights on every device, through the weights' own file form.
fn model(weights: &[u8], device: &Device) -> Classifier {
    let model = config().init(device).expect("a valid configuration");
    weights::load_safetensors(model, weights).expect("weights of this model")
}

/// Drawn once: the backend's generator is one for all threads.
fn initial_weights() -> &'static [u8] {
    static WEIGHTS: OnceLock<Vec<u8>> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let device = Device::flex();
        device.seed(5);
        let model = config().init(&device).expect("a valid configuration");
        weights::save_safetensors(&model, &Default::default()).expect("weights on the host")
    })
}

/// Losses of all steps.
fn train(weights: &[u8], device: &Device, lay: fn(&[Vec<i32>], &Device) -> Tokens) -> Vec<f32> {
    let device = device.clone().autodiff();
    let mut model = model(weights, &device);
    let mut optimizer = AdamWConfig::new().init();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let (documents, labels) = batch(step);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), &device);
        let logits = model.forward(lay(&documents, &device));
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, labels);
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(3e-3, model, gradients);
    }
    losses
}

fn assert_close(name: &str, ours: &[f32], reference: &[f32]) {
    let every_tenth: Vec<String> = ours
        .iter()
        .step_by(10)
        .map(|loss| format!("{loss:.4}"))
        .collect();
    println!("losses every 10 steps on {name}: {}", every_tenth.join(" "));
    for (step, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!(
            (a - b).abs() < 1e-3,
            "{name}: loss {a} at step {step}, {b} on Flex"
        );
    }
}

/// Every backend, padded and packed, takes the same 50 steps; WGPU with Fusion and autotune.
#[test]
fn all_backends_train_alike() {
    let weights = initial_weights();
    let reference = train(weights, &Device::flex(), packed);
    assert!(
        reference[STEPS - 1] < reference[0] / 2.0,
        "nothing is learned: {reference:?}"
    );
    for (name, device) in common::devices() {
        assert_close(name, &train(weights, &device, padded), &reference);
        assert_close(name, &train(weights, &device, packed), &reference);
    }
}

/// Parameters alone are tracked (no input is), and all get the gradients that they get on Flex.
#[test]
fn gradients_of_parameters_alone_are_whole() {
    let weights = initial_weights();
    let (documents, labels) = batch(0);
    let norms = |device: &Device| -> Vec<f32> {
        let device = device.clone().autodiff();
        let model = model(weights, &device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [BATCH]), &device);
        let logits = model.forward(padded(&documents, &device));
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, labels);
        let gradients = loss.backward();
        let mut norms = Norms(&gradients, Vec::new());
        model.visit(&mut norms);
        norms.1
    };
    let reference = norms(&Device::flex());
    assert!(reference.len() > 30);
    for (name, device) in common::devices() {
        for (i, (a, b)) in norms(&device).iter().zip(&reference).enumerate() {
            assert!(a.is_finite(), "{name}: gradient {i} is {a}");
            assert!(
                (a - b).abs() <= 1e-4 * b.abs() + 1e-6,
                "{name}: gradient {i} {a}, {b} on Flex"
            );
        }
    }
}

/// The norm of each parameter's gradient.
struct Norms<'a>(&'a burn::tensor::Gradients, Vec<f32>);

impl burn::module::ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        let gradient = param
            .val()
            .grad(self.0)
            .expect("every parameter has a gradient");
        let norm = gradient.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        self.1.push(norm);
    }
}
