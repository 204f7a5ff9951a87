//! The modules' options in every combination: packed batches give the padded ones' numbers, nothing
//! is ever NaN, and a document without a token gives the output layer's bias.

mod common;

use burn::tensor::{Bool, Device, Distribution, Int, Tensor, TensorData};
use transformer_ls_burn::attention::{
    AttentionInput, AttentionLayer, AttentionLayerConfig, LongShortAttentionConfig,
};
use transformer_ls_burn::{Boundaries, ClassifierConfig, Layout, Pooling, Tokens, weights};

const LENGTHS: [usize; 4] = [13, 0, 1, 6];
const ROWS: usize = 13;
const WIDTH: usize = 12;

fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("float32")
}

fn mask(device: &Device) -> Tensor<2, Bool> {
    let real: Vec<bool> = LENGTHS
        .iter()
        .flat_map(|&length| (0..ROWS).map(move |i| i < length))
        .collect();
    Tensor::from_data(TensorData::new(real, [LENGTHS.len(), ROWS]), device)
}

/// The rows of `[documents, ROWS, …]` that are real tokens, end to end `[1, Σn, …]`.
fn pack(x: Tensor<3>) -> Tensor<3> {
    let parts = LENGTHS
        .iter()
        .enumerate()
        .filter(|&(_, &length)| length > 0)
        .map(|(row, &length)| x.clone().narrow(0, row, 1).narrow(1, 0, length))
        .collect();
    Tensor::cat(parts, 1)
}

fn assert_close(name: &str, a: Vec<f32>, b: Vec<f32>) {
    assert_eq!(a.len(), b.len(), "{name}");
    for (a, b) in a.iter().zip(&b) {
        assert!(a.is_finite() && (a - b).abs() < 2e-5, "{name}: {a} and {b}");
    }
}

/// Every option on and off, wherever the configuration is valid.
fn configurations() -> Vec<LongShortAttentionConfig> {
    let mut all = Vec::new();
    for (window, rank) in [(4, 3), (4, 0), (0, 3), (1, 1), (5, 20)] {
        for conv_kernel in [None, Some(5)] {
            for (rotary, offset_bias) in [(false, false), (true, window > 0)] {
                all.push(
                    LongShortAttentionConfig::new(WIDTH, 2)
                        .with_window(window)
                        .with_rank(rank)
                        .with_conv_kernel(conv_kernel)
                        .with_rotary(rotary)
                        .with_offset_bias(offset_bias),
                );
            }
        }
    }
    all
}

/// A module whose zero-initialised parameters are random too, so that they matter.
fn build(config: &LongShortAttentionConfig, device: &Device) -> AttentionLayer {
    let random = Distribution::Normal(0.0, 0.5);
    let mut module = config.init(device);
    let layer = AttentionLayerConfig::new(config.clone().into()).init(device);
    module.conv = module
        .conv
        .map(|kernel| kernel.map(|kernel| kernel.random_like(random)));
    module.offset_bias = module
        .offset_bias
        .map(|table| table.map(|table| table.random_like(random)));
    AttentionLayer {
        attention: module.into(),
        ..layer
    }
}

#[test]
fn packed_and_padded_agree_in_every_configuration() {
    let device = Device::flex();
    device.seed(3);
    let random = Distribution::Normal(0.0, 1.0);
    let x = Tensor::<3>::random([LENGTHS.len(), ROWS, WIDTH], random, &device);
    let class_rows = Tensor::<3>::random([LENGTHS.len(), 1, WIDTH], random, &device);
    for config in configurations() {
        let module = build(&config, &device);
        for with_class_row in [false, true] {
            let name = format!("{config:?}, class row {with_class_row}");
            let run = |input: AttentionInput| {
                module.forward(match with_class_row {
                    true => input.class_row(class_rows.clone()),
                    false => input,
                })
            };
            let padded = run(AttentionInput::new(x.clone()).mask(mask(&device)));
            let packed = run(
                AttentionInput::new(pack(x.clone())).packed(Boundaries::from_lengths(&LENGTHS))
            );
            assert_close(
                &name,
                host(packed.tokens),
                host(pack(padded.tokens.clone())),
            );
            assert_eq!(padded.class_row.is_some(), with_class_row);
            if let (Some(a), Some(b)) = (packed.class_row, padded.class_row) {
                assert_close(&name, host(a), host(b));
            }
            // Document 1 has no token: all its rows are W_o's bias.
            let empty = host(padded.tokens.narrow(0, 1, 1));
            let bias = host(module.output.bias.as_ref().expect("a bias").val());
            assert_close(&name, empty, bias.repeat(ROWS));
        }
    }
}

#[test]
fn gradients_are_finite_with_an_empty_document() {
    for (name, device) in common::devices() {
        let device = device.autodiff();
        let random = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<3>::random([LENGTHS.len(), ROWS, WIDTH], random, &device).require_grad();
        let class_row = Tensor::<3>::random([LENGTHS.len(), 1, WIDTH], random, &device);
        let attention = LongShortAttentionConfig::new(WIDTH, 2)
            .with_window(4)
            .with_rank(3);
        let module = AttentionLayerConfig::new(attention.into()).init(&device);
        let input = AttentionInput::new(x.clone())
            .mask(mask(&device))
            .class_row(class_row);
        let output = module.forward(input);
        let class_row = output.class_row.expect("a class row");
        let gradients = (output.tokens.sum() + class_row.sum()).backward();
        let gradient = host(x.grad(&gradients).expect("a gradient"));
        assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
    }
}

