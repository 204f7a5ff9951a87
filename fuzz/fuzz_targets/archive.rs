//! Archives: the bytes as they are, and gzipped, so that the fuzzer gets as far as tar.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::{Missing, Split};
use transformer_ls_datasets::fetch::unpack;
use transformer_ls_datasets::image::{Image, Protocol};
use transformer_ls_datasets::listops::{ListOps, Tokenizer};
use transformer_ls_datasets::pathfinder::{Difficulty, Pathfinder, Size};
use transformer_ls_datasets::retrieval::Retrieval;
use transformer_ls_datasets::text::Text;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("archive.tar.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let gzip = gzip.write_all(bytes).and_then(|()| gzip.finish());
    for bytes in [Some(bytes), gzip.as_deref().ok()].into_iter().flatten() {
        if std::fs::write(&path, bytes).is_err() {
            return;
        }
        let _ = Text::open(&path, Split::Train, Missing::Refuse);
        let _ = Image::open(&path, Split::Test, Protocol::S4);
        let _ = ListOps::open(&path, Split::Train, Tokenizer::Legacy);
        let _ = Retrieval::open(&path, Split::Test);
        let hard = Difficulty::Hard;
        let _ = Pathfinder::open(&path, Size::N32, hard, Split::Train, Missing::Refuse);
        let into = dir.path().join("into/below");
        let _ = unpack(&path, "train", &into, &|_| {}, &|| false);
        // Nothing is unpacked beside the folder.
        assert!(std::fs::read_dir(dir.path()).is_ok_and(|entries| entries.count() <= 2));
    }
});
