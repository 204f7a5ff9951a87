//! Evaluation: every sample counts once, whatever the batches.

use std::ops::ControlFlow;

use crate::common::{config, sample};
use burn::tensor::{Device, Tensor};
use burn_dataset::{Dataset, InMemDataset};
use transformer_ls_burn::Pooling;
use transformer_ls_datasets::Sample;
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::evaluate::{
    EvaluateError, Evaluation, Progress, evaluate, probabilities, score,
};
use transformer_ls_infer::predict::Predictor;
use transformer_ls_infer::run::Packing;

fn samples(count: usize) -> Vec<Sample> {
    (0..count)
        .map(|index| sample(1 + (index * 11) % 40, (index % 10) as u8))
        .collect()
}

#[test]
fn cross_entropy_by_hand() {
    let device = Device::flex();
    // softmax(ln 3, 0) = (3/4, 1/4)
    let third = 3f32.ln();
    let logits = Tensor::<2>::from_floats([[0.0, 0.0], [third, 0.0], [third, 0.0]], &device);
    let score = score(logits.clone(), &[0, 0, 1]).unwrap();
    let expected = 2f64.ln() + (4f64 / 3.0).ln() + 4f64.ln();
    assert!((score.loss_sum - expected).abs() < 1e-6, "{score:?}");
    assert_eq!(score.correct, 2);
    let rows = probabilities(logits.clone()).unwrap();
    assert!((rows[1][0] - 0.75).abs() < 1e-6, "{rows:?}");
    let error = self::score(logits, &[0, 0, 2]).unwrap_err().to_string();
    assert!(error.starts_with("label 2 is none of the model's 2 classes"));
}

