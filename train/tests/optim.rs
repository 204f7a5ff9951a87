//! AdamW and the one-cycle schedule against PyTorch's numbers (`fixtures/adamw_onecycle.json`,
//! made by the script beside it), and resuming to the bit.

mod common;

use burn::lr_scheduler::LrScheduler;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use transformer_ls_infer::device;
use transformer_ls_infer::run::TrainingConfig;
use transformer_ls_train::optim::{AdamWConfig, Beta1, OneCycle, OptimError, Schedule, update};

#[derive(Deserialize)]
struct Fixture {
    steps: usize,
    warmup: usize,
    max_learning_rate: f64,
    beta2: f64,
    epsilon: f64,
    shapes: Pair<Vec<usize>>,
    cases: Vec<Case>,
    schedules: Vec<Rates>,
}

/// Something for each of the two parameters.
#[derive(Deserialize)]
struct Pair<T> {
    weight: T,
    bias: T,
}

#[derive(Deserialize)]
struct Case {
    weight_decay: f64,
    initial: Pair<Vec<f32>>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    learning_rate: f64,
    beta1: f64,
    gradients: Pair<Vec<f32>>,
    parameters: Pair<Vec<f32>>,
}

#[derive(Deserialize)]
struct Rates {
    steps: usize,
    warmup: usize,
    max_learning_rate: f64,
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    step: usize,
    learning_rate: f64,
    beta1: f64,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("fixtures/adamw_onecycle.json")).unwrap()
    }

    fn schedule(&self) -> OneCycle {
        OneCycle::new(self.steps, self.warmup, self.max_learning_rate).unwrap()
    }

    fn optimizer(&self, case: &Case) -> ModuleOptimizer {
        AdamWConfig {
            beta1: Beta1::Cycled(self.schedule()),
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: case.weight_decay,
        }
        .init()
        .unwrap()
    }

    fn model(&self, case: &Case, device: &Device) -> Parameters {
        Parameters {
            weight: Param::from_data(
                data(&case.initial.weight, &self.shapes.weight),
                &device.clone().autodiff(),
            ),
            bias: Param::from_data(
                data(&case.initial.bias, &self.shapes.bias),
                &device.clone().autodiff(),
            ),
        }
    }

    /// One optimizer step with the recorded gradients.
    fn step(
        &self,
        optimizer: &mut ModuleOptimizer,
        model: Parameters,
        step: &Step,
        learning_rate: f64,
        device: &Device,
    ) -> Parameters {
        let mut gradients = GradientsParams::new();
        let weight = data(&step.gradients.weight, &self.shapes.weight);
        let bias = data(&step.gradients.bias, &self.shapes.bias);
        gradients.register(model.weight.id, Tensor::<2>::from_data(weight, device));
        gradients.register(model.bias.id, Tensor::<1>::from_data(bias, device));
        update(optimizer, learning_rate, model, gradients)
    }
}

#[derive(Module, Debug)]
struct Parameters {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Parameters {
    fn weight(&self) -> Vec<f32> {
        self.weight.val().into_data().try_to_vec().unwrap()
    }

    fn bias(&self) -> Vec<f32> {
        self.bias.val().into_data().try_to_vec().unwrap()
    }
}

fn data(values: &[f32], shape: &[usize]) -> TensorData {
    TensorData::new(values.to_vec(), shape.to_vec())
}

fn relative(ours: f64, theirs: f64) -> f64 {
    (ours - theirs).abs() / theirs.abs()
}

fn worst(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(ours, theirs)| relative(f64::from(*ours), f64::from(*theirs)))
        .fold(0.0, f64::max)
}

