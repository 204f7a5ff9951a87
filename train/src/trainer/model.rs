//! The model as `burn-train` wants it: a training step and an inference step, of classifying or of
//! filling in tokens.

use std::ops::ControlFlow;

use burn::data::dataset::Dataset;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, Device, Int, Tensor, TensorReadError, activation};
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};
use transformer_ls_burn::weights::{self, StateDict, WeightsError};
use transformer_ls_burn::{Classifier, Decoder};
use transformer_ls_datasets::Sample;
use transformer_ls_infer::batch::{Batch as LabelledBatch, Batcher, MaskedBatch};
use transformer_ls_infer::evaluate::{
    EvaluateError, Evaluation, Judged, Progress, Score, evaluate, evaluate_by,
};

use transformer_ls_infer::run::{Precision, TrainingConfig};

use super::figures::{Pending, Sums};
use super::masking::Masking;
use crate::optim::{LossScale, are_finite, clip_norm, half_copy, unscaled, update};

/// A model in training.
#[derive(Module, Debug)]
pub struct TrainingModel {
    /// The model itself. In pretraining its head is idle.
    pub classifier: Classifier,
    /// What fills in tokens, in pretraining.
    pub decoder: Option<Decoder>,
}

/// What a step learns from.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one a step, and a box would be opened at once"
)]
pub enum Batch {
    /// Documents and their classes.
    Labelled(LabelledBatch),
    /// Documents with hidden tokens.
    Masked(MaskedBatch),
}

impl Batch {
    /// How many answers are judged: one a sample, or one a hidden token.
    fn answers(&self) -> usize {
        match self {
            Self::Labelled(batch) => batch.count,
            Self::Masked(batch) => batch.masked,
        }
    }
}

impl From<LabelledBatch> for Batch {
    fn from(batch: LabelledBatch) -> Self {
        Self::Labelled(batch)
    }
}

/// Mean cross-entropy of `logits` `[n, classes]` against `labels` `[n]`; shape `[1]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    activation::log_softmax(logits, 1)
        .gather(1, labels.unsqueeze_dim(1))
        .mean()
        .neg()
}

/// [`cross_entropy`] against targets of which a share `smoothing` goes to all classes alike.
///
/// Szegedy and others, "Rethinking the Inception Architecture" (arXiv 1512.00567), section 7, as
/// PyTorch's `CrossEntropyLoss(label_smoothing=…)` computes it. Shape `[1]`.
pub fn smoothed_cross_entropy(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    smoothing: f64,
) -> Tensor<1> {
    if smoothing == 0.0 {
        return cross_entropy(logits, labels);
    }
    let log_probabilities = activation::log_softmax(logits, 1);
    let of_label = log_probabilities
        .clone()
        .gather(1, labels.unsqueeze_dim(1))
        .mean();
    let of_all = log_probabilities.mean();
    of_label
        .mul_scalar(smoothing - 1.0)
        .sub(of_all.mul_scalar(smoothing))
}

