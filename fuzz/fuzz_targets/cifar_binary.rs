//! The binary batches of CIFAR-10.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::image::parse_binary;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = parse_binary(bytes) {
        assert_eq!(records.labels.len() * 3073, bytes.len());
        assert!(records.labels.iter().all(|&label| label < 10));
    }
});
