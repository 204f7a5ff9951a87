//! Pairs of papers: what is read, what is said of damaged lines, and that memory stays flat.

mod common;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use burn_dataset::Dataset;
use common::{pairs, without};
use tempfile::TempDir;
use transformer_ls_datasets::retrieval::{Retrieval, file_name, is_prepared, parse_line};
use transformer_ls_datasets::{Sample, Samples, Split, TokenIds};

fn open(dir: &Path, bytes: &[u8]) -> Result<Vec<Sample>, String> {
    fs::write(dir.join("new_aan_pairs.train.tsv"), bytes).unwrap();
    let data = Retrieval::open(dir, Split::Train).map_err(|error| without(dir, error))?;
    Ok(data.iter().map(Result::unwrap).collect())
}

fn ids(text: &str) -> Vec<u16> {
    text.bytes().map(|byte| u16::from(byte) + 1).collect()
}

#[test]
fn pairs_are_read_from_where_they_lie() {
    let root = TempDir::new().unwrap();
    for place in [
        "",
        "tsv_data",
        "lra_release/tsv_data",
        "lra_release/lra_release/tsv_data",
    ] {
        let dir = root.path().join(place);
        fs::create_dir_all(&dir).unwrap();
        for split in Split::ALL {
            assert!(!is_prepared(&dir));
            fs::write(dir.join(file_name(split)), pairs(3)).unwrap();
        }
        assert!(is_prepared(root.path()));
        let data = Retrieval::open(root.path(), Split::Dev).unwrap();
        assert_eq!(data.path(), dir.join("new_aan_pairs.eval.tsv"));
        for split in Split::ALL {
            fs::remove_file(dir.join(file_name(split))).unwrap();
        }
    }
    let dir = root.path();
    let expected = |i: usize| Sample {
        documents: TokenIds::Two(
            ids(&format!("first “text” {i}")),
            ids(&format!("second text \"of {i}")),
        ),
        label: (i % 2) as u8,
    };
    let lines = pairs(7);
    let crlf = String::from_utf8(lines.clone())
        .unwrap()
        .replace('\n', "\r\n");
    let cr = crlf.replace('\n', "");
    let marked = format!("\u{feff}{crlf}");
    let saved = [crlf.as_bytes(), cr.as_bytes(), marked.as_bytes()];
    let whole = [&lines[..], &lines[..lines.len() - 1]];
    for bytes in whole.into_iter().chain(saved) {
        assert_eq!(
            open(dir, bytes).unwrap(),
            (0..7).map(expected).collect::<Vec<_>>()
        );
    }
    let long = format!("1\ta\tb\t{}\t{}\n", "x".repeat(5000), "y".repeat(3999));
    let sample = open(dir, long.as_bytes()).unwrap().remove(0);
    let lengths: Vec<usize> = sample.documents.iter().map(<[u16]>::len).collect();
    assert_eq!(lengths, [4000, 3999]);
}

#[test]
fn empty_documents_are_left_out_and_counted() {
    let dir = TempDir::new().unwrap();
    let lines = b"0\ta\tb\t\tx\n1.0\ta\tb\tx\ty\n1\ta\tb\tx\t\n0\t\t\tp\tq";
    let samples = open(dir.path(), lines).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[1].documents, TokenIds::Two(ids("p"), ids("q")));
    assert_eq!(
        Retrieval::open(dir.path(), Split::Train)
            .unwrap()
            .left_out(),
        2
    );
}

