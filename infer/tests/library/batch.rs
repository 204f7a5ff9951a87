//! Batches: packed or padded, whole or in parts, the model's answers are the same.

use crate::common::{config, sample, tokens};
use burn::tensor::{Device, Tensor};
use transformer_ls_burn::{ClassifierConfig, Pooling};
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;

fn difference(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar::<f32>()
}

fn models() -> Vec<ClassifierConfig> {
    let base = config().model;
    [
        Pooling::ClassLast,
        Pooling::ClassEvery,
        Pooling::MeanAll,
        Pooling::MeanReal,
        Pooling::MaxReal,
        Pooling::Last,
    ]
    .into_iter()
    .map(|pooling| {
        let mut model = base.clone();
        model.encoder.pooling = pooling;
        model
    })
    .collect()
}

#[test]
fn packed_and_padded_give_the_same_logits() {
    let device = Device::flex();
    let samples: Vec<Sample> = [(48, 0), (1, 1), (17, 2), (30, 3)]
        .map(|(length, label)| sample(length, label))
        .to_vec();
    for config in models() {
        device.seed(3);
        let model = config.init(&device).unwrap();
        let logits = |packed| {
            let batcher = Batcher::new(config.encoder.embedding.max_length, packed);
            let batch = batcher.batch(&samples, &device, None);
            assert_eq!((batch.count, batch.real_tokens), (4, 96));
            batch.logits(&model)
        };
        let padded = logits(false);
        assert_eq!(padded.dims(), [4, 10]);
        let worst = difference(padded.clone(), logits(true));
        assert!(worst < 1e-5, "{:?}: {worst}", config.encoder.pooling);
        // One at a time: the neighbours in a batch have no say.
        for (index, sample) in samples.iter().enumerate() {
            let batcher = Batcher::new(config.encoder.embedding.max_length, index % 2 == 0);
            let batch = batcher.batch(std::slice::from_ref(sample), &device, None);
            let row = padded.clone().slice([index..index + 1, 0..10]);
            let worst = difference(row, batch.logits(&model));
            assert!(
                worst < 1e-5,
                "{:?}, sample {index}: {worst}",
                config.encoder.pooling
            );
        }
    }
}

/// A row is classified as the last one is, of the same document: packed, padded, and cut.
#[test]
fn rows_have_the_logits_of_last_rows() {
    let device = Device::flex();
    device.seed(4);
    let mut config = config().model;
    config.encoder.pooling = Pooling::Last;
    let model = config.init(&device).unwrap();
    let samples: Vec<Sample> = [(48, 0), (1, 1), (17, 2), (30, 3)]
        .map(|(length, label)| sample(length, label))
        .to_vec();
    let values = |ids: &[u16]| match ids.len() {
        // What lies behind a cut is not asked, nor is the last row twice.
        48 => vec![(3, 7), (19, 8), (40, 9)],
        17 => vec![(5, 6), (16, 2)],
        _ => Vec::new(),
    };
    for packed in [false, true] {
        for (max_length, labels) in [
            (48, vec![7, 8, 9, 0, 1, 6, 2, 3]),
            (20, vec![7, 0, 1, 6, 2, 3]),
        ] {
            let batcher = Batcher::new(max_length, packed);
            let batch = batcher
                .rows_on_host(&samples, &values)
                .to_device(&device, None);
            assert_eq!(batch.count, labels.len());
            let given = batch.labels.to_data().iter::<i64>().collect::<Vec<_>>();
            assert_eq!(given, labels);
            let rows = batch.logits(&model);
            let whole = batcher.batch(&samples, &device, None).logits(&model);
            for (label, sample) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
                let row = labels.iter().rposition(|&other| other == label).unwrap();
                let row = rows.clone().slice([row..row + 1, 0..10]);
                let alone = whole.clone().slice([sample..sample + 1, 0..10]);
                assert!(
                    difference(row, alone) < 1e-5,
                    "{label}, {packed}, {max_length}"
                );
            }
            // The rows of one document differ.
            let [first, last] = [0, labels.iter().position(|&label| label == 0).unwrap()]
                .map(|row| rows.clone().slice([row..row + 1, 0..10]));
            assert!(difference(first, last) > 1e-3);
        }
    }
}

#[test]
fn pairs_are_two_documents_a_sample() {
    let device = Device::flex();
    device.seed(3);
    let config = ClassifierConfig {
        pair: true,
        classes: 2,
        ..config().model
    };
    let model = config.init(&device).unwrap();
    let samples: Vec<Sample> = [(40, 12), (3, 48)]
        .into_iter()
        .map(|(first, second)| Sample {
            documents: TokenIds::Two(tokens(first, 1), tokens(second, 2)),
            label: 1,
        })
        .collect();
    let logits = |packed| {
        let batch = Batcher::new(48, packed).batch(&samples, &device, None);
        assert_eq!(batch.tokens.len(), 2);
        assert_eq!(batch.real_tokens, 40 + 12 + 3 + 48);
        assert_eq!(
            batch.labels.to_data().iter::<i64>().collect::<Vec<_>>(),
            [1, 1]
        );
        batch.logits(&model)
    };
    let worst = difference(logits(false), logits(true));
    assert!(worst < 1e-5, "{worst}");
}

#[test]
fn odd_documents_are_no_trouble() {
    let device = Device::flex();
    device.seed(3);
    let config = config().model;
    let model = config.init(&device).unwrap();
    let finite = |samples: &[Sample], packed| {
        let batch = Batcher::new(48, packed).batch(samples, &device, None);
        let count = batch.real_tokens;
        let logits = batch.logits(&model).into_data();
        assert!(logits.iter::<f32>().all(f32::is_finite));
        count
    };
    for packed in [false, true] {
        // Empty documents, alone and beside others.
        assert_eq!(finite(&[sample(0, 1)], packed), 0);
        assert_eq!(
            finite(&[sample(0, 1), sample(5, 2), sample(0, 3)], packed),
            5
        );
        // A document longer than the model is cut.
        assert_eq!(finite(&[sample(100, 1)], packed), 48);
    }
    // One that holds the padding id is padded either way.
    let mut holed = tokens(20, 1);
    holed[7] = 0;
    let holed = Sample {
        documents: TokenIds::One(holed),
        label: 0,
    };
    let logits = |packed| {
        Batcher::new(48, packed)
            .batch(std::slice::from_ref(&holed), &device, None)
            .logits(&model)
    };
    assert_eq!(difference(logits(false), logits(true)), 0.0);
}
