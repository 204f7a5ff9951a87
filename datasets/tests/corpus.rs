//! Text for language models: how it is cut, in which order it is read and scored, and what is said of
//! files that are none.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use common::{without, zip};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use transformer_ls_datasets::corpus::{
    Corpus, Part, Position, Published, Scoring, Shares, Streams, Vocabulary,
};
use transformer_ls_datasets::{DatasetError, Split};

/// All bytes in one split.
fn whole(text: &[u8], split: Split) -> Part {
    let shares = match split {
        Split::Train => Shares::new(1, 0, 0),
        Split::Dev => Shares::new(0, 1, 0),
        Split::Test => Shares::new(0, 0, 1),
    };
    let corpus = Corpus::from_bytes(text.to_vec(), shares.unwrap()).unwrap();
    corpus.part(split, corpus.vocabulary()).unwrap()
}

/// Ids as bytes, a row after the other.
fn rows(part: &Part, ids: &[u16], rows: usize) -> Vec<Vec<u8>> {
    let bytes = part.vocabulary().decode(ids).unwrap();
    let rows = bytes.chunks(ids.len() / rows);
    rows.map(<[u8]>::to_vec).collect()
}

fn file_error(dir: &Path, name: &str) -> String {
    let error = Corpus::file(&dir.join(name), Shares::default()).unwrap_err();
    without(dir, error)
}

/// A file of the published size with so many different bytes.
fn published(path: &Path, different: usize) {
    let mut file = File::create(path).unwrap();
    file.write_all(&(0..different as u8).collect::<Vec<_>>())
        .unwrap();
    // The rest is zeros, which take no room on the disk.
    file.set_len(100_000_000).unwrap();
}

#[test]
fn enwik8_and_text8_are_cut_as_published() {
    let dir = TempDir::new().unwrap();
    for which in Published::ALL {
        assert!(!which.is_prepared(dir.path()));
        let path = dir.path().join(which.name());
        published(&path, which.vocabulary_size());
        assert!(which.is_prepared(dir.path()));
        for place in [dir.path(), &path] {
            let corpus = Corpus::published(which, place).unwrap();
            assert_eq!(corpus.path(), path);
            assert_eq!(corpus.range(Split::Train), 0..90_000_000);
            assert_eq!(corpus.range(Split::Dev), 90_000_000..95_000_000);
            assert_eq!(corpus.range(Split::Test), 95_000_000..100_000_000);
            assert_eq!(corpus.vocabulary().len(), which.vocabulary_size());
        }
        assert_eq!(which.to_string().parse(), Ok(which));
    }
    assert_eq!(Published::Enwik8.vocabulary_size(), 205);
    assert_eq!(Published::Text8.vocabulary_size(), 27);
}

#[test]
fn other_files_under_a_published_name_are_refused() {
    let dir = TempDir::new().unwrap();
    let error = |name: &str| {
        let which: Published = name.parse().unwrap();
        without(
            dir.path(),
            Corpus::published(which, dir.path()).unwrap_err(),
        )
    };
    assert_eq!(
        error("text8"),
        "no text8 data in DIR: looked in vain at DIR, DIR/text8, DIR/text8/text8, DIR/text8.zip. \
         Fetch it with `ls-train fetch text8`, or download https://mattmahoney.net/dc/text8.zip into that \
         folder; it needs no unpacking"
    );
    fs::write(dir.path().join("enwik8"), "<mediawiki>").unwrap();
    assert_eq!(
        error("enwik8"),
        "DIR/enwik8: 11 bytes, but enwik8 has 100000000: it was not copied or unpacked completely. \
         Copy it again"
    );
    published(&dir.path().join("text8"), 205);
    assert_eq!(
        error("text8"),
        "DIR/text8: 205 different bytes, but text8 has 27: it is another file, or damaged. Download \
         it again, or give this one another name to train on it as it is"
    );
    let error = "enwik9".parse::<Published>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no corpus \"enwik9\": use enwik8 or text8"
    );
}

