//! Which implementation of attention a device takes, and why.

use std::sync::OnceLock;

use burn::tensor::Device;

/// The implementation that [`attention_path`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionPath {
    /// `wgsl`: the shaders of `kernels-wgsl`. `cpu`: the kernels of `kernels-cpu`. `plain`: tensor
    /// operations of the backend.
    pub name: &'static str,
    /// Why this one, a sentence's second half.
    pub reason: &'static str,
}

/// The environment variable that, set to `plain` in letters of any case, has every device take the plain
/// path: to see whether a kernel is at fault, or to measure what it gains.
pub const PATH_VARIABLE: &str = "LS_ATTENTION";

/// The text that [`PATH_VARIABLE`] is set to if it asks for no path that there is: programs refuse it.
pub fn unknown_path() -> Option<String> {
    let value = std::env::var_os(PATH_VARIABLE)?;
    let value = value.to_string_lossy().into_owned();
    (!value.trim().is_empty() && !is_plain(&value)).then_some(value)
}

fn is_plain(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("plain")
}

/// Whether [`PATH_VARIABLE`] asks for the plain path. It is read once.
pub(super) fn plain_is_asked_for() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var(PATH_VARIABLE).is_ok_and(|value| is_plain(&value)))
}

/// The attention path that `device` takes for float32 tensors; other types may take the plain one.
pub fn attention_path(device: &Device) -> AttentionPath {
    let path = |name, reason| AttentionPath { name, reason };
    if plain_is_asked_for() {
        return path("plain", "LS_ATTENTION=plain asks for it");
    }
    let device = device.clone().inner();
    if cpu_devices().contains(&device) {
        return path("cpu", "its tensors lie in this process's memory");
    }
    match runs_wgsl(&device) {
        Some(true) => path("wgsl", "its runtime compiles WGSL"),
        Some(false) => path("plain", "its runtime does not compile WGSL"),
        None => path("plain", "no kernel is written for this backend"),
    }
}

/// Whether a device of CubeCL compiles WGSL; none for one of another backend. Opens the device.
fn runs_wgsl(device: &Device) -> Option<bool> {
    #[cfg(feature = "cube")]
    if let burn::backend::DispatchDevice::Cube(device) = device.as_dispatch() {
        return Some(transformer_ls_kernels_wgsl::runs_wgsl(device));
    }
    let _ = device;
    None
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
