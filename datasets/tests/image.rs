//! CIFAR-10 in all its forms, its splits, and what is said of damaged ones.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use common::{batches, binary_batches, gzip, tar, without, write_archive};
use tempfile::TempDir;
use transformer_ls_datasets::check::check;
use transformer_ls_datasets::image::{Image, Protocol, is_prepared, parse_binary};
use transformer_ls_datasets::splits::{tfds_order, torch_permutation};
use transformer_ls_datasets::{Sample, Split, Task, TokenIds};

fn open(path: &Path, split: Split, protocol: Protocol) -> Result<Vec<Sample>, String> {
    let data = Image::open(path, split, protocol).map_err(|error| error.to_string())?;
    Ok(data.iter().map(Result::unwrap).collect())
}

/// TensorFlow's conversion, worked out in double precision.
fn grey(red: u8, green: u8, blue: u8) -> f64 {
    (0.2989 * f64::from(red) + 0.5870 * f64::from(green) + 0.1140 * f64::from(blue)) / 255.0 * 255.5
}

#[test]
fn all_forms_hold_the_same_images() {
    let dir = TempDir::new().unwrap();
    let binary = binary_batches(4);
    common::write_folder(&dir.path().join("a"), &binary);
    fs::create_dir(dir.path().join("c")).unwrap();
    write_archive(&dir.path().join("c/cifar-10-binary.tar.gz"), &binary);
    fs::write(dir.path().join("plain.tar"), tar(&binary)).unwrap();
    let paths = [
        "a",
        "a/cifar-10-batches-bin",
        "c",
        "c/cifar-10-binary.tar.gz",
        "plain.tar",
    ];
    assert!(!is_prepared(dir.path()));
    let all = batches(4);
    let train: Vec<&(u8, Vec<u8>)> = all[..5].iter().flat_map(|batch| &batch.1).collect();
    for path in paths.map(|path| dir.path().join(path)) {
        assert!(is_prepared(&path), "{}", path.display());
        for protocol in [Protocol::Tfds, Protocol::S4] {
            let order = match protocol {
                Protocol::Tfds => tfds_order(20),
                Protocol::S4 => torch_permutation(20, 42),
            };
            let mut expected: Vec<&(u8, Vec<u8>)> =
                order.iter().map(|&at| train[at as usize]).collect();
            expected.extend(&all[5].1);
            let splits = Split::ALL.map(|split| open(&path, split, protocol).unwrap());
            assert_eq!(splits.each_ref().map(Vec::len), [18, 2, 4]);
            for (found, (label, planes)) in splits.iter().flatten().zip(expected) {
                assert_eq!(found.label, *label);
                let TokenIds::One(pixels) = &found.documents else {
                    panic!("two documents")
                };
                assert_eq!(pixels.len(), 1024);
                for (at, &pixel) in pixels.iter().enumerate() {
                    let exact = grey(planes[at], planes[1024 + at], planes[2048 + at]);
                    // Cut down; single precision may miss a whole number by a hair.
                    let above = exact - f64::from(pixel);
                    assert!(
                        (-1e-4..1.0 + 1e-4).contains(&above),
                        "{exact} became {pixel}"
                    );
                }
            }
        }
    }
}

#[test]
fn grey_goes_from_black_to_white() {
    let record = |value: u8| [vec![3], vec![value; 3072]].concat();
    let records = parse_binary(&[record(0), record(255), record(100)].concat()).unwrap();
    assert_eq!(records.labels, [3, 3, 3]);
    // 0.2989 + 0.5870 + 0.1140 is 0.9999: white stays 255, for 255.5 is cut down.
    let expected = [0, 255, (0.9999 * 255.5 * 100.0 / 255.0) as u8];
    assert_eq!([0, 1024, 2048].map(|at| records.pixels[at]), expected);
}

