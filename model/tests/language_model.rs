//! The language model against its definition: causal attention written out number by number, what a
//! token changes and what it can't, memory saved and restored, and decoding token by token.

mod common;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::DropoutConfig;
use burn::tensor::{Device, Distribution, Gradients, Int, Tensor, TensorData};
use proptest::prelude::*;
use transformer_ls_burn::attention::{CausalAttention, CausalAttentionConfig};
use transformer_ls_burn::weights::StateDict;
use transformer_ls_burn::{LanguageModel, LanguageModelConfig, Memory, Segment};

/// Weights that no initial distribution would hide a mistake of: all of some size, biases too.
struct Spread;

impl ModuleMapper for Spread {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| {
            let noise = x.random_like(Distribution::Uniform(-0.3, 0.3));
            let x = x + noise;
            // A leaf again: else gradients would be those of the weights before the noise.
            match x.is_autodiff() {
                true => x.detach().require_grad(),
                false => x,
            }
        })
    }
}

fn config() -> LanguageModelConfig {
    LanguageModelConfig {
        vocab_size: 17,
        layers: 2,
        d_model: 24,
        heads: 3,
        d_ff: 20,
        window: 6,
        chunk: 4,
        rank: 2,
        dropout: 0.0,
        ..LanguageModelConfig::default()
    }
}

fn model(config: &LanguageModelConfig, device: &Device) -> LanguageModel {
    device.seed(7);
    config.init(device).expect("a model").map(&mut Spread)
}

/// Any ids.
fn tokens(b: usize, n: usize, seed: usize, device: &Device) -> Tensor<2, Int> {
    let ids = (0..b * n).map(|i| ((i * i * 7 + i * 13 + seed * 5) % 17) as i32);
    Tensor::from_data(TensorData::new(ids.collect(), [b, n]), device)
}

fn read(model: &LanguageModel, tokens: Tensor<2, Int>, memory: Memory) -> (Vec<f32>, Memory) {
    let predictions = model.forward(Segment {
        tokens,
        memory,
        dropout_seed: None,
    });
    (host(predictions.logits), predictions.memory)
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("float32")
}

/// The largest difference, against the largest number.
fn error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(
        0.0_f32,
        |max, x| if x > max || x.is_nan() { x } else { max },
    ) / largest
}

/// What the heads read, by the definition, in float64.
struct Definition<'a> {
    module: &'a CausalAttention,
    config: &'a CausalAttentionConfig,
}

type Rows = Vec<Vec<f64>>;

fn wide<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    host(x).into_iter().map(f64::from).collect()
}

fn linear(x: &[f64], layer: &burn::nn::Linear) -> Vec<f64> {
    let [inputs, outputs] = layer.weight.dims();
    let weight = wide(layer.weight.val());
    let bias = layer.bias.as_ref().map(|bias| wide(bias.val()));
    (0..outputs)
        .map(|o| {
            let sum: f64 = (0..inputs).map(|i| x[i] * weight[i * outputs + o]).sum();
            sum + bias.as_ref().map_or(0.0, |bias| bias[o])
        })
        .collect()
}

fn norm(x: &[f64], layer: &burn::nn::LayerNorm) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let gamma = wide(layer.gamma.val());
    let beta = wide(layer.beta.as_ref().expect("a beta").val());
    let scale = (variance + 1e-5).sqrt();
    (0..x.len())
        .map(|i| (x[i] - mean) / scale * gamma[i] + beta[i])
        .collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

fn sinusoid(x: usize, width: usize) -> Vec<f64> {
    let angle = |i: usize| x as f64 * 10_000_f64.powf(-2.0 * i as f64 / width as f64);
    let half = width / 2;
    (0..width)
        .map(|i| {
            if i < half {
                angle(i).sin()
            } else {
                angle(i - half).cos()
            }
        })
        .collect()
}

