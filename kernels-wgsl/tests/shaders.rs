//! Every shader of every configuration, parsed and validated by naga without a GPU, against what
//! the launchers assume: bindings, workgroup memory and sizes.

use std::collections::BTreeSet;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, TypeInner};
use transformer_ls_kernels_wgsl::kernel::{Gradients, Kernel};
use transformer_ls_kernels_wgsl::shader::{Element, Layout, Pattern, RowFormat, Shader};
use transformer_ls_kernels_wgsl::tiles::{Limits, LinearTiles, Sizes, Tile, Tiles};

const KERNELS: [Kernel; 34] = [
    Kernel::PackLandmarks,
    Kernel::PackBias,
    Kernel::PackRelativeKeys,
    Kernel::PackWords,
    Kernel::Attend,
    Kernel::AttendDelta,
    Kernel::AttendDq,
    Kernel::AttendDkv(Gradients::Both),
    Kernel::AttendDkv(Gradients::Keys),
    Kernel::AttendDkv(Gradients::Values),
    Kernel::AttendDlandmarks,
    Kernel::SumParts,
    Kernel::AttendDtables,
    Kernel::SumBias,
    Kernel::SumRelativeKeys,
    Kernel::Project,
    Kernel::ProjectMerge,
    Kernel::ProjectDelta,
    Kernel::ProjectBackward { adds: false },
    Kernel::ProjectBackward { adds: true },
    Kernel::LayerNorm,
    Kernel::LayerNormBackward,
    Kernel::SumLayerNorm,
    Kernel::Gelu,
    Kernel::GeluBackward,
    Kernel::Embed,
    Kernel::SortCount,
    Kernel::SortScan,
    Kernel::SortScatter,
    Kernel::SumRuns,
    Kernel::MergeRuns,
    Kernel::SumPositions,
    Kernel::LinearBackward,
    Kernel::SumLinear,
];

fn tile_of(kernel: Kernel, tiles: &Tiles, width: usize, limits: &Limits) -> Tile {
    match kernel {
        Kernel::Attend => tiles.attend,
        Kernel::AttendDq => tiles.attend_dq,
        Kernel::AttendDkv(_) => tiles.attend_dkv,
        Kernel::AttendDlandmarks => tiles.attend_dlandmarks,
        Kernel::Project => tiles.project,
        Kernel::ProjectBackward { .. } => tiles.project_backward,
        Kernel::LayerNorm | Kernel::LayerNormBackward => Tile::of_norm(width, limits),
        Kernel::SumLayerNorm => Tile::of_sums(limits),
        Kernel::SortCount | Kernel::SortScatter => Tile::of_sort(limits),
        Kernel::SortScan => Tile::of_slots(1, limits),
        Kernel::LinearBackward => LinearTiles::choose([9, width, width], limits).tile,
        Kernel::SumLinear => Tile::of_slots(8, limits),
        Kernel::MergeRuns => Tile::of_slots(width.div_ceil(4), limits),
        _ => tiles.entries,
    }
}

/// Parses and validates, and compares with what the launcher of the kernel relies on.
fn check(shader: &Shader, limits: &Limits) {
    let text = shader.render();
    let fail = |problem: String| -> ! { panic!("{shader:?}: {problem}\n{text}") };
    if text.contains("{{") {
        fail("a placeholder is left".into());
    }
    let module = match naga::front::wgsl::parse_str(&text) {
        Ok(module) => module,
        Err(error) => fail(error.emit_to_string(&text)),
    };
    let half = shader.rows.iter().any(|rows| rows.element == Element::F16)
        || shader.element == Element::F16;
    // What WebGPU has without extensions, and float16 where it is asked for.
    let capabilities = match half {
        true => Capabilities::SHADER_FLOAT16,
        false => Capabilities::empty(),
    };
    let info = match Validator::new(ValidationFlags::all(), capabilities).validate(&module) {
        Ok(info) => info,
        Err(error) => fail(error.emit_to_string(&text)),
    };
    let [entry] = &module.entry_points[..] else {
        fail("one entry point is expected".into());
    };
    let expected = [shader.tile.invocations as u32, 1, 1];
    assert_eq!(
        (entry.name.as_str(), entry.workgroup_size),
        ("main", expected)
    );

    let used = info.get_entry_point(0);
    let (mut bound, mut uniform, mut workgroup) = (BTreeSet::new(), None, 0);
    for (handle, variable) in module.global_variables.iter() {
        if used[handle].is_empty() {
            continue;
        }
        match variable.space {
            AddressSpace::Storage { .. } => {
                bound.insert(variable.binding.expect("a binding").binding as usize);
            }
            AddressSpace::Uniform => uniform = variable.binding.map(|b| b.binding as usize),
            AddressSpace::WorkGroup => {
                workgroup += module.types[variable.ty].inner.size(module.to_ctx()) as usize;
                let TypeInner::Array { .. } = module.types[variable.ty].inner else {
                    fail("workgroup memory is arrays".into());
                };
            }
            _ => {}
        }
    }
    let buffers = shader.kernel.storage_buffers();
    if bound != (0..buffers).collect() || uniform != Some(buffers) {
        fail(format!(
            "uses bindings {bound:?} and {uniform:?}, not 0..={buffers}"
        ));
    }
    assert!(buffers <= limits.storage_buffers, "{shader:?}");
    assert!(
        workgroup <= limits.workgroup_bytes,
        "{shader:?}: {workgroup} bytes"
    );
}

