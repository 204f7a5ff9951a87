//! Every shader of every configuration, parsed and validated by naga without a GPU, against what
//! the launchers assume: bindings, workgroup memory and sizes.

use std::collections::BTreeSet;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, TypeInner};
use transformer_ls_kernels_wgsl::shader::{Element, Layout, Pattern, RowFormat, Shader};
use transformer_ls_kernels_wgsl::tiles::{Cooperative, Limits};

#[path = "common/shaders.rs"]
mod common;

use common::{ROOMY, for_kernels};

const SOFTWARE: Limits = Limits {
    emulated: true,
    ..ROOMY
};

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
    // What WebGPU has without extensions, and what is asked for.
    let mut capabilities = Capabilities::empty();
    let cooperates = shader.tile.cooperative.is_some();
    capabilities.set(Capabilities::SHADER_FLOAT16, half || cooperates);
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, cooperates);
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

#[test]
fn every_tile_is_valid() {
    let cooperative = |size, subgroup| Limits {
        cooperative: Some(Cooperative { size, subgroup }),
        ..Limits::PORTABLE
    };
    let cooperative = [cooperative(8, 8), cooperative(16, 32), cooperative(16, 64)];
    for limits in [Limits::PORTABLE, ROOMY, SOFTWARE]
        .into_iter()
        .chain(cooperative)
    {
        for width in [1, 4, 6, 32, 64, 128, 256] {
            for landmarks in [1, 32, 254] {
                for window in [16, 128] {
                    let sizes = [width, landmarks, window];
                    for_kernels(&limits, sizes, Pattern::Segments, |shader| {
                        check(&shader, &limits)
                    });
                }
            }
        }
    }
}

#[test]
fn every_variant_is_valid() {
    for limits in [Limits::PORTABLE, SOFTWARE] {
        // Many switches change nothing in many kernels.
        let mut checked = BTreeSet::new();
        for pattern in [
            Pattern::Off,
            Pattern::All,
            Pattern::Segments,
            Pattern::Causal,
            Pattern::Grid,
        ] {
            for_kernels(&limits, [32, 5, 16], pattern, |shader| {
                for layout in [Layout::Full, Layout::Padded, Layout::Packed] {
                    for switches in 0..32_u32 {
                        let on = |bit: u32| switches >> bit & 1 == 1;
                        let variant = Shader {
                            layout,
                            landmarks: on(0),
                            chunks: on(1),
                            bias: on(2),
                            dropout: on(3),
                            relative_keys: on(4),
                            // Each with and without those that it has something to do with.
                            landmark_bias: on(3),
                            landmark_offsets: on(3) != on(1),
                            ..shader.clone()
                        };
                        if checked.insert(variant.render()) {
                            check(&variant, &limits);
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn every_storage_is_valid() {
    for_kernels(
        &Limits::PORTABLE,
        [32, 5, 16],
        Pattern::Segments,
        |shader| {
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
        },
    );
}
