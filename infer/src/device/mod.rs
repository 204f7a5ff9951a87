//! Devices by name: listing them, choosing one, and how much memory one uses.
//!
//! Everything in this crate that depends on the backends compiled in is in `backends.rs`. A device
//! is opened in the fallible way, so that a machine without a GPU driver gets a sentence and not a
//! panic from inside a backend.

mod backends;
#[cfg(feature = "cube")]
mod profile;
#[cfg(feature = "cube")]
mod tuning;

use burn::tensor::Device;
use transformer_ls_burn::ops;

use backends::{BACKENDS, gpus, open, processors};
pub use backends::{for_drawing_weights, is_cubecl, names};

/// Why a device could not be had, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The name is none that this program knows.
    #[error("unknown device `{name}`: use one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that are known, for the sentence.
        known: String,
    },
    /// The name is known, but its backend is not in this build.
    #[error(
        "device `{name}` is not in this build: build again with `--features {feature}`, or use one of {known}"
    )]
    NotCompiled {
        /// The name asked for.
        name: String,
        /// The cargo feature that brings the backend.
        feature: &'static str,
        /// The names that this build accepts.
        known: String,
    },
    /// The backend is there and the machine has nothing for it.
    #[error("device `{name}`: {problem}; `--device auto` takes what this machine has")]
    NotFound {
        /// The name asked for.
        name: String,
        /// What is missing on this machine.
        problem: String,
    },
    /// The device is there and could not be opened.
    #[error("device `{name}` could not be opened: {problem}; try another one, such as `flex`")]
    NotOpened {
        /// The name asked for.
        name: String,
        /// The driver's own words.
        problem: String,
    },
    /// The environment asks for an attention path that there is none of.
    #[error("LS_ATTENTION is `{0}`: set it to `plain` or `cooperative`, or unset it")]
    UnknownPath(String),
    /// The environment asks for cooperative matrices, which the device has none of.
    #[error("LS_ATTENTION is `cooperative`, and device `{name}` can't do that: {lack}; unset it")]
    NoCooperativeMatrices {
        /// The device's name.
        name: String,
        /// What it lacks.
        lack: &'static str,
    },
    /// No backend at all is compiled in.
    #[error("this build holds no backend: build again with a feature such as `flex` or `wgpu`")]
    NoBackend,
}

/// What kind of hardware a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceClass {
    /// The processor itself, through a CPU backend.
    Cpu,
    /// A GPU with memory of its own.
    DiscreteGpu,
    /// A GPU that shares the processor's memory.
    IntegratedGpu,
    /// A GPU handed to a virtual machine.
    VirtualGpu,
    /// A graphics driver that computes on the processor (lavapipe, llvmpipe, WARP): far slower
    /// than a CPU backend, and never chosen by itself.
    SoftwareGpu,
    /// The driver does not say.
    Other,
}

impl std::fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Cpu => "CPU",
            Self::DiscreteGpu => "discrete GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::SoftwareGpu => "software GPU",
            Self::Other => "unclassified GPU",
        })
    }
}

/// A device of this machine that this build can compute on, opened and ready.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// The device (without autodiff).
    pub device: Device,
    /// The name to ask for it by, as in `--device NAME`: `auto` is resolved.
    pub name: String,
    /// The hardware's own name.
    pub adapter: String,
    /// What kind of hardware it is.
    pub class: DeviceClass,
    /// Why it is this one.
    pub reason: String,
}

/// A backend that a name may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Flex,
    NdArray,
    LibTorch,
    Wgpu,
    Cuda,
    Rocm,
}

/// Which of a backend's devices is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// The backend's own choice.
    Default,
    /// The software adapter.
    Cpu,
    /// By position, in the order that [`list`] has them.
    Index(usize),
}

/// What a device name means; none for `auto`.
fn parse(name: &str) -> Result<Option<(Backend, Which)>, DeviceError> {
    let lower = name.trim().to_ascii_lowercase();
    let (first, which) = match lower.split_once(':') {
        Some((first, which)) => (first, Some(which)),
        None => (lower.as_str(), None),
    };
    let unknown = || DeviceError::Unknown {
        name: name.to_string(),
        known: names().join(", "),
    };
    if (first, which) == ("auto", None) {
        return Ok(None);
    }
    let named = BACKENDS.iter().find(|backend| backend.name == first);
    let backend = named.ok_or_else(unknown)?.backend;
    let which = match (backend, which) {
        (_, None) => Which::Default,
        (Backend::Wgpu, Some("cpu")) => Which::Cpu,
        (Backend::Wgpu | Backend::Cuda | Backend::Rocm, Some(number)) => {
            Which::Index(number.parse().map_err(|_| unknown())?)
        }
        _ => return Err(unknown()),
    };
    Ok(Some((backend, which)))
}

