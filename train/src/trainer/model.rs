//! The model as `burn-train` wants it: a training step and an inference step, of classifying or of
//! filling in tokens.

use std::ops::ControlFlow;

use burn::data::dataset::Dataset;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, activation};
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};
use transformer_ls_burn::weights::{self, StateDict, WeightsError};
use transformer_ls_burn::{Classifier, Decoder};
use transformer_ls_datasets::Sample;
use transformer_ls_infer::batch::{Batch as LabelledBatch, Batcher, MaskedBatch};
use transformer_ls_infer::evaluate::{
    EvaluateError, Evaluation, Judged, Progress, Score, evaluate, evaluate_by,
};

use super::figures::{Pending, StepOutput};
use super::masking::Masking;

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
pub enum Batch {
    /// Documents and their classes.
    Labelled(LabelledBatch),
    /// Documents with hidden tokens.
    Masked(MaskedBatch),
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

    /// The weights that are worth keeping: a classifier's, or an encoder's and its decoder's.
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
    fn measure(&self, batch: Batch) -> (Tensor<1>, StepOutput) {
        match batch {
            Batch::Labelled(batch) => {
                let (labels, samples, tokens) =
                    (batch.labels.clone(), batch.count, batch.real_tokens);
                let logits = batch.logits(&self.classifier);
                let loss = cross_entropy(logits.clone(), labels.clone());
                let figures = Pending {
                    loss: loss.clone().without_autodiff(),
                    hits: hits(logits.without_autodiff(), labels.without_autodiff()),
                    samples,
                    tokens,
                };
                (loss, StepOutput::Pending(Box::new(figures)))
            }
            Batch::Masked(batch) => {
                let (samples, tokens) = (batch.masked, batch.real_tokens);
                let (loss, hits) = self.fill_in(batch);
                let figures = Pending {
                    loss: loss.clone().without_autodiff(),
                    hits: hits.without_autodiff(),
                    samples,
                    tokens,
                };
                (loss, StepOutput::Pending(Box::new(figures)))
            }
        }
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
        decoder.loss(filled, targets)
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
        evaluate_by(dev, batch_size, progress, &mut |first, samples| {
            let mask = masking.dev(first);
            let hides = |document, place| mask.hides(document, place);
            let batch = batcher.masked_batch(samples, device, None, &hides);
            let (answers, tokens) = (batch.masked, batch.real_tokens);
            let (loss, hits) = self.fill_in(batch);
            let failed = |error: burn::tensor::TensorReadError| EvaluateError::Device {
                problem: error.to_string(),
            };
            let loss: f32 = loss.try_into_scalar().map_err(failed)?;
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

/// A step of training on `batch`: forward and backward pass, schedule, optimizer.
pub(crate) fn take_step(learner: &mut Learner<TrainingModel>, batch: Batch) -> StepOutput {
    let output = learner.train_step(batch);
    learner.lr_step();
    learner.optimizer_step(output.grads);
    output.item
}

impl TrainStep for TrainingModel {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> TrainOutput<StepOutput> {
        let (loss, figures) = self.measure(batch);
        TrainOutput::new(self, loss.backward(), figures)
    }
}

impl InferenceStep for TrainingModel {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> StepOutput {
        self.measure(batch).1
    }
}