const ROOMY: Limits = Limits {
    storage_buffers: 16,
    workgroup_bytes: 48 << 10,
    invocations: 1024,
    emulated: false,
};
const SOFTWARE: Limits = Limits {
    emulated: true,
    ..ROOMY
};

/// Calls with each kernel that a device with these limits would launch for these sizes.
fn for_kernels(limits: &Limits, width: usize, landmarks: usize, mut call: impl FnMut(Shader)) {
    let sizes = Sizes {
        documents: 3,
        heads: 2,
        longest: 300,
        width,
        landmarks,
    };
    let tiles = Tiles::choose(&sizes, limits);
    for kernel in KERNELS {
        let both = kernel == Kernel::AttendDkv(Gradients::Both);
        let one = matches!(kernel, Kernel::AttendDkv(_)) && !both;
        if (both && !tiles.both_gradients) || (one && tiles.both_gradients) {
            continue;
        }
        let rows = RowFormat {
            element: Element::F32,
            vectors: width.is_multiple_of(4),
            channels: width,
        };
        call(Shader {
            kernel,
            tile: tile_of(kernel, &tiles, width, limits),
            task: tiles.block,
            first_task_column: 2,
            width,
            layout: Layout::Full,
            landmarks: landmarks > 0,
            chunks: false,
            pattern: Pattern::Segments,
            bias: false,
            relative_keys: false,
            dropout: false,
            rows: vec![rows; kernel.row_tensors()],
            element: Element::F32,
        });
    }
}

#[test]
fn every_tile_is_valid() {
    for limits in [Limits::PORTABLE, ROOMY, SOFTWARE] {
        for width in [1, 4, 6, 32, 64, 128, 256] {
            for landmarks in [1, 32, 254] {
                for_kernels(&limits, width, landmarks, |shader| check(&shader, &limits));
            }
        }
    }
}

#[test]
fn every_variant_is_valid() {
    for limits in [Limits::PORTABLE, SOFTWARE] {
        // Many switches change nothing in many kernels.
        let mut checked = BTreeSet::new();
        for_kernels(&limits, 32, 5, |shader| {
            for layout in [Layout::Full, Layout::Padded, Layout::Packed] {
                for pattern in [
                    Pattern::Off,
                    Pattern::All,
                    Pattern::Segments,
                    Pattern::Causal,
                    Pattern::Grid,
                ] {
                    for switches in 0..32_u32 {
                        let on = |bit: u32| switches >> bit & 1 == 1;
                        let variant = Shader {
                            layout,
                            pattern,
                            landmarks: on(0),
                            chunks: on(1),
                            bias: on(2),
                            dropout: on(3),
                            relative_keys: on(4),
                            ..shader.clone()
                        };
                        if checked.insert(variant.render()) {
                            check(&variant, &limits);
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn every_storage_is_valid() {
    for_kernels(&Limits::PORTABLE, 32, 5, |shader| {
        for element in [Element::F32, Element::F16] {
            for vectors in [false, true] {
                let variant = Shader {
                    rows: vec![
                        RowFormat {
                            element,
                            vectors,
                            channels: 32
                        };
                        shader.rows.len()
                    ],
                    element,
                    ..shader.clone()
                };
                check(&variant, &Limits::PORTABLE);
            }
        }
    });
}
