//! Cooperative matrices (tensor cores and their like): which an adapter has, and whether they are used.
//!
//! They are off until an application asks for them, for they have been checked on a software
//! device alone (Mesa 26.2's lavapipe), and timed nowhere.

use std::sync::{PoisonError, RwLock};

#[cfg(feature = "wgpu")]
use burn_cubecl::cubecl::wgpu::wgpu;

pub use crate::tiles::Cooperative;

static IN_USE: RwLock<Option<Cooperative>> = RwLock::new(None);

/// Has the kernels of attention compute the products of float16 tiles by such matrices on every device
/// of this process; `None` ends it.
pub fn take(matrices: Option<Cooperative>) {
    *IN_USE.write().unwrap_or_else(PoisonError::into_inner) = matrices;
}

pub(crate) fn in_use() -> Option<Cooperative> {
    *IN_USE.read().unwrap_or_else(PoisonError::into_inner)
}

/// The largest square matrices of float16 with sums in float32 that an adapter has.
///
/// # Errors
///
/// What it lacks, a sentence's second half.
#[cfg(feature = "wgpu")]
pub fn of(adapter: &wgpu::Adapter) -> Result<Cooperative, &'static str> {
    use wgpu::CooperativeScalarType::{F16, F32};

    let features = adapter.features();
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return Err("its driver offers no cooperative matrices");
    }
    if !features.contains(wgpu::Features::SHADER_F16) {
        return Err("it has no float16");
    }
    // A subgroup is so many neighbours: where drivers choose its size, nobody knows who they are.
    let info = adapter.get_info();
    if info.subgroup_min_size != info.subgroup_max_size {
        return Err("its driver chooses the size of subgroups");
    }
    let all = adapter.cooperative_matrix_properties();
    let fitting = all.iter().filter(|of| {
        let square = of.m_size == of.n_size && of.n_size == of.k_size;
        square && matches!(of.m_size, 8 | 16) && of.ab_type == F16 && of.cr_type == F32
    });
    let size = fitting.map(|of| of.m_size as usize).max();
    let size = size.ok_or("it has no square matrices of float16 with sums in float32")?;
    Ok(Cooperative {
        size,
        subgroup: info.subgroup_max_size as usize,
    })
}
