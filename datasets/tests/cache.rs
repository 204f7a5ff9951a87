//! Packed files: the same samples, made once, made again when what made them has changed.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use burn_dataset::Dataset;
use proptest::prelude::*;
use tempfile::TempDir;
use transformer_ls_datasets::cache::{Key, Packed, cached};
use transformer_ls_datasets::image::{self, Image, Protocol};
use transformer_ls_datasets::listops::{self, ListOps, Tokenizer};
use transformer_ls_datasets::pathfinder::generate::{GenerateConfig, generate};
use transformer_ls_datasets::pathfinder::{self, Difficulty, Pathfinder, Size};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::text::{self, Text};
use transformer_ls_datasets::{DatasetError, Missing, Sample, Samples, Split, TokenIds};

fn all(data: &impl Dataset<Sample>) -> Vec<Sample> {
    data.iter().map(Result::unwrap).collect()
}

/// Packs, and says whether that took reading the sources.
fn pack<D: Samples>(
    folder: &Path,
    key: &Key,
    open: impl FnOnce() -> Result<D, DatasetError>,
) -> (Packed, bool) {
    let read = Cell::new(false);
    let open = || {
        read.set(true);
        open()
    };
    let packed = cached(folder, key, open, &|_, _| {}, &|| false).unwrap();
    (packed, read.get())
}

/// The fuzzer starts from packed files that another program writes, `.ci/campaign-seeds`; of another
/// version it would get no further than the first bytes.
#[test]
fn the_fuzzers_packed_files_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/packed");
    let one = |tokens: &[u16], label| Sample {
        documents: TokenIds::One(tokens.to_vec()),
        label,
    };
    let bytes = |text: &str| text.bytes().map(|byte| u16::from(byte) + 1).collect();
    let two = |first, second, label| Sample {
        documents: TokenIds::Two(bytes(first), bytes(second)),
        label,
    };
    let expected = [
        ("none", vec![]),
        ("one", vec![one(&[1, 2, 3], 3), one(&[], 1), one(&[256], 0)]),
        ("two", vec![two("ab", "c", 1), two("", "def", 0)]),
    ];
    for (name, samples) in expected {
        let packed = Packed::open(&corpus.join(format!("seed-{name}"))).unwrap();
        assert_eq!(all(&packed), samples, "{name}");
    }
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let dir = TempDir::new().unwrap();
    let (data, folder) = (dir.path().join("data"), dir.path().join("cache"));
    common::write_folder(&data, &common::reviews());
    let key = text::cache_key(&data, Split::Train, Missing::Refuse).unwrap();
    let open = || Text::open(&data, Split::Train, Missing::Refuse);
    pack(&folder, &key, open);
    let packed = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    let packed = packed.path();
    fs::remove_file(&packed).unwrap();
    let [dead, alive, other] = [".unfinished-a-1", ".unfinished-a-2", "note"].map(|name| {
        let path = folder.join(name);
        fs::write(&path, "half").unwrap();
        path
    });
    // Who packs holds a lock.
    let held = fs::File::open(&alive).unwrap();
    held.lock().unwrap();
    let (_, was_read) = pack(&folder, &key, open);
    assert!(was_read && packed.exists());
    assert!(!dead.exists() && alive.exists() && other.exists());
}

#[test]
fn every_task_is_packed_once_and_comes_out_the_same() {
    let dir = TempDir::new().unwrap();
    let (data, folder) = (dir.path().join("data"), dir.path().join("cache/below"));
    common::write_folder(&data, &common::reviews());
    common::write_archive(
        &data.join("cifar-10-binary.tar.gz"),
        &common::binary_batches(3),
    );
    for split in Split::ALL {
        fs::write(data.join(retrieval::file_name(split)), common::pairs(5)).unwrap();
        let trees = "Source\tTarget\n( ( [MAX 2 ) 9 ) ] )\t9\n[SM 1 2 [MIN 4 7 ] ]\t7\n";
        fs::write(data.join(listops::file_name(split)), trees).unwrap();
    }
    let config = GenerateConfig {
        difficulty: Difficulty::Easy,
        count: 50,
        ..GenerateConfig::new(Size::N32)
    };
    generate(&data, &config, &|_, _| {}, &|| false).unwrap();
    let (size, easy) = (Size::N32, Difficulty::Easy);
    for round in 0..2 {
        for split in Split::ALL {
            let check = |(packed, was_read): (Packed, bool), expected: Vec<Sample>| {
                assert_eq!(all(&packed), expected);
                assert_eq!(was_read, round == 0);
                let labels: Vec<u8> = expected.iter().map(|sample| sample.label).collect();
                assert_eq!(packed.labels(), labels);
                let lengths = expected.iter().map(|sample| sample.documents.token_count());
                assert!(packed.lengths().eq(lengths));
            };
            for tokenizer in Tokenizer::ALL {
                let key = listops::cache_key(&data, split, tokenizer).unwrap();
                let open = || ListOps::open(&data, split, tokenizer);
                check(pack(&folder, &key, open), all(&open().unwrap()));
            }
            let key = text::cache_key(&data, split, Missing::Refuse).unwrap();
            let open = || Text::open(&data, split, Missing::Refuse);
            check(pack(&folder, &key, open), all(&open().unwrap()));
            let key = image::cache_key(&data, split, Protocol::S4).unwrap();
            let open = || Image::open(&data, split, Protocol::S4);
            check(pack(&folder, &key, open), all(&open().unwrap()));
            let key = retrieval::cache_key(&data, split).unwrap();
            let open = || Retrieval::open(&data, split);
            check(pack(&folder, &key, open), all(&open().unwrap()));
            let key = pathfinder::cache_key(&data, size, easy, split, Missing::Refuse).unwrap();
            let open = || Pathfinder::open(&data, size, easy, split, Missing::Refuse);
            check(pack(&folder, &key, open), all(&open().unwrap()));
        }
    }
    // A file a task and split, and nothing that was not finished.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 21);
}

