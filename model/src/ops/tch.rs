//! LibTorch: the plain bodies, but for the GELU, whose own pair is exact there.

use burn::backend::ops::ActivationOps;
use burn::backend::tensor::FloatTensor;
use burn_tch::LibTorch;

use super::LongShortBackend;

impl LongShortBackend for LibTorch {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ActivationOps<Self>>::gelu(x)
    }

    fn exact_gelu_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ActivationOps<Self>>::gelu_backward(x, d_output)
    }
}
