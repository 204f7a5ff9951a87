//! What heads attend to: against the softmaxes' formulas in float64, written independently, and against
//! what the module reads.

mod common;

use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use transformer_ls_burn::attention::{
    AttentionConfig, AttentionInput, AttentionMaps, DenseAttentionConfig, LongShortAttention,
    LongShortAttentionConfig, NoMaps,
};
use transformer_ls_burn::{Boundaries, Classifier, ClassifierConfig, Layout, Pooling, Tokens};

const TOKENS: usize = 13;
const HEADS: usize = 2;
const WIDTH: usize = 12;
const HEAD_WIDTH: usize = WIDTH / HEADS;
const WINDOW: usize = 4;
const TOLERANCE: f64 = 1e-5;

type Rows = Vec<Vec<f64>>;

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let x: Vec<f32> = x.into_data().try_into_vec().expect("float32");
    x.into_iter().map(f64::from).collect()
}

fn rows<const D: usize>(x: Tensor<D>) -> Rows {
    let columns = x.dims()[D - 1];
    host(x).chunks(columns).map(<[f64]>::to_vec).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn linear(x: &Rows, layer: &Linear) -> Rows {
    let (weight, bias) = (rows(layer.weight.val()), layer.bias.as_ref().expect("bias"));
    let bias = host(bias.val());
    let columns: Rows = (0..bias.len())
        .map(|out| weight.iter().map(|row| row[out]).collect())
        .collect();
    let row = |x: &Vec<f64>| {
        let products = columns.iter().map(|column| dot(x, column));
        products.zip(&bias).map(|(x, bias)| x + bias).collect()
    };
    x.iter().map(row).collect()
}

fn norm(x: &Rows, layer: &LayerNorm) -> Rows {
    let gamma = host(layer.gamma.val());
    let beta = host(layer.beta.as_ref().expect("beta").val());
    let row = |x: &Vec<f64>| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = (variance + 1e-5).sqrt().recip();
        (0..x.len())
            .map(|i| gamma[i] * (x[i] - mean) * scale + beta[i])
            .collect()
    };
    x.iter().map(row).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    scores.iter().map(|s| (s - max).exp() / sum).collect()
}

/// `shares · values`
fn read(shares: &[f64], values: &Rows) -> Vec<f64> {
    let columns = 0..values[0].len();
    let column = |i| shares.iter().zip(values).map(move |(s, v)| s * v[i]).sum();
    columns.map(column).collect()
}

/// Each head's features of rows turned by their places (rotary embedding).
fn turn(x: &Rows) -> Rows {
    let half = HEAD_WIDTH / 2;
    let mut turned = x.clone();
    for (place, (row, out)) in x.iter().zip(&mut turned).enumerate() {
        for first in (0..WIDTH).step_by(HEAD_WIDTH) {
            for pair in 0..half {
                let angle = place as f64 * 10_000f64.powf(-(pair as f64) / half as f64);
                let (a, b) = (row[first + pair], row[first + pair + half]);
                out[first + pair] = a * angle.cos() - b * angle.sin();
                out[first + pair + half] = b * angle.cos() + a * angle.sin();
            }
        }
    }
    turned
}

fn head(x: &Rows, head: usize) -> Rows {
    let features = head * HEAD_WIDTH..(head + 1) * HEAD_WIDTH;
    x.iter().map(|row| row[features.clone()].to_vec()).collect()
}

/// Heads' rows side by side.
fn merge(heads: &[Rows]) -> Rows {
    (0..heads[0].len())
        .map(|row| heads.iter().flat_map(|head| head[row].clone()).collect())
        .collect()
}

/// The maps and the contexts, heads one after another.
struct Expected {
    window: Vec<f64>,
    landmarks: Vec<f64>,
    projection: Vec<f64>,
    class_row: Vec<f64>,
    context: Rows,
    class_context: Rows,
    /// Values of the tokens and of the landmarks, a head each.
    values: [Vec<Rows>; 2],
}

/// Whether the query at a place sees the key at another through the window: that lies in the query's
/// segment, or no further than half of one from it.
fn sees(query: usize, key: usize, window: usize) -> bool {
    if window == 0 {
        return false;
    }
    let (first, halo) = (query / window * window, (window / 2).max(1));
    first <= key + halo && key < first + window + halo
}

