//! The check of each task's data, whole and damaged.

mod common;

use std::fs;
use std::path::Path;

use common::without;
use tempfile::TempDir;
use transformer_ls_datasets::check::{Report, Severity, check};
use transformer_ls_datasets::pathfinder::generate::{GenerateConfig, generate};
use transformer_ls_datasets::pathfinder::{Difficulty, Size};
use transformer_ls_datasets::retrieval::file_name;
use transformer_ls_datasets::{Split, Task, listops, png};

fn messages(report: &Report, severity: Severity, dir: &Path) -> Vec<String> {
    let findings = report.findings.iter().filter(|f| f.severity == severity);
    findings
        .map(|finding| without(dir, &finding.message))
        .collect()
}

#[track_caller]
fn assert_some(messages: &[String], parts: &[&str]) {
    let found = messages
        .iter()
        .any(|m| parts.iter().all(|part| m.contains(part)));
    assert!(found, "{parts:?} is not in {messages:#?}");
}

#[test]
fn listops_labels_are_worked_out() {
    let dir = TempDir::new().unwrap();
    let config = listops::generate::GenerateConfig {
        count: 100,
        seed: 3,
        ..listops::generate::GenerateConfig::default()
    };
    let folder = dir.path().join("lra_release/lra_release/listops-1000");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    listops::generate::generate(&folder, &config, &|_, _| {}, &|| false).unwrap();
    let report = check(Task::ListOps, dir.path());
    assert!(report.is_usable(), "{report}");
    assert_eq!(report.place.as_deref(), Some(folder.as_path()));
    assert!(
        report.facts[0].starts_with("train: 96 samples, classes "),
        "{report}"
    );
    assert!(
        report
            .to_string()
            .contains("the inner of the two lra_release folders"),
        "{report}"
    );
    assert_some(
        &messages(&report, Severity::Warning, dir.path()),
        &["train has 96 samples", "96000"],
    );

    let path = folder.join("basic_val.tsv");
    fs::write(&path, "Source\tTarget\n[MAX 1 2 ]\t2\n[MIN 4 7 ]\t7\n").unwrap();
    let report = check(Task::ListOps, dir.path());
    assert!(!report.is_usable());
    let errors = messages(&report, Severity::Error, dir.path());
    assert_some(
        &errors,
        &["basic_val.tsv:3: the label is 7, but the expression's value is 4"],
    );
    fs::write(&path, "Source\tTarget\n[MAX 1 2 ]\t2\n[MIN 4 7").unwrap();
    let errors = messages(
        &check(Task::ListOps, dir.path()),
        Severity::Error,
        dir.path(),
    );
    assert_some(
        &errors,
        &["basic_val.tsv:3: the file ends in the middle of this line"],
    );
}

#[test]
fn text_and_image() {
    let dir = TempDir::new().unwrap();
    let report = check(Task::Text, dir.path());
    assert!(
        !report.is_usable() && report.findings.len() == 1,
        "{report}"
    );
    assert!(
        report
            .to_string()
            .starts_with("text: no data\n  error: no text data in "),
        "{report}"
    );
    common::write_archive(&dir.path().join("aclImdb_v1.tar.gz"), &common::reviews());
    let report = check(Task::Text, dir.path());
    assert!(report.is_usable(), "{report}");
    assert_eq!(
        report.facts[0],
        "train: 6 samples, classes 3 / 3, 25 to 26 tokens (mean 25)"
    );
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(
        &warnings,
        &["train has 6 samples, the published data 25000"],
    );

    common::write_folder(dir.path(), &common::binary_batches(3));
    let report = check(Task::Image, dir.path());
    assert!(report.is_usable(), "{report}");
    assert!(
        report.facts[2]
            .starts_with("test: 3 samples, classes 0 / 0 / 0 / 0 / 0 / 1 / 1 / 1 / 0 / 0")
    );
    let path = dir.path().join("cifar-10-batches-bin/test_batch.bin");
    fs::write(&path, vec![1; 3000]).unwrap();
    let report = check(Task::Image, dir.path());
    let errors = messages(&report, Severity::Error, dir.path());
    assert_eq!(errors.len(), 1);
    assert_some(
        &errors,
        &["DIR/cifar-10-batches-bin/test_batch.bin: 3000 bytes"],
    );
}

