//! Every task from its files to its test. The files are small stand-ins in the real formats.

mod common;
#[path = "../../datasets/tests/common/mod.rs"]
mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use common::{SMALL, Workplace, refused, stderr, stdout};

/// `ls-train TASK` with a small model, into `run`.
fn train(place: &Workplace, task: &str, data: &str, extra: &[&str]) -> Output {
    let mut args = vec![
        task, "--preset", task, "--data", data, "--out", "run", "--device", "flex",
    ];
    args.extend(SMALL);
    args.extend(["--steps", "3", "--set", "evaluate_every=2"]);
    args.extend(extra);
    place.run(&args)
}

/// Trains, and looks at what is left of the run.
fn trains(place: &Workplace, task: &str, data: &str, counts: &str) {
    let run = train(place, task, data, &[]);
    assert!(run.status.success(), "{task}: {}", stderr(&run));
    let out = stdout(&run);
    for words in [
        format!("{task} (preset {task})").as_str(),
        counts,
        "step 3/3 | train loss ",
        "test accuracy ",
    ] {
        assert!(out.contains(words), "{task}: {words:?} is not in {out}");
    }
    let seen: Vec<_> = place
        .metrics("run")
        .iter()
        .map(|line| (line.step, line.split.to_string()))
        .collect();
    assert_eq!(seen.len(), 5, "{task}: {seen:?}");
    assert!(
        place
            .metrics("run")
            .iter()
            .all(|line| line.loss.is_finite())
    );
    let test = place.summary("run").test_accuracy.expect("tested");
    let evaluated = evaluate(place);
    let again = evaluated["accuracy"].as_f64().expect("a number");
    assert!((again - test).abs() < 1e-9, "{task}: {again}, {test}");
}