#[test]
fn what_has_changed_is_packed_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new_aan_pairs.train.tsv");
    fs::write(&path, common::pairs(4)).unwrap();
    let key = || retrieval::cache_key(dir.path(), Split::Train).unwrap();
    let open = || Retrieval::open(dir.path(), Split::Train);
    let folder = dir.path().join("cache");
    let run = || {
        let (packed, was_read) = pack(&folder, &key(), open);
        (packed.len(), was_read)
    };
    assert_eq!(run(), (4, true));
    assert_eq!(run(), (4, false));
    // Another length; the same length at another time; other options.
    fs::write(&path, common::pairs(5)).unwrap();
    assert_eq!(run(), (5, true));
    assert_eq!(run(), (5, false));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(9))
        .unwrap();
    assert_eq!(run(), (5, true));
    let other = Key {
        options: "others".into(),
        ..key()
    };
    assert!(pack(&folder, &other, open).1);
    assert_eq!(run(), (5, false));
    // A damaged file, one of another version, an empty one.
    let packed = key().path(&folder);
    let good = fs::read(&packed).unwrap();
    let mut other_version = good.clone();
    other_version[7] = 99;
    for bad in [&good[..good.len() - 1], &other_version, b""] {
        fs::write(&packed, bad).unwrap();
        assert_eq!(run(), (5, true));
        assert_eq!(fs::read(&packed).unwrap(), good);
    }
}

/// Reviews and images are many files: whatever becomes of any of them is noticed.
#[test]
fn a_file_among_many_that_has_changed_is_noticed() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("cache");
    common::write_folder(dir.path(), &common::reviews());
    let (train, missing) = (Split::Train, Missing::LeaveOut);
    let run = || {
        let key = text::cache_key(dir.path(), train, missing).unwrap();
        let open = || Text::open(dir.path(), train, missing);
        let (packed, was_read) = pack(&folder, &key, open);
        (all(&packed), packed.left_out(), was_read)
    };
    let (before, left_out, was_read) = run();
    assert!(was_read && left_out == 0);
    assert!(!run().2);
    // In place, with as many bytes.
    let review = dir.path().join("aclImdb/train/neg/0_8.txt");
    let old = fs::read_to_string(&review).unwrap();
    fs::write(&review, old.replace("film", "fish")).unwrap();
    let (after, _, was_read) = run();
    assert!(was_read && after != before && after.len() == before.len());
    // Left out, and then there again: it is not left out for ever.
    fs::write(&review, b"").unwrap();
    for was_read in [true, false] {
        let (samples, left_out, read) = run();
        assert_eq!((samples.len(), left_out, read), (5, 1, was_read));
    }
    fs::write(&review, old).unwrap();
    let (again, left_out, _) = run();
    assert!(again == before && left_out == 0);
    // A side file is no news, a further review is.
    fs::write(dir.path().join("aclImdb/train/neg/.DS_Store"), b"").unwrap();
    fs::write(dir.path().join("aclImdb/train/neg/._0_8.txt"), b"\0").unwrap();
    assert!(!run().2);
    fs::write(dir.path().join("aclImdb/train/neg/7_1.txt"), b"new").unwrap();
    assert_eq!(run().0.len(), 7);
    assert!(!run().2);
    // What was asked for belongs to the key.
    let key = |missing| text::cache_key(dir.path(), train, missing).unwrap();
    assert_ne!(
        key(Missing::Refuse).path(&folder),
        key(missing).path(&folder)
    );
}

