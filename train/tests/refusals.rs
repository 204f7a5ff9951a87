//! What the user gets wrong: one sentence, a next step, no panic, nothing left behind.

mod common;

use common::{Workplace, refused, stderr, stdout};
use transformer_ls_datasets::Task;

#[test]
fn wrong_options_are_refused_before_anything_is_written() {
    let place = Workplace::with_data(100);
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--preset", "listop"],
            &["there is no preset `listop`", "listops, listops-best"],
        ),
        (
            &["--preset", "text"],
            &["the preset `text` is for text", "listops, listops-best"],
        ),
        (
            &["--set", "batch=3"],
            &["no field `batch`", "training.batch_size"],
        ),
        (&["--set", "steps=many"], &["`many` does not fit"]),
        (
            &["--steps", "7", "--set", "steps=8"],
            &["`--steps 7` and a --set ask for different things"],
        ),
        (&["--set", "steps"], &["--set key=value"]),
        (&["--device", "gpu9"], &["unknown device `gpu9`", "flex"]),
        (
            &["--device", "flex", "--set", "precision=f16"],
            &["flex does not train in float16", "leave precision=f16 out"],
        ),
        (&["--config", "none.json"], &["none.json"]),
        (
            &["--resume"],
            &["--resume needs the run to continue", "--out"],
        ),
        (
            &["--resume", "--out", "absent"],
            &["there is no run folder at absent"],
        ),
    ];
    for (extra, words) in cases {
        let mut args = vec!["listops", "--data", "data"];
        if !extra.contains(&"--out") && !extra.contains(&"--resume") {
            args.extend(["--out", "run"]);
        }
        args.extend(*extra);
        refused(&place.run(&args), words);
        assert!(!place.path("run").exists(), "{extra:?}");
    }
}

