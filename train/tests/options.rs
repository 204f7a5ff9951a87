//! The options that published protocols leave off, against PyTorch's numbers
//! (`fixtures/training_options.json`, made by the script beside it).

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::LrScheduler;
use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::run::{Precision, ScheduleKind, TrainingConfig};
use transformer_ls_train::optim::{Beta1, MovingAverage, Schedule, clip_norm};
use transformer_ls_train::trainer::{
    Batch, Masking, StepLoader, cross_entropy, smoothed_cross_entropy,
};

#[derive(Deserialize)]
struct Fixture {
    schedules: Vec<Rates>,
    shapes: Pair<Vec<usize>>,
    clipping: Vec<Clipping>,
    smoothing: Vec<Smoothing>,
    averages: Vec<Average>,
}

/// Something for each of two parameters.
#[derive(Deserialize)]
struct Pair<T> {
    weight: T,
    bias: T,
}

#[derive(Deserialize)]
struct Rates {
    steps: usize,
    warmup: usize,
    learning_rate: f64,
    constant: Vec<f64>,
    cosine: Vec<f64>,
}

#[derive(Deserialize)]
struct Clipping {
    max_norm: f64,
    norm: f64,
    before: Pair<Vec<f32>>,
    after: Pair<Vec<f32>>,
}

#[derive(Deserialize)]
struct Smoothing {
    classes: usize,
    label_smoothing: f64,
    logits: Vec<f32>,
    labels: Vec<i32>,
    loss: f64,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct Average {
    decay: f64,
    steps: Vec<AverageStep>,
}

#[derive(Deserialize)]
struct AverageStep {
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean_weight: Vec<f32>,
    mean_bias: Vec<f32>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/training_options.json")).unwrap()
}

#[derive(Module, Debug)]
struct Parameters {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Parameters {
    fn new(weight: &[f32], bias: &[f32], shape: [usize; 2], device: &Device) -> Self {
        let weight = TensorData::new(weight.to_vec(), shape);
        let bias = TensorData::new(bias.to_vec(), [bias.len()]);
        Self {
            weight: Param::from_data(weight, device),
            bias: Param::from_data(bias, device),
        }
    }

    /// The same parameters with other numbers.
    fn with_ids(self, (weight, bias): (ParamId, ParamId)) -> Self {
        Self {
            weight: Param::initialized(weight, self.weight.val()),
            bias: Param::initialized(bias, self.bias.val()),
        }
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Equal to float rounding, relative to the largest number.
fn assert_close(ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        let off = (ours - theirs).abs();
        assert!(
            off <= 1e-6 * largest,
            "{ours} and {theirs}, at most {largest}"
        );
    }
}

// Deprecated by Burn, which this project knows: it is one feature, tested while it is there.
#[allow(deprecated)]
fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ]
}

#[test]
fn schedules_follow_pytorch_at_every_step() {
    for rates in fixture().schedules {
        for (kind, wanted) in [
            (ScheduleKind::Constant, &rates.constant),
            (ScheduleKind::Cosine, &rates.cosine),
        ] {
            let schedule = Schedule::new(&TrainingConfig {
                steps: rates.steps,
                warmup: rates.warmup,
                learning_rate: rates.learning_rate,
                schedule: kind,
                ..TrainingConfig::default()
            })
            .unwrap();
            assert_eq!(schedule.beta1(), Beta1::Constant(0.9));
            let mut scheduler = schedule.clone().scheduler();
            assert_eq!(wanted.len(), rates.steps);
            for (step, wanted) in wanted.iter().enumerate() {
                let ours = schedule.learning_rate(step);
                assert_eq!(scheduler.step(), ours);
                // PyTorch goes from each rate to the next, and its rounding adds up.
                let off = (ours - wanted).abs() / wanted;
                assert!(off < 1e-11, "{kind:?}, step {step}: {ours} and {wanted}");
            }
            let last = schedule.learning_rate(rates.steps - 1);
            assert_eq!(schedule.learning_rate(rates.steps + 7), last);
        }
    }
}

#[test]
fn the_published_schedule_is_the_default() {
    let old = r#"{"steps":5000,"warmup":1000,"learning_rate":1e-4,"weight_decay":0.0,"beta2":0.999,
        "epsilon":1e-6,"batch_size":32,"evaluate_every":50,"checkpoint_every":50,
        "eval_batch_size":32}"#;
    let training: TrainingConfig = serde_json::from_str(old).unwrap();
    assert_eq!(training.accumulate, 1);
    assert_eq!((training.clip_norm, training.ema), (None, None));
    assert_eq!(training.label_smoothing, 0.0);
    assert_eq!(training.precision, Precision::F32);
    let schedule = Schedule::new(&training).unwrap();
    assert!(matches!(schedule.beta1(), Beta1::Cycled(cycle) if cycle.beta1(999) == 0.85));
}

#[test]
fn schedules_without_a_second_part_have_a_rate_at_every_step() {
    for (steps, warmup) in [(1, 0), (1, 1), (5, 5), (5, 4)] {
        for kind in [ScheduleKind::Constant, ScheduleKind::Cosine] {
            let schedule = Schedule::new(&TrainingConfig {
                steps,
                warmup,
                learning_rate: 1e-3,
                schedule: kind,
                ..TrainingConfig::default()
            })
            .unwrap();
            for step in 0..steps + 2 {
                let rate = schedule.learning_rate(step);
                assert!(
                    rate > 0.0 && rate <= 1e-3,
                    "{kind:?} {steps} {warmup}: {rate}"
                );
            }
        }
    }
}

