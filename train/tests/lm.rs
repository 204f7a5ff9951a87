//! Language models from a text to a tested run: what is learned and reported, phases, kills, and mistakes.

mod common;

use std::fs;
use std::process::{Child, Output, Stdio};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Workplace, refused, stderr, stdout, succeeded, wait_for_checkpoint};
use transformer_ls_burn::weights::language_model_state_dict;
use transformer_ls_burn::{Predictions, Segment};
use transformer_ls_datasets::Split;
use transformer_ls_datasets::corpus::{Corpus, Shares};
use transformer_ls_infer::language::{LanguageFolder, LanguageLine, LanguageRun, LanguageSummary};
use transformer_ls_train::language::initial_model;

/// A model of one narrow layer, two phases, and everything on that changes numbers.
const SMALL: &[&str] = &[
    "model.layers=1",
    "model.d_model=16",
    "model.heads=2",
    "model.d_ff=16",
    "model.window=8",
    "model.chunk=4",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
    "training.batch_size=4",
    "training.accumulate=2",
    r#"training.phases=[{"segment":16,"memory":16,"learning_rate":1e-2,"warmup":4,"steps":24},{"segment":32,"memory":24,"learning_rate":5e-3,"warmup":2,"steps":16}]"#,
    "training.evaluate_every=4",
    "training.checkpoint_every=4",
    "training.eval_batch_size=3",
    "training.test_segment=16",
    "training.test_memory=32",
    "training.ema=0.5",
    "training.sample=20",
];

fn arguments<'a>(out: &'a str, set: &[&'a str], extra: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["lm", "--data", "text.txt", "--out", out, "--device", "flex"];
    args.extend(set.iter().flat_map(|set| ["--set", *set]));
    args.extend(extra);
    args
}

/// A place with a text of some words in no order, in lines.
fn place() -> Workplace {
    let place = Workplace::empty();
    let words = [
        "to", "be", "or", "not", "question", "whether", "nobler", "mind",
    ];
    let mut text = String::new();
    let mut state = 1u64;
    while text.len() < 8_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text += words[(state >> 33) as usize % words.len()];
        text.push(if state >> 61 == 0 { '\n' } else { ' ' });
    }
    fs::write(place.path("text.txt"), text).expect("a text");
    place
}

fn train(place: &Workplace, out: &str, extra: &[&str]) -> Output {
    place.run(&arguments(out, SMALL, extra))
}

fn resume(place: &Workplace, out: &str) -> Output {
    place.run(&["lm", "--out", out, "--resume"])
}

fn folder(place: &Workplace, out: &str) -> LanguageFolder {
    LanguageFolder::open(&place.path(out)).expect("a run folder")
}

fn metrics(place: &Workplace, out: &str) -> Vec<LanguageLine> {
    folder(place, out).read_metrics().expect("metrics")
}

fn summary(place: &Workplace, out: &str) -> LanguageSummary {
    let summary = folder(place, out).read_summary().expect("readable");
    summary.expect("a summary")
}

/// All but times and memory.
fn comparable(lines: &[LanguageLine]) -> Vec<(usize, usize, Split, u64, u64, u64)> {
    lines
        .iter()
        .map(|line| {
            let (bits, rate) = (line.bits_per_character, line.learning_rate);
            let (bits, rate) = (bits.to_bits(), rate.to_bits());
            (
                line.step,
                line.phase,
                line.split,
                bits,
                line.characters,
                rate,
            )
        })
        .collect()
}

/// The weights of the newest checkpoint by their names, and its memory: all that the next step would read.
fn newest_tensors(place: &Workplace, out: &str) -> Vec<Vec<u8>> {
    let folder = folder(place, out);
    let newest = folder.checkpoints().expect("readable").pop();
    let path = newest.expect("a checkpoint").path;
    let model = |name: &str| {
        let model = initial_model(folder.config(), &Device::flex()).expect("valid");
        let record = ModuleRecord::load(path.join(name)).expect("a record");
        let model = model.try_load_record(record).expect("fits");
        let state = language_model_state_dict(&model).expect("readable");
        state.to_safetensors(&Default::default()).expect("saves")
    };
    let file = |name: &str| fs::read(path.join(name)).expect("a file");
    vec![
        model("model.bpk"),
        model("average.bpk"),
        file("memory.0.safetensors"),
        file("memory.1.safetensors"),
    ]
}