#[test]
fn retrieval() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("lra_release/tsv_data");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join(file_name(Split::Train)),
        [common::pairs(4), b"1\ta\tb\t\tx\n".to_vec()].concat(),
    )
    .unwrap();
    fs::write(
        folder.join(file_name(Split::Dev)),
        [common::pairs(2), b"0\tx".to_vec()].concat(),
    )
    .unwrap();
    let report = check(Task::Retrieval, dir.path());
    assert!(
        report.facts[0].starts_with("train: 4 samples, classes 2 / 2, "),
        "{report}"
    );
    assert!(
        report
            .to_string()
            .contains("the outer of the two lra_release folders"),
        "{report}"
    );
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(&warnings, &["train has 5 samples", "147086"]);
    assert_some(&warnings, &["1 pairs have an empty document"]);
    let errors = messages(&report, Severity::Error, dir.path());
    assert_some(
        &errors,
        &["new_aan_pairs.eval.tsv:3: the file ends in the middle of this line"],
    );
    assert_some(
        &errors,
        &[
            "tsv_data holds new_aan_pairs.train.tsv and",
            "but not new_aan_pairs.test.tsv",
        ],
    );
    assert!(!report.to_string().contains("no line end"), "{report}");
    // Cut in its very last text.
    let cut = &common::pairs(2)[..common::pairs(2).len() - 3];
    fs::write(folder.join(file_name(Split::Dev)), cut).unwrap();
    let report = check(Task::Retrieval, dir.path());
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(
        &warnings,
        &["new_aan_pairs.eval.tsv: the last line has no line end"],
    );
}

#[test]
fn pathfinder() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("lra_release/pathfinder128");
    let config = GenerateConfig {
        difficulty: Difficulty::Easy,
        count: 1010,
        ..GenerateConfig::new(Size::N128)
    };
    generate(&data, &config, &|_, _| {}, &|| false).unwrap();
    let path_x = Task::Pathfinder(Size::N128);
    let report = check(path_x, dir.path());
    assert!(report.is_usable(), "{report}");
    assert!(
        report.facts[0].contains("1010 images in 2 batches, easy (6 paddles), "),
        "{report}"
    );
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(
        &warnings,
        &[
            "the copy of pathfinder128 from which nothing learns",
            "DIR/lra_release/lra_release/pathfinder128",
        ],
    );
    assert_some(&warnings, &["holds easy images"]);
    // The other copy, if there is one, is what is read and found good.
    let inner = dir.path().join("lra_release/lra_release/pathfinder128");
    fs::create_dir_all(inner.parent().unwrap()).unwrap();
    fs::rename(&data, &inner).unwrap();
    let report = check(path_x, dir.path());
    assert!(
        report.to_string().contains("the inner of the two"),
        "{report}"
    );
    assert!(!report.to_string().contains("nothing learns"), "{report}");
    // So it is with both there, wherever the path ends.
    fs::create_dir_all(data.join("curv_baseline/metadata")).unwrap();
    for path in [dir.path().to_owned(), dir.path().join("lra_release")] {
        let report = check(path_x, &path);
        assert_eq!(report.place, Some(inner.join("curv_baseline")), "{report}");
    }
    fs::remove_dir_all(&data).unwrap();

    let folder = inner.join("curv_baseline");
    fs::write(folder.join("imgs/0/sample_3.png"), b"").unwrap();
    let errors = messages(&check(path_x, dir.path()), Severity::Error, dir.path());
    assert_some(
        &errors,
        &["imgs/0/sample_3.png: the generated file is empty"],
    );
    fs::remove_file(folder.join("generated.json")).unwrap();
    fs::write(
        folder.join("imgs/0/sample_4.png"),
        png::encode(64, 64, &[0; 4096]),
    )
    .unwrap();
    fs::remove_file(folder.join("imgs/0/sample_5.png")).unwrap();
    fs::remove_file(folder.join("metadata/1.npy")).unwrap();
    fs::copy(folder.join("metadata/0.npy"), folder.join("metadata/3.npy")).unwrap();
    let report = check(path_x, dir.path());
    let (warnings, errors) = (
        messages(&report, Severity::Warning, dir.path()),
        messages(&report, Severity::Error, dir.path()),
    );
    assert_some(
        &errors,
        &["imgs/0/sample_3.png: the image is empty or not there (4 in all)"],
    );
    assert_some(
        &warnings,
        &[
            "imgs/0/sample_0.png is named more than once",
            "1000 such lines",
        ],
    );
    assert_some(
        &warnings,
        &["metadata/1.npy is missing (2 batches between 0 and 3 are)"],
    );
    assert_some(
        &errors,
        &[
            "imgs/0/sample_4.png: the image is 64 × 64",
            "(2 bad images in all)",
        ],
    );

    // Hard ones that are too bright, as if made by another program.
    let folder = dir.path().join("bright/curv_contour_length_14");
    fs::create_dir_all(folder.join("imgs/0")).unwrap();
    fs::create_dir_all(folder.join("metadata")).unwrap();
    let mut metadata = String::new();
    for i in 0..200 {
        let png = png::encode(32, 32, &[90; 1024]);
        fs::write(folder.join(format!("imgs/0/sample_{i}.png")), png).unwrap();
        metadata += &format!("imgs/0 sample_{i}.png {i} 1 1.0 14 4 2 0.5 1 1\n");
    }
    fs::write(folder.join("metadata/0.npy"), metadata).unwrap();
    let report = check(Task::Pathfinder(Size::N32), &dir.path().join("bright"));
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(
        &warnings,
        &["mean brightness is 90.00, the original's 20.3"],
    );
    assert_some(&warnings, &["200 of 200 images are connected, not half"]);
    // The same images in the folder of the easy ones.
    let renamed = folder.with_file_name("curv_baseline");
    fs::rename(&folder, renamed).unwrap();
    let report = check(Task::Pathfinder(Size::N32), &dir.path().join("bright"));
    let errors = messages(&report, Severity::Error, dir.path());
    assert_some(
        &errors,
        &[
            "DIR/bright/curv_baseline has hard images (14 paddles, by their metadata) where easy ones belong",
        ],
    );
}