/// How many of `labels` have the greatest logit; shape `[1]`.
pub fn hits(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1, Int> {
    logits
        .argmax(1)
        .squeeze_dim::<1>(1)
        .equal(labels)
        .int()
        .sum()
}

impl TrainingModel {
    /// A classifier in training.
    pub fn new(classifier: Classifier) -> Self {
        Self {
            classifier,
            decoder: None,
        }
    }

    /// The weights to save: a classifier's, or an encoder's and its decoder's.
    ///
    /// # Errors
    ///
    /// A tensor can't be read from its device.
    pub fn state_dict(&self) -> Result<StateDict, WeightsError> {
        let classifier = weights::state_dict(&self.classifier)?;
        match &self.decoder {
            None => Ok(classifier),
            Some(decoder) => Ok(classifier
                .encoder()
                .with(weights::decoder_state_dict(decoder)?)),
        }
    }

    /// The batch's mean loss, with its graph, and its figures without.
    fn measure(&self, batch: Batch, label_smoothing: f64) -> (Tensor<1>, Pending) {
        let samples = batch.answers();
        let (loss, hits, tokens) = match batch {
            Batch::Labelled(batch) => {
                let (labels, tokens) = (batch.labels.clone(), batch.real_tokens);
                let logits = batch.logits(&self.classifier).cast(DType::F32);
                let loss = smoothed_cross_entropy(logits.clone(), labels.clone(), label_smoothing);
                let hits = hits(logits.without_autodiff(), labels.without_autodiff());
                (loss, hits, tokens)
            }
            Batch::Masked(batch) => {
                let tokens = batch.real_tokens;
                let (loss, hits) = self.fill_in(batch);
                (loss, hits.without_autodiff(), tokens)
            }
        };
        let figures = Pending {
            loss: loss.clone().without_autodiff(),
            hits,
            samples,
            tokens,
            skipped: false,
        };
        (loss, figures)
    }

    /// The mean loss over the batch's hidden tokens, and how many of them were found.
    fn fill_in(&self, batch: MaskedBatch) -> (Tensor<1>, Tensor<1, Int>) {
        let decoder = self
            .decoder
            .as_ref()
            .expect("masked batches go to a model with a decoder");
        let targets = batch.tokens.iter().map(|tokens| tokens.targets()).collect();
        let targets = Tensor::cat(targets, 0);
        let filled = decoder.forward(&self.classifier.encoder, batch.tokens);
        decoder.loss(filled.cast(DType::F32), targets)
    }

    /// How well the model does on dev: at classifying, or at filling in what `masking` hides.
    ///
    /// # Errors
    ///
    /// As [`evaluate`].
    pub fn evaluate(
        &self,
        masking: Option<Masking>,
        dev: &dyn Dataset<Sample>,
        batcher: &Batcher,
        batch_size: usize,
        device: &Device,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Evaluation, EvaluateError> {
        let Some(masking) = masking else {
            return evaluate(&self.classifier, dev, batcher, batch_size, device, progress);
        };
        evaluate_by(dev, batch_size, false, progress, &mut |first, samples| {
            let mask = masking.dev(first);
            let hides = |document, place| mask.hides(document, place);
            let batch = batcher
                .masked_on_host(samples, &hides)
                .to_device(device, None);
            let (answers, tokens) = (batch.masked, batch.real_tokens);
            let (loss, hits) = self.fill_in(batch);
            let failed =
                |error: burn::tensor::TensorReadError| EvaluateError::Device(error.to_string());
            let loss: f32 = loss.try_into_scalar().map_err(failed)?;
            if !loss.is_finite() {
                return Err(EvaluateError::NotANumber);
            }
            let hits: i64 = hits.try_into_scalar().map_err(failed)?;
            Ok(Judged {
                score: Score {
                    loss_sum: f64::from(loss) * answers as f64,
                    correct: hits.max(0) as usize,
                },
                answers,
                tokens,
            })
        })
    }
}

/// The gradient of a step whose samples come in `parts`, and the step's figures.
///
/// It is the mean over all answers, however they are cut: each part's loss weighs as many as it has.
/// Where passes are in float16, their losses are multiplied by `scale`, and the sum of their gradients, in
/// float32 all the same, is divided by it.
fn gradient(
    model: &TrainingModel,
    parts: Vec<Batch>,
    training: &TrainingConfig,
    scale: f64,
) -> (GradientsParams, Pending) {
    let half = match training.precision {
        Precision::F32 => None,
        Precision::F16 => Some(half_copy(model)),
    };
    let answers: usize = parts.iter().map(Batch::answers).sum();
    let mut sum = GradientsAccumulator::new();
    let mut figures = Vec::with_capacity(parts.len());
    for part in parts {
        let share = part.answers() as f64 / answers as f64;
        let working = half.as_ref().unwrap_or(model);
        let (loss, of_part) = working.measure(part, training.label_smoothing);
        let factor = match half {
            None => share,
            Some(_) => share * scale,
        };
        let loss = match factor == 1.0 {
            true => loss,
            false => loss.mul_scalar(factor),
        };
        let mut gradients = GradientsParams::from_grads(loss.backward(), working);
        if half.is_some() {
            gradients = unscaled(working, gradients, scale);
        }
        sum.accumulate(model, gradients);
        figures.push(of_part);
    }
    (sum.grads(), Pending::join(figures))
}

/// A step of training on a batch that comes in `parts`: forward and backward passes, schedule,
/// optimizer. If a gradient overflows float16, the `scale` changes and the weights do not.
///
/// # Errors
///
/// The device fails, where passes are in float16: their gradients are looked at.
pub(crate) fn take_step(
    learner: &mut Learner<TrainingModel>,
    parts: Vec<Batch>,
    training: &TrainingConfig,
    scale: &mut LossScale,
) -> Result<Pending, TensorReadError> {
    let model = learner.model();
    let (mut gradients, mut figures) = gradient(&model, parts, training, scale.factor());
    if training.precision == Precision::F16 {
        let finite = are_finite(&model, &gradients)?;
        scale.update(finite);
        if !finite {
            figures.skipped = true;
            learner.lr_step();
            return Ok(figures);
        }
    }
    if let Some(max_norm) = training.clip_norm {
        gradients = clip_norm(&model, gradients, max_norm);
    }
    drop(model);
    learner.lr_step();
    learner.optimizer_step(gradients);
    Ok(figures)
}

// burn-train asks for both; the loop takes its steps by [`take_step`] and evaluates by
// [`TrainingModel::evaluate`].
impl TrainStep for TrainingModel {
    type Input = Batch;
    type Output = Sums;

    fn step(&self, batch: Batch) -> TrainOutput<Sums> {
        let (loss, figures) = self.measure(batch, 0.0);
        TrainOutput::new(self, loss.backward(), figures.read().unwrap_or_default())
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        update(optimizer, rate, self, gradients)
    }
}

impl InferenceStep for TrainingModel {
    type Input = Batch;
    type Output = Sums;

    fn step(&self, batch: Batch) -> Sums {
        self.measure(batch, 0.0).1.read().unwrap_or_default()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Device;
    use transformer_ls_burn::attention::LongShortAttentionConfig;
    use transformer_ls_burn::{BlockConfig, Pooling, Positions, presets};
    use transformer_ls_datasets::{Sample, TokenIds};
    use transformer_ls_infer::batch::Batcher;
    use transformer_ls_infer::device;

    use super::*;
    use crate::trainer::order::part_of;
    use crate::trainer::{check_precision, initial_weights};

    /// A gradient's tensors, one after the other.
    struct Numbers<'a>(&'a GradientsParams, Vec<Vec<f32>>);

    impl ModuleVisitor for Numbers<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).expect("a gradient");
            self.1
                .push(gradient.into_data().try_to_vec().expect("numbers"));
        }
    }

    fn samples(count: usize) -> Vec<Sample> {
        let document = |index: usize| {
            let length = 5 + 7 * index % 60;
            (0..length)
                .map(|place| (1 + (index * 31 + place * 17) % 15) as u16)
                .collect()
        };
        let sample = |index| Sample {
            documents: TokenIds::One(document(index)),
            label: (index * 7 % 10) as u8,
        };
        (0..count).map(sample).collect()
    }

    /// The default adapter, if it computes in float16.
    fn half_device(training: &TrainingConfig) -> Option<Device> {
        let mut names = device::list().into_iter().map(|info| info.name);
        let Some(name) = names.find(|name| name.starts_with("wgpu")) else {
            let demanded = std::env::var("LS_REQUIRE_WGPU").is_ok_and(|value| value == "1");
            assert!(
                !demanded,
                "LS_REQUIRE_WGPU=1, and no WGPU adapter was found"
            );
            eprintln!("NOT TESTED: no WGPU adapter was found (Mesa's software Vulkan would do)");
            return None;
        };
        let chosen = device::resolve(&name).expect("a device that is listed");
        if check_precision(training, &chosen).is_err() {
            eprintln!("NOT TESTED: {name} does not compute in float16");
            return None;
        }
        Some(chosen.device)
    }

    /// Each tensor of the gradient is as far off as rounding to 11 bits may take it: below 2 % of its
    /// length, or of a thousandth of all, since the gradient of `W_p`'s bias is 0.
    #[test]
    fn float16_gives_the_gradient_of_float32() {
        let half = TrainingConfig {
            precision: Precision::F16,
            ..TrainingConfig::default()
        };
        let Some(wgpu) = half_device(&half) else {
            return;
        };
        let plain = presets::find("listops").expect("a preset").model;
        let mut strong = plain.clone();
        strong.encoder.embedding.positions = Positions::None;
        strong.encoder.pooling = Pooling::MeanReal;
        let batcher = Batcher::new(32, false);
        let samples = samples(8);
        let of_strong = |strong| {
            let attention = LongShortAttentionConfig::new(16, 2).with_rank(4);
            attention.with_rotary(strong).with_offset_bias(strong)
        };
        for (name, mut config, is_strong) in [("listops", plain, false), ("rotary", strong, true)] {
            config.encoder.embedding.max_length = 32;
            config.encoder.block = BlockConfig {
                attention: of_strong(is_strong).into(),
                d_ff: 16,
                dropout: 0.0,
            };
            config.encoder.layers = 1;
            config.d_head = 16;
            // Drawn once: the backend's generator is one for all tests of this process.
            let drawn = initial_weights(&config, 5, &Device::flex()).expect("a model");
            let drawn = weights::state_dict(&drawn).expect("weights on the host");
            let of = |device: &Device, training: &TrainingConfig| {
                let device = device.clone().autodiff();
                let classifier = config.init(&device).expect("a model");
                let classifier = weights::load(classifier, drawn.clone());
                let model = TrainingModel::new(classifier.expect("its own weights"));
                let batch = batcher.batch(&samples, &device, None).into();
                let (gradient, figures) = gradient(&model, vec![batch], training, 4096.0);
                let mut numbers = Numbers(&gradient, Vec::new());
                model.visit(&mut numbers);
                (numbers.1, figures.read().expect("figures").mean_loss())
            };
            let (exact, exact_loss) = of(&Device::flex(), &TrainingConfig::default());
            let (found, loss) = of(&wgpu, &half);
            assert!(
                (loss - exact_loss).abs() < 5e-3 * exact_loss,
                "{name}: {loss} {exact_loss}"
            );
            let length = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let whole = length(&exact.concat());
            for (place, (found, exact)) in found.iter().zip(&exact).enumerate() {
                let apart: Vec<f32> = found.iter().zip(exact).map(|(a, b)| a - b).collect();
                let off = length(&apart) / length(exact).max(1e-3 * whole);
                assert!(
                    off < 0.02,
                    "{name}, tensor {place}: {off:.4} of its length off"
                );
            }
        }
    }

    #[test]
    fn parts_of_any_size_give_the_gradient_of_the_whole() {
        let device = Device::flex().autodiff();
        device.seed(5);
        let mut config = presets::find("listops").expect("a preset").model;
        config.encoder.embedding.max_length = 64;
        let classifier = config.init(&device).expect("a model");
        let model = TrainingModel::new(classifier);
        let samples = samples(32);
        let training = TrainingConfig {
            label_smoothing: 0.1,
            ..TrainingConfig::default()
        };
        let measured = |parts: usize, packed: bool| {
            let batcher = Batcher::new(64, packed);
            let cut = (0..parts).map(|part| part_of(&samples, part, parts));
            let batches = cut
                .map(|part| batcher.batch(part, &device, None).into())
                .collect();
            let (gradient, figures) = gradient(&model, batches, &training, 1.0);
            let mut numbers = Numbers(&gradient, Vec::new());
            model.visit(&mut numbers);
            (numbers.1, figures.read().expect("figures"))
        };
        for packed in [true, false] {
            let (whole, of_whole) = measured(1, packed);
            for parts in [4, 3, 32] {
                let (cut, of_cut) = measured(parts, packed);
                assert_eq!((of_cut.hits, of_cut.samples), (of_whole.hits, 32));
                assert_eq!(of_cut.tokens, of_whole.tokens);
                assert!((of_cut.loss - of_whole.loss).abs() < 1e-5 * of_whole.loss);
                for (cut, whole) in cut.iter().zip(&whole) {
                    let largest = whole.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
                    for (cut, whole) in cut.iter().zip(whole) {
                        let off = (cut - whole).abs();
                        assert!(off <= 2e-5 * largest + 1e-8, "{parts} parts: {cut} {whole}");
                    }
                }
            }
        }
    }
}
