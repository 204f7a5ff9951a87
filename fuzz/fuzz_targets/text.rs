//! Film reviews.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::text::{TRUNCATION, encode, trimmed};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = trimmed(bytes) {
        let ids = encode(text);
        assert!(!ids.is_empty() && ids.len() <= TRUNCATION);
        assert!(ids.iter().all(|id| (1..=256).contains(id)));
    }
});