/// Folders that look like data, and hold none.
#[test]
fn nothing_is_not_usable() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("curv_contour_length_14");
    fs::create_dir_all(folder.join("metadata")).unwrap();
    fs::create_dir_all(folder.join("imgs/0")).unwrap();
    for metadata in [None, Some("metadata/0.txt"), Some("metadata/0.npy")] {
        if let Some(name) = metadata {
            fs::write(folder.join(name), b"").unwrap();
        }
        let report = check(Task::Pathfinder(Size::N32), dir.path());
        assert!(!report.is_usable(), "{report}");
        assert!(
            report.to_string().contains("can't be used as it is"),
            "{report}"
        );
    }
}

/// Side files of other systems are counted, and copies of reviews are told.
#[test]
fn side_files_are_counted() {
    let dir = TempDir::new().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/side");
    let side = fs::read(folder.join("._0_5.txt")).unwrap();
    let mut files = common::reviews();
    for name in ["train/pos/._0_8.txt", "test/neg/.DS_Store", "._README"] {
        files.push((format!("aclImdb/{name}"), side.clone()));
    }
    common::write_folder(&dir.path().join("folder"), &files);
    common::write_archive(&dir.path().join("aclImdb_v1.tar.gz"), &files);
    for place in ["folder", "aclImdb_v1.tar.gz"] {
        let report = check(Task::Text, &dir.path().join(place));
        assert!(report.is_usable(), "{report}");
        let fact = "3 side files of macOS or Windows, passed over".to_owned();
        assert!(report.facts.contains(&fact), "{report}");
        assert!(report.facts[0].starts_with("train: 6 samples"), "{report}");
    }
    let copy = dir.path().join("folder/aclImdb/train/pos/0_8 (1).txt");
    fs::write(&copy, b"a copy").unwrap();
    fs::write(copy.with_file_name("2_7.txt"), b" ").unwrap();
    let report = check(Task::Text, &dir.path().join("folder"));
    let warnings = messages(&report, Severity::Warning, dir.path());
    assert_some(
        &warnings,
        &["train/pos/0_8 (1).txt: the published reviews are named"],
    );
    let errors = messages(&report, Severity::Error, dir.path());
    assert_some(
        &errors,
        &["train/pos/2_7.txt: the review is empty or not there (1 in all)"],
    );
    assert!(
        report.facts[0].starts_with("train: 6 samples, classes 3 / 3"),
        "{report}"
    );
}

/// Whatever a file holds or is called: no terminal obeys it, and every finding is a line.
#[cfg(unix)]
#[test]
fn a_report_is_safe_to_print() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("a\x1b[31m\nb");
    fs::create_dir(&dir).unwrap();
    let lines = "Source\tTarget\n[MAX \x1b[2J 2 ]\t2\n";
    for split in Split::ALL {
        fs::write(dir.join(listops::file_name(split)), lines).unwrap();
    }
    let report = check(Task::ListOps, &dir);
    assert!(!report.is_usable());
    let text = report.to_string();
    assert!(
        !text.contains('\x1b') && text.contains("a\\u{1b}[31m\\nb"),
        "{text:?}"
    );
    assert_eq!(
        text.lines().count(),
        2 + report.findings.len() + report.facts.len()
    );
}
