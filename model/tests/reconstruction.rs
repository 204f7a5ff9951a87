//! Filling in masked tokens: what is hidden stays hidden, batches are alike however they lie, and
//! the loss is that of the masked tokens alone.

mod common;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::{
    Boundaries, Classifier, ClassifierConfig, Decoder, EmbeddingConfig, Input, Layout,
    MaskedTokens, Pooling, Positions, Reconstruction, Tokens, weights,
};

const LENGTHS: [usize; 3] = [9, 1, 6];
const ROWS: usize = 10;
const VOCABULARY: usize = 256;

fn configurations() -> Vec<ClassifierConfig> {
    let mut all = Vec::new();
    for pooling in [
        Pooling::MeanAll,
        Pooling::MeanReal,
        Pooling::MaxReal,
        Pooling::ClassEvery,
        Pooling::ClassLast,
    ] {
        for input in [Input::Ids, Input::Floats] {
            for rotary in [false, true] {
                let attention = LongShortAttentionConfig::new(12, 2)
                    .with_rank(3)
                    .with_window(4)
                    .with_rotary(rotary);
                let mut config = ClassifierConfig::default();
                config.encoder.embedding = EmbeddingConfig {
                    vocab_size: VOCABULARY,
                    max_length: ROWS,
                    positions: match rotary {
                        true => Positions::None,
                        false => Positions::Learned,
                    },
                    input,
                    input_mean: 0.4,
                    input_deviation: 0.2,
                };
                config.encoder.block.attention = attention.into();
                config.encoder.block.d_ff = 16;
                config.encoder.pooling = pooling;
                config.d_head = 8;
                all.push(config);
            }
        }
    }
    all
}

/// Ids of a document's tokens, black pixels among them.
fn id(document: usize, place: usize) -> i32 {
    ((document * 89 + place * 53) % VOCABULARY) as i32
}

fn hidden(document: usize, place: usize) -> bool {
    (document + place).is_multiple_of(2)
}

/// The documents, `change` added to hidden ids.
fn batch(packed: bool, change: i32, device: &Device) -> MaskedTokens {
    let width = |length| if packed { length } else { ROWS };
    let (mut ids, mut mask, mut real, mut places) = (vec![], vec![], vec![], vec![]);
    for (document, &length) in LENGTHS.iter().enumerate() {
        for place in 0..width(length) {
            let is_real = place < length;
            let is_hidden = is_real && hidden(document, place);
            let value = id(document, place) + if is_hidden { change } else { 0 };
            if is_hidden {
                places.push(ids.len() as i32);
            }
            ids.push(if is_real {
                value % VOCABULARY as i32
            } else {
                0
            });
            mask.push(is_hidden);
            real.push(is_real);
        }
    }
    let shape = if packed { [1, ids.len()] } else { [3, ROWS] };
    let layout = match packed {
        true => Layout::Packed(Boundaries::from_lengths(&LENGTHS)),
        false => Layout::Padded(Tensor::<2, Bool>::from_data(
            TensorData::new(real, shape),
            device,
        )),
    };
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device);
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), device);
    MaskedTokens::new(Tokens::new(ids).layout(layout), mask, places)
}