fn expected(
    module: &LongShortAttention,
    config: &LongShortAttentionConfig,
    x: &Rows,
    class_row: Option<&Rows>,
) -> Expected {
    let (w, r) = (config.window, config.rank);
    let turned = |x: Rows| if config.rotary { turn(&x) } else { x };
    let query = turned(linear(x, &module.query));
    let key = turned(norm(&linear(x, &module.key), &module.window_norm));
    let value = norm(&linear(x, &module.value), &module.window_norm);
    let scores = module.projection.as_ref().map(|layer| linear(x, layer));
    let projection: Vec<Rows> = (0..HEADS)
        .map(|head| {
            let landmark = |i: usize| {
                let score = |row: &Vec<f64>| row[head * r + i];
                softmax(&scores.iter().flatten().map(score).collect::<Vec<_>>())
            };
            (0..r).map(landmark).collect()
        })
        .collect();
    // Landmarks of all heads side by side, the class row's first.
    let landmark_rows = |x: &Rows, layer: &Linear| -> Vec<Rows> {
        let of_head = |h: usize| -> Rows {
            let own = projection[h].iter().map(|p| read(p, &head(x, h)));
            let class_row = class_row.map(|row| head(&linear(row, layer), h));
            class_row.into_iter().flatten().chain(own).collect()
        };
        let merged = merge(&(0..HEADS).map(of_head).collect::<Vec<_>>());
        let normed = norm(&merged, &module.landmark_norm);
        (0..HEADS).map(|h| head(&normed, h)).collect()
    };
    let landmark_keys = landmark_rows(&key, &module.key);
    let landmark_values = landmark_rows(&value, &module.value);
    let values = (0..HEADS).map(|h| head(&value, h)).collect();
    let mut all = Expected {
        window: Vec::new(),
        landmarks: Vec::new(),
        projection: projection.concat().concat(),
        class_row: Vec::new(),
        context: Vec::new(),
        class_context: Vec::new(),
        values: [values, landmark_values],
    };
    let scale = (HEAD_WIDTH as f64).sqrt().recip();
    let bias = module.offset_bias.as_ref().map(|table| rows(table.val()));
    let mut contexts = Vec::new();
    let mut class_contexts = Vec::new();
    for h in 0..HEADS {
        let (query, key) = (head(&query, h), head(&key, h));
        let landmarks = landmark_keys[h].len();
        let mut context = Rows::new();
        for (i, query) in query.iter().enumerate() {
            let seen: Vec<usize> = (0..x.len()).filter(|&j| sees(i, j, w)).collect();
            let mut scores: Vec<f64> = (landmark_keys[h].iter())
                .map(|key| scale * dot(query, key))
                .collect();
            scores.extend(seen.iter().map(|&j| {
                let reach = w - 1 + (w / 2).max(1);
                let bias = bias.as_ref().map_or(0.0, |bias| bias[h][i + reach - j]);
                scale * dot(query, &key[j]) + bias
            }));
            let shares = softmax(&scores);
            let mut window = vec![0.0; x.len()];
            for (&j, share) in seen.iter().zip(&shares[landmarks..]) {
                window[j] = *share;
            }
            let by_window = read(&window, &all.values[0][h]);
            let by_landmarks = match landmarks {
                0 => vec![0.0; HEAD_WIDTH],
                _ => read(&shares[..landmarks], &all.values[1][h]),
            };
            context.push(
                by_window
                    .iter()
                    .zip(by_landmarks)
                    .map(|(a, b)| a + b)
                    .collect(),
            );
            all.landmarks.extend(&shares[..landmarks]);
            all.window.extend(window);
        }
        if let Some(row) = class_row {
            let of = |layer: &Linear| head(&linear(row, layer), h).remove(0);
            let query = of(&module.query);
            // Its own key and value, then outputs, which are both.
            let of_row = |own: Vec<f64>| -> Rows { [vec![own], context.clone()].concat() };
            let scores = of_row(of(&module.key));
            let scores: Vec<f64> = scores.iter().map(|key| scale * dot(&query, key)).collect();
            let shares = softmax(&scores);
            class_contexts.push(vec![read(&shares, &of_row(of(&module.value)))]);
            all.class_row.extend(shares);
        }
        contexts.push(context);
    }
    all.context = merge(&contexts);
    if class_row.is_some() {
        all.class_context = merge(&class_contexts);
    }
    all
}

