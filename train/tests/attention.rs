//! Attention as a part of a run: another kind by `--set`, and a run from before there was another.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Workplace, comparable, stderr, stdout};
use transformer_ls_burn::attention::AttentionConfig;

const STEPS: &[&str] = &["--steps", "12", "--set", "training.evaluate_every=4"];

/// Trained, stopped and resumed, evaluated: all that a run is asked for, with another attention.
#[test]
fn dense_attention_is_one_setting_away() {
    let place = Workplace::with_data(300);
    let dense = ["--set", "rotary=true", "--set", "attention=dense"];
    let dropout = ["--set", "dropout=0.1", "--set", "attention_dropout=0.1"];
    let steps = [STEPS, &dense, &dropout].concat();
    let whole = place.train("whole", &steps);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let config = std::fs::read_to_string(place.path("whole/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let model = config["model"].as_object().unwrap();
    assert_eq!(model["attention"], "dense");
    // What both kinds have came along, and the others' fields are gone.
    assert_eq!(model["rotary"], true);
    assert_eq!(model["d_model"], 16);
    for field in ["window", "rank", "conv_kernel", "offset_bias"] {
        assert!(!model.contains_key(field), "{field}");
    }

    let stopped = place.train("stopped", &[&steps[..], &["--stop-after", "8"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let resumed = place.resume("stopped");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("going on from step 8"));
    assert_eq!(place.final_weights("whole"), place.final_weights("stopped"));
    assert_eq!(
        comparable(&place.metrics("whole")),
        comparable(&place.metrics("stopped"))
    );

    let infer = Path::new(assert_cmd::cargo_bin!("ls-train")).with_file_name("ls-infer");
    let evaluated = Command::new(infer)
        .args(["evaluate", "whole", "--split", "test", "--json"])
        .current_dir(place.dir.path())
        .output()
        .expect("ls-infer starts");
    assert!(evaluated.status.success(), "{}", stderr(&evaluated));
    let evaluated: serde_json::Value = serde_json::from_str(&stdout(&evaluated)).unwrap();
    let reported = place.summary("whole").test_accuracy.expect("tested");
    assert_eq!(
        evaluated["accuracy"].as_f64(),
        Some(reported),
        "{evaluated}"
    );
}

/// Every other kind trains, and is read again by the program that answers.
#[test]
fn every_attention_trains() {
    let place = Workplace::with_data(300);
    let infer = Path::new(assert_cmd::cargo_bin!("ls-train")).with_file_name("ls-infer");
    for kind in AttentionConfig::kinds() {
        let setting = format!("attention={kind}");
        let steps = ["--steps", "4", "--set", "rotary=true", "--set", &setting];
        let trained = place.train(kind, &steps);
        assert!(trained.status.success(), "{kind}: {}", stderr(&trained));
        let evaluated = Command::new(&infer)
            .args(["evaluate", kind, "--split", "test", "--json"])
            .current_dir(place.dir.path())
            .output()
            .expect("ls-infer starts");
        assert!(evaluated.status.success(), "{kind}: {}", stderr(&evaluated));
        let evaluated: serde_json::Value = serde_json::from_str(&stdout(&evaluated)).unwrap();
        let reported = place.summary(kind).test_accuracy.expect("tested");
        assert_eq!(evaluated["accuracy"].as_f64(), Some(reported), "{kind}");
    }
}

#[test]
fn projections_that_know_too_few_positions_are_refused() {
    let place = Workplace::with_data(300);
    let setting = [
        "--set",
        "attention=linformer",
        "--set",
        "projected_length=10",
    ];
    let refused = place.train("run", &setting);
    assert!(!refused.status.success());
    let problem = stderr(&refused);
    assert!(
        problem.contains("projected_length` must be at least max_length"),
        "{problem}"
    );
    assert!(!place.path("run").exists());
}

/// `fixtures/run-before-parts` was trained by commit 3ad967e, which knew one attention, for 6 of 12 steps, on the data of
/// `ls-train generate listops --count 300`; `resumed.jsonl` is what its `--resume` then
/// wrote.
#[test]
fn a_run_from_before_attention_was_a_part_goes_on() {
    let place = Workplace::with_data(300);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run-before-parts");
    copy(&fixture, &place.path("run"));
    let wanted = std::fs::read_to_string(fixture.join("resumed.jsonl")).unwrap();
    std::fs::remove_file(place.path("run/resumed.jsonl")).unwrap();
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("going on from step 6"));
    let lines = place.metrics("run");
    let wanted: Vec<serde_json::Value> = wanted
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), wanted.len());
    for (line, wanted) in lines.iter().zip(&wanted) {
        assert_eq!(wanted["step"], line.step);
        // The same bits on the processor that made the fixture; others round in another order.
        let loss = wanted["loss"].as_f64().unwrap();
        assert!(
            (line.loss - loss).abs() < 1e-4 * loss,
            "{line:?}, {wanted} wanted"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}
