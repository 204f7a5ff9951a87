//! Launching a shader.

use burn_backend::cubecl::dtype_to_elem_type;
use burn_backend::{DType, Shape};
use burn_cubecl::cubecl::ir::{ElemType, UIntKind, metadata};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::KernelArguments;
use burn_cubecl::cubecl::{CubeKernel, PrecompiledSource};
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, full_device_dtype};
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kind;
use crate::shader::{Element, RowFormat, Shader};
use crate::{testing, traffic};

/// Workgroups of a dimension that every device takes.
const WORKGROUPS: u32 = 65535;

impl KernelMetadata for Shader {
    /// What profiles call it.
    fn name(&self) -> &'static str {
        self.kernel.into()
    }

    fn id(&self) -> KernelId {
        // Bounds are checked in the shaders, so the compiler need not count every loop's rounds.
        KernelId::new::<Self>()
            .info(self.clone())
            .mode(ExecutionMode::Unchecked)
            .cube_dim(self.cube_dim().0)
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for Shader {
    /// Nothing: the text is the kernel.
    fn define(&self) -> KernelDefinition {
        let (mode, address) = (ExecutionMode::Unchecked, AddressType::U32);
        let settings = KernelSettings::new(self.cube_dim().0, mode, address);
        KernelDefinition {
            body: Scope::root(settings.clone()),
            info: metadata::Info::default(),
            settings,
        }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource {
            source: self.render(),
            entrypoint_name: "main".to_owned(),
            lang: "wgsl",
        })
    }
}

impl Shader {
    fn cube_dim(&self) -> CubeDim {
        CubeDim::new_1d(self.tile.invocations as u32)
    }
}

/// Launches `workgroups` workgroups over tensors by name, as the kernel's entry of the table lists
/// them: their strides, types and layouts are taken from here.
///
/// # Panics
///
/// Panics if the names are not those of the table.
pub(crate) fn launch(
    mut shader: Shader,
    workgroups: usize,
    mut info: Info,
    tensors: &[(&'static str, &CubeTensor)],
) {
    let bindings = shader.kernel.entry().bindings;
    let names = || tensors.iter().map(|(name, _)| *name);
    assert!(
        names().eq(shader.kernel.names()),
        "{:?} binds {bindings:?}, not {:?}",
        shader.kernel,
        names().collect::<Vec<_>>()
    );
    if workgroups == 0 {
        return;
    }
    let buffers: Vec<&CubeTensor> = tensors.iter().map(|(_, tensor)| *tensor).collect();
    for (binding, tensor) in bindings.iter().zip(&buffers) {
        match binding.kind {
            Kind::Typed => shader.element = Element::of(tensor),
            kind if kind.has_rows() => shader.rows.push(RowFormat::of(tensor)),
            _ => {}
        }
    }
    info.set_strides(bindings, &buffers);
    let workgroups = workgroups as u32;
    let x = workgroups.min(WORKGROUPS);
    traffic::count(shader.kernel.into(), bindings, &buffers);
    buffers[0].client.launch(
        Box::new(shader),
        CubeCount::Static(x, workgroups.div_ceil(x), 1),
        KernelArguments::new()
            .with_buffers(buffers.iter().map(|b| b.handle.clone().binding()).collect())
            .with_info(info.binding()),
    );
}

/// A tensor on the device of `like` with memory that nothing has written yet.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    let shape = shape.into();
    if testing::memory_is_poisoned() {
        // As a word, a NaN is an index far out of everything.
        let value = match dtype {
            DType::U32 => InputScalar::new(f32::NAN.to_bits(), ElemType::UInt(UIntKind::U32)),
            _ => InputScalar::new(f32::NAN, dtype_to_elem_type(dtype)),
        };
        return full_device_dtype(client, shape, device, value, dtype);
    }
    empty_device_contiguous_dtype(client, device, shape, dtype)
}

/// Words on the device of `like`.
pub(crate) fn upload(like: &CubeTensor, words: &[u32]) -> CubeTensor {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let (client, device) = (like.client.clone(), like.device.clone());
    let handle = client.create_from_slice(&bytes);
    CubeTensor::new_contiguous(client, device, [words.len()].into(), handle, DType::U32)
}

/// An empty tensor of logical `[b, h, n, d]` in memory `[b, n, h, d]`.
pub(crate) fn empty_rows(like: &CubeTensor, [b, h, n, d]: [usize; 4], dtype: DType) -> CubeTensor {
    swap(empty(like, [b, n, h, d], dtype), 1, 2)
}

/// A table by offset `[h, ..]` as that of one document, `[1, h, ..]`.
pub(crate) fn for_all(table: &CubeTensor) -> CubeTensor {
    let (mut shape, mut strides) = (vec![1], vec![0]);
    shape.extend(table.meta.shape().iter().copied());
    strides.extend(table.meta.strides().iter().copied());
    let mut all = table.clone();
    all.meta.shape = shape.into();
    all.meta.strides = strides.into();
    all
}

/// Exchanges two dimensions, in the metadata alone.
pub(crate) fn swap(mut tensor: CubeTensor, a: usize, b: usize) -> CubeTensor {
    tensor.meta.swap(a, b);
    tensor
}

pub(crate) fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    let shape = tensor.meta.shape();
    std::array::from_fn(|i| shape[i])
}

impl Element {
    pub(crate) fn of(tensor: &CubeTensor) -> Self {
        match tensor.dtype {
            DType::F16 => Self::F16,
            _ => Self::F32,
        }
    }
}

impl RowFormat {
    pub(crate) fn of(tensor: &CubeTensor) -> Self {
        let [a, b, c, width] = dims::<4>(tensor);
        let strides = tensor.meta.strides();
        let element = Element::of(tensor);
        // Bytes of a vector of four.
        let vector = 4 * tensor.dtype.size() as u64;
        let aligned = tensor
            .handle
            .offset_start
            .unwrap_or(0)
            .is_multiple_of(vector);
        let side_by_side = width == 1 || strides[3] == 1;
        let whole = [a, b, c]
            .iter()
            .zip(strides.iter())
            .all(|(&size, &stride)| size == 1 || stride.is_multiple_of(4));
        Self {
            element,
            vectors: width.is_multiple_of(4) && side_by_side && whole && aligned,
            channels: width,
        }
    }
}
