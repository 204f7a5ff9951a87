//! NdArray, the CPU backend that Burn 0.23 drops: the CPU kernels over its tensors' memory.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorData};
use burn_ndarray::{NdArray, NdArrayTensor};
use transformer_ls_kernels_cpu::View;

use super::cpu::{self, CpuBackend, on_cpu};
use super::layers::{LayerNormGradients, LayersBackend, NormLayer};
use super::{
    AttendArgs, AttendBackwardArgs, AttendGradients, OptionalTensor, ProjectArgs,
    ProjectBackwardArgs, ProjectGradients, ProjectOutput, plain,
};

/// The array of a float32 tensor; its storage type has no public name.
macro_rules! array {
    ($tensor:expr) => {
        match $tensor {
            NdArrayTensor::F32(storage) => storage.view(),
            other => unreachable!("the plain path takes {:?}", other.dtype()),
        }
    };
}

/// The array of a mask.
macro_rules! bools {
    ($mask:expr) => {
        match $mask {
            NdArrayTensor::Bool(storage) => storage.view(),
            other => unreachable!("a mask is bool, not {:?}", other.dtype()),
        }
    };
}

impl CpuBackend for NdArray {
    fn ready(tensor: FloatTensor<Self>, any_last: bool) -> FloatTensor<Self> {
        let array = array!(&tensor);
        let strides = array.strides();
        let suits = strides.iter().all(|&stride| stride >= 0)
            && (any_last || strides.last() == Some(&1))
            && !array.is_empty();
        match suits {
            true => tensor,
            false => array.as_standard_layout().into_owned().into_shared().into(),
        }
    }

    fn view(tensor: &FloatTensor<Self>) -> View<'_, f32> {
        let array = array!(tensor);
        let shape: [usize; 4] = std::array::from_fn(|axis| array.shape()[axis]);
        let strides: [usize; 4] = std::array::from_fn(|axis| array.strides()[axis].unsigned_abs());
        let last = shape
            .iter()
            .zip(strides)
            .map(|(n, stride)| n.saturating_sub(1) * stride);
        let length = if array.is_empty() {
            0
        } else {
            1 + last.sum::<usize>()
        };
        // SAFETY: no stride is negative (`ready`), so the first element is the lowest in memory and
        // `length` reaches the highest; `tensor` keeps both alive.
        let data = unsafe { std::slice::from_raw_parts(array.as_ptr(), length) };
        View::new(data, shape, strides)
    }

    fn is_contiguous(tensor: &FloatTensor<Self>) -> bool {
        array!(tensor).is_standard_layout()
    }

    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        match Self::is_contiguous(&tensor) {
            true => tensor,
            false => {
                let array = array!(&tensor);
                array.as_standard_layout().into_owned().into_shared().into()
            }
        }
    }

    fn slice(tensor: &FloatTensor<Self>) -> &[f32] {
        let array = array!(tensor);
        // SAFETY: the array is in standard layout (`contiguous`), and `tensor` keeps it alive.
        unsafe { std::slice::from_raw_parts(array.as_ptr(), array.len()) }
    }

    fn own(data: Vec<f32>, shape: &[usize]) -> FloatTensor<Self> {
        NdArrayTensor::from_data(TensorData::new(data, Shape::from(shape.to_vec())))
    }

    fn ids(ids: IntTensor<Self>) -> Vec<u32> {
        match ids {
            NdArrayTensor::I64(storage) => storage.view().iter().map(|&id| id as u32).collect(),
            NdArrayTensor::I32(storage) => storage.view().iter().map(|&id| id as u32).collect(),
            other => unreachable!("ids are int32 or int64, not {:?}", other.dtype()),
        }
    }

    fn mask(mask: BoolTensor<Self>) -> BoolTensor<Self> {
        let array = bools!(&mask);
        match array.is_standard_layout() {
            true => mask,
            false => array.as_standard_layout().into_owned().into_shared().into(),
        }
    }

    fn mask_slice(mask: &BoolTensor<Self>) -> &[u8] {
        let array = bools!(mask);
        // SAFETY: the array is in standard layout (`mask`), `mask` keeps it alive, and a bool is a
        // byte.
        unsafe { std::slice::from_raw_parts(array.as_ptr().cast(), array.len()) }
    }
}

on_cpu!(NdArray);

impl LayersBackend for NdArray {
    cpu::layers_on_cpu!();
}