fn evaluate(place: &Workplace) -> serde_json::Value {
    let output = place.ls_infer(&["evaluate", "run", "--json", "--device", "flex"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The class that `ls-infer classify` gives an input.
fn classify(place: &Workplace, input: &str) -> u64 {
    let args = ["classify", "run", "--json", "--device", "flex", input];
    let output = place.ls_infer(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    answer["label"].as_u64().expect("a class")
}

/// The packed files of a folder, and when they were written.
fn packed(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let entries = std::fs::read_dir(folder).expect("a folder of packed samples");
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap()))
        .collect();
    files.sort();
    files
}

fn write_pairs(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (split, count) in [("train", 12), ("eval", 4), ("test", 5)] {
        let path = folder.join(format!("new_aan_pairs.{split}.tsv"));
        std::fs::write(path, files::pairs(count)).unwrap();
    }
}

/// Short expressions are made, and a model learns the value of every operation in them.
#[test]
fn inner_values_are_learned_from_short_expressions() {
    let place = Workplace::empty();
    let made = place.run(&[
        "generate",
        "listops",
        "--data",
        "short",
        "--max-length",
        "30",
        "--count",
        "400",
    ]);
    assert!(made.status.success(), "{}", stderr(&made));
    let text = std::fs::read_to_string(place.path("short/basic_train.tsv")).unwrap();
    assert_eq!(text.lines().count(), 1 + 384);
    let inner = ["--set", "inner_values=true", "--set", "pooling=last"];
    let run = train(&place, "listops", "short", &inner);
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(
        stdout(&run).contains("learning the values inside expressions"),
        "{}",
        stdout(&run)
    );
    let again = place.run(&["listops", "--out", "run", "--resume"]);
    assert!(again.status.success(), "{}", stderr(&again));

    for (extra, words) in [
        (&inner[..2], "`model.pooling` \"last\""),
        (
            &[&inner[..], &["--tokenizer", "legacy"]].concat()[..],
            "the task listops with `brackets` or `depths`",
        ),
    ] {
        let mut args = vec![
            "listops", "--preset", "listops", "--data", "short", "--out", "other",
        ];
        args.extend(SMALL);
        args.extend(extra);
        refused(&place.run(&args), &[words]);
    }
    let legacy = ["listops", "--tokenizer", "legacy", "--out", "other"];
    refused(&place.run(&legacy), &["add `--preset listops`"]);
    for (args, words) in [
        (
            &["--min-length", "9", "--max-length", "8"][..],
            "exchange the two",
        ),
        (&["--max-length", "2001"], "ask for 2000 at most"),
        (&["--min-length", "2001"], "ask for 2000 at most"),
        (
            &["--max-length", "4", "--count", "500"],
            "only 400 were found",
        ),
    ] {
        let made = place.run(&[&["generate", "listops", "--data", "none"], args].concat());
        refused(&made, &[words]);
        assert!(!place.path("none").exists());
    }
    let images = ["generate", "pathfinder32", "--min-length", "9"];
    refused(&place.run(&images), &["leave --min-length"]);
}

#[test]
fn text_trains_and_a_second_start_takes_the_packed_samples() {
    let place = Workplace::empty();
    files::write_folder(&place.path("data"), &files::reviews());
    trains(&place, "text", "data", "6 train, 6 dev, 6 test samples");
    let first = packed(&place.path("data/packed"));
    assert_eq!(first.len(), 3);
    std::fs::remove_dir_all(place.path("run")).unwrap();
    trains(&place, "text", "data", "6 train, 6 dev, 6 test samples");
    assert_eq!(packed(&place.path("data/packed")), first);
    assert!(classify(&place, "A film of rare beauty.") < 2);
    let refusal = place.ls_infer(&["classify", "run", "--device", "flex", " "]);
    assert!(stderr(&refusal).contains("there is no text to read"));
}

#[test]
fn retrieval_trains_on_pairs() {
    let place = Workplace::empty();
    write_pairs(&place.path("data/lra_release/lra_release/tsv_data"));
    trains(
        &place,
        "retrieval",
        "data",
        "12 train, 4 dev, 5 test samples",
    );
    assert!(classify(&place, "one paper\tanother paper") < 2);
    let refusal = place.ls_infer(&["classify", "run", "--device", "flex", "one paper"]);
    assert!(
        stderr(&refusal).contains("two texts with a tab between them, and this has 1"),
        "{}",
        stderr(&refusal)
    );
}

/// From the archive where it lies; a second start does not read it.
#[test]
fn the_published_archive_trains_where_it_lies() {
    let place = Workplace::with_data(300);
    let made = [
        "generate",
        "pathfinder32",
        "--data",
        "images",
        "--count",
        "30",
    ];
    assert!(place.run(&made).status.success());
    let inner = place.path("in/lra_release/lra_release");
    write_pairs(&inner.join("tsv_data"));
    std::fs::create_dir(inner.join("pathfinder32")).unwrap();
    let hard = "curv_contour_length_14";
    let folder = inner.join("pathfinder32").join(hard);
    std::fs::rename(place.path("images").join(hard), folder).unwrap();
    std::fs::rename(place.path("data"), inner.join("listops-1000")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let root = place.path("in/lra_release");
    builder.append_dir_all("lra_release", root).unwrap();
    let bytes = files::gzip(&builder.into_inner().unwrap());
    let archive = place.path("lra/lra_release.gz");
    std::fs::create_dir(place.path("lra")).unwrap();
    std::fs::write(&archive, &bytes).unwrap();
    let cases = [
        ("listops", "288 train, 6 dev, 6 test samples"),
        ("retrieval", "12 train, 4 dev, 5 test samples"),
        ("pathfinder32", "24 train, 3 dev, 3 test samples"),
    ];
    let changed = archive.metadata().unwrap().modified().unwrap();
    for (task, counts) in cases {
        trains(&place, task, "lra", counts);
        std::fs::remove_dir_all(place.path("run")).unwrap();
        // Other bytes of the same length and time: whoever reads them finds no archive.
        std::fs::write(&archive, vec![b'?'; bytes.len()]).unwrap();
        let file = std::fs::File::options().write(true).open(&archive);
        file.unwrap().set_modified(changed).unwrap();
        trains(&place, task, "lra/lra_release.gz", counts);
        std::fs::remove_dir_all(place.path("run")).unwrap();
        std::fs::write(&archive, &bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&archive);
        file.unwrap().set_modified(changed).unwrap();
    }
    std::fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    let cut = train(&place, "retrieval", "lra", &[]);
    refused(&cut, &["lra/lra_release.gz", "the archive is damaged"]);
    let left = std::fs::read_dir(place.path("lra")).unwrap();
    assert_eq!(left.count(), 2, "the archive and the packed samples");
}

#[test]
fn image_trains_from_a_folder_and_from_an_archive() {
    let place = Workplace::empty();
    let batches = files::binary_batches(4);
    files::write_folder(&place.path("data"), &batches);
    trains(&place, "image", "data", "18 train, 2 dev, 4 test samples");
    let summary = place.summary("run").test_accuracy;
    std::fs::remove_dir_all(place.path("run")).unwrap();
    // The packed copies of an archive lie beside it, or where the user wants them.
    std::fs::create_dir(place.path("archive")).unwrap();
    let archive = "archive/cifar-10-binary.tar.gz";
    files::write_archive(&place.path(archive), &batches);
    trains(&place, "image", archive, "18 train, 2 dev, 4 test samples");
    assert_eq!(place.summary("run").test_accuracy, summary);
    assert_eq!(packed(&place.path("archive/packed")).len(), 3);
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let elsewhere = train(&place, "image", archive, &["--set", "cache=fast/disk"]);
    assert!(elsewhere.status.success(), "{}", stderr(&elsewhere));
    assert_eq!(packed(&place.path("fast/disk")).len(), 3);
    // S4's line between training and dev is another one, and so are the packed copies.
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let s4 = ["--set", "cache=fast/disk", "--set", "splits=s4"];
    let s4 = train(&place, "image", archive, &s4);
    assert!(s4.status.success(), "{}", stderr(&s4));
    assert!(packed(&place.path("fast/disk")).len() >= 5);
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let inside_a_file = format!("cache={archive}/x");
    let blocked = train(&place, "image", archive, &["--set", &inside_a_file]);
    refused(&blocked, &["where samples are packed", "--set cache=DIR"]);
    let text = train(&place, "text", archive, &["--set", "splits=s4"]);
    refused(&text, &["`data.splits` must be null for the task text"]);
}

#[test]
fn pathfinder_is_generated_and_trains_in_every_size() {
    for (task, side) in [
        ("pathfinder32", 32),
        ("pathfinder64", 64),
        ("path-x", 128),
        ("pathfinder256", 256),
    ] {
        let place = Workplace::empty();
        let args = ["generate", task, "--data", "data", "--count", "30"];
        let made = place.run(&args);
        assert!(made.status.success(), "{task}: {}", stderr(&made));
        assert!(stdout(&made).contains("30 images (hard, seed 0)"));
        trains(&place, task, "data", "24 train, 3 dev, 3 test samples");
        let image = place.path("data/curv_contour_length_14/imgs/0/sample_3.png");
        assert!(classify(&place, &image.display().to_string()) < 2);
        let png = transformer_ls_datasets::png::decode(&std::fs::read(&image).unwrap());
        assert_eq!(png.unwrap().width, side);
        let report = place.run(&["check-data", task, "data"]);
        assert!(report.status.success(), "{}", stderr(&report));
        assert!(
            stdout(&report).contains("30 images in 1 batches, hard"),
            "{}",
            stdout(&report)
        );
        // Complete data is never written to.
        refused(&place.run(&args), &["exists already"]);
    }
}

/// Stopped while its samples were packed, a run leaves no half of a packed file and no folder, says
/// how to go on, and goes on so.
#[cfg(unix)]
#[test]
fn ctrl_c_while_packing_leaves_nothing_half_written() {
    let place = Workplace::empty();
    let easy = ["--data", "data", "--difficulty", "easy"];
    // So many that the signal comes while they are packed, however busy the machine is.
    let count = ["--count", "30000"];
    let made = place.run(&[&["generate", "pathfinder32"], &easy[..], &count].concat());
    assert!(made.status.success(), "{}", stderr(&made));
    let short = ["--steps", "1", "--set", "eval_batch_size=100"];
    let args = [
        &["pathfinder32", "--out", "run", "--device", "flex"],
        &easy[..],
        SMALL,
        &short,
    ]
    .concat();
    let child = place
        .command(&args)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("ls-train starts");
    let packed = place.path("data/packed");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&packed).into_iter().flatten().flatten();
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(name).collect()
    };
    let started = std::time::Instant::now();
    while names().is_empty() {
        assert!(started.elapsed().as_secs() < 300, "nothing is packed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
    let stopped = child.wait_with_output().expect("ended");
    assert_eq!(stopped.status.code(), Some(130), "{}", stdout(&stopped));
    let out = stdout(&stopped);
    assert!(out.contains("stopped while packing the "), "{out}");
    assert!(out.contains("Run the same command again to go on"), "{out}");
    assert!(!names().iter().any(|name| name.starts_with(".unfinished-")));
    assert!(!place.path("run").exists());
    let again = place.run(&args);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(stdout(&again).contains("24 000 train, 3 000 dev, 3 000 test samples"));
}

#[test]
fn training_says_which_samples_it_leaves_out_and_which_copy_does_not_learn() {
    let place = Workplace::empty();
    // The published archive holds two copies, and nothing learns from the outer one.
    let data = "data/lra_release/pathfinder128";
    let made = place.run(&["generate", "path-x", "--data", data, "--count", "30"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let folder = place.path(data).join("curv_contour_length_14");
    std::fs::write(folder.join("imgs/0/sample_3.png"), b"").unwrap();
    std::fs::remove_file(folder.join("imgs/0/sample_7.png")).unwrap();
    refused(&train(&place, "path-x", "data", &[]), &["sample_3.png"]);
    let run = train(&place, "path-x", "data", &["--set", "missing=leave_out"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let out = stdout(&run);
    assert!(out.contains("2 images are empty or missing, and left out"));
    assert!(
        out.contains("warning: this is the copy of pathfinder128 from which nothing learns"),
        "{out}"
    );

    let place = Workplace::empty();
    write_pairs(&place.path("data"));
    let path = place.path("data/new_aan_pairs.train.tsv");
    let mut pairs = std::fs::read(&path).unwrap();
    pairs.extend(b"1.0\t1\t2\t\ta paper\n");
    std::fs::write(&path, pairs).unwrap();
    let run = train(&place, "retrieval", "data", &[]);
    assert!(run.status.success(), "{}", stderr(&run));
    let words = "1 train, 0 dev and 0 test samples are empty, and left out";
    assert!(stdout(&run).contains(words), "{}", stdout(&run));
}

#[test]
fn pathfinder_has_difficulties() {
    let place = Workplace::empty();
    for (difficulty, folder) in [
        ("easy", "curv_baseline"),
        ("medium", "curv_contour_length_9"),
    ] {
        let args = [
            "--data",
            "data",
            "--count",
            "20",
            "--difficulty",
            difficulty,
        ];
        let made = place.run(&[&["generate", "pathfinder32"][..], &args].concat());
        assert!(made.status.success(), "{}", stderr(&made));
        assert!(place.path("data").join(folder).is_dir());
    }
    let run = train(&place, "pathfinder32", "data", &["--difficulty", "easy"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let config = place.folder("run").config().clone();
    assert_eq!(
        config.data.difficulty.map(|d| d.to_string()).as_deref(),
        Some("easy")
    );
    refused(
        &place.run(&[
            "pathfinder32",
            "--out",
            "run",
            "--resume",
            "--difficulty",
            "hard",
        ]),
        &["data.difficulty is \"easy\" there and \"hard\" here"],
    );
    for args in [
        &["pathfinder32", "--difficulty", "brutal"][..],
        &["generate", "pathfinder32", "--difficulty", "brutal"],
    ] {
        let refusal = place.run(args);
        assert_eq!(refusal.status.code(), Some(2));
        let message = stderr(&refusal);
        assert!(message.contains("there is no difficulty \"brutal\": use easy, medium or hard"));
    }
    refused(
        &place.run(&["generate", "listops", "--difficulty", "easy"]),
        &["listops comes in one difficulty"],
    );
}

#[test]
fn data_that_is_missing_or_damaged_is_a_sentence() {
    let place = Workplace::empty();
    for (task, words) in [
        ("text", "ls-train fetch text"),
        ("retrieval", "ls-train fetch retrieval"),
        ("image", "ls-train fetch image"),
    ] {
        let none = train(&place, task, "none", &[]);
        refused(
            &none,
            &[&format!("no {task} data in none"), words, "--data"],
        );
        assert!(!place.path("run").exists() && !place.path("none").exists());
    }
    let archive = "cifar-10-binary.tar.gz";
    files::write_archive(&place.path(archive), &files::binary_batches(4));
    let whole = std::fs::read(place.path(archive)).unwrap();
    std::fs::write(place.path(archive), &whole[..whole.len() / 2]).unwrap();
    let truncated = train(&place, "image", archive, &[]);
    refused(
        &truncated,
        &[archive, "not downloaded completely", "Download it again"],
    );
    assert!(!place.path("run").exists());
    // Settings that belong to other tasks.
    let tokenizer = train(&place, "image", archive, &["--set", "tokenizer=legacy"]);
    refused(
        &tokenizer,
        &["`data.tokenizer` must be null for the task image"],
    );
    let vocabulary = train(&place, "text", "none", &["--set", "vocab_size=100"]);
    refused(
        &vocabulary,
        &["`model.vocab_size` must be at least 257 for the task text"],
    );
}

#[test]
fn check_data_says_what_is_there_and_fails_where_it_cannot_be_used() {
    let place = Workplace::empty();
    files::write_folder(&place.path("data"), &files::reviews());
    let report = place.run(&["check-data", "text", "data"]);
    assert!(report.status.success(), "{}", stderr(&report));
    for words in ["train: 6 samples", "warning: ", "can be used"] {
        assert!(stdout(&report).contains(words), "{}", stdout(&report));
    }
    let none = place.run(&["check-data", "image", "data"]);
    refused(&none, &["data can't be used for image"]);
    assert!(stdout(&none).contains("ls-train fetch image"));
    assert_eq!(place.run(&["check-data", "chess"]).status.code(), Some(2));
}