fn parameters_follow_pytorch(device: &Device) {
    let fixture = Fixture::read();
    assert!(fixture.steps >= 10 && !fixture.cases.is_empty());
    for case in &fixture.cases {
        let mut optimizer = fixture.optimizer(case);
        let mut model = fixture.model(case, device);
        for (index, step) in case.steps.iter().enumerate() {
            let learning_rate = fixture.schedule().learning_rate(index);
            model = fixture.step(&mut optimizer, model, step, learning_rate, device);
            let error = worst(&model.weight(), &step.parameters.weight)
                .max(worst(&model.bias(), &step.parameters.bias));
            assert!(
                error < 1e-6,
                "weight decay {}, step {index}: off by {error:e}",
                case.weight_decay
            );
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn adamw_follows_pytorch_on_flex() {
    parameters_follow_pytorch(&Device::flex());
}

// Deprecated by Burn, which this project knows: it is one feature, tested while it is there.
#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)]
fn adamw_follows_pytorch_on_ndarray() {
    parameters_follow_pytorch(&Device::ndarray());
}

/// On the default adapter, where a kernel updates all parameters at once.
#[test]
fn adamw_follows_pytorch_on_wgpu() {
    if let Some(name) = common::adapter() {
        parameters_follow_pytorch(&device::resolve(&name).unwrap().device);
    }
}

#[test]
fn one_cycle_follows_pytorch_at_every_step() {
    let fixture = Fixture::read();
    let schedule = fixture.schedule();
    let training = TrainingConfig {
        steps: fixture.steps,
        warmup: fixture.warmup,
        learning_rate: fixture.max_learning_rate,
        ..TrainingConfig::default()
    };
    let mut scheduler = Schedule::new(&training).unwrap().scheduler();
    for (index, step) in fixture.cases[0].steps.iter().enumerate() {
        assert!(relative(schedule.learning_rate(index), step.learning_rate) < 1e-14);
        assert!(relative(schedule.beta1(index), step.beta1) < 1e-14);
        assert_eq!(scheduler.step(), schedule.learning_rate(index));
    }
}

#[test]
fn one_cycle_follows_pytorch_at_the_corners_of_the_published_protocols() {
    for wanted in Fixture::read().schedules {
        let ours = OneCycle::new(wanted.steps, wanted.warmup, wanted.max_learning_rate).unwrap();
        for point in wanted.points {
            let learning_rate = relative(ours.learning_rate(point.step), point.learning_rate);
            let beta1 = relative(ours.beta1(point.step), point.beta1);
            assert!(
                learning_rate < 1e-14 && beta1 < 1e-14,
                "{} steps, step {}: off by {learning_rate:e} and {beta1:e}",
                wanted.steps,
                point.step
            );
        }
    }
}

#[test]
fn one_cycle_has_a_value_at_every_step_of_degenerate_schedules() {
    for (steps, warmup) in [(1, 0), (1, 1), (2, 1), (2, 2), (10, 0), (10, 1), (10, 10)] {
        let schedule = OneCycle::new(steps, warmup, 1e-3).unwrap();
        for step in 0..steps + 3 {
            let learning_rate = schedule.learning_rate(step);
            assert!(
                (0.999 * 4e-9..=1e-3).contains(&learning_rate),
                "{steps} steps, warmup {warmup}, step {step}: {learning_rate:e}"
            );
            assert!((0.85..=0.95).contains(&schedule.beta1(step)));
        }
        assert_eq!(
            schedule.learning_rate(steps - 1),
            schedule.learning_rate(steps + 2)
        );
    }
}

#[test]
fn a_scheduler_resumes_from_its_record() {
    let training = TrainingConfig {
        steps: 20,
        warmup: 6,
        learning_rate: 1e-2,
        ..TrainingConfig::default()
    };
    let schedule = Schedule::new(&training).unwrap();
    let mut scheduler = schedule.clone().scheduler();
    for _ in 0..7 {
        scheduler.step();
    }
    let mut resumed = schedule.clone().scheduler();
    resumed.load_record(scheduler.to_record());
    assert_eq!(resumed, scheduler);
    assert_eq!(resumed.step(), schedule.learning_rate(7));
}

#[cfg(feature = "flex")]
#[test]
fn adamw_resumes_to_the_bit_from_its_record() {
    resumes_to_the_bit(&Device::flex());
}

#[test]
fn adamw_resumes_to_the_bit_on_wgpu() {
    if let Some(name) = common::adapter() {
        resumes_to_the_bit(&device::resolve(&name).unwrap().device);
    }
}

fn resumes_to_the_bit(device: &Device) {
    let fixture = Fixture::read();
    let case = fixture.cases.last().unwrap();
    let schedule = fixture.schedule();
    let model = fixture.model(case, device);
    let mut straight = (fixture.optimizer(case), model.clone());
    let mut resumed = (fixture.optimizer(case), model);
    for (index, step) in case.steps.iter().enumerate() {
        // Twice in a row at one place: what was restored can be saved again before any step.
        for _ in 0..(index % 3) {
            let bytes = resumed.0.into_bytes().unwrap();
            resumed.0 = fixture.optimizer(case).from_bytes(bytes).unwrap();
        }
        for (optimizer, model) in [&mut straight, &mut resumed] {
            let learning_rate = schedule.learning_rate(index);
            *model = fixture.step(optimizer, model.clone(), step, learning_rate, device);
        }
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(straight.1.weight()), bits(resumed.1.weight()));
        assert_eq!(bits(straight.1.bias()), bits(resumed.1.bias()));
    }
    // Two moments a parameter.
    assert_eq!(resumed.0.to_record().len(), 4);
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let message = |error: OptimError| error.to_string();
    assert_eq!(
        message(OneCycle::new(0, 0, 1e-4).unwrap_err()),
        "a schedule of 0 steps trains nothing: set `steps` to at least 1"
    );
    assert_eq!(
        message(OneCycle::new(100, 1000, 1e-4).unwrap_err()),
        "`warmup` is 1000, longer than the schedule of 100 steps: \
         set `warmup` to 100 or less, or raise `steps`"
    );
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = message(OneCycle::new(100, 10, bad).unwrap_err());
        assert!(error.starts_with("`learning_rate` is"), "{error}");
    }
    let good = AdamWConfig {
        beta1: Beta1::Constant(0.9),
        beta2: 0.999,
        epsilon: 1e-6,
        weight_decay: 0.0,
    };
    assert!(good.build().is_ok());
    for (bad, name) in [
        (
            AdamWConfig {
                beta1: Beta1::Constant(1.0),
                ..good
            },
            "beta1",
        ),
        (AdamWConfig { beta2: 1.0, ..good }, "beta2"),
        (
            AdamWConfig {
                epsilon: f64::NAN,
                ..good
            },
            "epsilon",
        ),
        (
            AdamWConfig {
                weight_decay: -0.1,
                ..good
            },
            "weight_decay",
        ),
    ] {
        let error = message(bad.build().unwrap_err());
        assert!(error.starts_with(&format!("`{name}` is")), "{error}");
    }
}
