//! The info block of every kernel: sizes, places in the context, strides.

use burn_cubecl::cubecl::server::MetadataBindingInfo;
use burn_cubecl::tensor::CubeTensor;

use crate::kernel::{Binding, Kind};

/// Bindings with strides in the info block.
pub(crate) const SLOTS: usize = 8;

/// `Info` of `shaders/common.wgsl`, field by field.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Info {
    pub batch: [u32; 4],
    pub seen: [u32; 4],
    pub keys: [u32; 4],
    pub chunks: [u32; 4],
    pub context: [u32; 4],
    pub tasks: [u32; 4],
    pub dropout: [u32; 4],
    pub strides: [[u32; 4]; SLOTS],
}

impl Info {
    /// Sets the strides of the tensors that are bound, in this order. Memory of a type that the
    /// kernel's text says has none.
    pub fn set_strides(&mut self, bindings: &[Binding], tensors: &[&CubeTensor]) {
        let bound = bindings.iter().zip(tensors);
        for (slot, (binding, tensor)) in self.strides.iter_mut().zip(bound) {
            if binding.kind == Kind::Plain {
                continue;
            }
            for (to, &stride) in slot.iter_mut().zip(tensor.meta.strides().iter()) {
                *to = stride as u32;
            }
        }
    }

    /// Sets how many tasks or entries there are.
    pub fn count(mut self, count: usize) -> Self {
        self.batch[2] = count as u32;
        self
    }

    /// Sets how many tasks a document has.
    pub fn tasks(mut self, tasks: usize) -> Self {
        self.tasks[0] = tasks as u32;
        self
    }

    /// Sets the ε of a LayerNorm, in the place of the scale of scores.
    pub fn epsilon(mut self, epsilon: f32) -> Self {
        self.dropout[3] = epsilon.to_bits();
        self
    }

    pub fn binding(&self) -> MetadataBindingInfo {
        let head = [
            self.batch,
            self.seen,
            self.keys,
            self.chunks,
            self.context,
            self.tasks,
            self.dropout,
        ];
        let words: Vec<u32> = head
            .iter()
            .chain(&self.strides)
            .flatten()
            .copied()
            .collect();
        let pairs = words
            .chunks_exact(2)
            .map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32);
        MetadataBindingInfo::custom(pairs.collect())
    }
}