impl Definition<'_> {
    fn head<'x>(&self, x: &'x [f64], head: usize) -> &'x [f64] {
        let d = x.len() / self.config.heads;
        &x[head * d..(head + 1) * d]
    }

    /// The landmarks of whole chunks: `rows` weighted head slice by head slice by what `of` says.
    fn compress(&self, of: &Rows, rows: &Rows) -> Rows {
        let mut landmarks = Vec::new();
        for (of, rows) in of
            .chunks_exact(self.config.chunk)
            .zip(rows.chunks_exact(self.config.chunk))
        {
            let projection = &self
                .module
                .landmarks
                .as_ref()
                .expect("landmarks")
                .projection;
            let scores: Rows = of.iter().map(|x| linear(x, projection)).collect();
            for j in 0..self.config.rank {
                let mut landmark = Vec::new();
                for head in 0..self.config.heads {
                    let own: Vec<f64> = scores
                        .iter()
                        .map(|s| s[head * self.config.rank + j])
                        .collect();
                    let weights = softmax(&own);
                    let d = rows[0].len() / self.config.heads;
                    landmark.extend((0..d).map(|c| {
                        let parts = weights.iter().zip(rows);
                        parts
                            .map(|(w, row)| w * self.head(row, head)[c])
                            .sum::<f64>()
                    }));
                }
                landmarks.push(landmark);
            }
        }
        landmarks
    }

    fn contexts(&self, hidden: &Rows, memory: &Rows) -> Vec<f64> {
        let module = self.module;
        let width = hidden[0].len();
        let d = width / self.config.heads;
        let at = |x: usize, clamp: usize| sinusoid(if clamp > 0 { x.min(clamp) } else { x }, width);
        let all: Rows = memory.iter().chain(hidden).cloned().collect();
        let window = |weights| -> Rows {
            let rows = all.iter().map(|x| linear(x, weights));
            match &module.landmarks {
                None => rows.collect(),
                Some(of) => rows.map(|row| norm(&row, &of.window_norm)).collect(),
            }
        };
        let (key, value) = (window(&module.key), window(&module.value));
        let landmarks = |weights| -> Rows {
            let Some(of) = &module.landmarks else {
                return Rows::new();
            };
            let of_memory = self.compress(memory, memory);
            let of_memory = of_memory.iter().map(|row| linear(row, weights));
            let own: Rows = hidden.iter().map(|x| linear(x, weights)).collect();
            let own = self.compress(hidden, &own);
            let rows = of_memory.chain(own);
            rows.map(|row| norm(&row, &of.norm)).collect()
        };
        let (landmark_key, landmark_value) = (landmarks(&module.key), landmarks(&module.value));
        let (u, v) = (
            wide(module.content_bias.val()),
            wide(module.position_bias.val()),
        );
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut contexts = Vec::new();
        for (i, x) in hidden.iter().enumerate() {
            let q: Vec<f64> = linear(x, &module.query)
                .iter()
                .map(|q| q / (d as f64).sqrt())
                .collect();
            let position = memory.len() + i;
            let first = match self.config.window {
                0 => 0,
                window => (position + 1).saturating_sub(window),
            };
            let visible = memory.len() / self.config.chunk * self.config.rank
                + i / self.config.chunk * self.config.rank;
            for head in 0..self.config.heads {
                let q = self.head(&q, head);
                let with = |bias: &[f64]| -> Vec<f64> {
                    q.iter()
                        .zip(self.head(bias, head))
                        .map(|(q, b)| q + b)
                        .collect()
                };
                let mut scores = Vec::new();
                for (t, key) in landmark_key.iter().take(visible).enumerate() {
                    let of = module.landmarks.as_ref().expect("landmarks");
                    let after = at(visible - 1 - t, self.config.landmark_clamp);
                    let distance = linear(&after, &of.relative);
                    let key = dot(q, self.head(key, head));
                    scores.push(key + dot(q, self.head(&distance, head)));
                }
                for (j, key) in key.iter().enumerate().take(position + 1).skip(first) {
                    let distance = at(position - j, self.config.clamp);
                    let distance = linear(&distance, &module.relative);
                    let key = dot(&with(&u), self.head(key, head));
                    scores.push(key + dot(&with(&v), self.head(&distance, head)));
                }
                let p = softmax(&scores);
                contexts.extend((0..d).map(|c| {
                    let landmarks =
                        (0..visible).map(|t| p[t] * self.head(&landmark_value[t], head)[c]);
                    let window = (first..=position)
                        .map(|j| p[visible + j - first] * self.head(&value[j], head)[c]);
                    landmarks.chain(window).sum::<f64>()
                }));
            }
        }
        contexts
    }
}

