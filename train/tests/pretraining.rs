//! `ls-train pretrain` and `--init`: tokens are learned, the encoder is taken over bit by bit, and a
//! run that was killed ends as one that was not.

mod common;
#[path = "../../datasets/tests/common/mod.rs"]
mod files;

use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use common::{SMALL, Workplace, comparable, refused, stderr, stdout, succeeded};
use transformer_ls_burn::weights::{self, StateDict};
use transformer_ls_infer::run::RunFolder;
use transformer_ls_train::trainer::TrainingModel;

const STEPS: &[&str] = &[
    "--steps",
    "40",
    "--set",
    "training.evaluate_every=4",
    "--set",
    "model.dropout=0.1",
    "--set",
    "model.attention_dropout=0.1",
    "--set",
    "schedule=constant",
    "--set",
    "accumulate=2",
    "--set",
    "clip_norm=1.0",
    "--set",
    "ema=0.9",
];

fn arguments<'a>(task: &[&'a str], data: &'a str, out: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let places = ["--data", data, "--out", out, "--device", "flex"];
    [task, &places, SMALL, extra].concat()
}

fn pretrain(place: &Workplace, out: &str, extra: &[&str]) -> Output {
    place.run(&arguments(&["pretrain", "listops"], "data", out, extra))
}

fn resume(place: &Workplace, out: &str) -> Output {
    place.run(&["pretrain", "listops", "--out", out, "--resume"])
}

fn state(folder: &RunFolder) -> StateDict {
    let bytes = std::fs::read(folder.weights_path()).expect("weights");
    StateDict::from_safetensors(&bytes).expect("safetensors")
}

/// The entropy, in nats, of the tokens that documents of a file of expressions begin with: what a
/// model has to pay that knows how frequent each token is, and no more.
fn entropy_of_tokens(file: &Path, length: usize) -> f64 {
    let text = std::fs::read_to_string(file).expect("expressions");
    let mut counts = std::collections::BTreeMap::<String, f64>::new();
    for line in text.lines().skip(1) {
        let (expression, _) = line.split_once('\t').expect("two columns");
        let tokens = expression.replace(['(', ')'], "");
        for token in tokens.split_whitespace().take(length) {
            *counts.entry(token.to_owned()).or_default() += 1.0;
        }
    }
    assert_eq!(counts.len(), 15, "{counts:?}");
    let total: f64 = counts.values().sum();
    counts.values().map(|n| n / total * (total / n).ln()).sum()
}

#[test]
fn tokens_are_learned_and_the_encoder_is_taken_over_bit_by_bit() {
    let place = Workplace::with_data(300);
    let model = [
        "--set",
        "rotary=true",
        "--set",
        "d_model=32",
        "--set",
        "layers=2",
    ];
    let steps = [
        "--steps",
        "500",
        "--set",
        "evaluate_every=100",
        "--set",
        "batch_size=8",
    ];
    let rate = ["--set", "learning_rate=1e-2"];
    let run = succeeded(pretrain(
        &place,
        "pre",
        &[&model[..], &steps, &rate].concat(),
    ));
    assert!(stdout(&run).contains("10 % are hidden"), "{}", stdout(&run));
    let losses = |split: &str| -> Vec<f64> {
        let lines = place.metrics("pre");
        let lines = lines.iter().filter(|line| line.split.to_string() == split);
        lines.map(|line| line.loss).collect()
    };
    let (train, dev) = (losses("train"), losses("dev"));
    assert!(train[4] < train[0] - 0.1, "{train:?}");
    // More is told from what stands around a token than from how often which tokens are there.
    let entropy = entropy_of_tokens(&place.path("data/basic_train.tsv"), 128);
    assert!(train[4] < entropy - 0.03, "{train:?}, {entropy}");
    let summary = place.summary("pre");
    assert_eq!(summary.test_accuracy, None);
    let best = dev.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(summary.best_dev_loss, Some(best));
    // The test split is not looked at.
    assert!(
        place
            .metrics("pre")
            .iter()
            .all(|line| line.split.to_string() != "test")
    );
    let again = succeeded(resume(&place, "pre"));
    assert!(stdout(&again).contains("pre is finished already"));

    let short = ["--init", "pre", "--steps", "4", "--set", "evaluate_every=2"];
    succeeded(place.train("fine", &[&model[..], &short].concat()));
    let (pre, fine) = (place.folder("pre"), place.folder("fine"));
    let bytes = std::fs::read(pre.weights_path()).unwrap();
    assert_eq!(std::fs::read(fine.init_path()).unwrap(), bytes);
    let init = fine.config().init.clone().expect("recorded");
    assert_eq!(init.run, Path::new("pre"));
    assert_eq!(
        init.sha256,
        transformer_ls_infer::weights_file::sha256(&bytes)
    );
    succeeded(place.run(&["plot", "pre", "fine", "--out", "both.svg"]));
    let curves = std::fs::read_to_string(place.path("both.svg")).unwrap();
    for name in ["pre: best dev loss ", "fine (from pre): best dev "] {
        assert!(curves.contains(name), "no {name:?}");
    }
    let device = Device::flex();
    let fresh = TrainingModel::init(fine.config(), &device).expect("a model");
    let own = fresh.state_dict().expect("tensors");
    let started = fresh.started_from(&fine).expect("started");
    let started = weights::state_dict(&started.classifier).expect("tensors");
    let source = state(&pre).encoder();
    assert!(source.tensors.len() > 20);
    let mut changed = 0;
    for (name, data) in &started.tensors {
        let from = source.tensors.get(name).unwrap_or(&own.tensors[name]);
        assert_eq!(data.as_bytes(), from.as_bytes(), "{name}");
        changed += usize::from(data.as_bytes() != own.tensors[name].as_bytes());
    }
    assert!(changed > 15, "{changed}");
    // The decoder is part of what pretraining keeps, a head is not.
    let names: Vec<String> = state(&pre).tensors.into_keys().collect();
    assert!(names.contains(&"decoder.output.weight".to_owned()));
    assert!(!names.iter().any(|name| name.starts_with("seq_classifer")));
    // A run can start from one that classifies, too.
    let again = ["--init", "fine", "--steps", "2"];
    succeeded(place.train("finer", &[&model[..], &again].concat()));
}