fn small(pooling: Pooling) -> ClassifierConfig {
    let attention = LongShortAttentionConfig::new(WIDTH, 2)
        .with_window(4)
        .with_rank(3);
    let mut config = ClassifierConfig::default();
    config.encoder.embedding.vocab_size = 8;
    config.encoder.embedding.max_length = ROWS;
    config.encoder.block.attention = attention.into();
    config.encoder.pooling = pooling;
    config
}

#[test]
fn packed_and_padded_documents_pool_alike() {
    let device = Device::flex();
    let ids: Vec<i32> = LENGTHS
        .iter()
        .flat_map(|&length| (0..ROWS).map(move |i| if i < length { 1 + (i % 7) as i32 } else { 0 }))
        .collect();
    let packed_ids: Vec<i32> = ids.iter().copied().filter(|&id| id > 0).collect();
    let ids = TensorData::new(ids, [LENGTHS.len(), ROWS]);
    let packed_ids = TensorData::new(packed_ids.clone(), [1, packed_ids.len()]);
    for pooling in [
        Pooling::MeanAll,
        Pooling::MeanReal,
        Pooling::MaxReal,
        Pooling::ClassEvery,
        Pooling::ClassLast,
    ] {
        for tied in [false, true] {
            let mut config = small(pooling);
            config.encoder.tied = tied;
            let model = config.init(&device).expect("a valid configuration");
            let padded = Tokens::new(Tensor::<2, Int>::from_data(ids.clone(), &device))
                .layout(Layout::Padded(mask(&device)));
            let packed = Tokens::new(Tensor::<2, Int>::from_data(packed_ids.clone(), &device))
                .layout(Layout::Packed(Boundaries::from_lengths(&LENGTHS)));
            let name = format!("{pooling:?}, tied {tied}");
            assert_close(
                &name,
                host(model.forward(packed)),
                host(model.forward(padded)),
            );
        }
    }
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    let attention = |heads: usize| LongShortAttentionConfig::new(64, heads);
    let attending = |attention: LongShortAttentionConfig| {
        move |config: &mut ClassifierConfig| config.encoder.block.attention = attention.into()
    };
    type Change = Box<dyn FnOnce(&mut ClassifierConfig)>;
    let refusals: [(Change, &str, &str); 8] = [
        (
            Box::new(attending(attention(3))),
            "heads",
            "heads must divide d_model 64, 3 does not",
        ),
        (
            Box::new(attending(attention(2).with_rank(0).with_window(0))),
            "rank",
            "rank is 0 and so is the window: attention would see nothing",
        ),
        (
            Box::new(attending(attention(2).with_conv_kernel(Some(4)))),
            "conv_kernel",
            "conv_kernel must be odd, 4 is not",
        ),
        (
            Box::new(|config| config.encoder.block.dropout = 1.0),
            "dropout",
            "dropout must lie in [0, 1), 1 does not",
        ),
        (
            Box::new(|config| config.encoder.embedding.max_length = 1 << 40),
            "max_length",
            "max_length must be at most 16777216, 1099511627776 is not",
        ),
        (
            Box::new(attending(attention(2).with_window(5000))),
            "window",
            "window must be at most max_length 4096, 5000 is not",
        ),
        (
            Box::new(attending(LongShortAttentionConfig::new(1 << 20, 2))),
            "d_model",
            "d_model and the other sizes make a model of 8801595949056 parameters; at most 4294967296 are built",
        ),
        (
            Box::new(|config| config.encoder.layers = 0),
            "layers",
            "layers must be at least 1",
        ),
    ];
    for (change, field, sentence) in refusals {
        let mut config = ClassifierConfig::default();
        change(&mut config);
        let error = config.validate().expect_err("can't be built");
        assert_eq!(
            (error.field, error.to_string()),
            (field, sentence.to_owned())
        );
    }
}

/// The mean over real tokens is the released mean (which the golden files pin) times rows / length.
#[test]
fn the_mean_over_real_tokens_leaves_padding_out() {
    let device = Device::flex();
    let all = small(Pooling::MeanAll).init(&device).expect("valid");
    let real = small(Pooling::MeanReal).init(&device).expect("valid");
    let state = weights::state_dict(&all).expect("tensors on the host");
    let real = weights::load(real, state).expect("the same tensors");
    let ids = TensorData::new(vec![3; LENGTHS.len() * ROWS], [LENGTHS.len(), ROWS]);
    let tokens = || {
        Tokens::new(Tensor::<2, Int>::from_data(ids.clone(), &device))
            .layout(Layout::Padded(mask(&device)))
    };
    let all = host(all.encoder.forward(tokens()));
    let real = host(real.encoder.forward(tokens()));
    for (document, length) in LENGTHS.into_iter().enumerate() {
        let row = document * WIDTH..(document + 1) * WIDTH;
        let scaled = real[row.clone()]
            .iter()
            .map(|x| x * length as f32 / ROWS as f32)
            .collect();
        assert_close("mean", scaled, all[row].to_vec());
    }
}
