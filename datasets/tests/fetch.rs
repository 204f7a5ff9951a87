//! Downloads from a server on this machine: whole, cut off, refused, damaged.

mod common;
#[path = "common/server.rs"]
mod server;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;

use common::without;
use server::{ALL, Answer, Server, serve};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use transformer_ls_datasets::Task;
use transformer_ls_datasets::fetch::{Download, FetchError, Fetched, fetch, unpack};

/// A gzip archive of some 300 kB that does not compress.
fn archive() -> Vec<u8> {
    let mut x = 1u32;
    let noise = (0..300_000).map(|_| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    });
    common::gzip(&common::tar(&vec![(
        "folder/noise".into(),
        noise.collect(),
    )]))
}

fn at(server: &Server) -> Download {
    Download {
        url: server.address.clone(),
        file_name: "file.tar.gz".into(),
        bytes: None,
        sha256: None,
        page: "https://example.org/data".into(),
    }
}

fn sha256(bytes: &[u8]) -> Option<String> {
    Some(
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect(),
    )
}

fn run(source: &Download, dir: &Path) -> Result<Fetched, FetchError> {
    fetch(source, dir, &|_, _| {}, &|| false)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_file_is_downloaded_once() {
    let bytes = archive();
    let server = serve(bytes.clone(), vec![Answer::Part(ALL)]);
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("not/there");
    let progress = RefCell::new(Vec::new());
    let source = Download {
        bytes: Some(bytes.len() as u64),
        sha256: sha256(&bytes),
        ..at(&server)
    };
    let fetched = fetch(
        &source,
        &folder,
        &|done, of| progress.borrow_mut().push((done, of)),
        &|| false,
    );
    let fetched = fetched.unwrap();
    assert_eq!(fetched.path, folder.join("file.tar.gz"));
    assert_eq!(
        (fetched.bytes, fetched.downloaded),
        (bytes.len() as u64, bytes.len() as u64)
    );
    assert_eq!(fs::read(&fetched.path).unwrap(), bytes);
    assert_eq!(names(&folder), ["file.tar.gz"]);
    let progress = progress.into_inner();
    assert!(progress.is_sorted());
    let total = bytes.len() as u64;
    assert!(
        progress
            .iter()
            .all(|&(done, of)| done <= total && of == Some(total))
    );
    assert_eq!(run(&source, &folder).unwrap().downloaded, 0);
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    // Something else under the name is not overwritten.
    fs::write(&fetched.path, b"mine").unwrap();
    let error = run(&source, &folder).unwrap_err().to_string();
    assert!(
        error.contains("is there, but is not the published file: it has 4 bytes"),
        "{error}"
    );
    assert_eq!(fs::read(&fetched.path).unwrap(), b"mine");
}

#[test]
fn cut_off_downloads_go_on() {
    let bytes = archive();
    let parts = vec![
        Answer::Part(1000),
        Answer::Hang,
        Answer::Part(0),
        Answer::Part(70_000),
        Answer::Status(503),
        Answer::Part(ALL),
    ];
    let server = serve(bytes.clone(), parts);
    let dir = TempDir::new().unwrap();
    let fetched = run(&at(&server), dir.path()).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), bytes);
    // Every byte was sent once.
    assert_eq!(fetched.downloaded, bytes.len() as u64);
    let asked = server.asked.lock().unwrap().clone();
    let then = [
        Some(1000),
        Some(1000),
        Some(1000),
        Some(71_000),
        Some(71_000),
    ];
    assert_eq!(asked, [&[None], &then[..]].concat());
}

#[test]
fn a_later_call_goes_on_where_the_server_can() {
    let bytes = archive();
    for (answer, downloaded) in [
        (Answer::Part(ALL), bytes.len() - 50_000),
        (Answer::Whole(ALL), bytes.len()),
    ] {
        let server = serve(bytes.clone(), vec![answer]);
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("file.tar.gz.part"), &bytes[..50_000]).unwrap();
        let fetched = run(&at(&server), dir.path()).unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), bytes);
        assert_eq!(fetched.downloaded, downloaded as u64);
        assert_eq!(names(dir.path()), ["file.tar.gz"]);
    }
    // All of it was there already; more than all of it was.
    for extra in [&b""[..], b"more"] {
        let server = serve(bytes.clone(), vec![Answer::Part(ALL)]);
        let dir = TempDir::new().unwrap();
        fs::write(
            dir.path().join("file.tar.gz.part"),
            [&bytes[..], extra].concat(),
        )
        .unwrap();
        let fetched = run(&at(&server), dir.path()).unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), bytes);
        assert_eq!(
            fetched.downloaded,
            if extra.is_empty() {
                0
            } else {
                bytes.len() as u64
            }
        );
    }
}

