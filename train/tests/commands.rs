//! A whole run and the commands around it.

mod common;

use common::{Workplace, stderr, stdout};

#[test]
fn a_run_from_nothing_to_its_test() {
    let place = Workplace::with_data(300);
    let run = place.train("run", &["--steps", "12", "--set", "evaluate_every=5"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let out = stdout(&run);
    for words in [
        "listops (preset listops)",
        "288 train, 6 dev, 6 test samples",
        "device flex (",
        "attention path ",
        "a step: about ",
        "step  5/12 | train loss ",
        "step 12/12 | train loss ",
        "tokens/s",
        "test accuracy ",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
    let lines = place.metrics("run");
    let seen: Vec<(usize, String)> = lines
        .iter()
        .map(|line| (line.step, line.split.to_string()))
        .collect();
    let best = place.summary("run").best_step.unwrap();
    let expected = [
        (5, "train"),
        (5, "dev"),
        (10, "train"),
        (10, "dev"),
        (12, "train"),
        (12, "dev"),
        (best, "test"),
    ];
    assert_eq!(seen, expected.map(|(step, split)| (step, split.to_owned())));
    for line in &lines {
        assert!(line.loss > 0.0 && line.loss < 10.0, "{line:?}");
        assert!((0.0..=1.0).contains(&line.accuracy), "{line:?}");
        assert!(
            line.tokens_per_second > 0.0 && line.seconds > 0.0,
            "{line:?}"
        );
    }
    let summary = place.summary("run");
    assert_eq!(summary.steps, 12);
    assert_eq!(summary.seed, 1234);
    assert_eq!(summary.device, "flex");
    assert!(
        summary
            .command
            .starts_with("ls-train listops --preset listops --data data --out run")
    );
    assert!(summary.peak_bytes.is_none_or(|bytes| bytes > 1_000_000));
    let dev: Vec<_> = lines
        .iter()
        .filter(|l| l.split.to_string() == "dev")
        .collect();
    let highest = dev.iter().map(|line| line.accuracy).fold(0.0, f64::max);
    assert_eq!(summary.best_dev_accuracy, Some(highest));
    // The raw lines have the fields that readers expect, in order.
    let text = std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    let first = text.lines().next().unwrap();
    let order: Vec<Option<usize>> = [
        "\"step\"",
        "\"split\"",
        "\"loss\"",
        "\"accuracy\"",
        "\"learning_rate\"",
        "\"tokens_per_second\"",
        "\"seconds\"",
        "\"device_bytes\"",
    ]
    .iter()
    .map(|field| first.find(field))
    .collect();
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{first}"
    );
    // Two checkpoints are kept, and nothing unfinished lies about.
    let mut kept: Vec<String> = std::fs::read_dir(place.path("run/checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    kept.sort();
    assert_eq!(kept, ["10", "12"]);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_does_not() {
    let place = Workplace::with_data(300);
    let steps = &["--steps", "6", "--set", "evaluate_every=3"];
    for (out, seed) in [("a", "5"), ("b", "5"), ("c", "6")] {
        let run = place.train(out, &[steps, &["--seed", seed][..]].concat());
        assert!(run.status.success(), "{}", stderr(&run));
    }
    assert_eq!(place.final_weights("a"), place.final_weights("b"));
    assert_ne!(place.final_weights("a"), place.final_weights("c"));
}

#[test]
fn a_run_can_be_repeated_from_its_configuration() {
    let place = Workplace::with_data(100);
    let first = place.train("a", &["--steps", "4"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let again = place.run(&["listops", "--config", "a/config.json", "--out", "b"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(
        std::fs::read(place.path("a/config.json")).unwrap(),
        std::fs::read(place.path("b/config.json")).unwrap()
    );
    assert_eq!(place.final_weights("a"), place.final_weights("b"));
}

#[test]
fn data_is_the_same_with_any_number_of_threads() {
    let place = Workplace::empty();
    for threads in ["1", "2"] {
        let made = place
            .command(&[
                "generate",
                "listops",
                "--data",
                threads,
                "--count",
                "400",
                "--data-seed",
                "9",
            ])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
    }
    for file in ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"] {
        let read = |threads: &str| std::fs::read(place.path(threads).join(file)).unwrap();
        assert_eq!(read("1"), read("2"), "{file}");
    }
}

#[test]
fn data_that_exists_is_never_overwritten() {
    let place = Workplace::with_data(100);
    let again = place.run(&["generate", "listops", "--data", "data", "--count", "100"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("exists already"),
        "{}",
        stderr(&again)
    );
}

#[test]
fn presets_are_listed_with_their_figures() {
    let place = Workplace::empty();
    let table = place.run(&["presets"]);
    assert!(table.status.success(), "{}", stderr(&table));
    let text = stdout(&table);
    let row = text.lines().find(|line| line.starts_with("listops "));
    let row = row.expect("a row for listops");
    assert!(row.contains("37.50 %") && row.contains("2048"), "{row}");
    // The table fits a terminal, and says how one is trained.
    let width = text.lines().map(|line| line.chars().count()).max();
    assert!(width.is_some_and(|width| width <= 100), "{text}");
    assert!(text.contains("`ls-train TASK --preset PRESET`"), "{text}");
    let json = place.run(&["presets", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let named = |preset: &&serde_json::Value| preset["name"] == "listops";
    let listops = list
        .as_array()
        .and_then(|list| list.iter().find(named))
        .unwrap();
    assert_eq!(listops["model"]["rank"], 32);
    assert_eq!(listops["published_accuracy"], 37.5);
    // 16 ids and 2048 + 1 positions of width 64 alone make 132 160.
    assert!(listops["parameters"].as_u64().unwrap() > 132_160);
}

#[test]
fn devices_are_listed_with_their_attention_path() {
    let place = Workplace::empty();
    let table = place
        .command(&["devices"])
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert!(table.status.success(), "{}", stderr(&table));
    // What graphics drivers say about machines without a screen is kept from the user.
    assert!(
        !stderr(&table).contains("XDG_RUNTIME_DIR"),
        "{}",
        stderr(&table)
    );
    assert!(stdout(&table).contains("flex"));
    assert!(stdout(&table).contains("--device auto takes "));
    let json = place.run(&["devices", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let flex = list
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["name"] == "flex")
        .expect("flex is always there");
    // Every path that a device takes is explained below the table.
    for device in list.as_array().unwrap() {
        let path = device["attention_path"].as_str().unwrap();
        let explained = format!("\n  {path} ");
        assert!(stdout(&table).contains(&explained), "{path}");
    }
    assert!(!flex["reason"].as_str().unwrap().is_empty());
}

#[test]
fn curves_of_two_runs_are_drawn() {
    let place = Workplace::with_data(100);
    for out in ["first", "second"] {
        let run = place.train(out, &["--steps", "4", "--set", "evaluate_every=2"]);
        assert!(run.status.success(), "{}", stderr(&run));
    }
    let plot = place.run(&["plot", "first", "second/", "--out", "curve.svg"]);
    assert!(plot.status.success(), "{}", stderr(&plot));
    let svg = std::fs::read_to_string(place.path("curve.svg")).unwrap();
    let tested = 100.0 * place.summary("second").test_accuracy.unwrap();
    for words in ["first: best dev", "second: best dev"] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(svg.contains(&format!("test {tested:.2} %")));
    let pixels = place.run(&["plot", "first", "--out", "curve.png"]);
    assert!(pixels.status.success(), "{}", stderr(&pixels));
    let png = std::fs::read(place.path("curve.png")).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let other = place.run(&["plot", "first", "--out", "curve.jpg"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("curve.jpg ends neither in .svg nor in .png"));
    let none = place.run(&["plot", "absent"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("there is no run folder at absent"));
}

#[test]
fn completions_are_written_for_every_shell() {
    let place = Workplace::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.run(&["completions", shell]);
        assert!(script.status.success());
        assert!(stdout(&script).contains("stop-after"), "{shell}");
    }
}