#[test]
fn malformed_lines_are_named() {
    let dir = TempDir::new().unwrap();
    let layout = "label, first id, second id, first text, second text, with tabs between";
    let again = "The file is damaged or of another task: copy it again from the archive";
    let fields = |n: usize| format!("{n} fields, but a line has 5: {layout}. {again}");
    let label = |found: &str| format!("the label is {found:?}, but has to be 0 or 1. {again}");
    let cases: [(&[u8], String); 8] = [
        (b"1.0\ta\tb\tx", fields(4)),
        (b"1.0\ta\tb\tx\ty\tz", fields(6)),
        (b"Source", fields(1)),
        (b"2.0\ta\tb\tx\ty", label("2.0")),
        (b"nan\ta\tb\tx\ty", label("nan")),
        (b"\ta\tb\tx\ty", label("")),
        (b"", "the line is empty: delete it".into()),
        (
            b"1.0\ta\tb\tx\xff\ty",
            "byte 10 of the line is not valid UTF-8: the file is damaged or compressed. Unpack or \
             copy it again"
                .into(),
        ),
    ];
    for (line, message) in cases {
        for before in [0, 1, 50] {
            let bytes = [&pairs(before), line, b"\n", &pairs(2)].concat();
            let expected = format!("DIR/new_aan_pairs.train.tsv:{}: {message}", before + 1);
            assert_eq!(open(dir.path(), &bytes).unwrap_err(), expected);
        }
    }
    // Cut off in the last line, in the middle of a character too.
    let whole = pairs(3);
    let last = pairs(2).len();
    for length in last + 1..whole.len() - "second text \"of 2\n".len() {
        let error = open(dir.path(), &whole[..length]).unwrap_err();
        assert!(
            error.starts_with("DIR/new_aan_pairs.train.tsv:3: the file ends in the middle of"),
            "{error}"
        );
    }
    let error = open(dir.path(), b"").unwrap_err();
    assert!(error.contains("it holds no samples"), "{error}");
    let error = Retrieval::open(dir.path(), Split::Test)
        .unwrap_err()
        .to_string();
    assert_eq!(
        without(dir.path(), error),
        "DIR holds new_aan_pairs.train.tsv, but not new_aan_pairs.eval.tsv and \
         new_aan_pairs.test.tsv: copy what is missing there, or unpack lra_release.gz again, \
         completely"
    );
    let nowhere = dir.path().join("nowhere");
    let error = Retrieval::open(&nowhere, Split::Test).unwrap_err();
    assert!(error.to_string().contains("lra_release.gz"), "{error}");
    assert!(parse_line(b"1\t\t\t\t").is_ok());
}

#[test]
fn gzipped_files_are_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new_aan_pairs.train.tsv.gz");
    let expected = open(dir.path(), &pairs(9)).unwrap();
    fs::remove_file(dir.path().join("new_aan_pairs.train.tsv")).unwrap();
    fs::write(&path, common::gzip(&pairs(9))).unwrap();
    let data = Retrieval::open(dir.path(), Split::Train).unwrap();
    assert_eq!(data.path(), path);
    assert_eq!(
        data.iter().map(Result::unwrap).collect::<Vec<_>>(),
        expected
    );
    let whole = common::gzip(&pairs(9));
    for (bytes, message) in [
        (
            &whole[..whole.len() - 3],
            "the archive is damaged or was not downloaded completely (",
        ),
        (b"<html>\x1b[31m", "it is a web page, not an archive: "),
        (b"", "it is an empty file, not an archive: "),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Retrieval::open(dir.path(), Split::Train).unwrap_err();
        let error = without(dir.path(), error);
        let expected = format!("DIR/new_aan_pairs.train.tsv.gz: {message}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_file_that_changes_is_an_error() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new_aan_pairs.train.tsv");
    fs::write(&path, pairs(3)).unwrap();
    let data = Retrieval::open(dir.path(), Split::Train).unwrap();
    for bytes in [&b"no tabs at all".repeat(30)[..], b"short"] {
        fs::write(&path, bytes).unwrap();
        let error = without(dir.path(), data.get(2).unwrap_err());
        assert_eq!(
            error,
            "DIR/new_aan_pairs.train.tsv: the file has changed since it was opened: start the run \
             again"
        );
    }
}

/// The process' own memory in bytes, and what it ever had.
#[cfg(target_os = "linux")]
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// A file of 300 MB is read through, and some of its pairs, in a few MB.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat() {
    const PAIRS: usize = 6000;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new_aan_pairs.train.tsv");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let text = "A paper about long sequences and what attention costs them. ".repeat(420);
    for pair in 0..PAIRS {
        writeln!(file, "{}.0\t{pair}\t{pair}\t{text}\t{text}", pair % 2).unwrap();
    }
    drop(file.into_inner().unwrap());
    assert!(fs::metadata(&path).unwrap().len() > 300_000_000);

    let (before, _) = memory();
    let data = Retrieval::open(dir.path(), Split::Train).unwrap();
    assert_eq!(data.len(), PAIRS);
    let mut tokens = 0;
    for index in (0..PAIRS).step_by(3).chain([PAIRS - 1]) {
        tokens += data.get(index).unwrap().documents.token_count();
    }
    assert_eq!(tokens, 8000 * (PAIRS / 3 + 1));
    let (_, most) = memory();
    let grown = most.saturating_sub(before);
    println!("{} MB more at most", grown >> 20);
    assert!(grown < 48 << 20, "memory grew by {grown} bytes");
}
