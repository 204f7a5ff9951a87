//! Files that are none of the tasks': failed downloads, what other systems put beside data, names
//! that are no text.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use common::{gzip, reviews, tar, without, write_archive, write_folder};
use tempfile::TempDir;
use transformer_ls_datasets::fetch::unpack;
use transformer_ls_datasets::image::{Image, Protocol};
use transformer_ls_datasets::listops::{ListOps, Tokenizer};
use transformer_ls_datasets::text::Text;
use transformer_ls_datasets::{Missing, Sample, Split};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read(folder.join(name)).unwrap()
}

fn text(path: &Path) -> Result<Vec<Sample>, String> {
    let data =
        Text::open(path, Split::Train, Missing::Refuse).map_err(|error| error.to_string())?;
    Ok(data.iter().map(Result::unwrap).collect())
}

/// What each reader of archives says of one with these bytes.
fn errors(bytes: &[u8]) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.tar.gz");
    fs::write(&path, bytes).unwrap();
    let listops = ListOps::open(&path, Split::Train, Tokenizer::Legacy).map(|_| ());
    let image = Image::open(&path, Split::Train, Protocol::S4).map(|_| ());
    let unpacked = unpack(&path, "x", &dir.path().join("x"), &|_| {}, &|| false).map(|_| ());
    let others = [listops, image, unpacked].map(|read| read.unwrap_err().to_string());
    let all = std::iter::once(text(&path).unwrap_err()).chain(others);
    all.map(|error| without(dir.path(), error)).collect()
}

#[test]
fn what_is_no_archive_is_said() {
    let page = fixture("archives/a_web_page.tar.gz");
    let cases = [
        (page.clone(), "a web page"),
        // Behind a server that compresses.
        (gzip(&page), "a web page"),
        (b"PK\x03\x04\x14\0".to_vec(), "a zip archive"),
        (b"BZh91AY&SY".to_vec(), "a bzip2 file"),
        (Vec::new(), "an empty file"),
        (gzip(b""), "an empty file"),
        (b"\x1b[31mRED\x1b[0m\n".repeat(90), "something else"),
        (gzip(&b"label\ttext\n".repeat(90)), "something else"),
    ];
    for (bytes, found) in cases {
        for error in errors(&bytes) {
            assert_eq!(
                error,
                format!(
                    "DIR/a.tar.gz: it is {found}, not an archive: the download failed, or brought \
                     another file. Download it again"
                )
            );
        }
    }
}

/// Neither a decoder's words nor names in an archive reach the terminal as they are.
#[test]
fn errors_are_safe_to_print() {
    let name = "train/neg/\x1b[31m\n.txt";
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.tar.gz");
    write_archive(&path, &vec![(name.to_owned(), b"\xff".to_vec())]);
    let error = text(&path).unwrap_err();
    assert!(
        error.contains("train/neg/\\u{1b}[31m\\n.txt: byte 1 is not valid UTF-8"),
        "{error}"
    );
    // A header that is damaged, whose name the decoder repeats.
    let mut damaged = tar(&vec![
        ("a".to_owned(), b"a".to_vec()),
        ("b\x1b[2J\n".to_owned(), b"b".to_vec()),
    ]);
    damaged[1024 + 150] = b'9';
    for error in errors(&damaged).into_iter().chain(errors(&gzip(&damaged))) {
        assert!(error.contains("the archive is damaged"), "{error}");
        assert!(!error.contains(['\x1b', '\n']), "{error:?}");
    }
}

#[test]
fn zeros_behind_gzip_are_passed_over() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.tar.gz");
    fs::write(&path, fixture("archives/zeros_behind.tar.gz")).unwrap();
    let into = dir.path().join("into");
    let unpacked = unpack(&path, "neg", &into, &|_| {}, &|| false);
    assert_eq!(unpacked.unwrap(), 1);
    assert!(into.join("aclImdb/train/neg/0_1.txt").exists());
    // One member after the other, as `cat a.gz b.gz` makes them; then zeros, more than are read at
    // once.
    let whole = tar(&reviews());
    let members = [gzip(&whole[..2000]), gzip(&whole[2000..])].concat();
    for zeros in [0, 1, 512, 600_000] {
        fs::write(&path, [&members[..], &vec![0; zeros]].concat()).unwrap();
        assert_eq!(text(&path).unwrap().len(), 6, "{zeros} zeros");
    }
    for rest in [&b"rest"[..], b"\0\0rest"] {
        fs::write(&path, [&members, rest].concat()).unwrap();
        let error = text(&path).unwrap_err();
        assert!(error.contains("the archive is damaged"), "{error}");
    }
}

