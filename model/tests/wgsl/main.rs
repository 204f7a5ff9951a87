//! The WGSL kernels, each result alone, against the plain bodies in float64: awkward and random
//! sizes, layouts and storage types, memory that is full of NaN, small devices, and the same bits
//! twice.
//!
//! Tolerances come from the plain bodies' own error: in float32, twice it for a result of the
//! forward pass and three times for a gradient (as the tests of FlashAttention have it); no less
//! than a few units in the last place of the largest entry, since sums of a few terms may be exact
//! by chance.
#![cfg(feature = "wgpu")]

mod adamw;
mod cases;
mod class_row;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod embeddings;
mod layers;
mod linear;

use std::sync::{Mutex, MutexGuard};

use burn::tensor::DType;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::wgpu::wgpu;
use proptest::prelude::*;
use transformer_ls_kernels_wgsl::tiles::{Cooperative, Limits};
use transformer_ls_kernels_wgsl::{cooperative, testing};

use adamw::check_adamw;
use cases::{Case, Kind, PLAIN, cases, extremes, packed, padded, patterns, segments};
use class_row::check_class_rows;
use compare::Body;
use embeddings::check_embeddings;
use layers::{check_layers, layers_results};
use linear::check_linear;

/// Switches of `testing` are the process's, so tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|error| error.into_inner())
}

#[test]
fn kernels_agree_with_the_plain_bodies() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    for case in cases() {
        case.check(&device, DType::F32);
    }
    check_layers(&device, DType::F32);
    check_embeddings(&device, DType::F32);
    check_linear(&device, DType::F32);
    check_class_rows(&device, DType::F32);
    check_adamw(&device);
}

#[test]
fn every_pattern_agrees_with_the_plain_bodies() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    testing::poison_memory(true);
    // The device's own tiles, and those of a GPU.
    for limits in [None, Some(Limits::PORTABLE)] {
        testing::force_limits(limits);
        for case in patterns().iter().chain(&extremes()) {
            case.check(&device, DType::F32);
        }
    }
    testing::force_limits(None);
    testing::poison_memory(false);
}

#[test]
fn every_entry_is_written_and_none_is_read_before() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    testing::poison_memory(true);
    for case in cases() {
        case.check(&device, DType::F32);
    }
    check_layers(&device, DType::F32);
    check_embeddings(&device, DType::F32);
    check_linear(&device, DType::F32);
    check_class_rows(&device, DType::F32);
    check_adamw(&device);
    testing::poison_memory(false);
}

#[test]
fn the_smallest_device_and_a_processor_agree_too() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    testing::poison_memory(true);
    for emulated in [false, true] {
        testing::force_limits(Some(Limits {
            emulated,
            ..Limits::PORTABLE
        }));
        for case in cases() {
            case.check(&device, DType::F32);
        }
        check_layers(&device, DType::F32);
        check_embeddings(&device, DType::F32);
        check_linear(&device, DType::F32);
        check_class_rows(&device, DType::F32);
        check_adamw(&device);
    }
    testing::force_limits(None);
    testing::poison_memory(false);
}

#[test]
fn the_same_launch_gives_the_same_bits() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    let kinds = [padded(3, 200), packed(&[400, 3, 90])];
    let limits = [None, Some(Limits::PORTABLE)];
    for (kind, limits) in kinds.iter().flat_map(|kind| limits.map(|l| (kind, l))) {
        testing::force_limits(limits);
        let case = Case {
            kind: kind.clone(),
            bias: true,
            relative_keys: true,
            landmark_terms: true,
            dropout: 0.1,
            ..PLAIN
        };
        let bits = || -> Vec<Vec<u64>> {
            let results = case.run(&device, DType::F32, Body::Kernels, None);
            let bits = |values: Vec<f64>| values.iter().map(|x| x.to_bits()).collect();
            results
                .into_iter()
                .map(|(_, values)| bits(values))
                .collect()
        };
        assert!(bits() == bits(), "{case:?}");
        let layers = || layers_results(&device);
        for ((name, first), (_, second)) in layers().iter().zip(&layers()) {
            // No gradient is 0 by chance, and none NaN, which no bits are equal to.
            assert!(first.iter().any(|x| *x != 0.0), "{name}");
            assert!(first == second, "{name}: other bits the second time");
        }
    }
    testing::force_limits(None);
}

