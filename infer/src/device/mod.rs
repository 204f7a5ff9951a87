//! Devices by name: listing them, choosing one, and how much memory one uses.
//!
//! Everything in this crate that depends on the backends compiled in is in `backends.rs`. A device
//! is opened in the fallible way, so that a machine without a GPU driver gets a sentence and not a
//! panic from inside a backend.

mod backends;

use burn::tensor::Device;
use transformer_ls_burn::ops;

use backends::{cuda, flex, gpus, libtorch, ndarray, rocm, wgpu};
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
    #[error("LS_ATTENTION is `{value}`: set it to `plain`, or unset it")]
    UnknownPath {
        /// What it is set to.
        value: String,
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

/// One device of this machine that this build can compute on.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The name to ask for it by, as in `--device NAME`.
    pub name: String,
    /// The hardware's own name.
    pub adapter: String,
    /// What kind of hardware it is.
    pub class: DeviceClass,
    /// The device (without autodiff).
    pub device: Device,
}

/// A device that was asked for, opened and ready.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// The device (without autodiff).
    pub device: Device,
    /// The name to ask for it again by: `auto` is resolved.
    pub name: String,
    /// The hardware's own name.
    pub adapter: String,
    /// What kind of hardware it is.
    pub class: DeviceClass,
    /// Why it is this one.
    pub reason: String,
}

/// What a device name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Auto,
    Flex,
    NdArray,
    LibTorch,
    Wgpu(WgpuChoice),
    Cuda(usize),
    Rocm(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WgpuChoice {
    /// The adapter that the graphics API would hand out first.
    Default,
    /// The software adapter.
    Cpu,
    /// By position among the adapters, in the order that [`list`] has them.
    Index(usize),
}

impl Request {
    fn parse(name: &str) -> Result<Self, DeviceError> {
        let lower = name.trim().to_ascii_lowercase();
        let (backend, which) = match lower.split_once(':') {
            Some((backend, which)) => (backend, Some(which)),
            None => (lower.as_str(), None),
        };
        let index = |which: Option<&str>| match which {
            None => Some(0),
            Some(text) => text.parse::<usize>().ok(),
        };
        let request = match (backend, which) {
            ("auto", None) => Some(Self::Auto),
            ("flex", None) => Some(Self::Flex),
            ("ndarray", None) => Some(Self::NdArray),
            ("libtorch", None) => Some(Self::LibTorch),
            ("wgpu", None) => Some(Self::Wgpu(WgpuChoice::Default)),
            ("wgpu", Some("cpu")) => Some(Self::Wgpu(WgpuChoice::Cpu)),
            ("wgpu", which) => index(which).map(|i| Self::Wgpu(WgpuChoice::Index(i))),
            ("cuda", which) => index(which).map(Self::Cuda),
            ("rocm", which) => index(which).map(Self::Rocm),
            _ => None,
        };
        request.ok_or_else(|| DeviceError::Unknown {
            name: name.to_string(),
            known: names().join(", "),
        })
    }
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
    let by_name = |info: DeviceInfo| ChosenDevice {
        reason: "asked for by name".to_string(),
        device: info.device,
        name: info.name,
        adapter: info.adapter,
        class: info.class,
    };
    if let Some(value) = ops::unknown_path() {
        return Err(DeviceError::UnknownPath { value });
    }
    match Request::parse(name)? {
        Request::Auto => automatic(),
        Request::Flex => flex().map(by_name),
        Request::NdArray => ndarray().map(by_name),
        Request::LibTorch => libtorch().map(by_name),
        Request::Wgpu(choice) => wgpu(name, choice).map(by_name),
        Request::Cuda(index) => cuda(name, index).map(by_name),
        Request::Rocm(index) => rocm(name, index).map(by_name),
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
pub fn list() -> Vec<DeviceInfo> {
    let mut devices: Vec<DeviceInfo> = [flex(), ndarray(), libtorch()]
        .into_iter()
        .flatten()
        .collect();
    devices.extend(gpus().into_iter().filter_map(|gpu| gpu.open().ok()));
    devices
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
    let mut seen_software = false;
    for class in [
        DeviceClass::DiscreteGpu,
        DeviceClass::IntegratedGpu,
        DeviceClass::VirtualGpu,
    ] {
        // A GPU that cannot be opened is passed over: `auto` means the best that works.
        if let Some(info) = found
            .iter()
            .filter(|gpu| gpu.class == class)
            .find_map(|gpu| gpu.open().ok())
        {
            return Ok(ChosenDevice {
                reason: format!("auto: this machine has a {class}"),
                device: info.device,
                name: info.name,
                adapter: info.adapter,
                class: info.class,
            });
        }
    }
    for gpu in &found {
        seen_software |= gpu.class == DeviceClass::SoftwareGpu;
    }
    let reason = if seen_software {
        "auto: no GPU was found but a software adapter, which is slower than this"
    } else {
        "auto: no GPU was found"
    };
    let info = flex()
        .or_else(|_| ndarray())
        .or_else(|_| libtorch())
        .map_err(|_| DeviceError::NoBackend)?;
    Ok(ChosenDevice {
        reason: reason.to_string(),
        device: info.device,
        name: info.name,
        adapter: info.adapter,
        class: info.class,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let parsed = |name: &str| Request::parse(name).unwrap();
        assert_eq!(parsed("auto"), Request::Auto);
        assert_eq!(parsed("Flex"), Request::Flex);
        assert_eq!(parsed("wgpu"), Request::Wgpu(WgpuChoice::Default));
        assert_eq!(parsed("wgpu:cpu"), Request::Wgpu(WgpuChoice::Cpu));
        assert_eq!(parsed("wgpu:2"), Request::Wgpu(WgpuChoice::Index(2)));
        assert_eq!(parsed("cuda"), Request::Cuda(0));
        assert_eq!(parsed("cuda:1"), Request::Cuda(1));
        for wrong in ["", "gpu", "wgpu:", "wgpu:x", "flex:0", "cuda:-1", "auto:1"] {
            let error = Request::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("unknown device"), "{error}");
            assert!(error.contains("auto"), "{error}");
        }
    }
}