/// Attention of two heads, with this window, chunk and rank.
fn attention([window, chunk, rank]: [usize; 3]) -> CausalAttentionConfig {
    CausalAttentionConfig::new(12, 2)
        .with_window(window)
        .with_chunk(chunk)
        .with_rank(rank)
        .with_bias(true)
}

/// Attention alone, number by number.
fn check_definition(config: &CausalAttentionConfig, n: usize, memory: usize) {
    let device = Device::flex();
    device.seed((n + memory) as u64);
    let width = config.d_model;
    let module = config.init(&device).map(&mut Spread);
    let rows =
        |n: usize| Tensor::<3>::random([1, n, width], Distribution::Normal(0.0, 1.0), &device);
    let hidden = rows(n);
    let memory_rows = match memory {
        0 => Tensor::zeros([1, 0, width], &device),
        n => rows(n),
    };
    let wide_rows = |x: Tensor<3>| -> Rows { wide(x).chunks(width).map(<[f64]>::to_vec).collect() };
    let definition = Definition {
        module: &module,
        config,
    };
    let expected = definition.contexts(
        &wide_rows(hidden.clone()),
        &if memory == 0 {
            Vec::new()
        } else {
            wide_rows(memory_rows.clone())
        },
    );
    let expected: Vec<f32> = expected.iter().map(|&x| x as f32).collect();
    let distances = module.distances(n, memory, &device);
    let ours = host(module.contexts(hidden, memory_rows, &distances, None));
    let worst = error(&ours, &expected);
    assert!(
        worst < 2e-5,
        "{config:?}, {n} tokens, memory {memory}: {worst:.1e}"
    );
}

#[test]
fn attention_is_its_definition() {
    for (sizes, n, memory) in [
        ([5, 4, 1], 13, 8),
        ([1, 3, 2], 9, 0),
        ([40, 2, 1], 7, 6),
        ([8, 16, 1], 5, 16),
        ([3, 4, 3], 1, 0),
        // So many rows that one kernel reads them: with a rest, of whole chunks, and of one, which no
        // query sees.
        ([20, 8, 2], 70, 16),
        ([33, 16, 1], 64, 32),
        ([33, 80, 1], 70, 0),
        // Transformer-XL: no landmarks; and all of the memory seen.
        ([5, 4, 0], 13, 7),
        ([0, 1, 0], 6, 9),
        ([0, 1, 0], 5, 0),
    ] {
        check_definition(&attention(sizes), n, memory);
    }
    // Clamps smaller than the window and than the number of landmarks; few rows and many.
    for (clamps, n) in [([3, 2], 13), ([7, 1], 70), ([0, 4], 33), ([2, 0], 9)] {
        let config = attention([9, 4, 2])
            .with_clamp(clamps[0])
            .with_landmark_clamp(clamps[1]);
        check_definition(&config, n, 8);
    }
}

