//! What depends on the backends compiled in: finding devices and opening them.

#[cfg(feature = "wgpu")]
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
#[cfg(feature = "cube")]
use burn::tensor::DeviceType;
#[cfg(feature = "wgpu")]
use burn_wgpu::WgpuDevice;
#[cfg(feature = "wgpu")]
use transformer_ls_burn::ops::cooperative::{self, Cooperative};
#[cfg(feature = "tch")]
use transformer_ls_burn::ops::libtorch_device;

use super::{Backend, ChosenDevice, DeviceClass, DeviceError, Which};

/// What there is to know of a backend before it is asked for a device.
pub(super) struct Named {
    pub(super) backend: Backend,
    /// What `--device` calls it.
    pub(super) name: &'static str,
    /// The cargo feature that brings it.
    feature: &'static str,
    is_compiled: bool,
    /// What else `--device` takes, after its name (`N` stands for a number).
    more: &'static [&'static str],
}

macro_rules! named {
    ($backend:ident, $name:literal, $feature:literal, $more:expr) => {
        Named {
            backend: Backend::$backend,
            name: $name,
            feature: $feature,
            is_compiled: cfg!(feature = $feature),
            more: &$more,
        }
    };
}

/// Every backend, in the order in which a processor is chosen.
pub(super) const BACKENDS: [Named; 6] = [
    named!(Flex, "flex", "flex", []),
    named!(NdArray, "ndarray", "ndarray", []),
    named!(LibTorch, "libtorch", "tch", []),
    named!(Wgpu, "wgpu", "wgpu", [":cpu", ":N"]),
    named!(Cuda, "cuda", "cuda", [":N"]),
    named!(Rocm, "rocm", "rocm", [":N"]),
];

/// The names that `--device` accepts in this build (`N` stands for a number).
pub fn names() -> Vec<String> {
    let mut names = vec!["auto".to_string()];
    for named in BACKENDS.iter().filter(|named| named.is_compiled) {
        let more = std::iter::once("").chain(named.more.iter().copied());
        names.extend(more.map(|more| format!("{}{more}", named.name)));
    }
    names
}

/// A backend's device; `name` is what it was asked for by.
#[allow(unused_variables)] // in a build without GPU backends
#[allow(deprecated)] // NdArray leaves Burn with 0.23; it is kept until then
pub(super) fn open(
    name: &str,
    backend: Backend,
    which: Which,
) -> Result<ChosenDevice, DeviceError> {
    match backend {
        #[cfg(feature = "flex")]
        Backend::Flex => Ok(processor("flex", Device::flex())),
        #[cfg(feature = "ndarray")]
        Backend::NdArray => Ok(processor("ndarray", Device::ndarray())),
        #[cfg(feature = "tch")]
        Backend::LibTorch => Ok(processor("libtorch", libtorch_device())),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => wgpu(name, which),
        #[cfg(feature = "cuda")]
        Backend::Cuda => indexed(name, which, DeviceType::Cuda, "NVIDIA GPU with a driver"),
        #[cfg(feature = "rocm")]
        Backend::Rocm => indexed(name, which, DeviceType::Rocm, "AMD GPU with ROCm"),
        #[allow(unreachable_patterns)] // in a build with all of them
        _ => Err(DeviceError::NotCompiled {
            name: name.to_string(),
            feature: (BACKENDS.iter().find(|named| named.backend == backend))
                .map_or("", |named| named.feature),
            known: names().join(", "),
        }),
    }
}

/// The CPU backends of this build, the best first.
pub(super) fn processors() -> impl Iterator<Item = ChosenDevice> {
    let all = [Backend::Flex, Backend::NdArray, Backend::LibTorch].into_iter();
    all.filter_map(|backend| open("", backend, Which::Default).ok())
}

/// The device that initial weights are drawn on, so that a seed gives the same model wherever it
/// runs: every backend has a generator of its own. None in a build without Flex.
pub fn for_drawing_weights() -> Option<Device> {
    #[cfg(feature = "flex")]
    {
        Some(Device::flex())
    }
    #[cfg(not(feature = "flex"))]
    {
        None
    }
}

/// Whether the device compiles its kernels as it goes (WGPU, CUDA, ROCm).
pub fn is_cubecl(device: &Device) -> bool {
    #[cfg(feature = "cube")]
    {
        let device = device.clone().without_autodiff();
        matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_))
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = device;
        false
    }
}

