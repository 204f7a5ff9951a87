//! The reader: where it looks, what it takes, and what it says about files it does not take.

mod common;

use std::fs;
use std::path::Path;

use burn_dataset::Dataset;
use proptest::prelude::*;
use tempfile::TempDir;
use transformer_ls_datasets::listops::{ListOps, Tokenizer, cache_key, is_prepared};
use transformer_ls_datasets::{Sample, Split, TokenIds};

const TRAIN: &str = "basic_train.tsv";

fn open_bytes(bytes: &[u8]) -> Result<Vec<Sample>, String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(TRAIN);
    fs::write(&path, bytes).unwrap();
    match ListOps::open(dir.path(), Split::Train, Tokenizer::Brackets) {
        Ok(data) => Ok(data.iter().map(Result::unwrap).collect()),
        Err(error) => {
            // Every message names the file; it's left out below.
            let message = error.to_string();
            let name = path.display().to_string();
            let rest = message
                .strip_prefix(&name)
                .expect("the file is named first");
            Err(rest.to_owned())
        }
    }
}

fn one(ids: &[u16], label: u8) -> Sample {
    Sample {
        documents: TokenIds::One(ids.to_vec()),
        label,
    }
}

#[test]
fn both_line_ends_are_read_with_or_without_the_last() {
    let expected = [one(&[1, 10, 5, 15], 0), one(&[4, 14, 13, 15], 7)];
    let lines = [
        "Source\tTarget",
        "( ( ( [MIN 5 ) 0 ) ] )\t0",
        "[SM 9 8 ]\t7",
    ];
    for end in ["\n", "\r\n", "\r"] {
        let text = lines.join(end);
        assert_eq!(open_bytes(text.as_bytes()).unwrap(), expected);
        let marked = format!("\u{feff}{text}");
        assert_eq!(open_bytes(marked.as_bytes()).unwrap(), expected);
        assert_eq!(open_bytes((text + end).as_bytes()).unwrap(), expected);
    }
}

#[test]
fn malformed_lines_are_named_and_explained() {
    let header = "Source\tTarget";
    let good = "( ( ( [MIN 5 ) 0 ) ] )\t0";
    let unknown = "an expression is made of [MIN [MAX [MED [SM, the digits 0 to 9, ] and \
                   parentheses";
    let no_tab = "no tab between the expression and its label. A line is the expression, a tab \
                  and a digit: did an editor turn tabs into spaces?";
    let label = |found| format!("the label is {found:?}, but has to be a digit from 0 to 9");
    let empty = "the expression is empty: write one such as [MAX 2 9 [MIN 4 7 ] 0 ]";
    let not_utf8 = |byte| {
        format!(
            "byte {byte} of the line is not valid UTF-8: the file is damaged or compressed. \
             Unpack or copy it again"
        )
    };
    let cases: Vec<(&[u8], String)> = vec![
        (b"[MIN 5 0 ] 0", no_tab.into()),
        (b"[MIN 5 0 ]\t10", label("10")),
        (b"[MIN 5 0 ]\t", label("")),
        (b"[MIN 5 0 ]\t-1", label("-1")),
        (b"[MIN 5 0 ]\t0 ", label("0 ")),
        (b"[MIN 5 0 ]\tx", label("x")),
        (
            b"[MIN 5 0 ]\t0\t0",
            "more than one tab. A line is the expression, a tab and a digit".into(),
        ),
        (b"", "the line is empty: delete it".into()),
        (b"\t3", empty.into()),
        (b"( )\t3", empty.into()),
        (
            b"[MIN 5 [FOO 1 ] ]\t1",
            format!("unknown token \"[FOO\" in column 8: {unknown}"),
        ),
        (
            b"[MIN 5 12 ]\t1",
            format!("unknown token \"12\" in column 8: {unknown}"),
        ),
        (
            "[MIN 5 ü ]\t1".as_bytes(),
            format!("unknown token \"ü\" in column 8: {unknown}"),
        ),
        (b"[MIN 5 \xff ]\t1", not_utf8(8)),
        (b"[MIN 5 1 ]\t\xc3(", not_utf8(12)),
        (b"\x1f\x8b\x08\x00 ]", not_utf8(2)),
        (
            b"[MIN 5 [MAX 1 ]\t1",
            "the expression has 2 opening and 1 closing brackets: the line is damaged. Copy the \
             file again, or delete the data and generate it"
                .into(),
        ),
    ];
    for (line, message) in &cases {
        for end in ["\n", "\r\n"] {
            // In the middle of the file, and as its last line.
            for (before, after) in [(1, 1), (1, 0), (0, 3), (70, 50)] {
                let mut bytes = format!("{header}{end}").into_bytes();
                bytes.extend(format!("{good}{end}").repeat(before).bytes());
                bytes.extend([line, end.as_bytes()].concat());
                bytes.extend(format!("{good}{end}").repeat(after).bytes());
                let found = open_bytes(&bytes).unwrap_err();
                assert_eq!(found, format!(":{}: {message}", before + 2));
            }
        }
    }
}

