//! Training in mixed precision: passes in float16; weights, gradients' sums and updates in float32.
//!
//! Micikevicius et al., "Mixed Precision Training" (arXiv 1710.03740), section 3: a float32 master
//! copy of the weights, and a loss that is scaled up so that small gradients don't fall below the
//! smallest float16. The scale moves as PyTorch's `GradScaler` moves it.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorReadError};
use serde::{Deserialize, Serialize};

/// By how much the loss is scaled, and for how many steps that has gone well.
///
/// The first scale, both factors and the interval are the defaults of PyTorch's `GradScaler`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    factor: f64,
    steps: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            factor: 65_536.0,
            steps: 0,
        }
    }
}

impl LossScale {
    /// Steps without an overflow until the scale is doubled.
    const INTERVAL: usize = 2000;

    /// What the loss is multiplied by, and its gradients are divided by.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Whether the scale has fallen below 1: then it is not the scaling that float16 has no room for.
    pub fn is_spent(&self) -> bool {
        self.factor < 1.0
    }

    /// After a step whose gradients were all `finite`, or were not: then the scale is halved.
    pub fn update(&mut self, finite: bool) {
        self.steps = if finite { self.steps + 1 } else { 0 };
        if !finite {
            self.factor *= 0.5;
        } else if self.steps == Self::INTERVAL {
            self.factor *= 2.0;
            self.steps = 0;
        }
    }
}

/// A copy of `module` with all floats in float16, to be differentiated in its place: its parameters
/// have the same ids.
pub fn half_copy<M: Module>(module: &M) -> M {
    module.valid().map(&mut ToHalf).train()
}

struct ToHalf;

impl ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| x.cast(DType::F16))
    }
}

/// The `gradients` of a scaled loss in float32, divided by `scale`.
pub fn unscaled<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    scale: f64,
) -> GradientsParams {
    module.visit(&mut Unscale {
        gradients: &mut gradients,
        scale,
    });
    gradients
}

struct Unscale<'a> {
    gradients: &'a mut GradientsParams,
    scale: f64,
}

impl ModuleVisitor for Unscale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let gradient = gradient.cast(DType::F32).div_scalar(self.scale);
            self.gradients.register(param.id, gradient);
        }
    }
}

/// Whether every number of the gradients of `module` is finite. Waits for the device.
///
/// # Errors
///
/// The device fails.
pub fn are_finite<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> Result<bool, TensorReadError> {
    let mut sums = Sums {
        gradients,
        sums: Vec::new(),
    };
    module.visit(&mut sums);
    if sums.sums.is_empty() {
        return Ok(true);
    }
    let sum: f32 = Tensor::cat(sums.sums, 0).sum().try_into_scalar()?;
    Ok(sum.is_finite())
}

/// The sum of each parameter's absolute values. What is infinite is found here, on the host: shader compilers
/// may assume that nothing is.
struct Sums<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Sums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.abs().sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_moves_as_pytorchs_does() {
        let mut scale = LossScale::default();
        for _ in 0..1999 {
            scale.update(true);
        }
        assert_eq!(scale.factor(), 65_536.0);
        scale.update(false);
        assert_eq!(scale.factor(), 32_768.0);
        for _ in 0..1999 {
            scale.update(true);
        }
        assert_eq!(scale.factor(), 32_768.0);
        scale.update(true);
        assert_eq!(scale.factor(), 65_536.0);
        // 2^16 can be halved 16 times.
        for _ in 0..16 {
            scale.update(false);
        }
        assert!(!scale.is_spent());
        scale.update(false);
        assert!(scale.is_spent());
    }
}