#[test]
fn side_files_are_passed_over() {
    let side = fixture("side/._0_5.txt");
    let dir = TempDir::new().unwrap();
    let (folder, archive) = (dir.path().join("folder"), dir.path().join("a.tar.gz"));
    write_folder(&folder, &reviews());
    let expected = text(&folder).unwrap();
    let mut files = reviews();
    for name in [
        "aclImdb/train/pos/._0_5.txt",
        "aclImdb/train/neg/Thumbs.db",
        "__MACOSX/aclImdb/train/neg/0_1.txt",
        "__MACOSX/aclImdb/train/neg/._3_1.txt",
    ] {
        files.insert(0, (name.to_owned(), side.clone()));
    }
    write_folder(&folder, &files);
    write_archive(&archive, &files);
    for path in [&folder, &archive] {
        assert!(text(path).unwrap() == expected, "{}", path.display());
    }
    let into = dir.path().join("into");
    let unpacked = unpack(&archive, "train", &into, &|_| {}, &|| false).unwrap();
    // Three of each class, one unlabelled, one of addresses.
    assert_eq!(unpacked, 8);
    assert!(!into.join("__MACOSX").exists());
    assert!(!into.join("aclImdb/train/pos/._0_5.txt").exists());
    // Neither are batches.
    let mut files = common::binary_batches(2);
    let other = "cifar-10-batches-bin/._data_batch_1.bin".to_owned();
    files.insert(0, (other, side.clone()));
    files.insert(0, ("__MACOSX/data_batch_1.bin".to_owned(), side));
    write_archive(&archive, &files);
    let train = Image::open(&archive, Split::Train, Protocol::S4).unwrap();
    assert_eq!(train.len(), 9);
}

/// Names that differ in their ends, and one as long as can be.
#[test]
fn unpacked_files_do_not_collide() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("a.tar.gz");
    let long = "n".repeat(255);
    let names = ["a.tsv", "a.npy", "a.part", "a", &long];
    let files: common::Files = names
        .map(|name| (format!("x/{name}"), name.as_bytes().to_vec()))
        .to_vec();
    write_archive(&archive, &files);
    let unpacked = unpack(&archive, "x", dir.path(), &|_| {}, &|| false);
    assert_eq!(unpacked.unwrap(), names.len());
    for (name, bytes) in &files {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), *bytes, "{name}");
    }
    let count = fs::read_dir(dir.path().join("x")).unwrap().count();
    assert_eq!(count, names.len());
}

/// Names that are no text: read under their own name in a folder, refused in an archive.
#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_not_mixed_up() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let dir = TempDir::new().unwrap();
    write_folder(dir.path(), &reviews());
    let folder = dir.path().join("aclImdb/train/pos");
    for name in [&b"7_\xff.txt"[..], b"7_\xfe.txt"] {
        let path = folder.join(OsStr::from_bytes(name));
        // Not all file systems take such names.
        if fs::write(path, name.escape_ascii().to_string()).is_err() {
            return;
        }
    }
    let documents = text(dir.path()).unwrap();
    assert_eq!(documents.len(), 8);
    assert_ne!(documents[6], documents[7]);

    let archive = dir.path().join("a.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    let name = Path::new(OsStr::from_bytes(b"train/neg/0_\xff.txt"));
    header.set_cksum();
    builder.append_data(&mut header, name, &b"a"[..]).unwrap();
    fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let error = without(dir.path(), text(&archive).unwrap_err());
    assert_eq!(
        error,
        "DIR/a.tar: the name of the file \"train/neg/0_\u{fffd}.txt\" in it is not valid UTF-8: \
         make the archive again with names that are"
    );
}