#[test]
fn of_several_malformed_lines_the_first_is_named() {
    let mut lines = vec!["[MAX 1 2 ]\t2"; 1000];
    lines[0] = "Source\tTarget";
    lines[877] = "[MAX 1 2 ]";
    lines[432] = "[MAX 1 2 ]\t?";
    let message = open_bytes(lines.join("\n").as_bytes()).unwrap_err();
    assert!(message.starts_with(":433: the label is \"?\""), "{message}");
}

#[test]
fn a_file_that_was_cut_off_is_recognised() {
    let whole = "Source\tTarget\r\n[MAX 1 2 ]\t2\r\n[SM 3 4 ]\t7\r\n";
    let message = ":3: the file ends in the middle of this line: it was not copied or unpacked \
                   completely. Copy it again from the archive, or delete the data and generate it";
    let last = whole.find("[SM").unwrap();
    for length in last + 1..last + 11 {
        assert_eq!(
            open_bytes(&whole.as_bytes()[..length]).unwrap_err(),
            message
        );
    }
    // Complete but for its end.
    for length in last + 11..whole.len() {
        assert_eq!(open_bytes(&whole.as_bytes()[..length]).unwrap().len(), 2);
    }
}

#[test]
fn wrong_headers_are_shown() {
    let message = |found: &str| {
        format!(
            ":1: the header is {found:?}, but has to be \"Source\\tTarget\" (with a tab). Is this \
             a ListOps file?"
        )
    };
    for (bytes, found) in [
        ("Source Target\n5\t5\n", "Source Target"),
        ("source\ttarget\r\n5\t5\r\n", "source\ttarget"),
        ("\n5\t5\n", ""),
        ("5\t5\n", "5\t5"),
        (
            "1\t3411\t99\ta long line of another task",
            "1\t3411\t99\ta long line of…",
        ),
    ] {
        assert_eq!(open_bytes(bytes.as_bytes()).unwrap_err(), message(found));
    }
    // Lines of several kinds are not taken for one.
    let mixed = "Source\tTarget\r\n[MAX 1 2 ]\t2\n[SM 3 4 ]\t7\r[MIN 1 2 ]\t1\n";
    let error = open_bytes(mixed.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        ":3: more than one tab. A line is the expression, a tab and a digit"
    );
    let utf16 = b"\xff\xfeS\0o\0";
    let error = open_bytes(utf16).unwrap_err();
    assert!(
        error.starts_with(":1: byte 1 of the line is not valid UTF-8"),
        "{error}"
    );
}

#[test]
fn files_without_samples_are_refused() {
    for bytes in [
        "",
        "Source\tTarget",
        "Source\tTarget\n",
        "Source\tTarget\r\n",
    ] {
        assert_eq!(
            open_bytes(bytes.as_bytes()).unwrap_err(),
            ": it holds no samples. Delete the folder's data files and generate them \
             again, or copy them again from the archive"
        );
    }
}

#[test]
fn files_beyond_a_chunk_keep_order_and_line_numbers() {
    // 40 MB, more than is read at once; sample i has i mod 7 + 1 ones, then blanks to 5000 bytes.
    const COUNT: usize = 8000;
    let mut text = String::from("Source\tTarget\n");
    for index in 0..COUNT {
        let expression = format!("[MAX {}]", "1 ".repeat(index % 7 + 1));
        text += &format!("{expression:5000}\t{}\n", index % 10);
    }
    let samples = open_bytes(text.as_bytes()).unwrap();
    assert_eq!(samples.len(), COUNT);
    for (index, sample) in samples.iter().enumerate() {
        assert_eq!(sample.documents.token_count(), index % 7 + 3);
        assert_eq!(usize::from(sample.label), index % 10);
    }
    for line in [2, 6600, 6800, COUNT + 1] {
        let mut damaged = text.clone().into_bytes();
        // The header has 14 bytes, a line 5003: this is its label.
        damaged[14 + (line - 2) * 5003 + 5001] = b'x';
        let message = open_bytes(&damaged).unwrap_err();
        assert!(
            message.starts_with(&format!(":{line}: the label is \"x\"")),
            "{message}"
        );
    }
}