#[test]
fn archives_are_read_where_they_lie() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text8.zip");
    let text: Vec<u8> = (0..100_000_000u32).map(|i| (i % 27) as u8).collect();
    let mut crc = flate2::Crc::new();
    crc.update(&text);
    let crc = crc.sum();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&text).unwrap();
    let packed = encoder.finish().unwrap();
    let size = text.len() as u32;
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Corpus::published(Published::Text8, dir.path()).unwrap_err();
        without(dir.path(), error)
    };

    let good = zip("text8", 8, &packed, size, crc);
    fs::write(&path, &good).unwrap();
    let corpus = Corpus::published(Published::Text8, dir.path()).unwrap();
    assert!(corpus.bytes() == text);
    assert_eq!(corpus.path(), path);
    // What it was unpacked into is gone.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::write(&path, zip("text8", 0, &text, size, crc)).unwrap();
    assert!(Corpus::published(Published::Text8, &path).unwrap().bytes() == text);

    let again = "the archive is damaged or was not downloaded completely";
    let damaged = |cause| format!("DIR/text8.zip: {again} ({cause}). Download it again");
    let checksum = "text8 is not what its checksum says";
    let too_early = "it ends too early";
    assert_eq!(
        error(&zip("text8", 8, &packed, size, crc ^ 1)),
        damaged(checksum)
    );
    let cut = &packed[..packed.len() / 2];
    assert!(error(&zip("text8", 8, cut, size, crc)).contains(again));
    assert_eq!(error(&good[..good.len() / 2]), damaged(too_early));
    assert_eq!(
        error(&zip("text8", 12, &packed, size, crc)),
        damaged("it is encrypted, or packed in an unusual way")
    );
    assert_eq!(
        error(&zip("text9", 8, &packed, size, crc)),
        "DIR/text8.zip: text8 is missing: unpack or download it again, completely"
    );
    assert_eq!(
        error(&zip("text8", 8, &packed, size - 1, crc)),
        "DIR/text8.zip/text8: 99999999 bytes, but text8 has 100000000: it was not copied or \
         unpacked completely. Copy it again"
    );
    assert_eq!(
        error(b"<!DOCTYPE html>"),
        "DIR/text8.zip: it is a web page, not an archive: the download failed, or brought another \
         file. Download it again"
    );
}

#[test]
fn the_published_archives_are_the_known_ones() {
    for which in Published::ALL {
        let download = which.download();
        assert_eq!(download.file_name, format!("{which}.zip"));
        assert!(download.url.starts_with("https://") && download.page.starts_with("https://"));
        assert!(download.url.ends_with(&download.file_name));
        assert_eq!(download.sha256.unwrap().len(), 64);
    }
}

