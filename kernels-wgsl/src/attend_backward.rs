//! The backward pass of `attend`: its kernels, one after the other.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::attend::Attend;
use crate::attend_delta::attend_delta;
use crate::attend_dkv::attend_dkv;
use crate::attend_dlandmarks::attend_dlandmarks;
use crate::attend_dq::attend_dq;
use crate::attend_dtables::attend_dtables;
use crate::problem::Problem;

/// Gradients of [`attend`](crate::attend), each of its input's shape and type.
#[derive(Clone, Debug)]
pub struct AttendGradients {
    /// `[b, h, n, d]`
    pub query: CubeTensor,
    /// `[b, h, m, d]`
    pub key: CubeTensor,
    /// `[b, h, m, d]`
    pub value: CubeTensor,
    /// `[documents, h, r, d]`
    pub landmarks: Option<(CubeTensor, CubeTensor)>,
    /// `[documents, h, r]`
    pub landmark_bias: Option<CubeTensor>,
    /// `[h, entries]`
    pub bias: Option<CubeTensor>,
    /// `[h, entries, d]`
    pub relative_keys: Option<CubeTensor>,
}

/// What the backward kernels share.
pub(crate) struct Backward<'a> {
    pub inputs: &'a Attend<'a>,
    pub problem: Problem<'a>,
    pub context: CubeTensor,
    /// `[b, h, n, d]`
    pub d_output: &'a CubeTensor,
    /// (log-sum-exp, D) of each query `[b, h, n, 2]`.
    pub stats: CubeTensor,
}

/// Gradients of [`attend`](crate::attend).
///
/// # Shapes
///
/// - d_output, output: `[b, h, n, d]`; log_sum_exp: `[b, h, n]`
pub fn attend_backward(
    d_output: &CubeTensor,
    inputs: &Attend,
    output: &CubeTensor,
    log_sum_exp: &CubeTensor,
) -> AttendGradients {
    let problem = inputs.problem();
    let context = inputs.context(&problem);
    let log_sum_exp = into_contiguous(log_sum_exp.clone());
    let stats = attend_delta(&problem, &context, d_output, output, &log_sum_exp);
    let backward = Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    };
    let (key, value) = attend_dkv(&backward);
    let (bias, relative_keys) = attend_dtables(&backward);
    let (landmarks, landmark_bias) = attend_dlandmarks(&backward);
    AttendGradients {
        query: attend_dq(&backward),
        key,
        value,
        landmarks,
        landmark_bias,
        bias,
        relative_keys,
    }
}