#[test]
fn a_page_in_the_place_of_the_file_costs_nothing_of_it() {
    let bytes = archive();
    let server = serve(bytes.clone(), vec![Answer::Page, Answer::Part(ALL)]);
    let dir = TempDir::new().unwrap();
    let part = dir.path().join("file.tar.gz.part");
    fs::write(&part, &bytes[..50_000]).unwrap();
    let source = Download {
        bytes: Some(bytes.len() as u64),
        ..at(&server)
    };
    let error = run(&source, dir.path()).unwrap_err().to_string();
    assert!(error.contains("has 9 bytes, but"), "{error}");
    assert_eq!(fs::read(&part).unwrap(), bytes[..50_000]);
    let fetched = run(&source, dir.path()).unwrap();
    assert_eq!(fetched.downloaded, bytes.len() as u64 - 50_000);
}

#[test]
fn a_server_that_starts_afresh_each_time_and_breaks_off_is_given_up() {
    let server = serve(archive(), vec![Answer::Whole(70_000)]);
    let dir = TempDir::new().unwrap();
    let error = run(&at(&server), dir.path()).unwrap_err();
    assert!(
        matches!(error, FetchError::Connection { kept: 70_000, .. }),
        "{error}"
    );
    // The first attempt brought something; four in a row with it did not go beyond.
    assert_eq!(server.asked.lock().unwrap().len(), 4);
}

#[test]
fn stopping_keeps_what_is_there() {
    let bytes = archive();
    let server = serve(bytes.clone(), vec![Answer::Part(ALL)]);
    let dir = TempDir::new().unwrap();
    let far = Cell::new(0);
    let error = fetch(&at(&server), dir.path(), &|done, _| far.set(done), &|| {
        far.get() > 100_000
    })
    .unwrap_err();
    let FetchError::Stopped { part, kept } = error else {
        panic!("{error}")
    };
    assert_eq!(fs::read(&part).unwrap(), bytes[..kept as usize]);
    assert!(kept > 100_000 && kept < bytes.len() as u64);
    assert_eq!(names(dir.path()), ["file.tar.gz.part"]);
    let fetched = run(&at(&server), dir.path()).unwrap();
    assert_eq!(fetched.downloaded, bytes.len() as u64 - kept);
}

#[test]
fn refusals_say_where_to_look() {
    let dir = TempDir::new().unwrap();
    for (status, reason) in [
        (403, "it gives the file to nobody, or not to you"),
        (404, "the file is not there any more"),
        (410, "the file is not there any more"),
    ] {
        let server = serve(Vec::new(), vec![Answer::Status(status)]);
        let error = run(&at(&server), dir.path()).unwrap_err();
        assert_eq!(
            without(dir.path(), error),
            format!(
                "the server answers {status} for {}: {reason}. Look for the file by hand at \
                 https://example.org/data, put it at DIR/file.tar.gz, and run the same command \
                 again; or name another copy with --data",
                server.address
            )
        );
        assert_eq!(server.asked.lock().unwrap().len(), 1);
    }
    // A server that never gets better, and none at all.
    let server = serve(Vec::new(), vec![Answer::Status(500)]);
    let error = run(&at(&server), dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the server answers 500. 0 bytes are kept"),
        "{error}"
    );
    assert_eq!(server.asked.lock().unwrap().len(), 4);
    let nobody = Download {
        url: "http://127.0.0.1:1/file.tar.gz".into(),
        ..at(&server)
    };
    let error = run(&nobody, dir.path()).unwrap_err();
    assert!(
        matches!(error, FetchError::Connection { kept: 0, .. }),
        "{error}"
    );
    assert!(!dir.path().join("file.tar.gz").exists());
}