#[test]
fn any_file_is_cut_by_its_shares() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text.txt");
    let text: Vec<u8> = (0..1000u32).map(|i| (i * i % 251) as u8).collect();
    fs::write(&path, &text).unwrap();
    let corpus = Corpus::file(&path, Shares::default()).unwrap();
    assert!(corpus.split(Split::Train) == &text[..900]);
    assert!(corpus.split(Split::Dev) == &text[900..950]);
    assert!(corpus.split(Split::Test) == &text[950..]);
    let corpus = Corpus::file(&path, "2/1/0".parse().unwrap()).unwrap();
    assert!(corpus.split(Split::Train) == &text[..666]);
    assert!(corpus.split(Split::Dev) == &text[666..]);
    assert!(corpus.split(Split::Test).is_empty());
    for text in ["", "90", "90/5", "90/5/5/0", "0/0/0", "-1/1/1", "a/b/c"] {
        let error = text.parse::<Shares>().unwrap_err().to_string();
        assert!(error.contains("such as 90/5/5"), "{error}");
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("empty", b"");
    assert_eq!(
        file_error(dir.path(), "empty"),
        "DIR/empty: the file is empty: name a file with text with --data"
    );
    assert_eq!(
        file_error(dir.path(), "."),
        "DIR/.: it is a folder: name the file with the text in it with --data"
    );
    let error = file_error(dir.path(), "missing");
    assert!(error.starts_with("cannot open DIR/missing: "), "{error}");
    assert!(
        error.ends_with("Check the path, or choose another folder with --data"),
        "{error}"
    );
    let png = transformer_ls_datasets::png::encode(2, 2, &[0; 4]);
    let gzip = common::gzip(b"text");
    let zip = zip("text8", 0, b"text", 4, 0);
    for (bytes, what) in [
        (png, "a PNG"),
        (gzip, "a gzip file"),
        (zip, "a zip archive"),
    ] {
        write("binary", &bytes);
        assert_eq!(
            file_error(dir.path(), "binary"),
            format!(
                "DIR/binary: it is {what}, not text: unpack or convert it, and name the file with \
                 the text with --data"
            )
        );
    }
    // A text about such files is one, and any other bytes may be meant.
    for text in [&b"PNG and GIF"[..], b"<html>a page</html>", &[0xff; 20]] {
        write("text", text);
        let corpus = Corpus::file(&dir.path().join("text"), Shares::default()).unwrap();
        assert_eq!(corpus.warning(), None);
    }
    write("zeros", b"a\0b");
    let corpus = Corpus::file(&dir.path().join("zeros"), Shares::default()).unwrap();
    let warning = without(dir.path(), corpus.warning().unwrap());
    assert!(warning.starts_with("DIR/zeros has zero bytes"), "{warning}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    use std::process::Command;

    let dir = TempDir::new().unwrap();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    assert!(made.unwrap().success());
    assert_eq!(
        file_error(dir.path(), "pipe"),
        "DIR/pipe: it is a pipe or a device: write the text to a file, and name that with --data"
    );
}

#[test]
fn too_short_splits_are_refused() {
    let text = b"abcdefghij".repeat(10);
    let corpus = Corpus::from_bytes(text, Shares::default()).unwrap();
    let part = |split| corpus.part(split, corpus.vocabulary()).unwrap();
    let error = Streams::new(part(Split::Train), 4, 22).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the text: the train split has 90 bytes (of 100, cut 90/5/5), but 92 are needed: segments \
         of 22 bytes and the byte behind, in 4 rows. Name a longer file with --data, give the split \
         a larger share, or take shorter segments or fewer rows"
    );
    assert!(Streams::new(part(Split::Train), 4, 21).is_ok());
    assert!(Streams::new(part(Split::Train), 1, 89).is_ok());
    let error = Streams::new(part(Split::Train), 1, 90).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("91 are needed: a segment of 90 bytes and the byte behind it"),
        "{error}"
    );
    assert!(Streams::new(part(Split::Train), usize::MAX, usize::MAX).is_err());
    // Four bytes can be scored.
    assert_eq!(Scoring::new(part(Split::Dev), 8, 100).unwrap().scored(), 4);
    for shares in [Shares::new(99, 0, 1), Shares::new(99, 1, 0)] {
        let corpus = Corpus::from_bytes(b"ab".repeat(50), shares.unwrap()).unwrap();
        let part = corpus.part(Split::Dev, corpus.vocabulary()).unwrap();
        let error = Scoring::new(part, 1, 16).unwrap_err().to_string();
        assert!(
            error.contains("2 are needed: a byte to read and one to predict"),
            "{error}"
        );
    }
}

#[test]
fn vocabularies_are_written_and_read() {
    let cases: [(&[u8], &str); 4] = [
        (b"the quick brown fox jumps over a lazy dog", "32,97-122"),
        (b"\n", "10"),
        (&[255, 0, 254], "0,254-255"),
        (b"ab d", "32,97-98,100"),
    ];
    for (text, written) in cases {
        let vocabulary = Vocabulary::of(text);
        assert_eq!(vocabulary.to_string(), written);
        assert_eq!(written.parse(), Ok(vocabulary.clone()));
        assert!(vocabulary.bytes().is_sorted());
        let ids = vocabulary.encode(text).unwrap();
        assert_eq!(vocabulary.decode(&ids).unwrap(), text);
        assert_eq!(vocabulary.decode(&[vocabulary.len() as u16]), None);
    }
    for text in ["", "a", "256", "5-4", "4,4", "5,4", "1-5,5", "1,", "-1"] {
        let error = text.parse::<Vocabulary>().unwrap_err().to_string();
        assert!(error.contains("such as 10,32-126"), "{text}: {error}");
    }
}

