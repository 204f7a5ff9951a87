//! Losses and weights that are not numbers: never best, never saved, never tested, and no dead end.

mod common;

use std::fs;

use common::{SMALL, Workplace, stderr, stdout};
use transformer_ls_infer::run::RateChange;

const STEPS: &[&str] = &[
    "--steps",
    "20",
    "--checkpoint-every",
    "1",
    "--set",
    "evaluate_every=1000",
    "--set",
    "schedule=constant",
    "--set",
    "warmup=1",
];

fn diverged(output: &std::process::Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.starts_with("error: training diverged: "),
        "{message}"
    );
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

fn checkpoints(place: &Workplace, run: &str) -> Vec<usize> {
    let folder = fs::read_dir(place.path(run).join("checkpoint"));
    let names = folder.into_iter().flatten().flatten();
    let mut steps: Vec<usize> = names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    steps.sort_unstable();
    steps
}

#[test]
fn a_model_that_is_no_number_is_neither_best_nor_tested() {
    let place = Workplace::with_data(200);
    // As it was found: the published model, one step, a rate beyond all reason.
    let settings = ["steps=1", "warmup=1", "learning_rate=1e10", "batch_size=2"];
    let mut args = vec![
        "listops", "--preset", "listops", "--data", "data", "--device", "flex", "--out", "run",
    ];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = place.run(&args);
    diverged(
        &output,
        &[
            "by step 1",
            "No checkpoint was written before",
            "--resume --set learning_rate=1e-4",
        ],
    );
    assert!(!stdout(&output).contains("best"), "{}", stdout(&output));
    let folder = place.folder("run");
    assert!(!folder.weights_path().exists());
    assert!(!folder.summary_path().exists());
    assert!(checkpoints(&place, "run").is_empty());
    assert!(folder.read_metrics().unwrap().is_empty());
}

#[test]
fn good_checkpoints_stay_and_the_run_goes_on_at_a_lower_rate() {
    let place = Workplace::with_data(200);
    let begun = place.train("run", &[STEPS, &["--stop-after", "4"]].concat());
    assert!(begun.status.success(), "{}", stderr(&begun));
    let resume = |more: &[&str]| {
        let resume = ["listops", "--out", "run", "--resume"];
        place.run(&[&resume[..], more].concat())
    };
    // The weights are numbers after the step, and no checkpoint of theirs is written all the same.
    diverged(
        &resume(&["--set", "learning_rate=1e30"]),
        &[
            "by step 5",
            "The last checkpoint, of step 4, is good",
            "--resume --set learning_rate=1e-4",
        ],
    );
    assert_eq!(checkpoints(&place, "run"), [3, 4]);
    // It stays so until another rate is asked for.
    diverged(&resume(&[]), &["by step 5", "of step 4, is good"]);

    let finished = resume(&["--set", "learning_rate=2e-3"]);
    assert!(finished.status.success(), "{}", stderr(&finished));
    assert!(
        stdout(&finished).contains("the learning rate's peak is 2e-3 from step 4 on"),
        "{}",
        stdout(&finished)
    );
    let config = place.folder("run").config().clone();
    assert_eq!(config.training.learning_rate, 1e-3);
    let change = RateChange {
        step: 4,
        learning_rate: 2e-3,
    };
    assert_eq!(config.training.rate_changes, [change]);
    let rates: Vec<(usize, f64)> = place
        .metrics("run")
        .iter()
        .filter(|line| line.split.to_string() == "dev")
        .map(|line| (line.step, line.learning_rate))
        .collect();
    assert_eq!(rates, [(4, 1e-3), (20, 2e-3)]);

    // The folder says all that is needed to do the same again.
    let config = place.folder("run").config_path().display().to_string();
    let again = ["listops", "--config", &config, "--out", "again"];
    let again = place.run(&again);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(place.final_weights("again"), place.final_weights("run"));
}

#[test]
fn a_rate_is_all_that_a_resume_may_change_and_has_to_make_sense() {
    let place = Workplace::with_data(100);
    let begun = place.train("run", &[STEPS, &["--stop-after", "2"]].concat());
    assert!(begun.status.success(), "{}", stderr(&begun));
    for (set, words) in [
        ("learning_rate=-1", "must be above 0"),
        (
            "weight_decay=0.5",
            "training.weight_decay is 0.0 there and 0.5 here",
        ),
        ("rate_changes=3", "there is no field `rate_changes`"),
    ] {
        let output = place.run(&["listops", "--out", "run", "--resume", "--set", set]);
        assert_eq!(output.status.code(), Some(1), "{set}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    // The same rate is no change.
    let same = [
        "listops",
        "--out",
        "run",
        "--resume",
        "--set",
        "learning_rate=1e-3",
    ];
    let same = place.run(&same);
    assert!(same.status.success(), "{}", stderr(&same));
    assert!(
        place
            .folder("run")
            .config()
            .training
            .rate_changes
            .is_empty()
    );
}

/// Earlier versions saved losses and weights that were lost.
#[test]
fn a_checkpoint_of_lost_losses_gives_way_to_the_one_before() {
    let place = Workplace::with_data(200);
    let begun = place.train("run", &[STEPS, &["--stop-after", "4"]].concat());
    assert!(begun.status.success(), "{}", stderr(&begun));
    let state = place.newest("run").path.join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["sums"]["loss"] = serde_json::Value::Null;
    fs::write(&state, json.to_string()).unwrap();
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let warning = stderr(&resumed);
    assert!(warning.contains("a loss is not a number"), "{warning}");
    assert!(
        warning.contains("going on from step 3 instead"),
        "{warning}"
    );
}

#[test]
fn weights_that_are_no_numbers_are_no_start_and_named() {
    let place = Workplace::with_data(200);
    let small = &SMALL[..SMALL.len() - 4];
    let args = [
        "pretrain", "listops", "--data", "data", "--out", "source", "--device", "flex",
    ];
    let pretrained = place.run(&[&args[..], small, &["--steps", "1"]].concat());
    assert!(pretrained.status.success(), "{}", stderr(&pretrained));
    let weights = place.folder("source").weights_path();
    let mut bytes = fs::read(&weights).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    let output = place.train("run", &["--init", "source"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("source/model.safetensors"), "{message}");
    // The last tensor by name.
    assert!(
        message.contains("model.transformer_0.norm2.weight"),
        "{message}"
    );
    assert!(!message.contains("learning_rate"), "{message}");
    assert!(!place.path("run").exists());
}
