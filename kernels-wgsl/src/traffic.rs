//! How many bytes kernels have to move, counted for profiles.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn_cubecl::tensor::CubeTensor;

use crate::kernel::{Binding, Kind};

/// None while nobody counts.
static COUNTED: Mutex<Option<BTreeMap<&'static str, u64>>> = Mutex::new(None);

/// Counts from now on, from nothing.
pub fn start() {
    *lock() = Some(BTreeMap::new());
}

/// Ends counting.
///
/// Returns the bytes of each kernel's launches, by the kernel's name: every tensor that a launch
/// binds, once, or twice where it is read and written.
pub fn take() -> BTreeMap<&'static str, u64> {
    lock().take().unwrap_or_default()
}

pub(crate) fn count(kernel: &'static str, bindings: &[Binding], tensors: &[&CubeTensor]) {
    let mut counted = lock();
    let Some(counted) = counted.as_mut() else {
        return;
    };
    let bytes = |(binding, tensor): (&Binding, &&CubeTensor)| {
        let passes = if binding.kind == Kind::LoadStore {
            2
        } else {
            1
        };
        passes * (tensor.meta.num_elements() * tensor.dtype.size()) as u64
    };
    let bytes: u64 = bindings.iter().zip(tensors).map(bytes).sum();
    *counted.entry(kernel).or_default() += bytes;
}

fn lock() -> std::sync::MutexGuard<'static, Option<BTreeMap<&'static str, u64>>> {
    COUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}
