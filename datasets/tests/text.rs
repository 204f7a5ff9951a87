//! Film reviews as a folder and as an archive, and what is said of damaged ones.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use common::{gzip, reviews, tar, without, write_archive};
use tempfile::TempDir;
use transformer_ls_datasets::text::{Text, encode, is_prepared};
use transformer_ls_datasets::{Missing, Sample, Split, TokenIds};

fn open(path: &Path, split: Split) -> Result<Vec<Sample>, String> {
    let data = Text::open(path, split, Missing::Refuse).map_err(|error| error.to_string())?;
    Ok(data.iter().map(Result::unwrap).collect())
}

#[test]
fn folder_and_archive_hold_the_same_reviews() {
    let dir = TempDir::new().unwrap();
    assert!(!is_prepared(dir.path()));
    common::write_folder(&dir.path().join("folder"), &reviews());
    let archive = dir.path().join("aclImdb_v1.tar.gz");
    write_archive(&archive, &reviews());
    let paths = ["folder", "folder/aclImdb", "", "aclImdb_v1.tar.gz"];
    for path in paths.map(|path| dir.path().join(path)) {
        for (split, folder) in [
            (Split::Train, "train"),
            (Split::Dev, "test"),
            (Split::Test, "test"),
        ] {
            let mut expected = Vec::new();
            for (label, class) in [(0, "neg"), (1, "pos")] {
                // By number, not by name; white space at the ends is gone, the tag is not.
                for number in [0, 2, 10] {
                    let text = format!("{folder} {class} {number}: <br />a film");
                    let documents = TokenIds::One(text.bytes().map(|b| u16::from(b) + 1).collect());
                    expected.push(Sample { documents, label });
                }
            }
            assert_eq!(open(&path, split).unwrap(), expected, "{}", path.display());
        }
    }
    let data = Text::open(&archive, Split::Train, Missing::Refuse).unwrap();
    assert_eq!(data.labels(), [0, 0, 0, 1, 1, 1]);
    assert_eq!(
        data.lengths().max(),
        Some("train neg 10: <br />a film".len())
    );
}

#[test]
fn long_reviews_are_cut_off() {
    let mut files = reviews();
    files[1].1 = [b" \n".to_vec(), "ü".repeat(3000).into_bytes()].concat();
    let dir = TempDir::new().unwrap();
    common::write_folder(dir.path(), &files);
    let longest = open(dir.path(), Split::Train).unwrap().remove(5);
    let TokenIds::One(ids) = longest.documents else {
        panic!("two documents")
    };
    assert_eq!(ids.len(), 4000);
    assert_eq!(ids[..2], [0xc3 + 1, 0xbc + 1]);
    assert_eq!(encode(&[0, 255]), [1, 256]);
}

/// As `tar --append` does it with a file that has changed.
#[test]
fn a_review_that_was_added_again_counts_once() {
    let mut files = reviews();
    let name = "aclImdb/train/neg/0_8.txt".to_owned();
    files.push((name, b"anew".to_vec()));
    let dir = TempDir::new().unwrap();
    write_archive(&dir.path().join("a.tar.gz"), &files);
    let samples = open(&dir.path().join("a.tar.gz"), Split::Train).unwrap();
    assert_eq!(samples.len(), 6);
    assert_eq!(samples[0].documents, TokenIds::One(encode(b"anew")));
}

/// The mark that some editors write before a text.
#[test]
fn a_byte_order_mark_is_no_text() {
    let dir = TempDir::new().unwrap();
    let mut files = reviews();
    common::write_folder(dir.path(), &files);
    let expected = open(dir.path(), Split::Train).unwrap();
    for file in &mut files {
        file.1.splice(..0, *b"\xef\xbb\xbf");
    }
    common::write_folder(dir.path(), &files);
    assert_eq!(open(dir.path(), Split::Train).unwrap(), expected);
}

#[test]
fn damage_is_named() {
    let both = |files: &common::Files| -> [String; 2] {
        let dir = TempDir::new().unwrap();
        common::write_folder(&dir.path().join("f"), files);
        write_archive(&dir.path().join("a.tar.gz"), files);
        ["f", "a.tar.gz"].map(|name| {
            let error = open(&dir.path().join(name), Split::Train).unwrap_err();
            without(dir.path(), error)
        })
    };
    let position =
        |files: &common::Files, name: &str| files.iter().position(|f| f.0 == name).unwrap();
    for (bytes, problem) in [
        (
            &b"good \xff bad"[..],
            "byte 6 is not valid UTF-8: the file is damaged. Unpack or copy it again",
        ),
        (
            b"",
            "the review is empty or not there (1 in all). Unpack the data again, completely; or train \
             without, with `--set missing=leave_out`",
        ),
        (
            b" \n\t ",
            "the review is empty or not there (1 in all). Unpack the data again, completely; or train \
             without, with `--set missing=leave_out`",
        ),
    ] {
        let mut files = reviews();
        let at = position(&files, "aclImdb/train/pos/2_7.txt");
        files[at].1 = bytes.to_vec();
        let expected = ["f", "a.tar.gz"]
            .map(|place| format!("DIR/{place}/aclImdb/train/pos/2_7.txt: {problem}"));
        assert_eq!(both(&files), expected);
    }
    let mut files = reviews();
    files.retain(|file| !file.0.starts_with("aclImdb/train/neg"));
    for error in both(&files) {
        assert!(
            error.ends_with(
                ": train/neg is missing or holds no documents: unpack the archive again, completely"
            ),
            "{error}"
        );
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aclImdb_v1.tar.gz");
    let whole = gzip(&tar(&reviews()));
    for length in (2..whole.len()).step_by(61).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = without(dir.path(), open(dir.path(), Split::Test).unwrap_err());
        assert!(
            error.starts_with("DIR/aclImdb_v1.tar.gz: the archive is damaged"),
            "{error}"
        );
    }
    let error = open(&dir.path().join("nowhere"), Split::Test).unwrap_err();
    assert!(error.contains("ls-train fetch text"), "{error}");
}