/// The same images for other programs, and other images: what they are is said, and where the right
/// ones are.
#[test]
fn other_versions_are_recognised() {
    let python = "the Python version of CIFAR-10";
    let matlab = "the MATLAB version of CIFAR-10";
    for (file, version) in [
        ("cifar-10-batches-py/data_batch_1", python),
        ("cifar-10-batches-py/test_batch", python),
        ("cifar-10-batches-mat/data_batch_3.mat", matlab),
        ("cifar-100-binary/train.bin", "CIFAR-100"),
        ("cifar-100-python/train", "CIFAR-100"),
    ] {
        let dir = TempDir::new().unwrap();
        let (folder, above) = (dir.path().join("a/b"), dir.path().join("a"));
        common::write_folder(&folder, &vec![(file.to_owned(), b"bytes".to_vec())]);
        let archive = dir.path().join("images.tar.gz");
        write_archive(&archive, &vec![(file.to_owned(), b"bytes".to_vec())]);
        let inside = folder.join(file).parent().unwrap().to_owned();
        // A folder is found where it would be looked into.
        assert!(!is_prepared(&folder));
        for place in [&folder, &inside, &archive] {
            for split in [Split::Train, Split::Test] {
                let error = without(&folder, open(place, split, Protocol::S4).unwrap_err());
                let message = format!(
                    ": it is {version}, and the binary version of CIFAR-10 is what is read: fetch \
                     it with `ls-train fetch image`, or take cifar-10-binary.tar.gz from \
                     https://www.cs.toronto.edu/~kriz/cifar.html"
                );
                assert!(error.ends_with(&message), "{file}: {error}");
            }
            let report = check(Task::Image, place);
            assert!(
                !report.is_usable() && report.to_string().contains(version),
                "{report}"
            );
        }
        let error = open(&above, Split::Train, Protocol::S4).unwrap_err();
        assert!(error.starts_with("no image data in"), "{error}");
        let download = above.join("cifar-10-python.tar.gz");
        fs::write(&download, b"archive").unwrap();
        let error = open(&above, Split::Train, Protocol::S4).unwrap_err();
        assert!(error.contains(python), "{error}");
    }
}

#[test]
fn damage_is_named() {
    let dir = TempDir::new().unwrap();
    let failing = |files: &common::Files| {
        let dir = TempDir::new_in(dir.path()).unwrap();
        common::write_folder(dir.path(), files);
        let error = open(dir.path(), Split::Train, Protocol::Tfds).unwrap_err();
        without(dir.path(), error)
    };
    let mut files = binary_batches(2);
    files[1].1[3073] = 10;
    assert_eq!(
        failing(&files),
        "DIR/cifar-10-batches-bin/data_batch_2.bin: record 2 has label 10, but labels are 0 to 9: \
         the file is damaged or of another task. Copy it again"
    );
    let mut files = binary_batches(2);
    files[2].1.pop();
    let error = failing(&files);
    assert!(
        error.starts_with("DIR/cifar-10-batches-bin/data_batch_3.bin: 6145 bytes, but whole"),
        "{error}"
    );
    let mut files = binary_batches(2);
    files.remove(3);
    assert_eq!(
        failing(&files),
        "DIR/cifar-10-batches-bin: data_batch_4.bin is missing: unpack or download it again, \
         completely"
    );
    // Archives: cut off anywhere, a changed byte, a batch that is missing, no archive.
    let whole = gzip(&tar(&binary_batches(2)));
    let path = dir.path().join("cifar-10-binary.tar.gz");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        open(&path, Split::Train, Protocol::S4).map_err(|error| without(dir.path(), error))
    };
    assert!(read(&whole).is_ok());
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let error = read(&whole[..length]).unwrap_err();
        assert!(error.starts_with("DIR/cifar-10-binary.tar.gz: "), "{error}");
        assert!(error.ends_with("ownload it again"), "{error}");
    }
    for at in [20, whole.len() / 2, whole.len() - 6] {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        let error = read(&changed).unwrap_err();
        assert!(error.contains("the archive is damaged"), "{error}");
    }
    let mut files = binary_batches(2);
    files.remove(1);
    assert_eq!(
        read(&gzip(&tar(&files))).unwrap_err(),
        "DIR/cifar-10-binary.tar.gz: data_batch_2.bin is missing: unpack or download it again, \
         completely"
    );
    let error = open(&dir.path().join("nowhere"), Split::Train, Protocol::S4).unwrap_err();
    assert!(error.contains("ls-train fetch image"), "{error}");
}
