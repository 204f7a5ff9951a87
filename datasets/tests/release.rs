//! `lra_release.gz`, read where it lies: the same samples as from its unpacked folders, and what is
//! said of an archive that is damaged or lacks a file.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::Dataset;
use common::{Files, pairs, without, write_archive, write_folder};
use tempfile::TempDir;
use transformer_ls_datasets::cache::{cached, is_packed};
use transformer_ls_datasets::check::check;
use transformer_ls_datasets::listops::{self, ListOps, Tokenizer};
use transformer_ls_datasets::pathfinder::{self, Difficulty, Pathfinder, Size};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::{DatasetError, Missing, Options, Sample, Samples, Split, Task, png};

/// `count` lines of ListOps, of which `first` tells one copy from another.
fn expressions(count: usize, first: usize) -> Vec<u8> {
    let line = |i: usize| format!("( ( [MAX {first} ) {} ) ]\t{}\n", i % 10, first.max(i % 10));
    let lines: String = (0..count).map(line).collect();
    format!("Source\tTarget\n{lines}").into_bytes()
}

/// Images of a brightness, in two batches, with one that is empty.
fn images(folder: &str, side: usize, paddles: usize, brightness: u8) -> Files {
    let mut files = Vec::new();
    for batch in [2, 10] {
        let mut metadata = String::new();
        for sample in 0..10u8 {
            let pixels = vec![brightness + 10 * u8::from(batch == 10) + sample; side * side];
            let image = match (batch, sample) {
                (2, 4) => Vec::new(),
                _ => png::encode(side, side, &pixels),
            };
            files.push((format!("{folder}/imgs/{batch}/sample_{sample}.png"), image));
            metadata += &format!(
                "imgs/{batch} sample_{sample}.png {sample} {} 1.0 {paddles} 2 2 0.5 1 1\n",
                sample % 2
            );
        }
        // As in the published archive, some metadata comes after its images, some before.
        let at = if batch == 2 { 0 } else { files.len() };
        files.insert(
            at,
            (format!("{folder}/metadata/{batch}.npy"), metadata.into()),
        );
    }
    files
}

/// The layout of the published archive: `listops-1000` and `pathfinder128` twice.
fn release() -> Files {
    let (outer, inner) = ("lra_release", "lra_release/lra_release");
    let mut files = vec![(format!("{outer}/README"), b"read me".to_vec())];
    let splits =
        |folder: String, names: fn(Split) -> &'static str, lines: &dyn Fn(usize) -> Vec<u8>| {
            let sizes = Split::ALL.into_iter().zip([12, 4, 5]);
            sizes
                .map(|(split, count)| (format!("{folder}/{}", names(split)), lines(count)))
                .collect::<Files>()
        };
    let listops = |place: &str, first: usize| {
        let folder = format!("{place}/listops-1000");
        splits(folder, listops::file_name, &|count| {
            expressions(count, first)
        })
    };
    files.extend(listops(inner, 7));
    files.extend(listops(outer, 3));
    files.extend(splits(
        format!("{inner}/tsv_data"),
        retrieval::file_name,
        &pairs,
    ));
    let hard = "curv_contour_length_14";
    files.extend(images(
        &format!("{outer}/pathfinder128/{hard}"),
        128,
        14,
        200,
    ));
    files.extend(images(
        &format!("{inner}/pathfinder128/{hard}"),
        128,
        14,
        100,
    ));
    files.extend(images(&format!("{inner}/pathfinder32/{hard}"), 32, 14, 50));
    let easy = format!("{inner}/pathfinder32/curv_baseline");
    files.extend(images(&easy, 32, 6, 150));
    files
}

fn samples(data: impl Dataset<Sample>) -> Vec<Sample> {
    data.iter().map(Result::unwrap).collect()
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    names
}

/// Each task's samples of a split.
fn all(dir: &Path, split: Split) -> Vec<Vec<Sample>> {
    let image = |size, difficulty| {
        samples(Pathfinder::open(dir, size, difficulty, split, Missing::LeaveOut).unwrap())
    };
    vec![
        samples(ListOps::open(dir, split, Tokenizer::Brackets).unwrap()),
        samples(Retrieval::open(dir, split).unwrap()),
        image(Size::N32, Difficulty::Hard),
        image(Size::N32, Difficulty::Easy),
        image(Size::N128, Difficulty::Hard),
    ]
}