fn assert_close(name: &str, ours: &[f64], expected: &[f64]) {
    assert_eq!(ours.len(), expected.len(), "{name}");
    let differences = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    assert!(worst < TOLERANCE, "{name}: {worst:.1e}");
    assert!(ours.iter().all(|x| x.is_finite()), "{name}");
}

fn configurations() -> Vec<LongShortAttentionConfig> {
    let options = [(false, false), (true, true)];
    let sizes = [(WINDOW, 3), (WINDOW, 0), (0, 3), (1, 7)];
    let config = |(window, rank)| {
        options.map(|(rotary, offset_bias)| {
            LongShortAttentionConfig::new(WIDTH, HEADS)
                .with_window(window)
                .with_rank(rank)
                .with_rotary(rotary)
                .with_offset_bias(offset_bias && window > 0)
                // Maps are without it.
                .with_attention_dropout(0.3)
        })
    };
    sizes.map(config).concat()
}

/// A module whose parameters all matter.
fn build(config: &LongShortAttentionConfig, device: &Device) -> LongShortAttention {
    let random = Distribution::Normal(0.0, 0.5);
    let mut module = config.init(device);
    let drawn = |mut norm: LayerNorm| {
        norm.gamma = norm.gamma.map(|x| x.random_like(random) + 1.0);
        norm.beta = norm.beta.map(|beta| beta.map(|x| x.random_like(random)));
        norm
    };
    module.window_norm = drawn(module.window_norm);
    module.landmark_norm = drawn(module.landmark_norm);
    module.offset_bias = module
        .offset_bias
        .map(|table: Param<Tensor<2>>| table.map(|table| table.random_like(random)));
    module
}

/// Every share, the sums of each row, and what the shares read of the values.
#[test]
fn maps_are_the_softmaxes_of_their_formulas() {
    for (name, device) in common::devices() {
        device.seed(5);
        let random = Distribution::Normal(0.0, 1.5);
        let x = Tensor::<3>::random([1, TOKENS, WIDTH], random, &device);
        let row = Tensor::<3>::random([1, 1, WIDTH], random, &device);
        let first = LayerNormConfig::new(WIDTH).init(&device);
        for config in configurations() {
            let module = build(&config, &device);
            for (class_row, normed) in [(false, false), (true, false), (true, true)] {
                let name = format!("{name}: {config:?}, class row {class_row}, norm {normed}");
                let mut input = AttentionInput::new(x.clone());
                let mut on_host = rows(x.clone());
                if class_row {
                    input = input.class_row(row.clone());
                }
                if normed {
                    input = input.norm(&first);
                    on_host = norm(&on_host, &first);
                }
                let row = class_row.then(|| rows(row.clone()));
                let expected = expected(&module, &config, &on_host, row.as_ref());
                let maps = module.maps(input.clone());
                check(&name, maps, &expected);
                let contexts = module.contexts(input);
                assert_close(&name, &host(contexts.tokens), &expected.context.concat());
                let class_row = contexts.class_row.map_or(Vec::new(), host);
                assert_close(&name, &class_row, &expected.class_context.concat());
            }
        }
    }
}

fn check(name: &str, maps: AttentionMaps, expected: &Expected) {
    assert_eq!(maps.window.dims(), [HEADS, TOKENS, TOKENS], "{name}");
    let window = host(maps.window);
    assert_close(name, &window, &expected.window);
    let landmarks = maps.landmarks.map_or(Vec::new(), host);
    assert_close(name, &landmarks, &expected.landmarks);
    assert_close(
        name,
        &maps.projection.map_or(Vec::new(), host),
        &expected.projection,
    );
    assert_close(
        name,
        &maps.class_row.map_or(Vec::new(), host),
        &expected.class_row,
    );
    let r = landmarks.len() / (HEADS * TOKENS);
    for h in 0..HEADS {
        for i in 0..TOKENS {
            let place = h * TOKENS + i;
            let window = &window[place * TOKENS..][..TOKENS];
            let landmarks = &landmarks[place * r..][..r];
            let sum: f64 = window.iter().chain(landmarks).sum();
            assert!((sum - 1.0).abs() < TOLERANCE, "{name}: {sum}");
            let mut context = read(window, &expected.values[0][h]);
            if r > 0 {
                let by_landmarks = read(landmarks, &expected.values[1][h]);
                context
                    .iter_mut()
                    .zip(by_landmarks)
                    .for_each(|(a, b)| *a += b);
            }
            let wanted = &expected.context[i][h * HEAD_WIDTH..][..HEAD_WIDTH];
            assert_close(name, &context, wanted);
        }
    }
}

