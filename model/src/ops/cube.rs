//! CubeCL runtimes (WGPU, CUDA, ROCm), one backend type to Burn: the plain bodies.

use super::LongShortBackend;

impl LongShortBackend for burn_cubecl::CubeBackend {}
