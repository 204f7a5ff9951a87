//! `ls-train fetch` from a server on this machine, and Ctrl-C before a run.

mod common;
#[path = "../../datasets/tests/common/mod.rs"]
mod files;
#[allow(dead_code)]
#[path = "../../datasets/tests/common/server.rs"]
mod server;

use common::{Workplace, stderr, stdout};
use server::{ALL, Answer, serve};

/// An archive with the pairs in both of its lra_release folders.
fn release() -> Vec<u8> {
    let mut all = Vec::new();
    for folder in ["lra_release", "lra_release/lra_release"] {
        for (split, count) in [("train", 12), ("eval", 4), ("test", 5)] {
            let name = format!("{folder}/tsv_data/new_aan_pairs.{split}.tsv");
            all.push((name, files::pairs(count)));
        }
    }
    all.push(("lra_release/README".to_owned(), b"read me".to_vec()));
    files::gzip(&files::tar(&all))
}

#[test]
fn an_archive_is_downloaded_and_unpacked_when_asked() {
    let place = Workplace::empty();
    let bytes = release();
    // The connection ends in the middle: the rest is asked for.
    let answers = vec![Answer::Part(bytes.len() / 2), Answer::Part(ALL)];
    let server = serve(bytes.clone(), answers);
    let args = ["fetch", "retrieval", "--url", &server.address];
    let fetched = place.run(&args);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    let out = stdout(&fetched);
    assert!(
        out.contains("lra_release.gz") && out.contains("whole"),
        "{out}"
    );
    assert!(!out.contains("unpacked"), "{out}");
    assert_eq!(*server.asked.lock().unwrap(), [None, Some(bytes.len() / 2)]);
    let report = place.run(&["check-data", "retrieval"]);
    assert!(report.status.success(), "{}", stderr(&report));
    assert!(
        stdout(&report).contains("the inner of the two"),
        "{}",
        stdout(&report)
    );
    // Once more: nothing is downloaded.
    let again = place.run(&args);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(stdout(&again).contains("was there already"));
    assert_eq!(server.asked.lock().unwrap().len(), 2);
    let tsv = place.path("data/retrieval/lra_release/lra_release/tsv_data");
    assert!(!tsv.exists());
    let unpacked = place.run(&[&args[..], &["--unpack"]].concat());
    assert!(unpacked.status.success(), "{}", stderr(&unpacked));
    let out = stdout(&unpacked);
    assert!(out.contains("6 files of tsv_data unpacked"), "{out}");
    let file = std::fs::read(tsv.join("new_aan_pairs.eval.tsv")).unwrap();
    assert_eq!(file, files::pairs(4));
}

#[test]
fn a_file_that_is_gone_or_another_is_a_sentence() {
    let place = Workplace::empty();
    let gone = serve(Vec::new(), vec![Answer::Status(404)]);
    let other = serve(release(), vec![Answer::Part(ALL)]);
    let corpus = serve(release(), vec![Answer::Part(ALL)]);
    for (name, server, words) in [
        (
            "text",
            &gone,
            ["the server answers 404", "ai.stanford.edu", "--data"],
        ),
        (
            "text",
            &other,
            ["but 84125825 were published", "ai.stanford.edu", "by hand"],
        ),
        (
            "enwik8",
            &corpus,
            ["but 36445475 were published", "mattmahoney.net", "by hand"],
        ),
    ] {
        let refusal = place.run(&["fetch", name, "--url", &server.address]);
        let message = stderr(&refusal);
        assert_eq!(refusal.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message}");
        }
        assert!(!place.path("data/text/aclImdb_v1.tar.gz").exists());
    }
}

#[test]
fn texts_are_told_from_tasks() {
    let place = Workplace::empty();
    for (args, words) in [
        (
            &["fetch", "text8", "--unpack"][..],
            "ls-train lm --data data/text8",
        ),
        (&["fetch", "enwik9"], "of texts there are enwik8 and text8"),
    ] {
        let refusal = place.run(args);
        assert!(!refusal.status.success());
        assert!(stderr(&refusal).contains(words), "{}", stderr(&refusal));
    }
}

#[cfg(unix)]
mod interrupted {
    use std::path::Path;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn start(place: &Workplace, args: &[&str], sign: &Path) -> Child {
        let mut command = place.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("ls-train starts");
        let started = Instant::now();
        while !sign.exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "no {sign:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    /// The standard output of a process that is told to stop, and does.
    fn stopped(child: Child) -> String {
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status();
        assert!(sent.expect("kill runs").success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        stdout(&output)
    }

    #[test]
    fn a_download_keeps_its_bytes() {
        let place = Workplace::empty();
        let bytes = release();
        // Half of the file, then refusals for a while.
        let answers = vec![Answer::Part(bytes.len() / 2), Answer::Status(503)];
        let server = serve(bytes.clone(), answers);
        let part = place.path("data/retrieval/lra_release.gz.part");
        let args = ["fetch", "retrieval", "--url", &server.address];
        let child = start(&place, &args, &part);
        while part.metadata().unwrap().len() < bytes.len() as u64 / 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let out = stopped(child);
        let kept = format!("stopped: {} bytes are kept", bytes.len() / 2);
        assert!(out.contains(&kept), "{out}");
        let server = serve(bytes.clone(), vec![Answer::Part(ALL)]);
        let fetched = place.run(&["fetch", "retrieval", "--url", &server.address]);
        assert!(fetched.status.success(), "{}", stderr(&fetched));
        assert_eq!(*server.asked.lock().unwrap(), [Some(bytes.len() / 2)]);
    }

    #[test]
    fn images_that_a_run_needs_are_made_further_next_time() {
        let place = Workplace::empty();
        let folder = place.path("data/path-x/curv_contour_length_14");
        let sign = folder.join("generating.json");
        let args = ["path-x", "--out", "run", "--device", "flex"];
        let out = stopped(start(&place, &args, &sign));
        assert!(out.contains("Run the same command again to go on"), "{out}");
        assert!(sign.exists() && !place.path("run").exists());
        let other = place.run(&["generate", "path-x", "--count", "20"]);
        assert!(
            stderr(&other).contains("holds data of other settings"),
            "{}",
            stderr(&other)
        );
    }
}