/// A token changes nothing before it nor in other texts, and something at it and, through a landmark,
/// beyond every window; on every backend, of few rows and of so many that CPUs read them in one pass.
#[test]
fn a_token_changes_what_comes_after_it_alone() {
    for (name, device) in common::devices() {
        for (texts, n, layers) in [(1, 30, 1), (2, 40, 1), (2, 37, 2)] {
            let config = LanguageModelConfig { layers, ..config() };
            let model = model(&config, &device);
            let ids = tokens(texts, n, 1, &device);
            let memory = model.memory(texts, 8);
            let (_, memory) = read(&model, tokens(texts, 11, 2, &device), memory);
            let (logits, _) = read(&model, ids.clone(), memory.clone());
            for t in [0, 3, 4, 13, n - 1] {
                let next = (ids.clone().slice([0..1, t..t + 1]) + 1).remainder_scalar(17);
                let other = ids.clone().slice_assign([0..1, t..t + 1], next);
                let (changed, _) = read(&model, other, memory.clone());
                for i in 0..texts * n {
                    let rows = [&logits, &changed].map(|x| &x[i * 17..(i + 1) * 17]);
                    let same = match name {
                        // Its products may take another way the second time.
                        "wgpu" => error(rows[1], rows[0]) < 1e-5,
                        _ => rows[0] == rows[1],
                    };
                    let what = format!("{name}, {layers} layers, token {t}, logits at {i}");
                    let in_window = (t..t + config.window).contains(&i);
                    let in_landmarks = i < n && i / config.chunk > t / config.chunk;
                    if layers == 1 && i < n && (in_window || in_landmarks) {
                        assert!(rows[0] != rows[1], "{what}: nothing changes");
                    }
                    if i < t || i >= n || layers == 1 && !(in_window || in_landmarks) {
                        assert!(same, "{what}: {rows:?}");
                    }
                }
            }
        }
    }
}

/// The release drops embeddings' entries and the last layer's (`emb_dropout` in its
/// `autoregressive/model_lib/model.py`). With the identity for a table, logits are that layer's outputs.
#[test]
fn outputs_of_the_last_layer_are_dropped_in_training() {
    let zeros = |device: &Device| {
        let config = LanguageModelConfig {
            vocab_size: 24,
            ..config()
        };
        let mut model = config.init(device).expect("a model");
        model.embedding.weight = Param::from_tensor(Tensor::eye(24, device));
        model.dropout = DropoutConfig::new(0.4).init();
        let memory = model.memory(2, 8);
        let (logits, _) = read(&model, tokens(2, 40, 1, device), memory);
        logits.iter().filter(|&&x| x == 0.0).count() as f64 / logits.len() as f64
    };
    assert_eq!(zeros(&Device::flex()), 0.0);
    // Beside those that are dropped, a row is 0 as long as a text's embeddings are: about 2 % of all.
    let share = zeros(&Device::flex().autodiff());
    assert!((share - 0.41).abs() < 0.1, "{share} of the outputs are 0");
}

/// The release's `_init_weights`: N(0, 0.02) for weights and for u and v, N(1, 0.02) for LayerNorms.
#[test]
fn parameters_begin_as_released() {
    let device = Device::flex();
    let config = LanguageModelConfig {
        layers: 1,
        d_model: 1024,
        heads: 8,
        ..config()
    };
    let model = config.init(&device).expect("a model");
    let layer = &model.layers[0];
    let of = &layer.attention;
    let landmarks = of.landmarks.as_ref().expect("landmarks");
    let weight = |layer: &burn::nn::Linear| wide(layer.weight.val());
    let gamma = |norm: &burn::nn::LayerNorm| wide(norm.gamma.val());
    for (name, mean, values) in [
        ("embedding", 0.0, wide(model.embedding.weight.val())),
        ("query", 0.0, weight(&of.query)),
        ("output", 0.0, weight(&of.output)),
        ("key", 0.0, weight(&of.key)),
        ("value", 0.0, weight(&of.value)),
        ("relative", 0.0, weight(&of.relative)),
        ("landmarks' relative", 0.0, weight(&landmarks.relative)),
        ("projection", 0.0, weight(&landmarks.projection)),
        ("u", 0.0, wide(of.content_bias.val())),
        ("v", 0.0, wide(of.position_bias.val())),
        ("ff_in", 0.0, weight(&layer.ff_in)),
        ("ff_out", 0.0, weight(&layer.ff_out)),
        ("window_norm", 1.0, gamma(&landmarks.window_norm)),
        ("landmarks' norm", 1.0, gamma(&landmarks.norm)),
        ("attention_norm", 1.0, gamma(&layer.attention_norm)),
        ("ff_norm", 1.0, gamma(&layer.ff_norm)),
    ] {
        let count = values.len() as f64;
        let found = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|x| (x - found).powi(2)).sum::<f64>() / count).sqrt();
        // Of 1024 numbers at least: five standard errors.
        assert!(
            (found - mean).abs() < 5.0 * 0.02 / 32.0,
            "{name}: mean {found}"
        );
        assert!(
            (deviation - 0.02).abs() < 0.003,
            "{name}: deviation {deviation}"
        );
    }
    for bias in [&landmarks.projection, &layer.ff_in, &layer.ff_out] {
        let bias = bias.bias.as_ref().expect("a bias");
        assert!(wide(bias.val()).iter().all(|&x| x == 0.0));
    }
}