fn best_weights(place: &Workplace, out: &str) -> Vec<u8> {
    let path = folder(place, out).weights_path();
    let run = LanguageRun::open(&path, &Device::flex()).expect("a model");
    let state = language_model_state_dict(&run.model).expect("readable");
    state.to_safetensors(&Default::default()).expect("saves")
}

#[test]
fn what_repeats_is_learned_and_the_run_reports_it() {
    let place = Workplace::empty();
    let verse = "Twinkle, twinkle, little star, how I wonder what you are. ";
    // Long enough that the first bytes of dev and test, which are guesses, cost little.
    fs::write(place.path("text.txt"), verse.repeat(1200)).expect("a text");
    let sets = [
        "model.layers=2",
        "model.d_model=32",
        "model.heads=2",
        "model.d_ff=64",
        "model.window=16",
        "model.dropout=0",
        "batch_size=4",
        "eval_batch_size=1",
        "segment=32",
        "memory=32",
        "learning_rate=1e-2",
        "warmup=10",
        "steps=120",
        "evaluate_every=60",
        "sample=40",
    ];
    let run = succeeded(place.run(&arguments("run", &sets, &[])));
    let out = stdout(&run);
    for words in [
        "language model (preset laptop)",
        "over 20 different bytes",
        "steps 1 to 120 learn from 4 rows of 32 characters with 32 before them",
        "a step: about ",
        "step 120/120 | bits per character: train 0.",
        " characters/s",
        "\n  | ",
        "twinkle",
        "bits per character over 3 479 characters (model of step 120, dev 0.",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
    // A sample at each of both evaluations: a line of text after a line that is none.
    let samples = out.lines().collect::<Vec<_>>();
    let samples = samples
        .windows(2)
        .filter(|two| !two[0].starts_with("  | ") && two[1].starts_with("  | "));
    assert_eq!(samples.count(), 2, "{out}");
    let summary = summary(&place, "run");
    let test = summary.test_bits_per_character.expect("a test");
    assert!(test < 0.2, "{test}");
    let dev = summary.best_dev_bits_per_character.expect("an evaluation");
    assert!(dev < 0.4, "{dev}");
    assert_eq!(summary.characters, 120 * 4 * 32);
    let lines = metrics(&place, "run");
    let seen: Vec<(usize, Split)> = lines.iter().map(|line| (line.step, line.split)).collect();
    let expected = [
        (60, Split::Train),
        (60, Split::Dev),
        (120, Split::Train),
        (120, Split::Dev),
        (120, Split::Test),
    ];
    assert_eq!(seen, expected);

    let again = succeeded(resume(&place, "run"));
    assert!(stdout(&again).contains("is finished already"));
    assert_eq!(metrics(&place, "run"), lines);
    let plot = place.run(&["plot", "run", "--out", "curve.svg"]);
    succeeded(plot);
    let picture = fs::read_to_string(place.path("curve.svg")).expect("a picture");
    assert!(picture.contains("minutes"), "{picture}");
}

#[test]
fn phases_change_at_their_steps() {
    let place = place();
    let run = succeeded(train(&place, "run", &[]));
    let out = stdout(&run);
    for words in [
        "phase 1 of 2: steps 1 to 24 learn from 4 rows of 16 characters with 16 before them, \
         learning rate 1e-2",
        "phase 2 of 2: steps 25 to 40 learn from 4 rows of 32 characters with 24 before them, \
         learning rate 5e-3",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
    let lines = metrics(&place, "run");
    let of_train = lines.iter().filter(|line| line.split == Split::Train);
    let seen: Vec<_> = of_train
        .map(|line| (line.step, line.phase, line.characters))
        .collect();
    let wanted = (4..=40).step_by(4).map(|step| match step <= 24 {
        true => (step, 0, 4 * 4 * 16),
        false => (step, 1, 4 * 4 * 32),
    });
    assert_eq!(seen, wanted.collect::<Vec<_>>());
    assert_eq!(summary(&place, "run").characters, 24 * 64 + 16 * 128);
    // Half a cosine from step 4 to 24, and another from 26 to 40.
    let cosine = |done: f64, of: f64| 0.5 * (1.0 + (std::f64::consts::PI * done / of).cos());
    let rate = |step| {
        let line = lines.iter().find(|line| line.step == step);
        line.expect("a line").learning_rate
    };
    assert_eq!(rate(4), 1e-2);
    assert_eq!(rate(8), 1e-2 * cosine(3.0, 20.0));
    assert_eq!(rate(28), 5e-3 * cosine(1.0, 14.0));
}

#[test]
fn reported_bits_are_those_of_the_saved_weights() {
    let place = place();
    succeeded(train(&place, "run", &[]));
    let run = LanguageRun::open(&place.path("run"), &Device::flex()).expect("a model");
    assert_eq!((run.segment, run.memory), (16, 32));
    let lines = metrics(&place, "run");
    let best = summary(&place, "run").best_step.expect("an evaluation");
    let corpus = Corpus::file(&place.path("text.txt"), Shares::default()).expect("a text");
    let of = |split| {
        let line = lines
            .iter()
            .find(|line| line.step == best && line.split == split);
        line.expect("a line")
    };
    let phase = run.config.training.phases[of(Split::Dev).phase];
    for (split, rows, segment, memory) in [
        (Split::Dev, 3, phase.segment, phase.memory),
        (Split::Test, 1, run.segment, run.memory),
    ] {
        let ids = run
            .vocabulary
            .encode(corpus.split(split))
            .expect("known bytes");
        // All bytes but the first are targets, in stretches that differ by one at most, the longer ones first.
        let (length, longer) = ((ids.len() - 1) / rows, (ids.len() - 1) % rows);
        let (mut nats, mut start) = (0.0, 0);
        for row in 0..rows {
            let end = start + length + usize::from(row < longer);
            let mut memory = run.model.memory(1, memory);
            for first in (start..end).step_by(segment) {
                let inputs = &ids[first..end.min(first + segment)];
                let tokens = TensorData::new(inputs.to_vec(), [1, inputs.len()]);
                let read = Segment {
                    tokens: Tensor::<2, Int>::from_data(tokens, &Device::flex()),
                    memory,
                    dropout_seed: None,
                };
                let Predictions {
                    logits,
                    memory: next,
                    ..
                } = run.model.forward(read);
                memory = next;
                let vocabulary = run.vocabulary.len();
                let p: Vec<f32> = log_softmax(logits, 2).try_into_vec_as().expect("numbers");
                for (index, row) in p.chunks(vocabulary).enumerate() {
                    nats -= f64::from(row[usize::from(ids[first + index + 1])]);
                }
            }
            start = end;
        }
        let line = of(split);
        assert_eq!(line.characters as usize, ids.len() - 1);
        let bits = nats / (ids.len() - 1) as f64 / 2f64.ln();
        let off = (bits - line.bits_per_character).abs();
        assert!(off < 1e-5, "{split}: {bits} is not {line:?}");
    }
}

fn killed_at(place: &Workplace, mut child: Child, checkpoint: usize) {
    wait_for_checkpoint(&place.path("killed"), checkpoint);
    child.kill().expect("SIGKILL");
    let status = child.wait().expect("ended");
    assert!(!status.success(), "the run ended before it could be killed");
}

#[test]
fn a_killed_run_resumes_to_the_same_weights_memory_and_lines() {
    let place = place();
    succeeded(train(&place, "whole", &[]));
    let spawn = |args: &[&str]| {
        let mut command = place.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("ls-train starts")
    };
    // In the first phase, and past the change of segment and memory.
    killed_at(&place, spawn(&arguments("killed", SMALL, &[])), 8);
    assert!(folder(&place, "killed").read_summary().unwrap().is_none());
    killed_at(&place, spawn(&["lm", "--out", "killed", "--resume"]), 28);
    let resumed = succeeded(resume(&place, "killed"));
    assert!(stdout(&resumed).contains("going on from step"));
    let (whole, killed) = (metrics(&place, "whole"), metrics(&place, "killed"));
    assert_eq!(comparable(&whole), comparable(&killed));
    let tensors = |out| newest_tensors(&place, out);
    assert!(tensors("whole") == tensors("killed"));
    assert!(best_weights(&place, "whole") == best_weights(&place, "killed"));
    let (whole, killed) = (summary(&place, "whole"), summary(&place, "killed"));
    assert_eq!(
        whole.test_bits_per_character,
        killed.test_bits_per_character
    );
    assert_eq!(whole.characters, killed.characters);
}

/// The memories that long-short attention is compared with are trained, saved and taken up again alike.
#[test]
fn other_memories_are_trained_and_taken_up_again() {
    let place = place();
    for kind in ["transformer-xl", "compressive"] {
        let [whole, cut] = ["whole", "cut"].map(|name| format!("{name}-{kind}"));
        // The presets' windows and memories, on the small model.
        let options = ["--attention", kind];
        let set: Vec<&str> = SMALL
            .iter()
            .filter(|set| !set.starts_with("model.window") && !set.starts_with("model.chunk"))
            .copied()
            .collect();
        let all = |out: &str, extra: &[&str]| {
            place.run(&arguments(out, &set, &[&options[..], extra].concat()))
        };
        succeeded(all(&whole, &[]));
        succeeded(all(&cut, &["--stop-after", "10"]));
        succeeded(resume(&place, &cut));
        let folder = folder(&place, &cut);
        let model = &folder.config().model;
        assert_eq!(model.rank, 0);
        assert_eq!(model.compressed > 0, kind == "compressive");
        let tensors = |out| newest_tensors(&place, out);
        assert!(tensors(&whole) == tensors(&cut), "{kind}");
        let [first, last] = [0, 9].map(|line| metrics(&place, &whole)[line].bits_per_character);
        assert!(last < first, "{kind}: {first} and then {last} bits");
    }
    let rank = ["--attention", "compressive", "--set", "rank=1"];
    refused(
        &train(&place, "new", &rank),
        &["`model.rank` must be 0 beside compressed memory"],
    );
}

#[cfg(unix)]
#[test]
fn signals_save_and_a_stopped_run_goes_on_without_a_test_before() {
    let place = place();
    let stopped = succeeded(train(&place, "run", &["--stop-after", "6"]));
    assert!(stdout(&stopped).contains("stopped after step 6 as asked, not tested yet"));
    assert_eq!(summary(&place, "run").test_bits_per_character, None);
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let out = place.path(signal).display().to_string();
        let more = ["--set", "training.phases.0.steps=100000"];
        let mut child = place
            .command(&arguments(&out, SMALL, &more))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ls-train starts");
        wait_for_checkpoint(&place.path(signal), 4);
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(child.wait().expect("ended").code(), Some(status));
        let mut checkpoints = folder(&place, signal).checkpoints().expect("readable");
        assert!(checkpoints.pop().expect("a checkpoint").step >= 4);
    }
    let resumed = succeeded(resume(&place, "run"));
    assert!(
        stdout(&resumed).contains("going on from step 6"),
        "{}",
        stdout(&resumed)
    );
    assert_eq!(summary(&place, "run").steps, 40);
}

#[test]
fn a_run_that_diverges_says_so_and_goes_on_at_a_lower_rate() {
    let place = place();
    let sets = [SMALL, &["training.phases.1.learning_rate=1e30"]].concat();
    let diverged = place.run(&arguments("run", &sets, &[]));
    refused(
        &diverged,
        &[
            "training diverged",
            "step 24",
            "--resume --set learning_rate=",
        ],
    );
    let wrong = [
        "lm",
        "--out",
        "run",
        "--resume",
        "--set",
        "learning_rate=1e-3",
    ];
    refused(&place.run(&wrong), &["training.phases.0.learning_rate"]);
    let wrong = [
        "lm",
        "--out",
        "run",
        "--resume",
        "--set",
        "training.phases.0.learning_rate=1e-3",
    ];
    refused(
        &place.run(&wrong),
        &["the run is in phase 1", "not that of phase 0"],
    );
    let lower = [
        "lm",
        "--out",
        "run",
        "--resume",
        "--set",
        "training.phases.1.learning_rate=1e-3",
    ];
    succeeded(place.run(&lower));
    let folder = folder(&place, "run");
    let changes = &folder.config().training.rate_changes;
    assert_eq!((changes[0].step, changes[0].learning_rate), (24, 1e-3));
    assert!(summary(&place, "run").test_bits_per_character.is_some());
}

#[test]
fn mistakes_get_a_sentence() {
    let place = place();
    fs::write(place.path("empty.txt"), "").unwrap();
    fs::write(place.path("short.txt"), "To be, or not to be").unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    let lm =
        |args: &[&str]| place.run(&[&["lm", "--device", "flex", "--out", "new"], args].concat());
    let data = |file| lm(&["--data", file]);
    refused(&data("missing.txt"), &["missing.txt"]);
    refused(&data("empty.txt"), &["empty.txt", "the file is empty"]);
    refused(
        &data("short.txt"),
        &["short.txt", "the train split has", "4112 are needed"],
    );
    refused(
        &data("folder"),
        &["folder", "name the file with the text in it"],
    );
    let enwik8 = lm(&["--data", "folder", "--corpus", "enwik8"]);
    refused(&enwik8, &["no enwik8 data in folder"]);
    let preset = lm(&["--data", "text.txt", "--preset", "huge"]);
    refused(&preset, &["no preset `huge`", "laptop, base, large"]);
    for (set, words) in [
        ("nothing=1", "there is no field `nothing`"),
        ("phases=[]", "`training.phases` must be at least 1"),
        ("phases=[{}]", "missing field `segment`"),
        (
            "segment=20",
            "`training.phases.0.segment` must be made of whole chunks",
        ),
        (
            "warmup=100000",
            "`training.phases.0.warmup` must be at most",
        ),
        (
            "schedule=one_cycle",
            "`training.schedule` must be constant or cosine",
        ),
        ("heads=3", "`model.heads`"),
        ("task=listops", "run `ls-train listops`"),
    ] {
        let output = lm(&["--data", "text.txt", "--set", set]);
        refused(&output, &[words]);
    }
    assert!(!place.path("new").exists());

    succeeded(train(&place, "run", &["--stop-after", "4"]));
    refused(
        &train(&place, "run", &[]),
        &["run exists already", "--resume"],
    );
    let other = ["lm", "--out", "run", "--resume", "--set", "batch_size=8"];
    refused(
        &place.run(&other),
        &["training.batch_size is 4 there and 8 here"],
    );
    let on = |data| place.run(&["lm", "--out", "run", "--resume", "--data", data]);
    let text = fs::read_to_string(place.path("text.txt")).unwrap();
    fs::write(place.path("other.txt"), text.replace("or ", "or, ")).unwrap();
    refused(&on("other.txt"), &["',' (byte 44)", "none of the"]);
    fs::write(place.path("turned.txt"), text.replace("to be", "be to")).unwrap();
    refused(&on("turned.txt"), &["not the text that the run began with"]);
    fs::rename(place.path("text.txt"), place.path("moved.txt")).unwrap();
    refused(&resume(&place, "run"), &["text.txt"]);
    succeeded(on("moved.txt"));
    refused(&place.run(&["lm", "--resume"]), &["add --out"]);
}

#[test]
fn runs_of_the_other_kind_are_called_so() {
    let place = Workplace::with_data(300);
    succeeded(place.train("classifier", &["--steps", "2"]));
    fs::write(place.path("text.txt"), "to be or not to be ".repeat(200)).unwrap();
    succeeded(train(&place, "language", &["--stop-after", "4"]));
    let words = [
        "classifier/config.json is of a run of the task listops",
        "`ls-train lm`",
    ];
    refused(&resume(&place, "classifier"), &words);
    let words = [
        "language/config.json is of a language model's run",
        "`ls-infer generate`",
    ];
    refused(&place.resume("language"), &words);
    let classify = place.ls_infer(&["classify", "language", "[MAX 1 2]"]);
    refused(&classify, &words);
    let plot = place.run(&["plot", "classifier", "language"]);
    refused(&plot, &["plot them one kind at a time"]);
    let open = |name: &str| LanguageRun::open(&place.path(name), &Device::flex());
    assert!(open("language").is_ok() && open("language/model.safetensors").is_ok());
    let error = open("classifier/model.safetensors").expect_err("a classifier's weights");
    assert!(
        error.to_string().contains("of a run of the task listops"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_run_with_a_sentence_and_the_run_can_go_on() {
    let place = place();
    succeeded(train(&place, "run", &["--stop-after", "4"]));
    // Files may not grow beyond a few blocks, as on a disk without space: the next checkpoint does not fit.
    let program = assert_cmd::cargo_bin!("ls-train").display().to_string();
    let limited = std::process::Command::new("sh")
        .args([
            "-c",
            r#"trap "" XFSZ; ulimit -f 4; exec "$0" lm --out run --resume"#,
            &program,
        ])
        .current_dir(place.dir.path())
        .output()
        .expect("sh starts");
    refused(&limited, &["File too large"]);
    succeeded(resume(&place, "run"));
    assert_eq!(summary(&place, "run").steps, 40);
    assert!(stderr(&limited).contains("checkpoint") || stderr(&limited).contains("model"));
}
