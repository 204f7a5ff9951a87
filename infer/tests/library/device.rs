//! Devices by name.

use transformer_ls_infer::device::{
    DeviceClass, device_bytes, is_cubecl, list, names, peak_resident_bytes, resolve,
};
use transformer_ls_infer::run::Packing;

#[test]
fn cpu_backends_are_always_there() {
    for name in ["flex", "ndarray"] {
        let chosen = resolve(name).unwrap();
        assert_eq!(chosen.name, name);
        assert!(chosen.adapter.contains("threads"), "{}", chosen.adapter);
        assert!(!is_cubecl(&chosen.device));
        assert_eq!(device_bytes(&chosen.device), None);
    }
    assert!(!is_cubecl(&resolve("flex").unwrap().device.autodiff()));
}

#[test]
fn auto_is_never_a_software_adapter() {
    let chosen = resolve("auto").unwrap();
    let devices = list();
    let same = devices.iter().find(|info| info.name == chosen.name);
    let class = same.expect("the chosen device is in the list").class;
    assert_ne!(class, DeviceClass::SoftwareGpu);
    let real = |class| {
        matches!(
            class,
            DeviceClass::DiscreteGpu | DeviceClass::IntegratedGpu | DeviceClass::VirtualGpu
        )
    };
    if !devices.iter().any(|info| real(info.class)) {
        assert_eq!(chosen.name, "flex");
        assert!(chosen.reason.contains("no GPU"), "{}", chosen.reason);
    }
}

/// Every listed device can be asked for by its listed name, and computes.
#[test]
fn what_is_listed_can_be_used() {
    let devices = list();
    assert!(devices.iter().any(|info| info.name == "flex"));
    for info in devices {
        let chosen = resolve(&info.name).unwrap();
        assert_eq!(chosen.device, info.device);
        assert_eq!(chosen.adapter, info.adapter);
        // On CPUs, and on GPUs where attention is shaders'.
        assert!(Packing::Auto.packs(&chosen.device), "{}", info.name);
        let ones = burn::tensor::Tensor::<1>::ones([8], &chosen.device);
        assert_eq!(ones.sum().into_scalar::<f32>(), 8.0, "{}", info.name);
        assert_eq!(
            device_bytes(&chosen.device).is_some_and(|bytes| bytes > 0),
            is_cubecl(&chosen.device),
            "{}",
            info.name
        );
    }
}

#[test]
fn the_default_adapter_is_there_whenever_one_is() {
    let adapters = list()
        .iter()
        .filter(|info| info.name.starts_with("wgpu"))
        .count();
    match resolve("wgpu") {
        Ok(chosen) => {
            assert!(adapters > 0);
            assert_eq!(chosen.name, "wgpu");
            assert!(is_cubecl(&chosen.device));
        }
        Err(error) => {
            assert_eq!(adapters, 0);
            assert!(error.to_string().contains("graphics adapter"), "{error}");
        }
    }
}

#[test]
fn wrong_names_are_explained() {
    let unknown = resolve("gpu").unwrap_err().to_string();
    assert!(
        unknown.starts_with("unknown device `gpu`: use one of auto, flex"),
        "{unknown}"
    );
    assert!(names().contains(&"wgpu:cpu".to_string()));
    let beyond = resolve("wgpu:99").unwrap_err().to_string();
    assert!(beyond.contains("this machine has"), "{beyond}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn what_is_not_compiled_in_names_its_feature() {
    let error = resolve("cuda:1").unwrap_err().to_string();
    assert!(error.contains("`--features cuda`"), "{error}");
    assert!(error.contains("flex"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_peak_of_memory_grows_with_use() {
    let before = peak_resident_bytes().unwrap();
    let block = vec![1u8; 64 << 20];
    assert!(block.iter().all(|&byte| byte == 1));
    let after = peak_resident_bytes().unwrap();
    assert!(after >= before && after >= 64 << 20, "{before} {after}");
}
