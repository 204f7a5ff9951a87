//! Which tensors the kernels take.

use burn_backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};

use crate::cooperative;
use crate::testing;
use crate::tiles::Limits;

/// Widest head that the kernels take, in channels.
pub const MAX_WIDTH: usize = 256;

/// Widest row of a LayerNorm that the kernels take, in channels.
pub const MAX_LAYER_WIDTH: usize = 4096;

/// Whether this device's runtime compiles WGSL; SPIR-V, MSL, CUDA and HIP ones refuse its text.
pub fn runs_wgsl(device: &CubeDevice) -> bool {
    device.client().name() == "wgpu<wgsl>"
}

/// Why the kernels do not take these tensors `[.., .., n, d]`, if so; a sentence's second half.
pub fn refusal(tensors: &[&CubeTensor], width: usize) -> Option<&'static str> {
    let first = tensors.first()?;
    if first.client.name() != "wgpu<wgsl>" {
        return Some("its runtime does not compile WGSL");
    }
    if width > MAX_WIDTH {
        return Some("a head is wider than 256 channels");
    }
    for tensor in tensors {
        let supported = match tensor.dtype {
            DType::F32 => true,
            DType::F16 => {
                <CubeBackend as burn_backend::Backend>::supports_dtype(&tensor.device, DType::F16)
            }
            _ => false,
        };
        if !supported {
            return Some("a tensor is neither float32 nor float16");
        }
        if tensor.meta.is_tiled() {
            return Some("a tensor is stored in tiles");
        }
        if tensor.shape().num_elements() == 0 {
            return Some("a tensor is empty");
        }
        // Shaders count elements in 32 bits.
        if tensor.handle.size() / tensor.dtype.size() as u64 > u64::from(u32::MAX) {
            return Some("a tensor has more than 2^32 elements");
        }
    }
    None
}

/// Why the kernels do not take these ids, if so.
pub fn refusal_of_ids(ids: &CubeTensor) -> Option<&'static str> {
    let words = matches!(ids.dtype, DType::I32 | DType::U32);
    (!words).then_some("its integers are not words of 32 bits")
}

impl Limits {
    /// Limits of the device that a tensor is on.
    pub(crate) fn of(tensor: &CubeTensor) -> Self {
        if let Some(forced) = testing::forced_limits() {
            return forced;
        }
        let hardware = &tensor.client.properties().hardware;
        Self {
            storage_buffers: hardware.max_bindings as usize,
            workgroup_bytes: hardware.max_shared_memory_size,
            invocations: hardware.max_units_per_cube.min(hardware.max_cube_dim.0) as usize,
            // Processors that play a GPU have planes as wide as their vectors; GPUs that can be as
            // narrow can be wider as well.
            emulated: hardware.plane_size_max <= 8,
            cooperative: cooperative::in_use(),
        }
    }
}
