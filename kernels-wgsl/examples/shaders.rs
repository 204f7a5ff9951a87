//! Writes the texts of the shaders into a folder, as devices with WebGPU's own limits get them, for
//! other compilers than naga (`.ci/tint.py`).
//!
//! ```text
//! cargo run --release --example shaders -- DIR
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs, io};

use transformer_ls_kernels_wgsl::shader::{Layout, Pattern};
use transformer_ls_kernels_wgsl::tiles::Limits;

#[path = "../tests/common/shaders.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod shaders;

/// How documents lie, what queries see, and whether a score has all its terms: each value of each
/// once, and the usual one with everything.
const VARIANTS: [(Layout, Pattern, bool); 8] = [
    (Layout::Full, Pattern::Segments, false),
    (Layout::Padded, Pattern::Segments, true),
    (Layout::Packed, Pattern::Segments, false),
    (Layout::Packed, Pattern::Segments, true),
    (Layout::Full, Pattern::All, false),
    (Layout::Full, Pattern::Causal, true),
    (Layout::Full, Pattern::Grid, true),
    (Layout::Full, Pattern::Off, true),
];

/// What a browser's device may have besides: buffers for both gradients of a pass at once.
const BROWSER: Limits = Limits {
    storage_buffers: 8,
    ..Limits::PORTABLE
};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).unwrap_or_else(|| "shaders".into());
    fs::create_dir_all(&folder)?;
    let mut texts = BTreeSet::new();
    // Heads of whole vectors, narrow and wide; heads of other widths; no landmarks.
    for (limits, sizes, variants) in [
        (Limits::PORTABLE, [32, 32, 16], &VARIANTS[..]),
        (Limits::PORTABLE, [64, 64, 128], &VARIANTS),
        (Limits::PORTABLE, [33, 20, 16], &VARIANTS[2..4]),
        (Limits::PORTABLE, [256, 32, 16], &VARIANTS[..1]),
        (Limits::PORTABLE, [32, 0, 16], &VARIANTS[1..2]),
        (BROWSER, [64, 64, 128], &VARIANTS[..2]),
    ] {
        for &(layout, pattern, terms) in variants {
            shaders::for_kernels(&limits, sizes, pattern, |mut shader| {
                shader.layout = layout;
                (shader.bias, shader.relative_keys) = (terms, terms);
                (shader.landmark_bias, shader.landmark_offsets) = (terms, terms);
                (shader.dropout, shader.chunks) = (terms, terms);
                let name: &str = shader.kernel.into();
                texts.insert((name, shader.render()));
            });
        }
    }
    for (number, (name, text)) in texts.iter().enumerate() {
        fs::write(
            Path::new(&folder).join(format!("{name}_{number}.wgsl")),
            text,
        )?;
    }
    println!("{} shaders in {}", texts.len(), folder.display());
    Ok(())
}
