//! The classifier as `burn-train` wants it: a training step and an inference step.

use burn::module::Module;
use burn::tensor::{Int, Tensor, activation};
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};
use transformer_ls_burn::Classifier;
use transformer_ls_infer::batch::Batch;

use super::figures::{Pending, StepOutput};

/// A classifier in training.
#[derive(Module, Debug)]
pub struct TrainingModel {
    /// The model itself.
    pub classifier: Classifier,
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
    /// The batch's mean loss, with its graph, and its figures without.
    fn measure(&self, batch: Batch) -> (Tensor<1>, StepOutput) {
        let (labels, samples, tokens) = (batch.labels.clone(), batch.count, batch.real_tokens);
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