#[test]
fn the_global_norm_is_clipped_as_pytorch_does() {
    let fixture = fixture();
    let [rows, columns] = fixture.shapes.weight[..] else {
        panic!("the weight is a matrix");
    };
    for device in devices() {
        for case in &fixture.clipping {
            let zeros = (vec![0.0; rows * columns], vec![0.0; case.before.bias.len()]);
            let module = Parameters::new(&zeros.0, &zeros.1, [rows, columns], &device);
            let gradients = Parameters::new(
                &case.before.weight,
                &case.before.bias,
                [rows, columns],
                &device,
            );
            let mut given = GradientsParams::new();
            given.register(module.weight.id, gradients.weight.val());
            given.register(module.bias.id, gradients.bias.val());
            let clipped = clip_norm(&module, given, case.max_norm);
            let weight = numbers(clipped.get::<2>(module.weight.id).unwrap());
            let bias = numbers(clipped.get::<1>(module.bias.id).unwrap());
            assert_close(&weight, &case.after.weight);
            assert_close(&bias, &case.after.bias);
            let squares = weight.iter().chain(&bias).map(|x| f64::from(*x).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            assert!((norm - case.norm.min(case.max_norm)).abs() < 1e-5 * case.max_norm);
        }
    }
}

#[test]
fn labels_are_smoothed_as_pytorch_does() {
    for device in devices() {
        let device = device.autodiff();
        for case in fixture().smoothing {
            let shape = [case.labels.len(), case.classes];
            let logits = TensorData::new(case.logits.clone(), shape);
            let logits = Tensor::<2>::from_data(logits, &device).require_grad();
            let labels = TensorData::new(case.labels.clone(), [case.labels.len()]);
            let labels = Tensor::<1, Int>::from_data(labels, &device);
            let plain = cross_entropy(logits.clone(), labels.clone());
            let loss = smoothed_cross_entropy(logits.clone(), labels, case.label_smoothing);
            let gradients = loss.backward();
            assert_close(&numbers(logits.grad(&gradients).unwrap()), &case.gradient);
            assert_close(&numbers(loss.clone()), &[case.loss as f32]);
            let same = numbers(loss) == numbers(plain);
            assert_eq!(same, case.label_smoothing == 0.0);
        }
    }
}

#[test]
fn averages_follow_pytorch() {
    for device in devices() {
        for case in fixture().averages {
            let mut average = MovingAverage::new(case.decay);
            assert!(average.mean().is_none());
            let ids = (ParamId::new(), ParamId::new());
            for step in &case.steps {
                let weights = Parameters::new(&step.weight, &step.bias, [3, 4], &device);
                average.enter(weights.with_ids(ids));
                let mean = average.mean().unwrap();
                assert_close(&numbers(mean.weight.val()), &step.mean_weight);
                assert_close(&numbers(mean.bias.val()), &step.mean_bias);
            }
        }
    }
}

#[test]
fn a_step_comes_in_the_same_samples_however_it_is_cut() {
    let device = devices().remove(0);
    let sample = |index: usize| Sample {
        // Long enough that chance hides something of each.
        documents: TokenIds::One(
            (0..30 + index)
                .map(|at| (1 + 50 * index + at) as u16)
                .collect(),
        ),
        label: index as u8,
    };
    let loader = |samples: usize, accumulate: usize| {
        StepLoader::shuffled(
            Arc::new(InMemDataset::new((0..samples).map(sample).collect())),
            Batcher::new(64, true),
            8,
            7,
            3..6,
            device.clone(),
        )
        .accumulate(accumulate)
    };
    let labels = |loader: &StepLoader| -> Vec<Vec<i32>> {
        let batches = loader.iter().map(|batch| match batch.unwrap() {
            Batch::Labelled(batch) => batch.labels,
            Batch::Masked(batch) => batch.tokens[0].targets(),
        });
        let read = batches.map(|labels| labels.into_data().convert::<i32>());
        read.map(|data| data.try_to_vec().unwrap()).collect()
    };
    let whole = labels(&loader(20, 1));
    assert_eq!(whole.len(), 3);
    for accumulate in [2, 3, 8] {
        let loader = loader(20, accumulate);
        assert_eq!(loader.parts(), accumulate);
        let cut = labels(&loader);
        let joined: Vec<Vec<i32>> = cut.chunks(accumulate).map(|step| step.concat()).collect();
        assert_eq!(joined, whole);
    }
    // However a step is cut, the same tokens of it are hidden.
    let masked = |parts| labels(&loader(20, parts).masked(Some(Masking::new(7, 0.5))));
    let whole = masked(1);
    assert!(whole.iter().all(|hidden| hidden.len() > 8), "{whole:?}");
    for parts in [2, 3, 8] {
        let joined = masked(parts);
        let joined: Vec<Vec<i32>> = joined.chunks(parts).map(|step| step.concat()).collect();
        assert_eq!(joined, whole);
    }
    // Of what is inside an expression, 16 values of a depth: of 41 at the outer one every second or third.
    let text = format!("[SM {} [MAX 2 9]]", "1 ".repeat(40));
    let expression = Sample {
        documents: TokenIds::One(Tokenizer::Depths.encode(&text).unwrap()),
        label: 9,
    };
    let inner = StepLoader::shuffled(
        Arc::new(InMemDataset::new(vec![expression])),
        Batcher::new(64, true),
        1,
        7,
        0..1,
        device.clone(),
    );
    let inner = labels(&inner.inner_values(Some(Tokenizer::Depths)));
    let sums = [3, 6, 8, 1, 3, 6, 8, 1, 4, 6, 9, 1, 4, 6, 9];
    assert_eq!(inner, [[&sums[..], &[2, 9, 9, 9]].concat()]);
    // Fewer samples than a batch: no part is empty.
    let few = loader(3, 8);
    assert_eq!(few.parts(), 3);
    assert_eq!(labels(&few).len(), 9);
}