/// A GPU that was found and not opened yet.
pub(super) struct FoundGpu {
    name: String,
    pub(super) class: DeviceClass,
    device: Device,
}

impl FoundGpu {
    pub(super) fn open(&self) -> Result<ChosenDevice, DeviceError> {
        open_gpu(&self.name, self.class, &self.device)
    }
}

/// Every GPU, best API first. Nothing is opened, so a class may be a guess.
pub(super) fn gpus() -> Vec<FoundGpu> {
    #[allow(unused_mut)]
    let mut found = Vec::new();
    #[cfg(feature = "cuda")]
    for (index, device) in Device::enumerate(DeviceType::Cuda).iter().enumerate() {
        found.push(FoundGpu {
            name: format!("cuda:{index}"),
            class: DeviceClass::DiscreteGpu,
            device: device.clone(),
        });
    }
    #[cfg(feature = "rocm")]
    for (index, device) in Device::enumerate(DeviceType::Rocm).iter().enumerate() {
        found.push(FoundGpu {
            name: format!("rocm:{index}"),
            class: DeviceClass::DiscreteGpu,
            device: device.clone(),
        });
    }
    #[cfg(feature = "wgpu")]
    for (index, device) in wgpu_adapters().iter().enumerate() {
        let class = wgpu_class(device);
        found.push(FoundGpu {
            name: match class {
                DeviceClass::SoftwareGpu => "wgpu:cpu".to_string(),
                _ => format!("wgpu:{index}"),
            },
            class,
            device: Device::new(device.clone()),
        });
    }
    found
}

#[cfg(feature = "cube")]
fn open_gpu(name: &str, class: DeviceClass, device: &Device) -> Result<ChosenDevice, DeviceError> {
    #[cfg(feature = "wgpu")]
    if let Some(wgpu) = as_wgpu(device) {
        open_wgpu(&wgpu).map_err(|problem| DeviceError::NotOpened {
            name: name.to_string(),
            problem,
        })?;
    }
    let identity = device.identity();
    let adapter = match &identity {
        Some(identity) if !identity.name.is_empty() => identity.name.clone(),
        _ => "unnamed adapter".to_string(),
    };
    Ok(ChosenDevice {
        name: name.to_string(),
        adapter,
        class,
        device: device.clone(),
        reason: BY_NAME.to_string(),
    })
}

#[cfg(not(feature = "cube"))]
fn open_gpu(_: &str, _: DeviceClass, _: &Device) -> Result<ChosenDevice, DeviceError> {
    Err(DeviceError::NoBackend)
}

/// Why a device was chosen that a name asked for.
const BY_NAME: &str = "asked for by name";

// ---- CPU backends -------------------------------------------------------------------------

#[allow(dead_code)] // unused in a build without a CPU backend
fn processor(name: &str, device: Device) -> ChosenDevice {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    ChosenDevice {
        name: name.to_string(),
        adapter: format!("{}, {threads} threads", cpu_name()),
        class: DeviceClass::Cpu,
        device,
        reason: BY_NAME.to_string(),
    }
}

fn cpu_name() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        })
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH))
}

// ---- CUDA, ROCm ---------------------------------------------------------------------------

#[cfg(any(feature = "cuda", feature = "rocm"))]
fn indexed(
    name: &str,
    which: Which,
    kind: DeviceType,
    what: &str,
) -> Result<ChosenDevice, DeviceError> {
    let index = match which {
        Which::Index(index) => index,
        Which::Default | Which::Cpu => 0,
    };
    let devices = Device::enumerate(kind);
    let device = devices.get(index).ok_or_else(|| DeviceError::NotFound {
        name: name.to_string(),
        problem: match devices.len() {
            0 => format!("this machine has no {what}"),
            count => format!("this machine has {count} (the first is number 0)"),
        },
    })?;
    open_gpu(name, DeviceClass::DiscreteGpu, device)
}

// ---- WGPU ---------------------------------------------------------------------------------

