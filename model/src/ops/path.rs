//! Which implementation of attention a device takes, and why.

use burn::tensor::Device;

/// The implementation that [`attention_path`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionPath {
    /// `plain`: tensor operations of the backend. `cpu`: the kernels of `kernels-cpu`.
    pub name: &'static str,
    /// Why this one, in a sentence's second half.
    pub reason: String,
}

/// The attention path that `device` takes for float32 tensors.
pub fn attention_path(device: &Device) -> AttentionPath {
    let _ = device;
    AttentionPath {
        name: "plain",
        reason: "no kernel is written for this device".into(),
    }
}
