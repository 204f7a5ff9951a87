//! Small data in the real formats.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Files below a folder.
pub type Files = Vec<(String, Vec<u8>)>;

pub fn write_folder(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub fn tar(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip of one file. `size` and `crc` are what its headers say.
pub fn zip(name: &str, method: u16, packed: &[u8], size: u32, crc: u32) -> Vec<u8> {
    let sizes = [
        crc.to_le_bytes(),
        (packed.len() as u32).to_le_bytes(),
        size.to_le_bytes(),
    ]
    .concat();
    let length = (name.len() as u16).to_le_bytes();
    let method = method.to_le_bytes();
    // As tools write it that do not know the sizes before: all zero in front of the contents, and an
    // extra field of four bytes.
    let mut bytes = [
        &b"PK\x03\x04\x14\0\x08\0"[..],
        &method,
        &[0; 16],
        &length,
        &[4, 0],
        name.as_bytes(),
        b"XX\0\0",
        packed,
    ]
    .concat();
    let start = bytes.len() as u32;
    let mut list = Vec::new();
    // Another file before it, which has a comment.
    for (name, comment) in [("other", &b"comment"[..]), (name, b"")] {
        let length = (name.len() as u16).to_le_bytes();
        let comment_length = (comment.len() as u16).to_le_bytes();
        list.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\x08\0");
        list.extend_from_slice(&method);
        list.extend_from_slice(&[0; 4]);
        list.extend_from_slice(&sizes);
        list.extend_from_slice(&[&length[..], &[0; 2], &comment_length, &[0; 12]].concat());
        list.extend_from_slice(&[name.as_bytes(), comment].concat());
    }
    bytes.extend_from_slice(&list);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    bytes.extend_from_slice(&(list.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(b"\x07\0the end");
    bytes
}

pub fn write_archive(path: &Path, files: &Files) {
    std::fs::write(path, gzip(&tar(files))).unwrap();
}

/// Film reviews: three of each class, the numbers in another order than the names.
pub fn reviews() -> Files {
    let mut files = vec![("aclImdb/README".to_owned(), b"read me".to_vec())];
    for split in ["train", "test"] {
        for class in ["pos", "neg"] {
            for (number, rating) in [(10, 9), (2, 7), (0, 8)] {
                let text = format!(" {split} {class} {number}: <br />a film\n");
                let name = format!("aclImdb/{split}/{class}/{number}_{rating}.txt");
                files.push((name, text.into_bytes()));
            }
        }
        files.push((
            format!("aclImdb/{split}/unsup/5_0.txt"),
            b"unlabelled".to_vec(),
        ));
        files.push((format!("aclImdb/{split}/urls_pos.txt"), b"http".to_vec()));
    }
    files
}

/// A label, and planes of red, green and blue.
pub type Colours = (u8, Vec<u8>);

/// CIFAR-10 batches of some images each: image `i` of batch `b` has label `(b + i) % 10` and red,
/// green and blue of its own.
pub fn batches(images: usize) -> Vec<(&'static str, Vec<Colours>)> {
    let names = [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ];
    let batch = |(batch, name)| {
        let image = |image: usize| {
            let label = ((batch + image) % 10) as u8;
            let plane = |salt: usize| {
                (0..1024).map(move |at| ((at * salt + 31 * image + 7 * batch) % 256) as u8)
            };
            (label, plane(1).chain(plane(3)).chain(plane(5)).collect())
        };
        (name, (0..images).map(image).collect())
    };
    names.into_iter().enumerate().map(batch).collect()
}

pub fn binary_batches(images: usize) -> Files {
    let files = batches(images).into_iter().map(|(name, images)| {
        let record = |(label, planes): Colours| [vec![label], planes].concat();
        let bytes = images.into_iter().flat_map(record).collect();
        (format!("cifar-10-batches-bin/{name}.bin"), bytes)
    });
    files.collect()
}

/// Lines of Retrieval.
pub fn pairs(count: usize) -> Vec<u8> {
    let line = |i: usize| {
        format!(
            "{}.0\tid{i}\tid{}\tfirst “text” {i}\tsecond text \"of {i}\n",
            i % 2,
            i + 1
        )
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

/// A message without the folder of this run.
pub fn without(dir: &Path, message: impl ToString) -> String {
    message
        .to_string()
        .replace(&dir.display().to_string(), "DIR")
}

pub fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}
