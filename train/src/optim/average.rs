//! An exponential moving average of weights.
//!
//! Polyak and Juditsky's averaging (1992) with a fixed decay, as PyTorch's `AveragedModel` with
//! `get_ema_multi_avg_fn` computes it: the first weights as they are, then
//! `mean ← mean + (1 − decay) (weights − mean)` after each step.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// The moving average of a module's weights.
#[derive(Clone, Debug)]
pub struct MovingAverage<M> {
    decay: f64,
    mean: Option<M>,
}

impl<M: Module> MovingAverage<M> {
    /// An average of nothing yet, that keeps `decay` of itself at each step.
    pub fn new(decay: f64) -> Self {
        Self { decay, mean: None }
    }

    /// An average that goes on from `mean`.
    pub fn resumed(decay: f64, mean: M) -> Self {
        Self {
            decay,
            mean: Some(mean),
        }
    }

    /// The average, once there is one.
    pub fn mean(&self) -> Option<&M> {
        self.mean.as_ref()
    }

    /// Enters the weights after a step; `weights` is a module without autodiff.
    pub fn enter(&mut self, weights: M) {
        self.mean = Some(match self.mean.take() {
            None => weights,
            Some(mean) => {
                let mut collect = Collect::default();
                weights.visit(&mut collect);
                mean.map(&mut Approach {
                    weights: collect.weights,
                    share: 1.0 - self.decay,
                })
            }
        });
    }
}

/// A module's tensors by their parameters' identities.
#[derive(Default)]
struct Collect {
    weights: TensorContainer<ParamId>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.weights.register(param.id, param.val());
    }
}

/// Moves each tensor a share of the way to another.
struct Approach {
    weights: TensorContainer<ParamId>,
    share: f64,
}

impl ModuleMapper for Approach {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weights) = self.weights.remove::<Tensor<D>>(&param.id) else {
            return param;
        };
        param.map(|mean| weights.sub(mean.clone()).mul_scalar(self.share).add(mean))
    }
}