/// A model is evaluated on a text that it wasn't trained on.
#[test]
fn bytes_that_a_model_does_not_know_are_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.txt");
    fs::write(&path, "Line one\nLine tw\u{f6}\n").unwrap();
    let corpus = Corpus::file(&path, "1/0/1".parse().unwrap()).unwrap();
    let trained = Vocabulary::of(b"Line onetw\n");
    // What counts is the split.
    assert!(corpus.part(Split::Train, &trained).is_ok());
    let error = corpus.part(Split::Test, &trained).unwrap_err();
    assert!(matches!(error, DatasetError::BadFile { .. }));
    assert_eq!(
        without(dir.path(), error),
        "DIR/a.txt: a character outside ASCII (byte 195), at byte 17 in line 2, is none of the 9 \
         bytes that the model was trained on: take it out of the text or replace it, or train a \
         model on a text that has it"
    );
    let part = corpus.part(Split::Train, &trained).unwrap();
    assert_eq!(part.vocabulary(), &trained);
    let ids: Vec<u16> = part.ids(0..4).collect();
    assert_eq!(trained.decode(&ids).unwrap(), b"Line");
}

#[test]
fn a_text_is_known_again() {
    let corpus = Corpus::from_bytes(b"abc".to_vec(), Shares::default()).unwrap();
    assert_eq!(
        corpus.sha256(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn streams_are_read_to_their_ends() {
    // Three streams of seven bytes; two bytes are left over.
    let part = whole(b"abcdefghijklmnopqrstuvw", Split::Train);
    let streams = Streams::new(part.clone(), 3, 4).unwrap();
    assert_eq!((streams.length(), streams.segments(2)), (7, 3));
    let first = streams.at(Position::default(), 2);
    assert_eq!(rows(&part, &first.ids, 3), [b"abc", b"hij", b"opq"]);
    assert!(first.starts_epoch);
    let second = streams.at(first.next, 2);
    assert_eq!(rows(&part, &second.ids, 3), [b"cde", b"jkl", b"qrs"]);
    assert!(!second.starts_epoch);
    // Another length goes on in the same place, and fits no more than once.
    let longer = streams.at(first.next, 4);
    assert_eq!(rows(&part, &longer.ids, 3), [b"cdefg", b"jklmn", b"qrstu"]);
    let again = streams.at(longer.next, 4);
    assert!(again.starts_epoch);
    assert_eq!(
        (again.position, again.next),
        (
            Position {
                epoch: 1,
                offset: 0
            },
            Position {
                epoch: 1,
                offset: 4
            }
        )
    );
    assert_eq!(rows(&part, &again.ids, 3), [b"abcde", b"hijkl", b"opqrs"]);
    // A place in no stream, as a damaged checkpoint may name it.
    let nowhere = Position {
        epoch: u64::MAX,
        offset: u64::MAX,
    };
    assert!(streams.at(nowhere, 2).starts_epoch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn shares_leave_nothing_out(parts in (0u32..100, 0u32..100, 0u32..100), bytes in 0usize..10_000) {
        prop_assume!(parts != (0, 0, 0));
        let shares = Shares::new(parts.0, parts.1, parts.2).unwrap();
        let ranges = Split::ALL.map(|split| shares.range(split, bytes));
        prop_assert_eq!(ranges[0].start, 0);
        prop_assert_eq!(ranges[0].end, ranges[1].start);
        prop_assert_eq!(ranges[1].end, ranges[2].start);
        prop_assert_eq!(ranges[2].end, bytes);
        prop_assert_eq!(shares.to_string().parse(), Ok(shares));
        for (range, part) in ranges.into_iter().zip([parts.0, parts.1, parts.2]) {
            let exact = bytes as f64 * f64::from(part) / f64::from(parts.0 + parts.1 + parts.2);
            prop_assert!((range.len() as f64 - exact).abs() < 1.0);
        }
    }

    /// Against the definition: a row reads its stretch in order, and an input's target is the byte
    /// behind it.
    #[test]
    fn streams_read_each_stretch_in_order(
        text in vec(any::<u8>(), 8..200),
        batch in 1usize..5,
        lengths in vec(1usize..20, 1..12),
    ) {
        let part = whole(&text, Split::Train);
        let longest = *lengths.iter().max().unwrap();
        let stretch = text.len() / batch;
        let streams = match Streams::new(part.clone(), batch, longest) {
            Ok(streams) => streams,
            Err(_) => {
                prop_assert!(stretch < longest + 1);
                return Ok(());
            }
        };
        let (mut position, mut offset, mut epoch) = (Position::default(), 0, 0);
        for inputs in lengths {
            let starts = offset == 0 || offset + inputs + 1 > stretch;
            if offset + inputs + 1 > stretch {
                (offset, epoch) = (0, epoch + 1);
            }
            let segment = streams.at(position, inputs);
            prop_assert_eq!(segment.starts_epoch, starts);
            prop_assert_eq!(segment.position, Position { epoch, offset: offset as u64 });
            for (row, read) in rows(&part, &segment.ids, batch).into_iter().enumerate() {
                let at = row * stretch + offset;
                prop_assert_eq!(read, &text[at..at + inputs + 1]);
            }
            // The same again, whatever was read before.
            prop_assert_eq!(streams.at(position, inputs), segment.clone());
            position = segment.next;
            offset += inputs;
        }
    }

    /// A step by its number is the one that comes when all before it are read.
    #[test]
    fn steps_have_their_positions(
        length in 4usize..60, batch in 1usize..4, inputs in 1usize..8, steps in 1u64..40,
    ) {
        let part = whole(&b"x".repeat(length), Split::Train);
        let Ok(streams) = Streams::new(part, batch, inputs) else { return Ok(()) };
        let mut position = Position::default();
        for step in 0..steps {
            let segment = streams.at(position, inputs);
            prop_assert_eq!(streams.position(step, inputs), segment.position);
            prop_assert_eq!(streams.at(streams.position(step, inputs), inputs), segment.clone());
            position = segment.next;
        }
    }

    #[test]
    fn every_byte_is_scored_once(
        length in 2usize..300, batch in 1usize..9, inputs in 1usize..40,
    ) {
        // Each byte names its place, so far as 256 places go.
        let text: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let part = whole(&text, Split::Test);
        let scoring = Scoring::new(part.clone(), batch, inputs).unwrap();
        let batch = scoring.rows();
        let mut stretches: Vec<Vec<u8>> = vec![Vec::new(); batch];
        let count = scoring.segments();
        for (index, segment) in scoring.iter().enumerate() {
            prop_assert_eq!(segment.ids.len(), batch * (segment.inputs + 1));
            prop_assert!(segment.inputs == inputs || index + 1 == count && segment.inputs < inputs);
            let read = rows(&part, &segment.ids, batch);
            for (row, read) in read.into_iter().enumerate() {
                let targets = segment.targets[row];
                prop_assert!(targets == segment.inputs || index + 1 == count && targets + 1 == segment.inputs);
                let stretch = &mut stretches[row];
                // A segment's first input is the last target before it.
                if let Some(&last) = stretch.last() {
                    prop_assert_eq!(read[0], last);
                } else {
                    stretch.push(read[0]);
                }
                stretch.extend(&read[1..=targets]);
            }
        }
        // The rows' targets, one after the other, are the text without its first byte; and each row
        // begins with the byte in front of its targets.
        let mut targets = Vec::new();
        for stretch in &stretches {
            prop_assert_eq!(stretch[0], text[targets.len()]);
            targets.extend_from_slice(&stretch[1..]);
        }
        prop_assert_eq!(targets.len(), scoring.scored());
        prop_assert_eq!(targets, &text[1..]);
        let lengths = || stretches.iter().map(Vec::len);
        prop_assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
    }

    #[test]
    fn vocabularies_survive(text in vec(any::<u8>(), 1..300), other in vec(any::<u8>(), 0..20)) {
        let vocabulary = Vocabulary::of(&text);
        prop_assert_eq!(vocabulary.to_string().parse(), Ok(vocabulary.clone()));
        let ids = vocabulary.encode(&text).unwrap();
        prop_assert!(ids.iter().all(|&id| usize::from(id) < vocabulary.len()));
        prop_assert_eq!(vocabulary.decode(&ids), Some(text.clone()));
        let unknown = other.iter().position(|byte| !text.contains(byte));
        match (vocabulary.encode(&other), unknown) {
            (Ok(ids), None) => prop_assert_eq!(vocabulary.decode(&ids), Some(other)),
            (Err(error), Some(at)) => prop_assert_eq!((error.at, error.byte), (at + 1, other[at])),
            (got, wanted) => prop_assert!(false, "{got:?}, {wanted:?}"),
        }
    }
}