/// The gradient of every parameter, in order.
struct Differentiated<'a>(&'a Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Differentiated<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0);
        self.1.push(gradient.map_or(Vec::new(), host));
    }
}

/// Of many rows one kernel computes several layers on CPUs, and keeps what lies between wide ones. The
/// gradients are the sums of those of the texts alone, for which modules compose the layers.
#[test]
fn gradients_of_a_batch_are_those_of_its_texts() {
    let device = Device::flex().autodiff();
    for (d_model, bias, n) in [(24, true, 35), (192, false, 32)] {
        let config = LanguageModelConfig {
            d_model,
            bias,
            ..config()
        };
        let model = model(&config, &device);
        let texts = 3;
        let ids = tokens(texts, 2 * n, 3, &device);
        let weights = Tensor::<3>::random(
            [texts, 2 * n, 17],
            Distribution::Uniform(-1.0, 1.0),
            &device,
        );
        let gradients = |first: usize, count: usize| {
            let mut memory = model.memory(count, 8);
            let mut sum = Tensor::zeros([1], &device);
            for segment in 0..2 {
                let predictions = model.forward(Segment {
                    tokens: (ids.clone().narrow(0, first, count)).narrow(1, segment * n, n),
                    memory,
                    dropout_seed: None,
                });
                let weights = weights.clone().narrow(0, first, count);
                sum = sum + (predictions.logits * weights.narrow(1, segment * n, n)).sum();
                memory = predictions.memory;
            }
            let gradients = sum.backward();
            let mut found = Differentiated(&gradients, Vec::new());
            model.visit(&mut found);
            found.1
        };
        let together = gradients(0, texts);
        let alone: Vec<_> = (0..texts).map(|text| gradients(text, 1)).collect();
        assert!(together.len() > 20, "{} gradients", together.len());
        let largest = |x: &[f32]| x.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        // That of the landmarks' projection's bias vanishes, but for rounding.
        let floor = 0.01 * together.iter().fold(0.0, |max: f32, x| max.max(largest(x)));
        for (which, together) in together.iter().enumerate() {
            let scale = largest(together).max(floor);
            for (i, found) in together.iter().enumerate() {
                let sum: f32 = alone.iter().map(|text| text[which][i]).sum();
                let close = (found - sum).abs() <= 1e-4 * scale;
                assert!(
                    close,
                    "width {d_model}, parameter {which}: {found}, not {sum} of {scale}"
                );
            }
        }
    }
}

/// The memory after some segments, saved and restored, continues a text as it itself does.
#[test]
fn a_saved_memory_continues_alike() {
    let device = Device::flex();
    let model = model(&config(), &device);
    let mut memory = model.memory(2, 12);
    for (segment, n) in [8, 16, 5].into_iter().enumerate() {
        (_, memory) = read(&model, tokens(2, n, segment, &device), memory);
    }
    let saved = memory
        .state_dict()
        .to_safetensors(&Default::default())
        .expect("bytes");
    let state = StateDict::from_safetensors(&saved).expect("a memory");
    let restored = Memory::from_state_dict(state, 2, &device).expect("of two layers");
    let ids = tokens(2, 9, 9, &device);
    assert_eq!(
        read(&model, ids.clone(), restored.clone()).0,
        read(&model, ids.clone(), memory.clone()).0
    );
    // One text of the two, twice.
    let (both, _) = read(&model, ids.clone(), memory.clone());
    let (chosen, _) = read(
        &model,
        ids.select(0, Tensor::from_ints([1, 1], &device)),
        memory.select(&[1, 1]),
    );
    let own = &both[9 * 17..];
    assert!(error(&chosen, &[own, own].concat()) < 1e-5);
    let missing = Memory::from_state_dict(restored.state_dict(), 3, &device);
    assert!(missing.unwrap_err().to_string().contains("memory.2"));
}

