//! Which implementation of attention a device takes, and why.

use burn::tensor::Device;

/// The implementation that [`attention_path`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionPath {
    /// `cpu`: the kernels of `kernels-cpu`. `plain`: tensor operations of the backend.
    pub name: &'static str,
    /// Why this one, a sentence's second half.
    pub reason: &'static str,
}

/// The attention path that `device` takes for float32 tensors; other types take the plain one.
pub fn attention_path(device: &Device) -> AttentionPath {
    let on_cpu = cpu_devices()
        .iter()
        .any(|cpu| device.clone().inner() == *cpu);
    match on_cpu {
        true => AttentionPath {
            name: "cpu",
            reason: "its tensors lie in this process's memory",
        },
        false => AttentionPath {
            name: "plain",
            reason: "no kernel is written for this backend",
        },
    }
}

/// The devices of the backends that `cpu.rs` serves.
fn cpu_devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ]
}
