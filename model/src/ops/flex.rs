//! Flex, Burn's CPU backend: the CPU kernels over its tensors' memory.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Bytes, DType, Shape};
use transformer_ls_kernels_cpu::View;

use super::cpu::{self, CpuBackend, on_cpu};
use super::layers::{LayerNormGradients, LayersBackend, NormLayer};
use super::{
    AttendArgs, AttendBackwardArgs, AttendGradients, OptionalTensor, ProjectArgs,
    ProjectBackwardArgs, ProjectGradients, ProjectOutput, plain,
};

impl CpuBackend for Flex {
    fn ready(tensor: FloatTensor<Self>, any_last: bool) -> FloatTensor<Self> {
        let strides = tensor.layout().strides();
        let suits =
            strides.iter().all(|&stride| stride >= 0) && (any_last || strides.last() == Some(&1));
        match suits {
            true => tensor,
            false => tensor.to_contiguous(),
        }
    }

    fn view(tensor: &FloatTensor<Self>) -> View<'_, f32> {
        let layout = tensor.layout();
        let data = &tensor.storage::<f32>()[layout.start_offset()..];
        let shape: [usize; 4] = layout.shape().dims();
        View::new(
            data,
            shape,
            std::array::from_fn(|axis| layout.strides()[axis].unsigned_abs()),
        )
    }

    fn is_contiguous(tensor: &FloatTensor<Self>) -> bool {
        tensor.is_contiguous()
    }

    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        // Flex itself copies what is a part of more memory.
        match tensor.is_contiguous() {
            true => tensor,
            false => tensor.to_contiguous(),
        }
    }

    fn slice(tensor: &FloatTensor<Self>) -> &[f32] {
        let layout = tensor.layout();
        let values = &tensor.storage::<f32>()[layout.start_offset()..];
        &values[..layout.shape().num_elements()]
    }

    fn own(data: Vec<f32>, shape: &[usize]) -> FloatTensor<Self> {
        let layout = Layout::contiguous(Shape::from(shape.to_vec()));
        FlexTensor::new(Bytes::from_elems(data), layout, DType::F32)
    }

    fn ids(ids: IntTensor<Self>) -> Vec<u32> {
        let ids = ids.to_contiguous();
        let layout = ids.layout();
        let own = layout.start_offset()..layout.start_offset() + layout.shape().num_elements();
        match ids.dtype() {
            DType::I32 => ids.storage::<i32>()[own]
                .iter()
                .map(|&id| id as u32)
                .collect(),
            DType::I64 => ids.storage::<i64>()[own]
                .iter()
                .map(|&id| id as u32)
                .collect(),
            other => unreachable!("ids are int32 or int64, not {other:?}"),
        }
    }

    fn mask(mask: BoolTensor<Self>) -> BoolTensor<Self> {
        mask.to_contiguous()
    }

    fn mask_slice(mask: &BoolTensor<Self>) -> &[u8] {
        let layout = mask.layout();
        let values = &mask.bytes()[layout.start_offset()..];
        &values[..layout.shape().num_elements()]
    }
}

on_cpu!(Flex);

impl LayersBackend for Flex {
    cpu::layers_on_cpu!();
}