#[test]
fn a_killed_pretraining_resumes_to_the_same_bits() {
    let place = Workplace::with_data(300);
    succeeded(pretrain(&place, "whole", STEPS));
    let args = arguments(&["pretrain", "listops"], "data", "killed", STEPS);
    let mut child = place
        .command(&args)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ls-train starts");
    place.wait_for_checkpoint("killed", 8);
    child.kill().expect("SIGKILL");
    assert!(!child.wait().expect("ended").success());
    let resumed = succeeded(resume(&place, "killed"));
    assert!(stdout(&resumed).contains("going on from step"));
    assert_eq!(place.final_weights("whole"), place.final_weights("killed"));
    let lines = comparable(&place.metrics("whole"));
    assert_eq!(lines, comparable(&place.metrics("killed")));
    assert_eq!(lines.len(), 20);
    let best = |run: &str| {
        let state = state(&place.folder(run));
        state.to_safetensors(&Default::default()).expect("bytes")
    };
    assert_eq!(best("whole"), best("killed"));
    assert_eq!(
        place.summary("whole").best_dev_loss,
        place.summary("killed").best_dev_loss
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_a_pretraining() {
    let place = Workplace::with_data(300);
    let steps = &["--steps", "100000", "--set", "evaluate_every=50"];
    let mut child = place
        .command(&arguments(&["pretrain", "listops"], "data", "run", steps))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("ls-train starts");
    place.wait_for_checkpoint("run", 50);
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill runs").success());
    use std::io::Read;
    let mut out = String::new();
    let mut pipe = child.stdout.take().expect("piped");
    pipe.read_to_string(&mut out).expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert!(
        out.contains("continue with ls-train pretrain listops --out run --resume"),
        "{out}"
    );
}

/// Killed before its first checkpoint, and the run that it started from gone: the copy serves.
#[test]
fn a_resume_needs_no_other_run() {
    let place = Workplace::with_data(300);
    succeeded(pretrain(
        &place,
        "pre",
        &["--steps", "4", "--set", "evaluate_every=4"],
    ));
    let steps = &[STEPS, &["--init", "pre"]].concat();
    succeeded(place.train("whole", steps));
    // A run that started from elsewhere: the one field that differs is named, and no other.
    succeeded(place.train("plain", STEPS));
    let with_init = ["listops", "--out", "plain", "--resume", "--init", "pre"];
    let message = stderr(&place.run(&with_init)).to_string();
    assert!(
        message.contains("init.run is null there and \"pre\" here."),
        "{message}"
    );
    assert!(!message.contains("model."), "{message}");
    std::fs::create_dir(place.path("killed")).unwrap();
    for file in ["config.json", "init.safetensors"] {
        let from = place.path("whole").join(file);
        std::fs::copy(from, place.path("killed").join(file)).unwrap();
    }
    std::fs::remove_dir_all(place.path("pre")).unwrap();
    let mut child = place
        .command(&["listops", "--out", "killed", "--resume"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ls-train starts");
    place.wait_for_checkpoint("killed", 8);
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
    succeeded(place.resume("killed"));
    assert_eq!(place.final_weights("whole"), place.final_weights("killed"));
    assert_eq!(
        comparable(&place.metrics("whole")),
        comparable(&place.metrics("killed"))
    );
    // Its configuration names weights that are not there any more, and without a checkpoint a copy
    // that is another's is refused.
    let config = ["--config", "whole/config.json", "--out", "again"];
    refused(
        &place.run(&[&["listops"][..], &config].concat()),
        &["no run folder at pre"],
    );
    std::fs::remove_dir_all(place.path("killed/checkpoint")).unwrap();
    std::fs::remove_file(place.path("killed/summary.json")).unwrap();
    let copy = place.path("killed/init.safetensors");
    let mut bytes = std::fs::read(&copy).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    refused(&place.resume("killed"), &["init.safetensors", "SHA-256"]);
}

#[test]
fn what_does_not_fit_is_refused_by_field_and_leaves_nothing() {
    let place = Workplace::with_data(300);
    let short = &["--steps", "4", "--set", "evaluate_every=4"];
    succeeded(pretrain(&place, "pre", short));
    let from = |extra: &[&str]| {
        let output = place.train("run", &[&["--init", "pre"], extra].concat());
        assert!(!place.path("run").exists());
        output
    };
    refused(
        &from(&["--set", "d_model=32", "--set", "layers=2"]),
        &[
            "can't start from pre",
            "model.d_model (16 there, 32 here)",
            "model.layers (1 there, 2 here)",
        ],
    );
    for (set, words) in [
        ("heads=4", "model.heads (2 there, 4 here)"),
        ("rank=8", "model.rank (4 there, 8 here)"),
        ("rotary=true", "model.rotary (false there, true here)"),
        ("vocab_size=17", "model.vocab_size (16 there, 17 here)"),
        ("max_length=256", "model.max_length (128 there, 256 here)"),
        (
            "pooling=mean_real",
            "model.pooling (\"class_last\" there, \"mean_real\" here)",
        ),
        (
            "positions=none",
            "model.positions (\"learned\" there, \"none\" here)",
        ),
    ] {
        refused(&from(&["--set", set]), &[words]);
    }
    refused(
        &from(&["--tokenizer", "legacy"]),
        &["data.tokenizer (brackets there, legacy here)"],
    );
    let train = |extra: &[&str]| place.train("run", extra);
    refused(&train(&["--init", "none"]), &["no run folder at none"]);
    refused(&train(&["--init", "data"]), &["data is not a run folder"]);
    std::fs::create_dir(place.path("begun")).unwrap();
    std::fs::copy(
        place.path("pre/config.json"),
        place.path("begun/config.json"),
    )
    .unwrap();
    refused(
        &train(&["--init", "begun"]),
        &["begun has no model.safetensors yet"],
    );
    let bytes = std::fs::read(place.path("pre/model.safetensors")).unwrap();
    let cut = place.path("begun/model.safetensors");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    refused(&train(&["--init", "begun"]), &["cut short"]);
    refused(
        &train(&["--set", "init={\"run\":\"pre\",\"sha256\":\"\"}"]),
        &["is not for --set", "--init RUN"],
    );
    refused(
        &train(&["--set", "pretraining={\"mask\":0.1,\"compared_by\":\"l1\"}"]),
        &["is not for --set", "ls-train pretrain listops"],
    );
    refused(
        &train(&["--set", "input=floats"]),
        &["`model.input` must be \"ids\""],
    );
    let pretraining = |extra: &[&str]| pretrain(&place, "run", extra);
    refused(
        &pretraining(&["--set", "mask=1.5"]),
        &["`pretraining.mask` must lie between"],
    );
    refused(
        &pretraining(&["--set", "label_smoothing=0.1"]),
        &["`training.label_smoothing` must be 0 in a pretraining run"],
    );
    refused(
        &pretraining(&["--set", "compared_by=l1"]),
        &["`pretraining.compared_by` must be \"cross_entropy\" for the task listops"],
    );
    assert!(!place.path("run").exists());
    // A run goes on as what it is.
    refused(
        &place.resume("pre"),
        &[
            "pre is a pretrain listops run",
            "ls-train pretrain listops --out pre --resume",
        ],
    );
    refused(
        &place.run(&["listops", "--config", "pre/config.json", "--out", "run"]),
        &["the configuration of a pretrain listops run"],
    );
    refused(
        &place.run(&[
            "pretrain", "listops", "--out", "pre", "--resume", "--init", "pre",
        ]),
        &["init.run is null there"],
    );
    for asks in [&["evaluate", "pre"][..], &["classify", "pre", "[MAX 1 2]"]] {
        refused(
            &place.ls_infer(asks),
            &["can't classify", "ls-train listops --init RUN"],
        );
    }
    assert_eq!(place.run(&["pretrain", "chess"]).status.code(), Some(2));
    assert_eq!(place.run(&["pretrain"]).status.code(), Some(2));
}

/// An encoder may learn from small images and classify large ones; that it does is said.
#[test]
fn an_encoder_of_another_task_is_taken_and_named() {
    let place = Workplace::empty();
    for (task, data) in [("pathfinder32", "small"), ("pathfinder64", "large")] {
        let count = ["--count", "30", "--difficulty", "easy"];
        succeeded(place.run(&[&["generate", task, "--data", data][..], &count].concat()));
    }
    let steps = [
        "--steps",
        "2",
        "--set",
        "positions=none",
        "--set",
        "pooling=mean_all",
    ];
    let steps = [&steps[..], &["--difficulty", "easy"]].concat();
    let pretrain = arguments(&["pretrain", "pathfinder32"], "small", "pre", &steps);
    succeeded(place.run(&pretrain));
    let init = [&steps[..], &["--init", "pre"]].concat();
    for (task, data, said) in [
        ("pathfinder32", "small", false),
        ("pathfinder64", "large", true),
    ] {
        let run = succeeded(place.run(&arguments(&[task], data, task, &init)));
        let note = "note: the encoder to start from learned another task, pathfinder32";
        assert_eq!(stdout(&run).contains(note), said, "{task}");
    }
}

/// Pairs of texts, and images as numbers: pretrained, then classified, then asked.
#[test]
fn pairs_and_images_are_pretrained() {
    let place = Workplace::empty();
    std::fs::create_dir(place.path("pairs")).unwrap();
    for (split, count) in [("train", 12), ("eval", 4), ("test", 5)] {
        let name = format!("pairs/new_aan_pairs.{split}.tsv");
        std::fs::write(place.path(&name), files::pairs(count)).unwrap();
    }
    files::write_folder(&place.path("images"), &files::binary_batches(4));
    let made = place.run(&[
        "generate",
        "pathfinder32",
        "--data",
        "paths",
        "--count",
        "30",
    ]);
    succeeded(made);
    let floats: &[&str] = &["--set", "input=floats", "--set", "rotary=true"];
    for (task, data, extra, compared_by) in [
        ("retrieval", "pairs", &[][..], "CrossEntropy"),
        ("image", "images", floats, "L1"),
        ("image", "images", &[], "L1"),
        ("pathfinder32", "paths", floats, "CrossEntropy"),
    ] {
        let _ = std::fs::remove_dir_all(place.path("pre"));
        let _ = std::fs::remove_dir_all(place.path("run"));
        let steps = ["--steps", "3", "--set", "evaluate_every=2"];
        let extra = [extra, &steps].concat();
        succeeded(place.run(&arguments(&["pretrain", task], data, "pre", &extra)));
        let pretraining = place.folder("pre").config().pretraining.clone();
        let pretraining = pretraining.expect("recorded");
        assert_eq!(format!("{:?}", pretraining.compared_by), compared_by);
        let lines = place.metrics("pre");
        assert_eq!(lines.len(), 4);
        assert!(
            lines
                .iter()
                .all(|line| line.loss.is_finite() && line.loss > 0.0)
        );
        let init = [&extra[..], &["--init", "pre"]].concat();
        succeeded(place.run(&arguments(&[task], data, "run", &init)));
        let asked = place.ls_infer(&["evaluate", "run", "--json", "--device", "flex"]);
        let answer: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("JSON");
        assert_eq!(
            answer["accuracy"].as_f64(),
            place.summary("run").test_accuracy
        );
        // Out of the run folder, into another.
        let _ = std::fs::remove_dir_all(place.path("back"));
        succeeded(place.ls_infer(&["export", "run", "file", "--force"]));
        succeeded(place.ls_infer(&["import", "file", "back"]));
        let again = place.ls_infer(&["evaluate", "back", "--json", "--device", "flex"]);
        let again: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!(again["loss"], answer["loss"]);
    }
}