/// Logits of every token by decoding, in pieces of these lengths.
fn decoded(
    model: &LanguageModel,
    ids: &Tensor<2, Int>,
    memory: Memory,
    segment: usize,
    mut pieces: impl Iterator<Item = usize>,
) -> Vec<(usize, Vec<f32>)> {
    let [_, n] = ids.dims();
    let mut decoding = model.decoding(memory, segment);
    let (mut at, mut found) = (0, Vec::new());
    while at < n {
        let count = pieces.next().unwrap_or(1).clamp(1, n - at);
        let logits = model.decode(&mut decoding, ids.clone().narrow(1, at, count));
        at += count;
        found.push((at - 1, host(logits)));
    }
    found
}

fn check_decoding(
    config: &LanguageModelConfig,
    device: &Device,
    sizes: [usize; 4],
    pieces: &[usize],
    tolerance: f32,
) {
    let [b, segment, memory, n] = sizes;
    let model = model(config, device);
    let ids = tokens(b, n, 3, device);
    let mut rest = model.memory(b, memory);
    let mut whole = vec![Vec::new(); n];
    for start in (0..n).step_by(segment) {
        let count = segment.min(n - start);
        let (logits, next) = read(&model, ids.clone().narrow(1, start, count), rest);
        rest = next;
        for i in 0..count {
            whole[start + i] = (0..b)
                .flat_map(|row| logits[(row * count + i) * 17..][..17].to_vec())
                .collect();
        }
    }
    let found = decoded(
        &model,
        &ids,
        model.memory(b, memory),
        segment,
        pieces.iter().copied(),
    );
    for (at, logits) in found {
        let worst = error(&logits, &whole[at]);
        assert!(
            worst < tolerance,
            "segment {segment}, memory {memory}, token {at}: {worst:.1e}"
        );
    }
}

/// On every backend, WGPU with Fusion and autotune on (where Burn had a wrong cached forward pass,
/// tracel-ai/burn#5257); of one text, and of more than CPUs have a kernel for.
#[test]
fn decoding_is_the_forward_pass() {
    for (name, device) in common::devices() {
        println!("on {name}");
        for pre_norm in [true, false] {
            let config = LanguageModelConfig {
                pre_norm,
                ..config()
            };
            check_decoding(&config, &device, [1, 8, 12, 21], &[], 1e-5);
            check_decoding(&config, &device, [2, 10, 8, 33], &[3, 1, 1, 9, 14], 1e-5);
            let clamped = LanguageModelConfig {
                clamp: 3,
                landmark_clamp: 2,
                ..config.clone()
            };
            check_decoding(&clamped, &device, [2, 10, 8, 33], &[5], 1e-5);
            if name == "wgpu" {
                continue;
            }
            for (window, compressed) in [(6, 0), (0, 0), (0, 3)] {
                let config = LanguageModelConfig {
                    window,
                    compressed,
                    rank: 0,
                    ..config.clone()
                };
                check_decoding(&config, &device, [2, 8, 12, 37], &[3, 1, 1, 9, 14], 1e-5);
                check_decoding(&config, &device, [9, 10, 5, 33], &[], 1e-5);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sizes(
        window in 1usize..12, chunk in 1usize..7, rank in 0usize..4, chunks in 0usize..5,
        clamps: [u8; 2], segment in 1usize..20, n in 1usize..40, piece in 1usize..20,
    ) {
        let clamps = clamps.map(|clamp| usize::from(clamp % 12));
        let attention = attention([window, chunk, rank])
            .with_clamp(clamps[0])
            .with_landmark_clamp(clamps[1]);
        check_definition(&attention, n.min(20), chunks * chunk);
        let config = LanguageModelConfig {
            window, chunk, rank, clamp: clamps[0], landmark_clamp: clamps[1], ..config()
        };
        check_decoding(&config, &Device::flex(), [2, segment, chunks * chunk, n], &[piece, 1, piece], 1e-5);
    }
}
