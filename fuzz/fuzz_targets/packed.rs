//! Packed files of samples.
#![no_main]

use burn_dataset::Dataset;
use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::cache::Packed;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packed) = Packed::from_bytes(bytes.to_vec()) {
        let tokens: usize = packed.lengths().sum();
        let mut found = 0;
        for sample in packed.iter() {
            found += sample.map_or(0, |sample| sample.documents.token_count());
        }
        assert_eq!(found, tokens);
    }
});
