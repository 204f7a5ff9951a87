//! Clipping by the norm of the whole gradient.
//!
//! Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (arXiv
//! 1211.5063), as PyTorch's `clip_grad_norm_` computes it. Burn's `GradientClipping` takes each
//! parameter's norm by itself, which changes the gradient's direction.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Keeps a norm of 0 from being divided by, as PyTorch does.
const EPSILON: f64 = 1e-6;

/// Scales the gradients of `module` down so that their norm, all of them taken as one vector, is
/// `max_norm`; a shorter gradient stays as it is.
///
/// All of it is queued on the device: nothing is read back.
pub fn clip_norm<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    max_norm: f64,
) -> GradientsParams {
    let mut squares = Squares {
        gradients: &gradients,
        sums: Vec::new(),
    };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return gradients;
    }
    let norm = Tensor::cat(squares.sums, 0).sum().sqrt();
    let factor = norm
        .add_scalar(EPSILON)
        .recip()
        .mul_scalar(max_norm)
        .clamp_max(1.0);
    module.visit(&mut Scale {
        gradients: &mut gradients,
        factor,
    });
    gradients
}

/// The sum of squares of each parameter's gradient, `[1]` each.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.clone().mul(gradient).sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    /// `[1]`
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(param.id, gradient.mul(factor));
        }
    }
}