#[cfg(feature = "wgpu")]
fn wgpu(name: &str, which: Which) -> Result<ChosenDevice, DeviceError> {
    let not_found = |problem: String| DeviceError::NotFound {
        name: name.to_string(),
        problem,
    };
    let adapters = wgpu_adapters();
    let Some(first) = adapters.first() else {
        return Err(not_found(
            "this machine has no graphics adapter that wgpu can use (no Vulkan driver, for \
             instance; on Debian and Ubuntu the package `mesa-vulkan-drivers` brings them)"
                .to_string(),
        ));
    };
    let device = match which {
        // Its own device to Burn, whichever adapter it lands on.
        Which::Default => WgpuDevice::default(),
        Which::Cpu => adapters
            .iter()
            .find(|device| wgpu_class(device) == DeviceClass::SoftwareGpu)
            .cloned()
            .ok_or_else(|| {
                not_found("this machine has no software adapter (such as Mesa's lavapipe)".into())
            })?,
        Which::Index(index) => adapters.get(index).cloned().ok_or_else(|| {
            not_found(format!(
                "this machine has {} (the first is number 0)",
                match adapters.len() {
                    1 => "1 graphics adapter".to_string(),
                    count => format!("{count} graphics adapters"),
                }
            ))
        })?,
    };
    let class = match which {
        // The one adapter, if there is only one; otherwise the driver's pick is not known here.
        Which::Default if adapters.len() == 1 => wgpu_class(first),
        _ => wgpu_class(&device),
    };
    open_gpu(name, class, &Device::new(device))
}

/// The adapters of the graphics API that Burn settles on, in its order. Asked for once: every
/// asking starts the graphics drivers.
#[cfg(feature = "wgpu")]
fn wgpu_adapters() -> &'static [WgpuDevice] {
    use std::sync::OnceLock;

    static ADAPTERS: OnceLock<Vec<WgpuDevice>> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        Device::enumerate(DeviceType::Wgpu)
            .iter()
            .filter_map(as_wgpu)
            .collect()
    })
}

#[cfg(feature = "wgpu")]
fn as_wgpu(device: &Device) -> Option<WgpuDevice> {
    use burn::backend::{CubeDevice, DispatchDevice};
    match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => Some(device.clone()),
        _ => None,
    }
}

#[cfg(feature = "wgpu")]
fn wgpu_class(device: &WgpuDevice) -> DeviceClass {
    use burn::backend::WgpuDeviceKind as Kind;
    match device.kind {
        Kind::DiscreteGpu(_) => DeviceClass::DiscreteGpu,
        Kind::IntegratedGpu(_) => DeviceClass::IntegratedGpu,
        Kind::VirtualGpu(_) => DeviceClass::VirtualGpu,
        Kind::Cpu => DeviceClass::SoftwareGpu,
        Kind::DefaultDevice | Kind::Existing(_) | Kind::Other(_) => DeviceClass::Other,
    }
}

/// Opens a WGPU device once, with an error where the lazy way would panic at the first tensor.
#[cfg(feature = "wgpu")]
fn open_wgpu(device: &WgpuDevice) -> Result<(), String> {
    use burn_wgpu::graphics::AutoGraphicsApi;
    use burn_wgpu::{RuntimeOptions, WgpuInitError, try_init_setup};

    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if open.iter().any(|(known, _)| known == device) {
        return Ok(());
    }
    let options = RuntimeOptions::try_default().map_err(|error| error.to_string())?;
    let matrices = match try_init_setup::<AutoGraphicsApi>(device, options) {
        Ok(setup) => cooperative::of(&setup.adapter),
        // A registration is refused where a tensor has opened the device before.
        Err(WgpuInitError::Registration { .. }) => Err("this process has opened it before"),
        Err(error) => return Err(error.to_string()),
    };
    open.push((device.clone(), matrices));
    Ok(())
}

/// The adapters that are open, and the cooperative matrices of each, or what it lacks.
#[cfg(feature = "wgpu")]
static OPEN: Mutex<Vec<(WgpuDevice, Result<Cooperative, &'static str>)>> = Mutex::new(Vec::new());

/// Has shaders use the cooperative matrices of an open device.
pub(super) fn use_cooperative_matrices(chosen: &ChosenDevice) -> Result<(), DeviceError> {
    let lacks = |lack| {
        let name = chosen.name.clone();
        Err(DeviceError::NoCooperativeMatrices { name, lack })
    };
    #[cfg(feature = "wgpu")]
    if let Some(device) = as_wgpu(&chosen.device) {
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().find(|(known, _)| *known == device);
        return match found.map(|(_, matrices)| *matrices) {
            Some(Ok(matrices)) => {
                cooperative::take(Some(matrices));
                Ok(())
            }
            Some(Err(lack)) => lacks(lack),
            None => lacks("it is not open"),
        };
    }
    lacks("no shaders compute its attention")
}