/// Padding has no share and gives none, and one packed document is one by itself.
#[test]
fn padding_has_no_share() {
    for (name, device) in common::devices() {
        device.seed(6);
        let random = Distribution::Normal(0.0, 1.0);
        let config = LongShortAttentionConfig::new(WIDTH, HEADS)
            .with_window(WINDOW)
            .with_rank(3);
        let module = build(&config, &device);
        let x = Tensor::<3>::random([1, TOKENS, WIDTH], random, &device);
        let row = Tensor::<3>::random([1, 1, WIDTH], random, &device);
        let maps = |layout: Layout, x: Tensor<3>| {
            module.maps(AttentionInput::new(x).layout(layout).class_row(row.clone()))
        };
        let short = 9;
        let real: Vec<bool> = (0..TOKENS).map(|i| i < short).collect();
        let mask = Tensor::from_data(TensorData::new(real, [1, TOKENS]), &device);
        let padded = maps(Layout::Padded(mask), x.clone());
        let x = x.narrow(1, 0, short);
        let packed = Layout::Packed(Boundaries::from_lengths(&[short]));
        for alone in [Layout::Full, packed] {
            let alone = maps(alone, x.clone());
            let parts = |maps: &AttentionMaps| {
                let landmarks = maps.landmarks.clone().expect("landmarks");
                let projection = maps.projection.clone().expect("a projection");
                let class_row = maps.class_row.clone().expect("a class row");
                let window = maps.window.clone().narrow(1, 0, short).narrow(2, 0, short);
                [
                    host(window),
                    host(landmarks.narrow(1, 0, short)),
                    host(projection.narrow(2, 0, short)),
                    host(class_row.narrow(1, 0, 1 + short)),
                ]
            };
            for (a, b) in parts(&padded).iter().zip(parts(&alone)) {
                assert_close(name, a, &b);
            }
        }
        // What is left over of the padded ones.
        let window: f64 = host(padded.window).iter().sum();
        let landmarks: f64 = host(padded.landmarks.expect("landmarks")).iter().sum();
        let all = (HEADS * short) as f64;
        assert!((window + landmarks - all).abs() < TOLERANCE * all, "{name}");
    }
}

fn classifier(pooling: Pooling, attention: AttentionConfig, device: &Device) -> Classifier {
    let mut config = ClassifierConfig::default();
    config.encoder.embedding.vocab_size = 20;
    config.encoder.embedding.max_length = TOKENS;
    config.encoder.block.attention = attention;
    config.encoder.layers = 3;
    config.encoder.pooling = pooling;
    config.init(device).expect("valid")
}

/// Class rows take part as they do when documents are classified; other attentions are refused.
#[test]
fn a_model_shows_every_layer() {
    let device = Device::flex();
    let ids = || {
        let ids = Tensor::<1, Int>::arange(1..TOKENS as i64 + 1, &device);
        Tokens::new(ids.unsqueeze())
    };
    let config = LongShortAttentionConfig::new(WIDTH, HEADS)
        .with_window(WINDOW)
        .with_rank(3);
    for (pooling, with_class_row) in [
        (Pooling::MeanReal, [false; 3]),
        (Pooling::ClassEvery, [true; 3]),
        (Pooling::ClassLast, [false, false, true]),
    ] {
        device.seed(2);
        let model = classifier(pooling, config.clone().into(), &device);
        let maps = model.attention_maps(ids()).expect("long-short attention");
        assert_eq!(maps.len(), 3);
        for (maps, with_class_row) in maps.iter().zip(with_class_row) {
            let landmarks = maps.landmarks.as_ref().expect("landmarks").dims();
            let expected = 3 + usize::from(with_class_row);
            assert_eq!(landmarks, [HEADS, TOKENS, expected], "{pooling:?}");
            let class_row = maps.class_row.as_ref().map(Tensor::dims);
            assert_eq!(class_row, with_class_row.then_some([HEADS, 1 + TOKENS]));
        }
    }
    let dense = DenseAttentionConfig::new(WIDTH, HEADS);
    let model = classifier(Pooling::MeanReal, dense.into(), &device);
    assert_eq!(model.attention_maps(ids()).unwrap_err(), NoMaps("dense"));
}
