//! AdamW in PyTorch's order of operations, with a β₁ that may follow a schedule.
//!
//! Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), as
//! PyTorch's `torch.optim.AdamW` computes it. Burn's own differs where it matters for these
//! protocols: its β₁ is fixed, and it divides both moments by their bias corrections, where
//! PyTorch folds the first into the step size and divides √v, which moves ε.

use std::sync::{Arc, OnceLock};

use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};
use transformer_ls_burn::ops::adamw::{AdamWParameter, AdamWUpdate, takes};

use super::gather::{self, Gathered};
use super::{OneCycle, OptimError, check};

/// Where β₁ comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beta1 {
    /// One value for the whole training.
    Constant(f64),
    /// The schedule's value at the parameter's step.
    Cycled(OneCycle),
}

impl Beta1 {
    /// β₁ of the update made after `step` others.
    fn at(&self, step: usize) -> f64 {
        match self {
            Beta1::Constant(beta1) => *beta1,
            Beta1::Cycled(schedule) => schedule.beta1(step),
        }
    }
}

/// The settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the running mean of gradients.
    pub beta1: Beta1,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a parameter that an update takes away, times the learning rate.
    pub weight_decay: f64,
}

impl AdamWConfig {
    /// The optimizer of a single parameter, for Burn's parameter groups.
    ///
    /// # Errors
    ///
    /// Names the first setting that is outside its range.
    pub fn build(&self) -> Result<AdamW, OptimError> {
        let decay = "at least 0 and less than 1";
        if let Beta1::Constant(beta1) = self.beta1 {
            check("beta1", beta1, (0.0..1.0).contains(&beta1), decay)?;
        }
        check("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), decay)?;
        for (name, value) in [
            ("epsilon", self.epsilon),
            ("weight_decay", self.weight_decay),
        ] {
            let ok = value.is_finite() && value >= 0.0;
            check(name, value, ok, "at least 0 and finite")?;
        }
        Ok(AdamW { config: *self })
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Names the first setting that is outside its range.
    pub fn init(&self) -> Result<ModuleOptimizer, OptimError> {
        Ok(self.build()?.into())
    }
}

/// AdamW, configured by [`AdamWConfig`].
///
/// With `t` the number of updates of this parameter, this one included, and `β₁` the schedule's
/// value at step `t − 1`:
///
/// ```text
/// θ ← θ (1 − lr λ)
/// m ← m + (g − m)(1 − β₁)
/// v ← v β₂ + g² (1 − β₂)
/// θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
/// ```
///
/// Like PyTorch, the bias correction takes *today's* β₁ to the power `t`, whatever β₁ was before.
/// A parameter that gets no gradient in some step makes no update, and its `t` waits with it: so
/// does its β₁, where PyTorch's would go on with the others'.
#[derive(Clone, Debug)]
pub struct AdamW {
    config: AdamWConfig,
}

/// What [`AdamW`] remembers of one parameter.
#[derive(Clone, Debug)]
pub struct AdamWState<const D: usize> {
    /// Updates made.
    updates: usize,
    /// Running mean of gradients, m.
    first: Moment<D>,
    /// Running mean of squared gradients, v.
    second: Moment<D>,
}

/// A running mean.
///
/// When Burn restores a record it doesn't know yet where the parameter lives and names the
/// default device, which may be a GPU that this machine lacks. So what was read stays as it is
/// until an update names the right device.
#[derive(Clone, Debug)]
enum Moment<const D: usize> {
    Ready(Tensor<D>),
    Read(TensorData),
    /// There once the updates of a step that were gathered are made.
    Gathered(Arc<OnceLock<Tensor<D>>>),
}

impl<const D: usize> Moment<D> {
    /// The tensor, on `device`.
    fn on(self, device: &Device) -> Tensor<D> {
        match self {
            Moment::Ready(tensor) => tensor.to_device(device),
            Moment::Read(data) => {
                let dtype = data.dtype();
                Tensor::from_data(data, (device, dtype))
            }
            Moment::Gathered(slot) => Self::of(&slot).clone().to_device(device),
        }
    }

    /// What was put into a slot.
    fn of(slot: &OnceLock<Tensor<D>>) -> &Tensor<D> {
        slot.get()
            .expect("gathered updates are made within the step")
    }

    fn data(&self) -> TensorData {
        match self {
            Moment::Ready(tensor) => tensor.to_data(),
            Moment::Read(data) => data.clone(),
            Moment::Gathered(slot) => Self::of(slot).to_data(),
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let AdamWConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.config;
        let before = state.as_ref().map_or(0, |state| state.updates);
        let updates = before + 1;
        let beta1 = beta1.at(before);
        let power = updates as f64;
        let update = AdamWUpdate {
            decay: 1.0 - lr * weight_decay,
            beta1,
            beta2,
            step_size: lr / (1.0 - beta1.powf(power)),
            root_correction: (1.0 - beta2.powf(power)).sqrt(),
            epsilon,
        };
        if gather::gathers() && takes(&tensor) {
            return gather(updates, update, tensor, grad, state);
        }
        gather::note(None);

        let tensor = if weight_decay == 0.0 {
            tensor
        } else {
            tensor.mul_scalar(update.decay)
        };

        // Both start at zero; the first update skips the arithmetic that zeros would leave as is.
        let added_first = 1.0 - beta1;
        let added_second = grad.clone().mul_scalar(1.0 - beta2).mul(grad.clone());
        let (first, second) = match state {
            Some(state) => {
                let device = grad.device();
                let first = state.first.on(&device);
                let second = state.second.on(&device);
                (
                    grad.sub(first.clone()).mul_scalar(added_first).add(first),
                    second.mul_scalar(beta2).add(added_second),
                )
            }
            None => (grad.mul_scalar(added_first), added_second),
        };

        let denominator = second
            .clone()
            .sqrt()
            .div_scalar(update.root_correction)
            .add_scalar(epsilon);
        let step = first.clone().mul_scalar(-update.step_size).div(denominator);

        let state = AdamWState {
            updates,
            first: Moment::Ready(first),
            second: Moment::Ready(second),
        };
        (tensor.add(step), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamWState {
            updates: state.updates,
            first: Moment::Ready(state.first.on(device)),
            second: Moment::Ready(state.second.on(device)),
        }
    }
}

/// Leaves the update to the end of the step: returns the parameter as it is, and where its running means
/// will be.
fn gather<const D: usize>(
    updates: usize,
    update: AdamWUpdate,
    tensor: Tensor<D>,
    grad: Tensor<D>,
    state: Option<AdamWState<D>>,
) -> (Tensor<D>, Option<AdamWState<D>>) {
    let device = tensor.device();
    let (first, second) = match state {
        Some(state) => (state.first.on(&device), state.second.on(&device)),
        None => (grad.zeros_like(), grad.zeros_like()),
    };
    let slots: [Arc<OnceLock<Tensor<D>>>; 2] = Default::default();
    let [to_first, to_second] = slots.clone();
    gather::note(Some(Gathered {
        parameter: AdamWParameter::Filled {
            parameter: tensor.clone().into_dispatch(),
            gradient: grad.into_dispatch(),
            first: first.into_dispatch(),
            second: second.into_dispatch(),
        },
        update,
        settle: Box::new(move |[first, second]| {
            to_first.get_or_init(|| Tensor::from_dispatch(first));
            to_second.get_or_init(|| Tensor::from_dispatch(second));
        }),
    }));
    let [first, second] = slots.map(Moment::Gathered);
    let state = AdamWState {
        updates,
        first,
        second,
    };
    (tensor, Some(state))
}

// By hand: Burn's derive can only be used within its own crate.
impl<const D: usize> RecordState for AdamWState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "updates", self.updates.into());
        out.push_tensor(prefix, "first", self.first.data());
        out.push_tensor(prefix, "second", self.second.data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, _device: &Device) -> Option<Self> {
        Some(Self {
            updates: usize::try_from(src.take_scalar(prefix, "updates")?).ok()?,
            first: Moment::Read(src.take_tensor(prefix, "first")?),
            second: Moment::Read(src.take_tensor(prefix, "second")?),
        })
    }
}
