//! Pairs of papers, as a line and as a file.
#![no_main]

use burn_dataset::Dataset;
use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::Split;
use transformer_ls_datasets::retrieval::{Retrieval, file_name, parse_line};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_line(bytes);
    let Ok(dir) = tempfile::tempdir() else { return };
    if std::fs::write(dir.path().join(file_name(Split::Test)), bytes).is_err() {
        return;
    }
    if let Ok(data) = Retrieval::open(dir.path(), Split::Test) {
        for sample in data.iter() {
            assert!(sample.is_ok_and(|sample| sample.documents.count() == 2 && sample.label < 2));
        }
    }
});