#[test]
fn no_sample_is_dropped_and_none_counts_twice() {
    let device = Device::flex();
    device.seed(5);
    let config = config();
    let model = config.model.init(&device).unwrap();
    let samples = samples(10);
    let data = InMemDataset::new(samples.clone());
    let batcher = Batcher::new(48, true);
    let run = |batch_size| {
        let mut seen = Vec::new();
        let result = evaluate(
            &model,
            &data,
            &batcher,
            batch_size,
            &device,
            &mut |progress| {
                assert_eq!(progress.total, 10);
                seen.push(progress.done);
                ControlFlow::Continue(())
            },
        );
        (result.unwrap(), seen)
    };
    let (whole, seen) = run(10);
    assert_eq!(seen, [10]);
    let (parts, seen) = run(4);
    assert_eq!(seen, [4, 8, 10]);
    let (single, _) = run(1);
    let tokens: usize = samples.iter().map(|s| s.documents.token_count()).sum();
    for evaluation in [whole, parts, single] {
        assert_eq!((evaluation.samples, evaluation.tokens), (10, tokens));
        assert_eq!(evaluation.correct, whole.correct);
        assert!((evaluation.loss - whole.loss).abs() < 1e-5);
        assert_eq!(evaluation.accuracy, whole.correct as f64 / 10.0);
    }
    // The same from the predictor's probabilities.
    let predictor = Predictor::new(config, model, &device);
    let answers = predictor.probabilities(&samples).unwrap();
    let loss = answers
        .iter()
        .zip(&samples)
        .map(|(row, sample)| -f64::from(row[usize::from(sample.label)]).ln())
        .sum::<f64>()
        / 10.0;
    assert!((loss - whole.loss).abs() < 1e-5, "{loss} {whole:?}");
    for row in answers {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn samples_sorted_by_length_into_short_rows_have_the_same_figures() {
    let device = Device::flex();
    let samples = samples(50);
    let data = InMemDataset::new(samples.clone());
    for pooling in [Pooling::ClassLast, Pooling::MeanReal, Pooling::MeanAll] {
        device.seed(5);
        let mut config = config();
        config.model.encoder.pooling = pooling;
        config.data.packed = Packing::Padded;
        let model = config.model.init(&device).unwrap();
        let run = |batcher: &Batcher| {
            let mut seen = Vec::new();
            let mut watch = |progress: &Progress| {
                seen.push(progress.done);
                ControlFlow::Continue(())
            };
            let figures = evaluate(&model, &data, batcher, 3, &device, &mut watch).unwrap();
            (figures, seen)
        };
        let batcher = config.batcher(&device);
        assert_eq!(batcher.gains_by_length(), pooling != Pooling::MeanAll);
        let (sorted, seen) = run(&batcher);
        // Rows as long as the model's positions, in the stored order.
        let (stored, seen_stored) = run(&Batcher::new(
            config.model.encoder.embedding.max_length,
            false,
        ));
        // 48 and 2: what is sorted together ends within the data.
        assert_eq!(
            seen,
            (1..=17).map(|batch| 50.min(3 * batch)).collect::<Vec<_>>()
        );
        assert_eq!(seen, seen_stored);
        let counts = |it: &Evaluation| (it.samples, it.correct, it.tokens);
        assert_eq!(counts(&sorted), counts(&stored));
        assert!((sorted.loss - stored.loss).abs() < 1e-6, "{pooling:?}");
    }
}

#[test]
fn rows_are_as_short_as_their_documents_allow() {
    let short = |length| Batcher::new(length, false).short_rows(true);
    let fitting = |batcher: Batcher, lengths: &[usize]| {
        let samples: Vec<Sample> = lengths.iter().map(|&n| sample(n, 0)).collect();
        batcher.fitting(&samples)
    };
    for (lengths, wanted) in [
        (&[1, 5][..], 6),
        (&[6, 2], 6),
        (&[7], 12),
        (&[43], 48),
        (&[48], 48),
        // Longer than the model's positions: cut there.
        (&[60], 48),
    ] {
        assert_eq!(fitting(short(48), lengths), short(wanted));
        let long = Batcher::new(48, false);
        assert_eq!(fitting(long, lengths), long);
    }
    // Positions that eight does not divide, and fewer than eight.
    assert_eq!(fitting(short(20), &[19]), short(20));
    assert_eq!(fitting(short(3), &[2]), short(2));
    // Packed documents have no padding to save.
    let packed = Batcher::new(48, true).short_rows(true);
    assert!(!packed.gains_by_length());
    assert_eq!(fitting(packed, &[7, 5]), packed);
}

/// A data set that loses a sample.
struct Torn;

impl Dataset<Sample> for Torn {
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        match index {
            2 => Err(burn_dataset::DatasetError::new(std::io::Error::other(
                "the disk is on fire",
            ))),
            _ => Ok(sample(3, 0)),
        }
    }
    fn len(&self) -> usize {
        4
    }
}

#[test]
fn what_has_no_result_says_why() {
    let device = Device::flex();
    let model = config().model.init(&device).unwrap();
    let batcher = Batcher::new(48, true);
    let go = |dataset: &dyn Dataset<Sample>, flow: ControlFlow<()>| {
        evaluate(&model, dataset, &batcher, 2, &device, &mut |_| flow)
    };
    let on = ControlFlow::Continue(());
    let empty = go(&InMemDataset::new(Vec::new()), on).unwrap_err();
    assert!(matches!(empty, EvaluateError::Empty), "{empty}");
    let torn = go(&Torn, on).unwrap_err();
    let torn = torn.to_string();
    assert!(
        torn.starts_with("sample 2 of the data set could not be read: the disk is on fire"),
        "{torn}"
    );
    let data = InMemDataset::new(samples(4));
    let stopped = go(&data, ControlFlow::Break(())).unwrap_err();
    assert!(
        matches!(stopped, EvaluateError::Stopped { done: 2, total: 4 }),
        "{stopped}"
    );
    // Asked to stop at the end, it is done.
    let data = InMemDataset::new(samples(2));
    assert_eq!(go(&data, ControlFlow::Break(())).unwrap().samples, 2);
}
