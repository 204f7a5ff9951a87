//! The Python batches of CIFAR-10.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::image::parse_pickle;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = parse_pickle(bytes) {
        assert_eq!(records.labels.len() * 1024, records.pixels.len());
        assert!(records.labels.iter().all(|&label| label < 10));
    }
});