#[test]
fn an_image_that_was_missing_is_not_left_out_for_ever() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("cache");
    let config = GenerateConfig {
        count: 20,
        ..GenerateConfig::new(Size::N32)
    };
    let images = generate(dir.path(), &config, &|_, _| {}, &|| false).unwrap();
    let image = images.folder.join("imgs/0/sample_3.png");
    let png = fs::read(&image).unwrap();
    fs::write(&image, b"").unwrap();
    let (size, hard, train) = (Size::N32, Difficulty::Hard, Split::Train);
    let run = |missing| {
        let key = pathfinder::cache_key(dir.path(), size, hard, train, missing).unwrap();
        let open = || Pathfinder::open(dir.path(), size, hard, train, missing);
        let packed = cached(&folder, &key, open, &|_, _| {}, &|| false)?;
        Ok::<_, DatasetError>((packed.len(), packed.left_out()))
    };
    // Nothing is packed unless that is asked for.
    assert!(run(Missing::Refuse).is_err());
    assert!(!folder.exists());
    assert_eq!(run(Missing::LeaveOut).unwrap(), (17, 1));
    assert_eq!(run(Missing::LeaveOut).unwrap(), (17, 1));
    fs::write(&image, &png).unwrap();
    assert_eq!(run(Missing::LeaveOut).unwrap(), (16, 0));
    assert_eq!(run(Missing::Refuse).unwrap(), (16, 0));
    fs::remove_file(&image).unwrap();
    assert!(run(Missing::Refuse).is_err());
}

/// Packed or not, how many documents a shorter model would cut is known.
#[test]
fn longer_documents_are_counted() {
    let dir = TempDir::new().unwrap();
    let lines = "0\ta\tb\txx\tyyyy\n1\ta\tb\txxxxx\ty\n0\ta\tb\t\ty\n1\ta\tb\tx\ty\n";
    fs::write(dir.path().join("new_aan_pairs.train.tsv"), lines).unwrap();
    let data = Retrieval::open(dir.path(), Split::Train).unwrap();
    let key = retrieval::cache_key(dir.path(), Split::Train).unwrap();
    let open = || Retrieval::open(dir.path(), Split::Train);
    let (packed, _) = pack(&dir.path().join("cache"), &key, open);
    let both: [&dyn Samples; 2] = [&data, &packed];
    for data in both {
        let longer = [0, 1, 4, 5].map(|tokens| data.longer_than(tokens).unwrap());
        assert_eq!(longer, [3, 2, 1, 0]);
        assert_eq!(data.left_out(), 1);
    }
}

#[test]
fn giving_up_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("new_aan_pairs.train.tsv"),
        common::pairs(3000),
    )
    .unwrap();
    let key = retrieval::cache_key(dir.path(), Split::Train).unwrap();
    let folder = dir.path().join("cache");
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let open = || Retrieval::open(dir.path(), Split::Train);
    let error = cached(&folder, &key, open, &|_, _| {}, &cancelled).unwrap_err();
    assert!(matches!(error, DatasetError::Cancelled));
    assert!(!folder.exists());
    // A folder that was there stays.
    fs::create_dir(&folder).unwrap();
    // An id that is no byte above the first one.
    let wrong = Key { first_id: 0, ..key };
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("train/neg")).unwrap();
    let one = burn_dataset::InMemDataset::new(vec![Sample {
        documents: TokenIds::One(vec![256]),
        label: 0,
    }]);
    let error = cached(&folder, &wrong, || Ok(one), &|_, _| {}, &|| false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "token id 256 cannot be packed: ids from 0 to 0 + 255 can"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// What a mapped file takes is the system's cache, not the process' own memory.
#[cfg(target_os = "linux")]
#[test]
fn own_memory_stays_flat() {
    let own = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >> 10
    };
    let dir = TempDir::new().unwrap();
    let text = "flat ".repeat(800);
    let line = format!("1\ta\tb\t{text}\t{text}\n");
    fs::write(
        dir.path().join("new_aan_pairs.train.tsv"),
        line.repeat(25_000),
    )
    .unwrap();
    let before = own();
    let key = retrieval::cache_key(dir.path(), Split::Train).unwrap();
    let open = || Retrieval::open(dir.path(), Split::Train);
    let (packed, _) = pack(&dir.path().join("cache"), &key, open);
    let tokens: usize = packed
        .iter()
        .map(|s| s.unwrap().documents.token_count())
        .sum();
    assert_eq!(tokens, 25_000 * 8000);
    let grown = own().saturating_sub(before);
    println!("{grown} MB more, of 200 MB of tokens");
    assert!(grown < 64, "{grown} MB");
}

proptest! {
    #[test]
    fn damaged_files_are_refused_or_read(at in 0usize..200, byte: u8, cut in 0usize..200) {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("new_aan_pairs.train.tsv"), common::pairs(2)).unwrap();
        let key = retrieval::cache_key(dir.path(), Split::Train).unwrap();
        let open = || Retrieval::open(dir.path(), Split::Train);
        let (packed, _) = pack(dir.path(), &key, open);
        drop(packed);
        let good = fs::read(key.path(dir.path())).unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(packed) = Packed::from_bytes(bytes) {
            for sample in packed.iter() {
                sample.unwrap();
            }
        }
        prop_assert!(Packed::from_bytes(good[..cut.min(good.len() - 1)].to_vec()).is_err());
    }
}
