//! Archives: the bytes as they are, or gzipped, so that the fuzzer gets as far as tar. The last byte says
//! which, and who reads them: all at once would be twelve times slower.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use transformer_ls_datasets::fetch::unpack;
use transformer_ls_datasets::image::{Image, Protocol};
use transformer_ls_datasets::listops::{ListOps, Tokenizer};
use transformer_ls_datasets::pathfinder::{Difficulty, Pathfinder, Size};
use transformer_ls_datasets::retrieval::Retrieval;
use transformer_ls_datasets::text::Text;
use transformer_ls_datasets::{Missing, Split};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_last() else {
        return;
    };
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("archive.tar.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let written = match choice % 2 {
        0 => std::fs::write(&path, bytes),
        _ => gzip
            .write_all(bytes)
            .and_then(|()| gzip.finish())
            .and_then(|gzip| std::fs::write(&path, gzip)),
    };
    if written.is_err() {
        return;
    }
    let hard = Difficulty::Hard;
    match choice / 2 % 6 {
        0 => drop(Text::open(&path, Split::Train, Missing::Refuse)),
        1 => drop(Image::open(&path, Split::Test, Protocol::S4)),
        2 => drop(ListOps::open(&path, Split::Train, Tokenizer::Legacy)),
        3 => drop(Retrieval::open(&path, Split::Test)),
        4 => drop(Pathfinder::open(
            &path,
            Size::N32,
            hard,
            Split::Train,
            Missing::Refuse,
        )),
        _ => {
            let into = dir.path().join("into/below");
            let _ = unpack(&path, "train", &into, &|_| {}, &|| false);
            // Nothing is unpacked beside the folder.
            assert!(std::fs::read_dir(dir.path()).is_ok_and(|entries| entries.count() <= 2));
        }
    }
});
