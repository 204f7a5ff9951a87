//! CIFAR-10 in all its forms, its splits, and what is said of damaged ones.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use common::{batches, binary_batches, gzip, pickle, python_batches, tar, without, write_archive};
use tempfile::TempDir;
use transformer_ls_datasets::image::{Image, Protocol, is_prepared, parse_binary, parse_pickle};
use transformer_ls_datasets::splits::{tfds_order, torch_permutation};
use transformer_ls_datasets::{Documents, Sample, Split};

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
    let (binary, python) = (binary_batches(4), python_batches(4));
    common::write_folder(&dir.path().join("a"), &binary);
    common::write_folder(&dir.path().join("b"), &python);
    for (name, files) in [("c", &binary), ("d", &python)] {
        fs::create_dir(dir.path().join(name)).unwrap();
        let file = ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"][usize::from(name == "d")];
        write_archive(&dir.path().join(name).join(file), files);
    }
    fs::write(dir.path().join("plain.tar"), tar(&binary)).unwrap();
    let paths = [
        "a",
        "a/cifar-10-batches-bin",
        "b",
        "b/cifar-10-batches-py",
        "c",
        "c/cifar-10-binary.tar.gz",
        "d",
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
                let Documents::One(pixels) = &found.documents else {
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

/// Two images as Python itself pickled them with NumPy, in the protocols from 2 on,
/// and in the binary form.
#[test]
fn pickles_of_python_3_are_read_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cifar");
    let expected = parse_binary(&fs::read(folder.join("two.bin")).unwrap()).unwrap();
    assert_eq!(expected.labels, [7, 2]);
    for protocol in 2..=5 {
        let path = folder.join(format!("protocol{protocol}.pickle"));
        let found = parse_pickle(&fs::read(path).unwrap()).unwrap();
        assert!(found == expected, "protocol {protocol}");
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
    let error = failing(&files);
    assert!(
        error.starts_with("cannot read DIR/cifar-10-batches-bin/data_batch_4.bin: "),
        "{error}"
    );
    let mut files = python_batches(2);
    files[0].1.truncate(5000);
    assert!(
        failing(&files).contains("data_batch_1: not one of CIFAR-10's Python batches (it ends")
    );
    files[0].1 = b"cos\nsystem\n(S'true'\ntR.".to_vec();
    assert!(failing(&files).contains("not one of CIFAR-10's Python batches"));
    files[0].1 = pickle(&[1, 2], &[0; 3072]);
    assert!(failing(&files).contains("2 labels, 3072 bytes of pixels"));
    files[0].1 = pickle(&[11], &[0; 3072]);
    assert!(failing(&files).contains("record 1 has label 11"));

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
        assert!(
            error.ends_with("ownload it again") || length == 0,
            "{error}"
        );
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
        "DIR/cifar-10-binary.tar.gz: data_batch_2 is missing: unpack or download it again, \
         completely"
    );
    assert!(
        read(b"<html>404</html>")
            .unwrap_err()
            .contains("data_batch_1 is missing")
            || read(b"<html>404</html>")
                .unwrap_err()
                .contains("the archive is damaged")
    );
    let error = open(&dir.path().join("nowhere"), Split::Train, Protocol::S4).unwrap_err();
    assert!(error.contains("ls-train fetch image"), "{error}");
}
