//! Devices that tests run on.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::sync::OnceLock;

use burn::tensor::{Device, DeviceKind};

/// Every backend of this build by name; WGPU where there is an adapter. While developing,
/// `LS_BACKENDS=flex,ndarray` leaves the others out, loudly.
pub fn devices() -> Vec<(&'static str, Device)> {
    let only = std::env::var("LS_BACKENDS").ok();
    if let Some(only) = &only {
        eprintln!("\nONLY ON {only}: LS_BACKENDS LEAVES THE OTHER BACKENDS OUT\n");
    }
    let chosen = |name: &str| {
        only.as_ref()
            .is_none_or(|only| only.split(',').any(|o| o == name))
    };
    let mut devices = Vec::new();
    #[cfg(feature = "flex")]
    devices.push(("flex", Device::flex()));
    #[cfg(feature = "ndarray")]
    #[allow(deprecated, reason = "Burn 0.23 drops NdArray; 0.22 still has it")]
    devices.push(("ndarray", Device::ndarray()));
    #[cfg(feature = "wgpu")]
    if chosen("wgpu")
        && let Some(device) = wgpu()
    {
        devices.push(("wgpu", device));
    }
    #[cfg(feature = "tch")]
    if chosen("libtorch") {
        devices.push(("libtorch", transformer_ls_burn::ops::libtorch_device()));
    }
    devices.retain(|(name, _)| chosen(name));
    if let Some(only) = &only {
        let known = ["flex", "ndarray", "wgpu", "libtorch"];
        let unknown = only.split(',').find(|name| !known.contains(name));
        assert!(
            unknown.is_none(),
            "LS_BACKENDS names no backend with {unknown:?}"
        );
        assert!(
            !devices.is_empty(),
            "none of LS_BACKENDS={only} is in this build"
        );
    }
    devices
}

/// The default adapter, software ones included.
///
/// # Panics
///
/// Panics without an adapter where `LS_REQUIRE_WGPU=1` demands one; says so loudly elsewhere.
#[cfg(feature = "wgpu")]
pub fn wgpu() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE
        .get_or_init(|| {
            let options = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice);
            let problem = match std::panic::catch_unwind(|| options.init()) {
                Ok(Ok(device)) => return Some(device),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the Vulkan loader failed".into(),
            };
            let message = format!(
                "NO WGPU ADAPTER: WGPU TESTS ARE NOT RUN ({problem}); install a Vulkan driver, \
                 for example Mesa's software one (Debian: mesa-vulkan-drivers)"
            );
            let required = std::env::var("LS_REQUIRE_WGPU").is_ok_and(|value| value == "1");
            assert!(!required, "{message}");
            eprintln!("\n{message}\n");
            None
        })
        .clone()
}