/// The device of that name, opened.
///
/// `auto` takes a real GPU (discrete before integrated before virtual), and a CPU backend where
/// there is none. It never takes a software adapter, which is far slower than a CPU backend.
///
/// # Errors
///
/// An unknown name, a backend that is not in this build (the sentence names the cargo feature), no
/// such hardware on this machine, or a driver that refuses to open it.
pub fn resolve(name: &str) -> Result<ChosenDevice, DeviceError> {
    if let Some(value) = ops::unknown_path() {
        return Err(DeviceError::UnknownPath(value));
    }
    let chosen = match parse(name)? {
        None => automatic(),
        Some((backend, which)) => open(name, backend, which),
    }?;
    if ops::cooperative_is_asked_for() {
        backends::use_cooperative_matrices(&chosen)?;
    }
    #[cfg(feature = "cube")]
    if is_cubecl(&chosen.device) {
        tuning::keep(&chosen.device);
    }
    Ok(chosen)
}

/// What a line on standard error begins with that says that kernels are being tried out.
pub const TRYING_OUT: &str = "trying out kernels for this device";

/// A part of the log: what says on standard error that Burn tries out kernels, and how many so far.
pub(crate) fn announcements<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    #[cfg(feature = "cube")]
    {
        tuning::announcements()
    }
    #[cfg(not(feature = "cube"))]
    {
        tracing_subscriber::layer::Identity::new()
    }
}

/// What a kernel took in a profile.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KernelTime {
    /// Its name: that of a shader of this project, or of one of Burn's types.
    pub name: String,
    /// How often it was launched.
    pub launches: usize,
    /// Seconds of the device, of all launches together.
    pub seconds: f64,
    /// Bytes that the launches have to move, each tensor once; known of this project's shaders.
    pub bytes: Option<u64>,
}

/// Runs `work`, which must leave nothing to do on the device, and times every kernel that it
/// launches, the most expensive first. Devices that compile no kernels ([`is_cubecl`]) have none.
pub fn profile(work: impl FnOnce()) -> Vec<KernelTime> {
    #[cfg(feature = "cube")]
    {
        profile::profile(work)
    }
    #[cfg(not(feature = "cube"))]
    {
        work();
        Vec::new()
    }
}

/// Keeps graphics drivers from complaining on machines without a screen.
///
/// Mesa's Vulkan layers look for a Wayland display, and its library writes `error: XDG_RUNTIME_DIR
/// is invalid` to standard error where that variable is missing, as it is in most containers. This
/// sets it to the folder for temporary files, where no display will be found, which is no error.
///
/// # Safety
///
/// Nothing else may read or write environment variables at the same time: call it first thing in
/// `main`, before a thread is started.
pub unsafe fn hush_graphics_drivers() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the caller promises that no other thread touches the environment.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

/// Every device of this machine that this build can compute on. Opens each of them; one that
/// cannot be opened is left out.
pub fn list() -> Vec<ChosenDevice> {
    let gpus = gpus().into_iter().filter_map(|gpu| gpu.open().ok());
    processors().chain(gpus).collect()
}

/// The bytes that the device's memory pools hold, in use or kept for reuse. `None` on backends
/// without pools of their own (the CPU ones): there [`peak_resident_bytes`] tells more.
pub fn device_bytes(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

/// The most memory that this process has held at once, in bytes. `None` where the system does not
/// tell (it is read from Linux' `/proc`).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn automatic() -> Result<ChosenDevice, DeviceError> {
    let found = gpus();
    for class in [
        DeviceClass::DiscreteGpu,
        DeviceClass::IntegratedGpu,
        DeviceClass::VirtualGpu,
    ] {
        // A GPU that cannot be opened is passed over: `auto` means the best that works.
        let mut alike = found.iter().filter(|gpu| gpu.class == class);
        if let Some(device) = alike.find_map(|gpu| gpu.open().ok()) {
            return Ok(ChosenDevice {
                reason: format!("auto: this machine has a {class}"),
                ..device
            });
        }
    }
    let mut classes = found.iter().map(|gpu| gpu.class);
    let seen_software = classes.any(|class| class == DeviceClass::SoftwareGpu);
    let reason = if seen_software {
        "auto: no GPU was found but a software adapter, which is slower than this"
    } else {
        "auto: no GPU was found"
    };
    let device = processors().next().ok_or(DeviceError::NoBackend)?;
    Ok(ChosenDevice {
        reason: reason.to_string(),
        ..device
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let parsed = |name: &str| parse(name).unwrap();
        assert_eq!(parsed("auto"), None);
        for (name, backend, which) in [
            ("Flex", Backend::Flex, Which::Default),
            ("wgpu", Backend::Wgpu, Which::Default),
            ("wgpu:cpu", Backend::Wgpu, Which::Cpu),
            ("wgpu:2", Backend::Wgpu, Which::Index(2)),
            ("cuda", Backend::Cuda, Which::Default),
            ("cuda:1", Backend::Cuda, Which::Index(1)),
        ] {
            assert_eq!(parsed(name), Some((backend, which)), "{name}");
        }
        for wrong in ["", "gpu", "wgpu:", "wgpu:x", "flex:0", "cuda:-1", "auto:1"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("unknown device"), "{error}");
            assert!(error.contains("auto"), "{error}");
        }
    }
}
