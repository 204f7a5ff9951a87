//! Expressions and files of ListOps.
#![no_main]

use burn_dataset::Dataset;
use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::Split;
use transformer_ls_datasets::listops::{ListOps, Tokenizer, evaluate, file_name};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(value) = evaluate(text) {
            assert!(value < 10);
        }
        let _ = Tokenizer::Brackets.encode(text);
    }
    let Ok(dir) = tempfile::tempdir() else { return };
    if std::fs::write(dir.path().join(file_name(Split::Test)), bytes).is_err() {
        return;
    }
    if let Ok(data) = ListOps::open(dir.path(), Split::Test, Tokenizer::Legacy) {
        for sample in data.iter() {
            assert!(sample.is_ok_and(|sample| sample.label < 10));
        }
    }
});
