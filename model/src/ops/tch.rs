//! LibTorch: the plain bodies, but for the GELU, whose own pair is exact there.

use std::sync::Once;

use burn::backend::ops::ActivationOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Device, Tensor};
use burn_tch::LibTorch;

use super::LongShortBackend;
use super::layers::LayersBackend;

/// Opens LibTorch and calls its elementwise functions once, from one thread.
///
/// Intel's MKL finds the code of such a function at its first call. Where several threads make
/// that call, one of them can run code of low accuracy (errors of 1e-4), in that call only
/// (pytorch/pytorch#188792, every release up to 2.10). Programs call this before their first step.
#[allow(deprecated, reason = "Burn 0.23 drops LibTorch; 0.22 still has it")]
pub fn libtorch_device() -> Device {
    static CALLED: Once = Once::new();
    let device = Device::libtorch();
    CALLED.call_once(|| {
        let half = Tensor::<1>::from_floats([0.5], &device);
        let all =
            half.clone().exp() + half.clone().log() + half.clone().sqrt() + half.clone().erf();
        let _ = (all + half.clone().tanh() + half.clone().sin() + half.cos()).into_data();
    });
    device
}

impl LongShortBackend for LibTorch {}

impl LayersBackend for LibTorch {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ActivationOps<Self>>::gelu(x)
    }

    fn exact_gelu_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ActivationOps<Self>>::gelu_backward(x, d_output)
    }
}