fn build(
    config: &ClassifierConfig,
    compared_by: Reconstruction,
    device: &Device,
) -> (Classifier, Decoder) {
    device.seed(6);
    let model = config.init(device).expect("valid");
    (model, Decoder::init(&config.encoder, compared_by, device))
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("float32")
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn what_is_hidden_has_no_say_and_packed_batches_are_padded_ones() {
    let device = Device::flex();
    for config in configurations() {
        let (model, decoder) = build(&config, Reconstruction::CrossEntropy, &device);
        let filled = |packed, change| {
            let batch = batch(packed, change, &device);
            host(decoder.forward(&model.encoder, vec![batch]))
        };
        let (padded, packed) = (filled(false, 0), filled(true, 0));
        assert!(padded.iter().all(|value| value.is_finite()));
        assert!(worst(&padded, &packed) < 2e-5, "{config:?}");
        assert_eq!(padded, filled(false, 100), "{config:?}");
        assert_eq!(packed, filled(true, 100), "{config:?}");
    }
}

/// The decoder's words of every real token, judged on the host in double precision at the hidden
/// places alone.
#[test]
fn the_loss_is_that_of_the_hidden_tokens() {
    let device = Device::flex();
    for config in configurations() {
        for compared_by in [Reconstruction::CrossEntropy, Reconstruction::L1] {
            let (model, decoder) = build(&config, compared_by, &device);
            let masked = batch(true, 0, &device);
            let (loss, hits) = decoder.loss(
                decoder.forward(&model.encoder, vec![masked.clone()]),
                masked.targets(),
            );
            let total: usize = LENGTHS.iter().sum();
            let everywhere: Vec<i32> = (0..total as i32).collect();
            let everywhere = TensorData::new(everywhere, [total]);
            let everywhere = Tensor::<1, Int>::from_data(everywhere, &device);
            let all = decoder.forward(&model.encoder, vec![masked.at(everywhere)]);
            let [_, outputs] = all.dims();
            let all = host(all);
            let tokens = LENGTHS
                .iter()
                .enumerate()
                .flat_map(|(document, &length)| (0..length).map(move |place| (document, place)));
            let (mut sum, mut found, mut count) = (0.0, 0, 0.0);
            for (row, (document, place)) in all.chunks_exact(outputs).zip(tokens) {
                if !hidden(document, place) {
                    continue;
                }
                let target = id(document, place);
                count += 1.0;
                match compared_by {
                    Reconstruction::CrossEntropy => {
                        let exp = row.iter().map(|&logit| f64::from(logit).exp());
                        let logit = row[target as usize];
                        sum += exp.sum::<f64>().ln() - f64::from(logit);
                        found += i64::from(row.iter().all(|other| *other <= logit));
                    }
                    Reconstruction::L1 => {
                        let level = (f64::from(target) / 255.0 - 0.4) / 0.2;
                        let distance = (f64::from(row[0]) - level).abs();
                        sum += distance;
                        found += i64::from(distance * 0.2 * 255.0 < 0.5);
                    }
                }
            }
            let loss = f64::from(loss.into_scalar::<f32>());
            let wanted = sum / count;
            assert!((loss - wanted).abs() < 1e-5, "{loss}, {wanted}: {config:?}");
            assert_eq!(hits.into_scalar::<i64>(), found);
        }
    }
}

/// One optimizer's view: every parameter of encoder, flag and decoder learns, and on every backend
/// the same. A head has no part in it.
#[test]
fn gradients_reach_everything_on_all_backends() {
    for config in configurations() {
        let (model, decoder) = build(&config, Reconstruction::CrossEntropy, &Device::flex());
        let state = weights::state_dict(&model).expect("tensors");
        let decoder_state = weights::decoder_state_dict(&decoder).expect("tensors");
        let norms = |device: &Device, packed| {
            let device = device.clone().autodiff();
            let (model, decoder) = build(&config, Reconstruction::CrossEntropy, &device);
            let model = weights::load(model, state.clone()).expect("the same");
            let decoder = weights::load_decoder(decoder, decoder_state.clone()).expect("the same");
            let masked = batch(packed, 0, &device);
            let filled = decoder.forward(&model.encoder, vec![masked.clone()]);
            let (loss, _) = decoder.loss(filled, masked.targets());
            let mut norms = Norms(loss.backward(), Vec::new());
            model.encoder.visit(&mut norms);
            decoder.visit(&mut norms);
            norms.1
        };
        let reference = norms(&Device::flex(), true);
        assert!(reference.len() > 30);
        assert!(reference.iter().filter(|norm| **norm > 0.0).count() > 30);
        for (name, device) in common::devices() {
            for packed in [true, false] {
                for (a, b) in norms(&device, packed).iter().zip(&reference) {
                    let close = (a - b).abs() <= 2e-4 * b.abs() + 1e-6;
                    assert!(close, "{name}, packed {packed}: {a}, {b}: {config:?}");
                }
            }
        }
    }
}

struct Norms(burn::tensor::Gradients, Vec<f32>);

impl burn::module::ModuleVisitor for Norms {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        let gradient = param
            .val()
            .grad(&self.0)
            .expect("every parameter has a gradient");
        let norm = gradient.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        self.1.push(norm);
    }
}

#[test]
fn an_encoder_alone_is_taken_over_bit_by_bit() {
    let device = Device::flex();
    let configurations = configurations();
    let (pretrained, decoder) = build(&configurations[0], Reconstruction::CrossEntropy, &device);
    let state = weights::state_dict(&pretrained).expect("tensors").encoder();
    let file = state
        .clone()
        .with(weights::decoder_state_dict(&decoder).expect("tensors"));
    let fresh = configurations[0].init(&device).expect("valid");
    let own = weights::state_dict(&fresh).expect("tensors");
    let started = weights::load_encoder(fresh, file.clone()).expect("the same encoder");
    let started = weights::state_dict(&started).expect("tensors");
    assert!(state.tensors.len() > 30);
    for (name, data) in &started.tensors {
        let from = state.tensors.get(name).unwrap_or(&own.tensors[name]);
        assert_eq!(data.as_bytes(), from.as_bytes(), "{name}");
    }
    let mut wider = configurations[0].clone();
    wider.encoder.block.d_ff = 32;
    let error = weights::load_encoder(wider.init(&device).expect("valid"), file)
        .expect_err("another shape");
    assert!(
        error.to_string().contains("model.transformer_0.mlpblock.0"),
        "{error}"
    );
}