/// More workgroups than a dimension takes: tasks lie in two.
#[test]
fn many_documents_take_a_second_dimension() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    let kind = Kind::Full {
        documents: 33_000,
        length: 2,
    };
    let case = Case {
        kind,
        width: 4,
        landmarks: 1,
        visibility: segments(1),
        ..PLAIN
    };
    case.check(&device, DType::F32);
}

#[test]
fn float16_storage_loses_no_more_than_its_rounding() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    if !device.supports_dtype(DType::F16) {
        eprintln!(
            "\nNO FLOAT16 ON THIS ADAPTER: ITS KERNELS ARE VALIDATED (shaders.rs), NOT RUN\n"
        );
        return;
    }
    for case in cases().into_iter().filter(|case| case.size == 1.0) {
        case.check(&device, DType::F16);
    }
    check_layers(&device, DType::F16);
    check_embeddings(&device, DType::F16);
    check_linear(&device, DType::F16);
    check_class_rows(&device, DType::F16);
}

/// The adapter's cooperative matrices, or what it lacks.
fn cooperative_matrices() -> Result<Cooperative, &'static str> {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let instance = wgpu::Instance::new(descriptor);
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = block_on(instance.request_adapter(&options));
    cooperative::of(&adapter.map_err(|_| "there is none")?)
}

#[test]
fn cooperative_matrices_agree_too() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    let matrices = match cooperative_matrices() {
        Ok(matrices) => matrices,
        Err(lack) => {
            eprintln!(
                "\nNO COOPERATIVE MATRICES ON THIS ADAPTER ({lack}): THEIR KERNELS ARE VALIDATED \
                 (shaders.rs), NOT RUN\n"
            );
            return;
        }
    };
    testing::poison_memory(true);
    testing::force_limits(Some(Limits {
        cooperative: Some(matrices),
        ..Limits::PORTABLE
    }));
    // Mesa's software driver takes minutes to compile wide heads, and relative keys of all patterns.
    let narrow = cases().into_iter().filter(|case| case.width <= 64);
    let patterns = patterns()
        .into_iter()
        .filter(|case| !case.relative_keys || case.landmarks > 0);
    for case in narrow.chain(patterns.take(3)) {
        if case.size == 1.0 {
            case.check(&device, DType::F16);
        }
    }
    testing::force_limits(None);
    testing::poison_memory(false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    #[test]
    fn kernels_agree_at_random_sizes(
        layout in 0..3_u8,
        lengths in prop::collection::vec(0..200_usize, 1..4),
        heads in 1..4_usize,
        width in prop::sample::select(vec![4_usize, 10, 32]),
        landmarks in 0..40_usize,
        window in 1..20_usize,
        bias: bool,
        relative_keys: bool,
        landmark_terms: bool,
        turned: bool,
        dropout in prop::sample::select(vec![0.0, 0.25]),
        seed: u64,
    ) {
        let _turn = turn();
        let Some(device) = common::wgpu() else { return Ok(()) };
        let (documents, length) = (lengths.len(), lengths[0].max(1));
        let kind = match layout {
            0 => Kind::Full { documents, length },
            1 => Kind::Padded { documents, length },
            _ if lengths.iter().sum::<usize>() > 0 => Kind::Packed { lengths },
            _ => Kind::Packed { lengths: vec![1] },
        };
        let visibility = segments(window);
        let case = Case {
            kind, heads, width, landmarks, visibility, keys: None, bias, relative_keys,
            landmark_terms: landmark_terms && landmarks > 0, dropout, turned, size: 1.0, seed,
        };
        case.check(&device, DType::F32);
    }
}