#[test]
fn other_and_damaged_files_are_not_kept() {
    let bytes = archive();
    let dir = TempDir::new().unwrap();
    let server = serve(bytes.clone(), vec![Answer::Part(ALL)]);
    let other_size = Download {
        bytes: Some(5),
        ..at(&server)
    };
    let error = run(&other_size, dir.path()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("has {} bytes, but 5 were published", bytes.len())),
        "{error}"
    );
    let other_sum = Download {
        sha256: sha256(b"another file"),
        ..at(&server)
    };
    let error = run(&other_sum, dir.path()).unwrap_err().to_string();
    assert!(error.contains("is damaged: its SHA-256 is "), "{error}");
    assert_eq!(names(dir.path()), [] as [&str; 0]);
    // Without a sum the archive's own decides.
    let mut damaged = bytes.clone();
    damaged[150_000] ^= 1;
    let not_whole = "it is no whole gzip archive";
    for (damaged, cause) in [
        (&damaged[..], not_whole),
        (b"<html>Please log in</html>", "it is a web page"),
        (&bytes[..bytes.len() - 1], not_whole),
    ] {
        let server = serve(damaged.to_vec(), vec![Answer::Part(ALL)]);
        let error = run(&at(&server), dir.path()).unwrap_err().to_string();
        assert!(error.contains(cause), "{error}");
        assert_eq!(names(dir.path()), [] as [&str; 0]);
    }
}

#[test]
fn two_processes_do_not_mix() {
    let dir = TempDir::new().unwrap();
    let server = serve(archive(), vec![Answer::Part(ALL)]);
    let part = fs::File::create(dir.path().join("file.tar.gz.part")).unwrap();
    part.lock().unwrap();
    let error = run(&at(&server), dir.path()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    drop(part);
    run(&at(&server), dir.path()).unwrap();
}

/// A zip under another name is a failed download, and under its own what was asked for.
#[test]
fn a_zip_is_taken_where_one_was_asked_for() {
    let bytes = [b"PK\x03\x04".to_vec(), archive()].concat();
    let server = serve(bytes.clone(), vec![Answer::Part(ALL), Answer::Part(ALL)]);
    let dir = TempDir::new().unwrap();
    let source = Download {
        bytes: Some(bytes.len() as u64),
        sha256: sha256(&bytes),
        ..at(&server)
    };
    let error = run(&source, dir.path()).unwrap_err().to_string();
    assert!(error.contains("is damaged: it is a zip archive"), "{error}");
    let source = Download {
        file_name: "file.zip".into(),
        ..source
    };
    let fetched = run(&source, dir.path()).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), bytes);
    fs::write(&fetched.path, b"<html>").unwrap();
    let error = run(&source, dir.path()).unwrap_err().to_string();
    assert!(error.contains("it is a web page"), "{error}");
}

#[test]
fn every_task_has_an_address_and_a_page() {
    for task in Task::ALL {
        let source = (task.download)();
        assert!(source.url.starts_with("https://") && source.page.starts_with("https://"));
        assert!(source.url.ends_with(&source.file_name));
        assert!(source.sha256.is_none_or(|sum| sum.len() == 64));
    }
}

#[test]
fn a_folder_of_an_archive_is_unpacked() {
    let dir = TempDir::new().unwrap();
    let files = vec![
        (
            "lra_release/lra_release/tsv_data/a.tsv".to_owned(),
            common::pairs(5000),
        ),
        (
            "lra_release/lra_release/tsv_data/b.tsv".to_owned(),
            common::pairs(3),
        ),
        (
            "lra_release/listops-1000/basic_train.tsv".to_owned(),
            b"x".to_vec(),
        ),
    ];
    let path = dir.path().join("lra_release.gz");
    common::write_archive(&path, &files);
    let into = dir.path().join("data");
    let run = |folder: &str| unpack(&path, folder, &into, &|_| {}, &|| false);
    assert_eq!(run("tsv_data").unwrap(), 2);
    for (name, bytes) in &files[..2] {
        assert_eq!(fs::read(into.join(name)).unwrap(), *bytes);
    }
    assert_eq!(
        names(&into.join("lra_release/lra_release/tsv_data")),
        ["a.tsv", "b.tsv"]
    );
    assert_eq!(names(&into.join("lra_release")), ["lra_release"]);
    assert_eq!(run("tsv_data").unwrap(), 2);
    let error = without(dir.path(), run("pathfinder32").unwrap_err());
    assert!(
        error.starts_with("DIR/lra_release.gz: pathfinder32/ is missing"),
        "{error}"
    );
    let stopped = unpack(&path, "listops-1000", &into, &|_| {}, &|| true).unwrap_err();
    assert!(stopped.to_string().starts_with("stopped: "), "{stopped}");
    assert!(
        !into
            .join("lra_release/listops-1000/basic_train.tsv")
            .exists()
    );
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_dir_all(&into).unwrap();
    let error = run("tsv_data").unwrap_err().to_string();
    assert!(
        error.contains("the archive is damaged or was not downloaded completely"),
        "{error}"
    );
    assert!(!into.join("lra_release/lra_release/tsv_data/a.tsv").exists());
}
