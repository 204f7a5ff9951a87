//! Which implementation of attention a device takes, and why.

use std::fmt;
use std::sync::OnceLock;

use burn::tensor::Device;

/// The implementation that a device takes: what [`attention_path`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionPath {
    /// Which one.
    pub kind: PathKind,
    /// Why this one, a sentence's second half.
    pub reason: &'static str,
}

/// The implementations of attention. Displayed as `wgsl`, `cpu` and `plain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// The shaders of `kernels-wgsl`.
    Wgsl,
    /// The kernels of `kernels-cpu`.
    Cpu,
    /// Tensor operations of the backend.
    Plain,
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wgsl => "wgsl",
            Self::Cpu => "cpu",
            Self::Plain => "plain",
        })
    }
}

/// The environment variable that, set to `plain` in letters of any case, has every device take the plain
/// path: to see whether a kernel is at fault, or to measure what it gains. Set to `cooperative`, it has
/// this project's programs let the shaders compute the products of float16 tiles on cooperative
/// matrices.
pub const PATH_VARIABLE: &str = "LS_ATTENTION";

/// The text that [`PATH_VARIABLE`] is set to if it asks for no path that there is: programs refuse it.
pub fn unknown_path() -> Option<String> {
    let value = std::env::var_os(PATH_VARIABLE)?;
    let value = value.to_string_lossy().into_owned();
    let known = [PLAIN, COOPERATIVE]
        .iter()
        .any(|known| is_called(&value, known));
    (!value.trim().is_empty() && !known).then_some(value)
}

const PLAIN: &str = "plain";
const COOPERATIVE: &str = "cooperative";

fn is_called(value: &str, name: &str) -> bool {
    value.trim().eq_ignore_ascii_case(name)
}

/// Whether [`PATH_VARIABLE`] asks for cooperative matrices.
pub fn cooperative_is_asked_for() -> bool {
    std::env::var(PATH_VARIABLE).is_ok_and(|value| is_called(&value, COOPERATIVE))
}

/// Whether [`PATH_VARIABLE`] asks for the plain path. It is read once.
pub(super) fn plain_is_asked_for() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var(PATH_VARIABLE).is_ok_and(|value| is_called(&value, PLAIN)))
}

/// The attention path that `device` takes for float32 tensors; other types may take the plain one.
pub fn attention_path(device: &Device) -> AttentionPath {
    let path = |kind, reason| AttentionPath { kind, reason };
    if plain_is_asked_for() {
        return path(PathKind::Plain, "LS_ATTENTION=plain asks for it");
    }
    let device = device.clone().inner();
    if cpu_devices().contains(&device) {
        return path(PathKind::Cpu, "its tensors lie in this process's memory");
    }
    match runs_wgsl(&device) {
        Some(true) => path(PathKind::Wgsl, "its runtime compiles WGSL"),
        Some(false) => path(PathKind::Plain, "its runtime does not compile WGSL"),
        None => path(PathKind::Plain, "no kernel is written for this backend"),
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