#[test]
fn the_archive_has_the_samples_of_its_folders() {
    let dir = TempDir::new().unwrap();
    let (folder, packed) = (dir.path().join("unpacked"), dir.path().join("packed"));
    fs::create_dir(&packed).unwrap();
    write_folder(&folder, &release());
    let archive = packed.join("lra_release.gz");
    write_archive(&archive, &release());
    for split in Split::ALL {
        let expected = all(&folder, split);
        for path in [&packed, &archive] {
            assert!(
                all(path, split) == expected,
                "{split} of {}",
                path.display()
            );
        }
    }
    assert!(retrieval::is_prepared(&packed) && listops::is_prepared(&archive));
    assert!(pathfinder::is_prepared(
        &archive,
        Size::N32,
        Difficulty::Hard
    ));
    let data = Retrieval::open(&archive, Split::Dev).unwrap();
    let inside = "lra_release/lra_release/tsv_data/new_aan_pairs.eval.tsv";
    assert_eq!(data.path(), archive.join(inside));
    // No file is left of what was copied out, even while it is in use.
    #[cfg(unix)]
    assert_eq!(names(&packed), std::slice::from_ref(&archive));
    // What is unpacked beside it is taken instead, once it is complete.
    fs::create_dir(packed.join("tsv_data")).unwrap();
    for split in Split::ALL {
        let found = Task::Retrieval.archive(&packed, &Options::default());
        assert_eq!(found, Some(archive.clone()));
        assert_eq!(Retrieval::open(&packed, Split::Train).unwrap().len(), 12);
        let path = packed.join("tsv_data").join(retrieval::file_name(split));
        fs::write(path, pairs(2)).unwrap();
    }
    assert_eq!(Task::Retrieval.archive(&packed, &Options::default()), None);
    assert_eq!(Retrieval::open(&packed, Split::Train).unwrap().len(), 2);
    fs::remove_file(&archive).unwrap();
    fs::remove_file(packed.join("tsv_data/new_aan_pairs.eval.tsv")).unwrap();
    let error = without(&packed, Retrieval::open(&packed, Split::Dev).unwrap_err());
    let message = "DIR/tsv_data holds new_aan_pairs.train.tsv and new_aan_pairs.test.tsv, but not \
                   new_aan_pairs.eval.tsv: ";
    assert!(error.starts_with(message), "{error}");
    assert!(!retrieval::is_prepared(&packed));
}

/// A task's folder that somebody has put into an archive of its own, gzipped or not.
#[test]
fn other_archives_serve_too() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("images");
    let own = images("my/images", 32, 14, 50);
    write_folder(&folder, &own);
    let place = folder.join("my/images");
    let open = |path: &Path| {
        Pathfinder::open(
            path,
            Size::N32,
            Difficulty::Hard,
            Split::Train,
            Missing::LeaveOut,
        )
    };
    let expected = samples(open(&place).unwrap());
    let flat: Files = own
        .iter()
        .map(|(name, bytes)| (name.replace("my/images/", "./"), bytes.clone()))
        .collect();
    let (tar, tgz) = (dir.path().join("images.tar"), dir.path().join("flat.tgz"));
    fs::write(&tar, common::tar(&own)).unwrap();
    write_archive(&tgz, &flat);
    for path in [tar, tgz] {
        let report = check(Task::Pathfinder(Size::N32), &path);
        assert_eq!(report.facts.len(), 1, "{report}");
        let data = open(&path).unwrap();
        assert_eq!(data.left_out(), 1);
        assert!(samples(data) == expected, "{}", path.display());
    }
    // By the images' own metadata, not by a folder's name.
    let error = Pathfinder::open(
        &place,
        Size::N32,
        Difficulty::Easy,
        Split::Train,
        Missing::LeaveOut,
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("with --difficulty hard"),
        "{error}"
    );
}

