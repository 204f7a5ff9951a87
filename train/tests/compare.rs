//! `ls-train compare`: a table of several attentions, from runs that can be gone on with.

mod common;

use std::process::{Command, Output};

use common::{SMALL, Workplace, stderr, stdout};

const COMMAND: &[&str] = &[
    "compare", "listops", "--data", "data", "--out", "out", "--device", "flex",
];

fn compare(place: &Workplace, extra: &[&str]) -> Output {
    place.run(&[COMMAND, SMALL, &["--steps", "3"], extra].concat())
}

#[test]
fn a_report_is_what_its_runs_say() {
    let place = Workplace::with_data(300);
    let kinds = "dense,long-short:window=0,linformer:rank=3";
    let compared = compare(&place, &["--attention", kinds, "--seeds", "2"]);
    assert!(compared.status.success(), "{}", stderr(&compared));
    let report = std::fs::read_to_string(place.path("out/report.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&report).unwrap();
    let names = ["dense", "long_short-window_0", "linformer-rank_3"];
    assert_eq!(rows.len(), names.len());
    for (row, name) in rows.iter().zip(names) {
        assert_eq!(row["attention"], name);
        assert_eq!(row["steps"], 3);
        let seed = place.folder(&format!("out/{}", runs(row)[0])).config().seed;
        for (at, run) in runs(row).iter().enumerate() {
            let folder = format!("out/{run}");
            assert_eq!(place.folder(&folder).config().seed, seed + at as u64);
            let summary = place.summary(&folder);
            assert_eq!(row["test_accuracy"][at].as_f64(), summary.test_accuracy);
            assert_eq!(row["dev_accuracy"][at].as_f64(), summary.best_dev_accuracy);
        }
    }
    assert_eq!(rows[1]["config"]["window"], 0);
    // Its projections know the positions of the model.
    let length = rows[2]["config"]["projected_length"].as_f64().unwrap();
    let config = place
        .folder(&format!("out/{}", runs(&rows[0])[0]))
        .config()
        .clone();
    assert_eq!(length, config.model.encoder.embedding.max_length as f64);
    // Dense attention by hand: three layers, scores and sums; W_o and two more layers behind it.
    let (layers, d) = (config.model.encoder.layers as f64, 16.0);
    let block = 6.0 * length * d * d
        + 4.0 * length * length * d
        + 2.0 * length * d * d
        + 4.0 * length * d * d;
    let gflop = rows[0]["gflop"].as_f64().unwrap();
    assert!(
        (gflop - layers * block / 1e9).abs() < 1e-9 * gflop,
        "{gflop}"
    );
    let table = std::fs::read_to_string(place.path("out/report.md")).unwrap();
    for name in names {
        assert!(table.contains(&format!("\n| {name} | ")), "{table}");
    }
    assert!(table.contains(" ± ") && stdout(&compared).contains(" ± "));
    let picture = std::fs::read_to_string(place.path("out/accuracy.svg")).unwrap();
    assert!(picture.contains("long_short-window_0"));

    // Nothing is trained twice.
    let weights = |name: &str| std::fs::metadata(place.folder(name).weights_path()).unwrap();
    let first = format!("out/{}", runs(&rows[0])[0]);
    let before = weights(&first).modified().unwrap();
    let more = ["--attention", "dense,local", "--seeds", "2", "--resume"];
    let compared = compare(&place, &more);
    assert!(compared.status.success(), "{}", stderr(&compared));
    assert_eq!(weights(&first).modified().unwrap(), before);
    let report = std::fs::read_to_string(place.path("out/report.json")).unwrap();
    assert!(report.contains("\"local\"") && !report.contains("linformer"));
}

/// An option that would do nothing, and runs that are there with other settings.
#[test]
fn what_would_be_left_out_in_silence_is_refused() {
    let place = Workplace::with_data(300);
    let refused = |extra: &[&str], problem: &str| {
        let refused = compare(&place, &[&["--attention", "dense"], extra].concat());
        assert_eq!(refused.status.code(), Some(1));
        let words = stderr(&refused);
        assert!(words.contains(problem), "{words}");
    };
    refused(
        &["--stop-after", "2"],
        "--stop-after is for a run of its own",
    );
    refused(&["--init", "run"], "--init is for a run of its own");
    assert!(!place.path("out").exists());
    let compared = compare(&place, &["--attention", "dense"]);
    assert!(compared.status.success(), "{}", stderr(&compared));
    refused(
        &["--resume", "--set", "dropout=0.5"],
        "model.dropout is 0.0 there and 0.5 here",
    );
}

fn runs(row: &serde_json::Value) -> Vec<String> {
    let runs = row["runs"].as_array().expect("runs").iter();
    let name = |run: &serde_json::Value| {
        let path = std::path::PathBuf::from(run.as_str().expect("a path"));
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    runs.map(name).collect()
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_trained() {
    let place = Workplace::with_data(300);
    for (attention, problem) in [
        ("dense,big_bird", "expected one of `long_short`, `dense`"),
        ("dense,dense", "`dense` is named twice"),
        ("sparse:stride=0", "stride` must be at least 1"),
        ("dense:window=8", "there is no field `window`"),
    ] {
        let refused = compare(&place, &["--attention", attention]);
        assert_eq!(refused.status.code(), Some(1), "{attention}");
        let words = stderr(&refused);
        assert!(words.contains(problem), "{words}");
        assert!(!place.path("out").exists(), "{attention}");
    }
}

/// A comparison that is asked to end saves the run that it is at, and goes on with it.
#[cfg(unix)]
#[test]
fn a_comparison_that_was_stopped_goes_on() {
    let place = Workplace::with_data(300);
    let long = ["--attention", "dense,linear", "--steps", "400"];
    let every = ["--set", "evaluate_every=20"];
    let args = [COMMAND, SMALL, &long, &every].concat();
    let mut child = place.command(&args).spawn().expect("ls-train starts");
    let first = place.path("out/dense-");
    let run = loop {
        let entries = std::fs::read_dir(place.path("out"))
            .into_iter()
            .flatten()
            .flatten();
        let mut runs = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir());
        let begins = |path: &std::path::PathBuf| {
            path.to_string_lossy()
                .starts_with(&*first.to_string_lossy())
        };
        if let Some(run) = runs.find(begins) {
            break run;
        }
        assert!(child.try_wait().expect("a status").is_none());
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    common::wait_for_checkpoint(&run, 20);
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(told.expect("kill starts").success());
    assert_eq!(child.wait().expect("a status").code(), Some(143));
    let name = format!("out/{}", run.file_name().unwrap().to_string_lossy());
    let reached = place.newest(&name).step;
    assert!((20..400).contains(&reached), "{reached}");
    assert!(!place.path("out/report.md").exists());
    let resumed = place.run(&[&args[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains(&format!("going on from step {reached}")));
    assert_eq!(place.summary(&name).steps, 400);
    assert!(place.path("out/report.md").exists());
}