#[test]
fn long_expressions_are_cut_off() {
    let text = format!(
        "Source\tTarget\n[SM {}]\t0\n[MIN 5 ]\t5\n",
        "1 ".repeat(3000)
    );
    let samples = open_bytes(text.as_bytes()).unwrap();
    assert_eq!(samples[0].documents.token_count(), 2000);
    assert_eq!(samples[1], one(&[1, 10, 15], 5));
}

fn write_all(dir: &Path, label: u8) {
    fs::create_dir_all(dir).unwrap();
    for name in [TRAIN, "basic_val.tsv", "basic_test.tsv"] {
        let text = format!("Source\tTarget\r\n[MAX {label} 0 ]\t{label}\r\n");
        fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn the_published_layout_is_found() {
    let inner = "lra_release/lra_release/listops-1000";
    let outer = "lra_release/listops-1000";
    let root = TempDir::new().unwrap();
    assert!(!is_prepared(root.path()));
    write_all(&root.path().join(outer), 1);
    assert!(is_prepared(root.path()));
    let label = |dir: &Path| {
        let data = ListOps::open(dir, Split::Dev, Tokenizer::Legacy).unwrap();
        (
            data.labels()[0],
            data.path().strip_prefix(dir).unwrap().to_owned(),
        )
    };
    let of = |label: u8, place: &str| (label, Path::new(place).join("basic_val.tsv"));
    assert_eq!(label(root.path()), of(1, outer));
    // The archive has both; the inner one is what everybody uses, from wherever it is named.
    write_all(&root.path().join(inner), 2);
    assert_eq!(label(root.path()), of(2, inner));
    assert_eq!(label(&root.path().join("lra_release")), of(2, outer));
    let innermost = root.path().join("lra_release/lra_release");
    assert_eq!(label(&innermost), of(2, "listops-1000"));
    assert_eq!(label(&innermost.join("listops-1000")), of(2, ""));
    // The folder itself goes before all.
    write_all(root.path(), 3);
    assert_eq!(label(root.path()), of(3, ""));
}

#[test]
fn missing_data_is_explained() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("data");
    let error = ListOps::open(&dir, Split::Test, Tokenizer::Brackets).unwrap_err();
    let d = dir.display();
    assert_eq!(
        error.to_string(),
        format!(
            "no listops data in {d}: none of {d}, {d}/lra_release/lra_release/listops-1000, \
             {d}/lra_release/listops-1000, {d}/listops-1000 holds basic_test.tsv. Generate the \
             data there with `ls-train generate listops --data {d}`, or name lra_release.gz, or the \
             folder that holds lra_release"
        )
    );
    // Two splits of three are not a data set, and are not filled up from another copy.
    write_all(&dir.join("listops-1000"), 1);
    write_all(&dir, 2);
    fs::remove_file(dir.join("basic_test.tsv")).unwrap();
    assert!(!is_prepared(&dir));
    let error = ListOps::open(&dir, Split::Test, Tokenizer::Brackets).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{d} holds basic_train.tsv and basic_val.tsv, but not basic_test.tsv: copy what is \
             missing there; or move these away, and generate all files with `ls-train generate \
             listops`"
        )
    );
    assert!(ListOps::open(&dir, Split::Train, Tokenizer::Brackets).is_ok());
    // It may be gzipped.
    let text = "Source\tTarget\r\n[MAX 4 0 ]\t4\r\n";
    fs::write(dir.join("basic_test.tsv.gz"), common::gzip(text.as_bytes())).unwrap();
    assert!(is_prepared(&dir));
    let data = ListOps::open(&dir, Split::Test, Tokenizer::Brackets).unwrap();
    assert_eq!(data.labels(), [4]);
    assert_eq!(data.path(), dir.join("basic_test.tsv.gz"));
    let key = cache_key(&dir, Split::Test, Tokenizer::Brackets).unwrap();
    assert_eq!(key.sources, [dir.join("basic_test.tsv.gz")]);
}

#[test]
fn it_is_a_burn_dataset() {
    fn check<D: Dataset<Sample> + 'static>(data: D) {
        assert_eq!(data.len(), 1);
        assert_eq!(data.get(0).unwrap(), one(&[2, 13, 5, 15], 8));
    }
    let root = TempDir::new().unwrap();
    write_all(root.path(), 8);
    let data = ListOps::open(root.path(), Split::Train, Tokenizer::Brackets).unwrap();
    let debug = format!("{data:?}");
    assert!(debug.ends_with("samples: 1 }"), "{debug}");
    check(data);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let with_header = [b"Source\tTarget\n", bytes.as_slice()].concat();
        let _ = open_bytes(&bytes);
        let _ = open_bytes(&with_header);
    }
}