#[test]
fn a_command_line_that_is_none_exits_2() {
    let place = Workplace::empty();
    for args in [
        &["listops", "--steps", "0"][..],
        &["listops", "--nonsense"],
        &["listops", "--tokenizer", "words"],
        &["generate", "chess"],
        &["listops", "--preset", "listops", "--config", "x.json"],
    ] {
        let output = place.run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn an_existing_folder_is_kept_and_a_resume_keeps_its_settings() {
    let place = Workplace::with_data(100);
    let small = &["--steps", "4", "--set", "evaluate_every=2"];
    let first = place.train("run", small);
    assert!(first.status.success(), "{}", stderr(&first));
    let before = std::fs::read(place.path("run/metrics.jsonl")).unwrap();
    refused(
        &place.train("run", small),
        &["run exists already", "--resume"],
    );
    std::fs::create_dir(place.path("mine")).unwrap();
    std::fs::write(place.path("mine/notes.txt"), "mine").unwrap();
    refused(&place.train("mine", small), &["mine exists already"]);
    assert!(place.path("mine/notes.txt").exists());

    let resume =
        |extra: &[&str]| place.run(&[&["listops", "--out", "run", "--resume"], extra].concat());
    refused(
        &resume(&["--steps", "8"]),
        &[
            "training.steps is 4 there and 8 here",
            "Leave these options out",
        ],
    );
    refused(
        &resume(&["--seed", "7"]),
        &["seed is 1234 there and 7 here"],
    );
    refused(
        &resume(&["--set", "model.rank=2"]),
        &["model.rank is 4 there and 2 here"],
    );
    refused(&resume(&["--tokenizer", "legacy"]), &["data.tokenizer"]);
    let same = resume(&["--steps", "4", "--seed", "1234"]);
    assert!(same.status.success(), "{}", stderr(&same));
    assert_eq!(
        before,
        std::fs::read(place.path("run/metrics.jsonl")).unwrap()
    );
}

#[test]
fn malformed_data_is_named_by_file_and_line() {
    let place = Workplace::with_data(100);
    let file = place.path("data/basic_val.tsv");
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.len() - 20;
    std::fs::write(&file, &text[..cut]).unwrap();
    let lines = text[..cut].lines().count();
    refused(
        &place.train("run", &["--steps", "4"]),
        &[
            &format!("basic_val.tsv:{lines}"),
            "the file ends in the middle",
        ],
    );
    assert!(!place.path("run").exists());

    std::fs::write(&file, text.replacen('\t', " ", 3)).unwrap();
    refused(&place.train("run", &["--steps", "4"]), &["basic_val.tsv:"]);
}

/// Data of 661 MB are made where that is meant, never because a name was mistyped.
#[test]
fn data_are_not_made_beside_those_that_are_there() {
    let place = Workplace::with_data(100);
    let train = |data: &str| {
        let args = [
            "listops", "--preset", "listops", "--data", data, "--out", "run", "--device", "flex",
        ];
        place.run(&[&args[..], common::SMALL, &["--steps", "1"]].concat())
    };
    refused(&train("dta"), &["there is nothing at dta: check the name"]);
    assert!(!place.path("dta").exists());
    std::fs::create_dir(place.path("photos")).unwrap();
    std::fs::write(place.path("photos/cat.txt"), "a cat").unwrap();
    refused(&train("photos"), &["photos holds no data of listops"]);
    std::fs::remove_file(place.path("data/basic_test.tsv")).unwrap();
    let partial = train("data");
    refused(&partial, &["basic_test.tsv", "basic_train.tsv"]);
    assert!(!stderr(&partial).contains("exists already"));
    for (folder, files) in [("photos", 1), ("data", 3)] {
        let left = std::fs::read_dir(place.path(folder)).unwrap();
        assert_eq!(left.count(), files, "{folder}");
    }
    assert!(!place.path("run").exists());
}

#[test]
fn training_says_how_many_documents_are_cut_off() {
    let place = Workplace::with_data(100);
    let output = place.train("run", &["--steps", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // All trees have more than 500 tokens, and the small model takes 128.
    let words =
        "model.max_length is 128: 96 train, 2 dev and 2 test samples are longer, and cut off there";
    assert!(stdout(&output).contains(words), "{}", stdout(&output));
}

#[test]
fn a_batch_is_no_larger_than_the_samples_there_are() {
    let place = Workplace::with_data(50);
    let output = place.train("run", &["--steps", "1", "--set", "batch_size=100000"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let words = "run run: 1 steps of 48 samples";
    assert!(stdout(&output).contains(words), "{}", stdout(&output));
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_refused_at_once() {
    use std::os::unix::ffi::OsStrExt;
    let place = Workplace::empty();
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    for args in [
        &["listops", "--data"][..],
        &["listops", "--out"],
        &["listops", "--resume", "--out"],
        &["listops", "--config"],
        &["generate", "listops", "--data"],
        &["check-data", "listops"],
        &["plot"],
    ] {
        let output = place.command(args).arg(odd).output().expect("starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(
            message.contains("not UTF-8 text: rename"),
            "{args:?}: {message}"
        );
    }
    let left = std::fs::read_dir(place.dir.path()).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_resume_without_its_data_says_what_is_missing() {
    let place = Workplace::with_data(100);
    let stopped = place.train("run", &["--steps", "8", "--stop-after", "2"]);
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    std::fs::rename(place.path("data"), place.path("elsewhere")).unwrap();
    refused(&place.resume("run"), &["no listops data in data"]);
    // Where the data lies, and on what it is trained, may change.
    let resume =
        |extra: &[&str]| place.run(&[&["listops", "--out", "run", "--resume"], extra].concat());
    refused(
        &resume(&["--data", "elsewhere", "--device", "gpu9"]),
        &["unknown device `gpu9`"],
    );
    let stopped = resume(&["--data", "elsewhere", "--stop-after", "4"]);
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let next = "continue with ls-train listops --out run --resume --data elsewhere";
    assert!(stdout(&stopped).contains(next), "{}", stdout(&stopped));
    refused(
        &resume(&["--data", "elsewhere", "--set", "data.dir=data"]),
        &["`--data elsewhere` and a --set ask for different things"],
    );
    let cache = ["--data", "elsewhere", "--set", "cache=packed"];
    let stopped = resume(&[&cache[..], &["--stop-after", "6"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let next = format!("--out run --resume {}", cache.join(" "));
    assert!(stdout(&stopped).contains(&next), "{}", stdout(&stopped));
    let packed = std::fs::read_dir(place.path("packed")).unwrap();
    assert_eq!(packed.count(), 3);
    #[cfg(feature = "ndarray")]
    {
        let finished = resume(&["--data", "elsewhere", "--device", "ndarray"]);
        assert!(finished.status.success(), "{}", stderr(&finished));
        assert_eq!(place.summary("run").device, "ndarray");
        assert_eq!(place.folder("run").config().device, "flex");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_sentence() {
    let place = Workplace::empty();
    // /dev/full refuses every write with "no space left on device".
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = place.command(&["presets"]).stdout(full).output().unwrap();
    refused(
        &output,
        &["cannot write to the standard output", "free some space"],
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let place = Workplace::with_data(100);
    let mut child = place
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    // A run is worth more than its lines: it goes on without a reader.
    let args: Vec<&str> = [
        &[
            "listops", "--preset", "listops", "--data", "data", "--out", "run", "--device", "flex",
            "--steps", "4",
        ][..],
        common::SMALL,
    ]
    .concat();
    let mut child = place
        .command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.summary("run").test_accuracy.is_some());
}

#[test]
fn help_and_version_are_there() {
    let place = Workplace::empty();
    let help = place.run(&["listops", "--help"]);
    assert!(help.status.success());
    let protocol = transformer_ls_train::tasks::of(Task::ListOps);
    let own = protocol.own.as_ref().expect("a preset of its own");
    let training = &own.training;
    // (option, what its help says): the defaults are those of the preset.
    for (option, words) in [
        ("--preset", format!("[default: {}]", protocol.preset())),
        ("--set", "--set batch_size=16".to_owned()),
        ("--data", "[default: data/listops-short]".to_owned()),
        ("--resume", "--out".to_owned()),
        ("--seed", format!("[default: {}]", protocol.seed)),
        ("--device", "[default: auto]".to_owned()),
        ("--steps", format!("[default: {}]", training.steps)),
        (
            "--steps",
            format!("every {} steps", training.evaluate_every),
        ),
        ("--stop-after", "--out DIR --resume".to_owned()),
        (
            "--checkpoint-every",
            format!("[default: {}]", training.checkpoint_every),
        ),
        ("--tokenizer", "[default: the preset's]".to_owned()),
        ("--tokenizer", "about 38 %".to_owned()),
    ] {
        let text = option_help(&stdout(&help), option);
        assert!(text.contains(&words), "{words:?} is not in {text:?}");
    }
    // Every field that --set takes is listed.
    for field in ["training.batch_size", "model.window", "data.tokenizer"] {
        assert!(stdout(&help).contains(field), "{field}");
    }
    let generate = stdout(&place.run(&["generate", "--help"]));
    let usual = transformer_ls_datasets::listops::generate::GenerateConfig::default();
    let count = format!("[default: {}", usual.count);
    assert!(option_help(&generate, "--count").contains(&count));
    let seed = format!("[default: {}]", usual.seed);
    assert!(option_help(&generate, "--data-seed").contains(&seed));
    for (option, bound) in [
        ("--min-length", usual.lengths.start()),
        ("--max-length", usual.lengths.end()),
    ] {
        let bound = format!("[default: {bound}");
        assert!(option_help(&generate, option).contains(&bound));
    }
    let first = stdout(&place.run(&["--help"]));
    assert!(first.contains("Examples:\n  ls-train listops"), "{first}");
    assert!(place.run(&["--version"]).status.success());
}

/// What a help text says about an option, in one line.
fn option_help(help: &str, option: &str) -> String {
    let is_option = |line: &str| line.trim_start().starts_with('-');
    help.lines()
        .skip_while(|line| !is_option(line) || !line.split_whitespace().any(|word| word == option))
        .enumerate()
        .take_while(|(index, line)| *index == 0 || !is_option(line))
        .flat_map(|(_, line)| line.split_whitespace())
        .collect::<Vec<_>>()
        .join(" ")
}
