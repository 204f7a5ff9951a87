//! Metadata of Pathfinder, as text and as NumPy files.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::pathfinder::parse_metadata;

fuzz_target!(|bytes: &[u8]| {
    for entry in parse_metadata(bytes, Path::new("metadata/0.npy"))
        .into_iter()
        .flatten()
    {
        let mut parts = Path::new(&entry.image).components();
        assert!(entry.label < 2 && parts.all(|part| matches!(part, Component::Normal(_))));
    }
});