#[test]
fn one_reading_serves_all_splits_and_a_packed_start_none() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("lra_release.gz");
    write_archive(&archive, &release());
    let told = Cell::new((0, 0));
    let progress = |done, total| told.set((done, total));
    let options = Options::default();
    let near = dir.path();
    let read = Task::Retrieval.release(&archive, &options, near, &progress, &|| false);
    let release = Arc::new(read.unwrap());
    let cache = dir.path().join("cache");
    for (split, count) in Split::ALL.into_iter().zip([12, 4, 5]) {
        let key = retrieval::cache_key(dir.path(), split).unwrap();
        assert!(!is_packed(&cache, &key).unwrap());
        let open = || Task::Retrieval.open(near, Some(&release), split, &options);
        let packed = cached(&cache, &key, open, &|_, _| {}, &|| false).unwrap();
        assert_eq!(packed.len(), count);
        assert!(is_packed(&cache, &key).unwrap());
        let again = || -> Result<Retrieval, DatasetError> { panic!("read again") };
        cached(&cache, &key, again, &|_, _| {}, &|| false).unwrap();
    }
    // Another archive under the name is packed again.
    let mut files = self::release();
    files.retain(|(name, _)| !name.ends_with("README"));
    write_archive(&archive, &files);
    let key = retrieval::cache_key(dir.path(), Split::Train).unwrap();
    assert!(!is_packed(&cache, &key).unwrap());
    // What was read of the one is not packed for the other.
    let open = || Task::Retrieval.open(near, Some(&release), Split::Train, &options);
    let mixed = cached(&cache, &key, open, &|_, _| {}, &|| false).unwrap_err();
    assert!(mixed.to_string().contains("has changed"), "{mixed}");
    assert!(!is_packed(&cache, &key).unwrap());
    let stopped = Task::ListOps.release(&archive, &options, near, &|_, _| {}, &|| true);
    assert!(matches!(stopped, Err(DatasetError::Cancelled)));
    // A small archive is read at once: nothing is told of it in between.
    assert_eq!(told.get(), (0, 0));
}

#[test]
fn damage_is_named() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("lra_release.gz");
    let opened = |files: &Files, cut: usize| {
        write_archive(&archive, files);
        let bytes = fs::read(&archive).unwrap();
        fs::write(&archive, &bytes[..bytes.len() - cut]).unwrap();
        let data = Retrieval::open(dir.path(), Split::Dev);
        data.map(|data| data.len())
            .map_err(|error| without(dir.path(), error))
    };
    let files = release();
    assert_eq!(opened(&files, 0), Ok(4));
    for cut in [1, 9, 2000] {
        let error = opened(&files, cut).unwrap_err();
        let message = "DIR/lra_release.gz: the archive is damaged or was not downloaded completely";
        assert!(error.starts_with(message), "{error}");
    }
    let mut other = files.clone();
    other.retain(|(name, _)| !name.ends_with("new_aan_pairs.eval.tsv"));
    let error = opened(&other, 0).unwrap_err();
    assert!(
        error.starts_with("DIR/lra_release.gz: ")
            && error.contains("lra_release/tsv_data/new_aan_pairs.eval.tsv is missing"),
        "{error}"
    );
    other.retain(|(name, _)| !name.contains("tsv_data"));
    let error = opened(&other, 0).unwrap_err();
    assert!(
        error.starts_with("DIR/lra_release.gz: retrieval's data is missing"),
        "{error}"
    );
    let mut bad = files.clone();
    for (name, bytes) in &mut bad {
        if name.ends_with("new_aan_pairs.eval.tsv") {
            bytes.extend(b"2.0\ta\tb\tone\tother\n");
        }
    }
    let error = opened(&bad, 0).unwrap_err();
    let line = "DIR/lra_release.gz/lra_release/lra_release/tsv_data/new_aan_pairs.eval.tsv:5: ";
    assert!(error.starts_with(line), "{error}");
    let empty = dir.path().join("empty.tar");
    fs::write(&empty, b"").unwrap();
    let error = ListOps::open(&empty, Split::Test, Tokenizer::Legacy).unwrap_err();
    assert_eq!(
        without(dir.path(), error),
        "DIR/empty.tar: it is an empty file, not an archive: the download failed, or brought \
         another file. Download it again"
    );
}

