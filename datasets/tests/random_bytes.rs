//! No reader panics, whatever it is given: random bytes, and real files with random damage.
//! `fuzz/` has targets for the same readers.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use transformer_ls_datasets::cache::Packed;
use transformer_ls_datasets::check::check;
use transformer_ls_datasets::corpus::{Corpus, Position, Published, Scoring, Shares, Streams};
use transformer_ls_datasets::image::{Image, Protocol, parse_binary};
use transformer_ls_datasets::listops::{self, ListOps, Tokenizer, evaluate};
use transformer_ls_datasets::pathfinder::{Difficulty, Pathfinder, Size, parse_metadata};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::text::{Text, trimmed};
use transformer_ls_datasets::{Missing, Sample, Split, Task, png};

/// Reads all there is, with an error or without.
fn drain<E: std::fmt::Display>(data: Result<impl Dataset<Sample>, E>) -> Result<usize, String> {
    let data = data.map_err(|error| error.to_string())?;
    for sample in data.iter() {
        sample.map_err(|error| error.to_string())?;
    }
    Ok(data.len())
}

/// Gives the bytes to every reader of bytes and of files.
fn read_all(bytes: &[u8], dir: &Path) {
    let _ = png::decode(bytes);
    let _ = parse_metadata(bytes, Path::new("0.npy"));
    let _ = parse_binary(bytes);
    let _ = trimmed(bytes);
    let _ = retrieval::parse_line(bytes);
    let _ = Packed::from_bytes(bytes.to_vec());
    let _ = evaluate(&String::from_utf8_lossy(bytes));

    for folder in ["metadata", "imgs/0", "train/neg", "train/pos"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let files = [
        "archive.tar.gz",
        "data_batch_1.bin",
        "test_batch.bin",
        "metadata/0.npy",
        "imgs/0/sample_0.png",
        "train/neg/0_1.txt",
        "train/pos/0_9.txt",
        listops::file_name(Split::Train),
        retrieval::file_name(Split::Train),
    ];
    for file in files {
        fs::write(dir.join(file), bytes).unwrap();
    }
    let archive = dir.join("archive.tar.gz");
    for path in [dir, &archive] {
        let _ = drain(Text::open(path, Split::Train, Missing::Refuse));
        let _ = drain(Image::open(path, Split::Train, Protocol::Tfds));
        let _ = drain(Image::open(path, Split::Test, Protocol::S4));
        let _ = drain(ListOps::open(path, Split::Train, Tokenizer::Legacy));
        let _ = drain(Retrieval::open(path, Split::Train));
        let easy = Difficulty::Easy;
        let _ = drain(Pathfinder::open(
            path,
            Size::N32,
            easy,
            Split::Test,
            Missing::Refuse,
        ));
    }
    fs::write(dir.join("text8.zip"), bytes).unwrap();
    let _ = Corpus::published(Published::Text8, dir);
    if let Ok(corpus) = Corpus::file(&archive, Shares::default()) {
        let part = corpus.part(Split::Train, corpus.vocabulary()).unwrap();
        if let Ok(streams) = Streams::new(part.clone(), 2, 8) {
            let first = streams.at(Position::default(), 8);
            assert_eq!(first.ids.len(), 18);
        }
        if let Ok(scoring) = Scoring::new(part, 2, 8) {
            assert_eq!(scoring.iter().count(), scoring.segments());
        }
    }
    for task in Task::ALL {
        let _ = check(task, dir).to_string();
    }
}

/// Real files, small.
fn real() -> Vec<Vec<u8>> {
    let pixels: Vec<u8> = (0..1024).map(|i| (i * i / 3) as u8).collect();
    let line = "imgs/0 sample_0.png 0 1 1.0 14 4 2 0.5 1 1\n";
    vec![
        png::encode(32, 32, &pixels),
        line.repeat(3).into_bytes(),
        common::binary_batches(1).remove(0).1,
        common::pairs(3),
        b"Source\tTarget\n[MAX 1 2 [MIN 3 4 ] ]\t3\n".to_vec(),
        common::gzip(&common::tar(&common::reviews())),
        common::tar(&common::binary_batches(1)),
        common::zip("text8", 0, b"a text", 100_000_000, 0),
        common::tar(&released(png::encode(32, 32, &pixels))),
        b"\x93NUMPY\x01\x00\x3f\x00{'descr': '|S1', 'fortran_order': False, 'shape': (1, 11), }   \n01010101010".to_vec(),
    ]
}

/// Files of three tasks as they lie in `lra_release.gz`.
fn released(image: Vec<u8>) -> common::Files {
    let place = "lra_release/lra_release";
    let images = format!("{place}/pathfinder32/curv_baseline");
    let metadata = "imgs/0 sample_0.png 0 1 1.0 6 2 2 0.5 1 1\n".repeat(10);
    let expression = b"Source\tTarget\n[MAX 1 2 [MIN 3 4 ] ]\t3\n".to_vec();
    let named = [
        ("listops-1000/basic_train.tsv", expression),
        ("tsv_data/new_aan_pairs.train.tsv", common::pairs(2)),
    ];
    let named = named.map(|(name, bytes)| (format!("{place}/{name}"), bytes));
    let mut files = named.to_vec();
    files.push((format!("{images}/metadata/0.npy"), metadata.into_bytes()));
    files.push((format!("{images}/imgs/0/sample_0.png"), image));
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..600)) {
        let dir = TempDir::new().unwrap();
        read_all(&bytes, dir.path());
    }

    #[test]
    fn damaged_files_are_refused_or_read(
        which in 0usize..10,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let dir = TempDir::new().unwrap();
        let mut bytes = real().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes, dir.path());
    }
}