#[test]
fn it_is_checked_where_it_lies() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("lra_release.gz");
    write_archive(&archive, &release());
    for task in [Task::ListOps, Task::Retrieval] {
        for path in [dir.path(), &archive] {
            let report = check(task, path).to_string();
            assert!(report.contains("train: 12 samples"), "{report}");
            assert!(report.contains("the inner of the two"), "{report}");
            assert!(report.contains("can be used, but"), "{report}");
        }
    }
    let report = check(Task::Pathfinder(Size::N32), &archive).to_string();
    for words in [
        "pathfinder32/curv_baseline: 20 images in 2 batches, easy",
        "pathfinder32/curv_contour_length_14: 20 images in 2 batches, hard",
        "imgs/2/sample_4.png: the image is empty or not there (1 in all)",
    ] {
        assert!(report.contains(words), "{words:?} is not in {report}");
    }
    // A difficulty that is not there is none that anybody asked for.
    assert!(!report.contains("medium"), "{report}");
    let report = check(Task::Pathfinder(Size::N128), &archive).to_string();
    assert!(report.contains("the inner of the two"), "{report}");
    assert!(!report.contains("nothing learns"), "{report}");
    let report = check(Task::Pathfinder(Size::N64), &archive);
    assert!(!report.is_usable(), "{report}");
    assert!(
        report
            .to_string()
            .contains("pathfinder64's data is missing"),
        "{report}"
    );
}

fn open_images(path: &Path, files: &Files) -> Result<usize, String> {
    fs::write(path, common::tar(files)).unwrap();
    let data = Pathfinder::open(
        path,
        Size::N32,
        Difficulty::Hard,
        Split::Train,
        Missing::LeaveOut,
    );
    data.map(|data| data.len())
        .map_err(|error| without(path.parent().unwrap(), error))
}

/// Of folders that look alike, what is taken or said.
#[test]
fn the_folder_that_is_meant_is_found() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.tar");
    let hard = "lra_release/lra_release/pathfinder32/curv_contour_length_14";
    let mut files = images(hard, 32, 14, 50);
    // Generated ListOps data has a file of that name, too.
    let other = "lra_release/lra_release/listops-1000/generated.json".to_owned();
    files.insert(0, (other, b"{}".to_vec()));
    assert_eq!(open_images(&path, &files), Ok(17));
    // Leading slashes and dots are no other names.
    let mut named = files.clone();
    for (name, _) in &mut named {
        *name = format!("./a/./{name}");
    }
    assert_eq!(open_images(&path, &named), Ok(17));
    files.extend(images("lra_release/lra_release/other", 32, 14, 60));
    let error = open_images(&path, &files).unwrap_err();
    assert!(
        error.starts_with("DIR/a.tar: it holds the files of pathfinder32 twice, in ")
            && error.contains("lra_release/lra_release/other"),
        "{error}"
    );
    let easy = images("pathfinder32/curv_baseline", 32, 6, 50);
    let error = open_images(&path, &easy).unwrap_err();
    assert!(
        error.starts_with("DIR/a.tar: the images are easy (6 paddles), but hard ones were asked"),
        "{error}"
    );
    let error = open_images(&path, &files[..1].to_vec()).unwrap_err();
    assert!(
        error.starts_with("DIR/a.tar: pathfinder32's data is missing"),
        "{error}"
    );
    let report = check(Task::Pathfinder(Size::N32), &path);
    assert!(!report.is_usable(), "{report}");
}

#[test]
fn cut_and_linked_tars_are_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.tar");
    let files = images("curv_contour_length_14", 32, 14, 50);
    let open = || {
        let data = Pathfinder::open(
            &path,
            Size::N32,
            Difficulty::Hard,
            Split::Train,
            Missing::LeaveOut,
        );
        data.map(|data| data.len())
            .map_err(|error| without(dir.path(), error))
    };
    // Cut where a file begins, this is a tar of fewer files but for its end.
    let (all, fewer) = (common::tar(&files), common::tar(&files[..15].to_vec()));
    fs::write(&path, &all[..fewer.len() - 1024]).unwrap();
    let error = open().unwrap_err();
    assert!(
        error.contains("damaged or was not downloaded completely"),
        "{error}"
    );
    fs::write(&path, &all).unwrap();
    assert_eq!(open(), Ok(17));
    let mut linked = all[..all.len() - 1024].to_vec();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    let mut link = tar::Builder::new(Vec::new());
    let name = "curv_contour_length_14/metadata/11.npy";
    link.append_link(&mut header, name, "curv_contour_length_14/metadata/10.npy")
        .unwrap();
    linked.extend(link.into_inner().unwrap());
    fs::write(&path, linked).unwrap();
    let error = open().unwrap_err();
    assert!(
        error.starts_with(&format!("DIR/a.tar: {name} is only a link in it")),
        "{error}"
    );
}
