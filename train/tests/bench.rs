//! `ls-train bench`, with documents so short that a whole series takes seconds.

mod common;

use std::collections::HashSet;
use std::process::Output;

use common::{Workplace, adapter, stderr, stdout};
use serde_json::Value;
use transformer_ls_burn::attention::AttentionConfig;

const ATTENTION_KEYS: [&str; 15] = [
    "device",
    "adapter",
    "path",
    "pass",
    "b",
    "n",
    "precision",
    "h",
    "d",
    "r",
    "w",
    "milliseconds",
    "gflops",
    "peak_bytes",
    "floor_milliseconds",
];

const STEP_KEYS: [&str; 12] = [
    "device",
    "adapter",
    "path",
    "pass",
    "b",
    "n",
    "precision",
    "preset",
    "packing",
    "milliseconds",
    "tokens_per_second",
    "peak_bytes",
];

/// On the CPU, a few runs a measurement.
fn attention(extra: &[&str]) -> Vec<String> {
    let mut args = vec!["bench", "attention", "--device", "flex", "--n", "128,64"];
    args.extend(["--repeats", "2"]);
    args.extend(extra);
    args.into_iter().map(str::to_owned).collect()
}

fn run(place: &Workplace, args: &[String]) -> Output {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.run(&args)
}

/// The lines of an output, each with exactly these keys in this order.
fn lines(output: &Output, keys: &[&str]) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stdout(output);
    let parsed = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).expect("a line is JSON");
        let found = value.as_object().expect("an object").len();
        let places: Vec<_> = keys
            .iter()
            .map(|key| line.find(&format!("\"{key}\":")))
            .collect();
        assert!(places.iter().all(Option::is_some), "{line}");
        assert!(places.is_sorted() && found == keys.len(), "{line}");
        value
    };
    text.lines().map(parsed).collect()
}

/// What a profile says of a kernel.
fn kernel_of<'a>(line: &'a Value, name: &str) -> &'a Value {
    let mut kernels = line["kernels"].as_array().expect("kernels").iter();
    let found = kernels.find(|kernel| kernel["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn positive(line: &Value, keys: &[&str]) {
    for key in keys {
        let number = line[key].as_f64();
        assert!(
            number.is_some_and(|number| number > 0.0 && number.is_finite()),
            "{key} in {line}"
        );
    }
}

#[test]
fn attention_is_measured_in_every_combination() {
    let place = Workplace::empty();
    let output = run(&place, &attention(&["--json"]));
    let lines = lines(&output, &ATTENTION_KEYS);
    let mut combinations = HashSet::new();
    for line in &lines {
        positive(line, &["milliseconds", "gflops", "floor_milliseconds"]);
        if cfg!(target_os = "linux") {
            assert!(line["peak_bytes"].as_u64() > Some(1_000_000), "{line}");
        }
        assert_eq!(line["device"], "flex");
        let sizes = ["b", "h", "d", "r", "w"].map(|key| line[key].as_u64());
        assert_eq!(sizes, [1, 2, 32, 32, 8].map(Some));
        combinations.insert(format!("{} {} {}", line["path"], line["pass"], line["n"]));
    }
    assert_eq!((lines.len(), combinations.len()), (12, 12));
    // What takes half the time does so at twice the rate: the rate is that of the formula.
    let dense = lines
        .iter()
        .find(|line| line["path"] == "dense" && line["pass"] == "forward" && line["n"] == 128);
    let dense = dense.expect("dense was asked for");
    let gflop = 4.0 * 2.0 * 128.0 * 128.0 * 32.0 / 1e9;
    let seconds = dense["milliseconds"].as_f64().unwrap() / 1e3;
    let ratio = dense["gflops"].as_f64().unwrap() / (gflop / seconds);
    assert!((ratio - 1.0).abs() < 1e-9, "{dense}");
    // A log has a line a measurement, and none of it is on the standard output.
    assert!(
        stderr(&output).contains("12/12 dense forward_backward n 128: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn every_kind_of_attention_is_measured() {
    let place = Workplace::empty();
    let all = ["--attention", "all", "--b", "2"];
    let output = run(&place, &attention(&[&all[..], &["--json"]].concat()));
    assert!(output.status.success(), "{}", stderr(&output));
    let mut combinations = HashSet::new();
    for line in stdout(&output).lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        positive(&line, &["milliseconds", "gflops"]);
        let kind = line["module"]["attention"].as_str().expect("a kind");
        combinations.insert(format!("{kind} {} {}", line["pass"], line["n"]));
        if kind == "dense" {
            // Layers of 64 × 64 for queries, keys and values, and two products of all with all.
            let n = line["n"].as_f64().unwrap();
            let flop = 2.0 * (6.0 * n * 64.0 * 64.0 + 4.0 * n * n * 64.0);
            let passes = if line["pass"] == "forward" { 1.0 } else { 3.0 };
            let seconds = line["milliseconds"].as_f64().unwrap() / 1e3;
            let ratio = line["gflops"].as_f64().unwrap() / (passes * flop / 1e9 / seconds);
            assert!((ratio - 1.0).abs() < 1e-9, "{line}");
        }
    }
    let kinds = AttentionConfig::kinds().count();
    assert_eq!(combinations.len(), kinds * 2 * 2);

    let options = [
        "--attention",
        "linear,long-short",
        "--pass",
        "forward",
        "--out",
        "bench.svg",
    ];
    let output = run(&place, &attention(&options));
    let table = stdout(&output);
    for words in [
        "modules of width 64 with 2 heads",
        "attention   pass",
        "long_short  forward",
    ] {
        assert!(table.contains(words), "{words:?} is not in {table}");
    }
    let svg = std::fs::read_to_string(place.path("bench.svg")).expect("the picture");
    well_formed(&svg);
    for words in ["linear forward", "long_short forward"] {
        assert!(svg.contains(words), "{words:?} is not in {svg}");
    }
}

#[test]
fn people_get_a_table_and_a_picture() {
    let place = Workplace::empty();
    let options = ["--path", "fused,dense", "--pass", "forward_backward"];
    let picture = ["--out", "bench.svg"];
    let output = run(
        &place,
        &attention(&[options, ["--b", "2", "--rank", "4"]].concat()),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    for words in [
        "flex (",
        "batch 2, 2 heads of width 32, rank 4, window 8",
        "path   pass",
        "floor ms",
        "fused  forward_backward   64 ",
        "dense  forward_backward  128 ",
        "the time that the device needs",
    ] {
        assert!(table.contains(words), "{words:?} is not in {table}");
    }
    let width = table.lines().skip(1).map(|line| line.chars().count()).max();
    assert!(width.is_some_and(|width| width <= 100), "{table}");

    let output = run(&place, &attention(&[&options[..], &picture].concat()));
    assert!(output.status.success(), "{}", stderr(&output));
    let svg = std::fs::read_to_string(place.path("bench.svg")).expect("the picture");
    well_formed(&svg);
    for words in ["fused forward_backward", "dense forward_backward", "floor"] {
        assert!(svg.contains(words), "{words:?} is not in {svg}");
    }
    assert!(!svg.contains("plain"), "plain was not measured");
    assert_eq!(place.names(), ["bench.svg"]);
}

/// Every element that is opened is closed, in order, and texts hold no markup.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    assert!(svg.starts_with("<svg "), "{svg}");
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        let bare = text
            .replace("&lt;", "")
            .replace("&gt;", "")
            .replace("&amp;", "");
        assert!(!bare.contains(['&', '>']), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().expect("a tag has a name"));
        }
    }
    assert!(open.is_empty(), "{open:?} stays open");
}

#[test]
fn steps_are_measured_as_training_takes_them() {
    let place = Workplace::empty();
    for (preset, documents) in [("listops", 1.0), ("retrieval", 2.0)] {
        let output = place.run(&[
            "bench",
            "step",
            "--preset",
            preset,
            "--device",
            "flex",
            "--b",
            "2",
            "--n",
            "64",
            "--repeats",
            "2",
            "--json",
        ]);
        let lines = lines(&output, &STEP_KEYS);
        let mut combinations = HashSet::new();
        for line in &lines {
            positive(line, &["milliseconds", "tokens_per_second"]);
            let tokens = line["tokens_per_second"].as_f64().unwrap()
                * line["milliseconds"].as_f64().unwrap()
                / 1e3;
            assert!((tokens - documents * 2.0 * 64.0).abs() < 1e-6, "{line}");
            assert_eq!((&line["preset"], &line["b"]), (&preset.into(), &2.into()));
            combinations.insert(format!("{} {}", line["path"], line["pass"]));
        }
        assert_eq!((lines.len(), combinations.len()), (4, 4), "{preset}");
    }
    let table = place.run(&[
        "bench",
        "step",
        "--device",
        "flex",
        "--b",
        "1",
        "--n",
        "64",
        "--path",
        "fused",
        "--pass",
        "forward",
        "--repeats",
        "1",
    ]);
    assert!(table.status.success(), "{}", stderr(&table));
    assert!(stdout(&table).contains("preset listops on flex ("));
    assert!(
        stdout(&table).contains("fused  forward  64 "),
        "{}",
        stdout(&table)
    );
}

/// Documents of the lengths in a file, batch by batch.
#[test]
fn documents_have_the_lengths_asked_for() {
    let place = Workplace::empty();
    std::fs::write(place.path("lengths.txt"), "60 4 20\n36 30 6\n").expect("lengths");
    let step = ["bench", "step", "--device", "flex", "--path", "fused"];
    let more = ["--pass", "forward", "--lengths", "lengths.txt", "--json"];
    let output = place.run(&[&step[..], &more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("a line of JSON");
    assert_eq!((&line["b"], &line["n"]), (&3.into(), &2048.into()));
    // 84 and 72 tokens.
    let tokens = line["tokens_per_second"].as_f64().expect("a number")
        * line["milliseconds"].as_f64().expect("a number")
        / 1e3;
    assert!((tokens - 78.0).abs() < 1e-6, "{line}");

    for (text, problem) in [
        ("", "is empty: write the lengths"),
        (
            "5 6\n\n",
            "line 2 has to hold lengths from 1 to 2048, 1 for each sample",
        ),
        ("5 0", "line 1 has to hold lengths"),
        ("5 2049", "line 1 has to hold lengths"),
        ("5 many", "line 1 has to hold lengths"),
    ] {
        std::fs::write(place.path("lengths.txt"), text).expect("lengths");
        let output = place.run(&[&step[..], &more].concat());
        assert_eq!(output.status.code(), Some(1), "{text:?}");
        let words = stderr(&output);
        assert!(words.contains(problem), "{text:?}: {words}");
    }
    // A sample of Retrieval is a pair.
    std::fs::write(place.path("lengths.txt"), "5 6 7\n").expect("lengths");
    let output = place.run(&[&step[..], &more, &["--preset", "retrieval"]].concat());
    assert!(
        stderr(&output).contains("2 for each sample"),
        "{}",
        stderr(&output)
    );
}

/// A profile has this project's shaders by their names, with the bytes that they move.
#[test]
fn a_profile_tells_kernels_apart() {
    let place = Workplace::empty();
    let on = |device: &str| {
        let command = [
            "bench",
            "attention",
            "--device",
            device,
            "--path",
            "fused",
            "--n",
            "64",
        ];
        let more = ["--pass", "forward", "--repeats", "1", "--profile", "--json"];
        place.run(&[&command[..], &more].concat())
    };
    let refused = on("flex");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("flex has no kernels to tell apart"),
        "{}",
        stderr(&refused)
    );
    let Some(wgpu) = adapter() else { return };
    let output = on(&wgpu);
    assert!(output.status.success(), "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("a line of JSON");
    positive(&line, &["bytes_per_second"]);
    for (name, least) in [
        // Queries, keys, values and output of 2 heads of 64 rows of 32 float32, and a log-sum-exp.
        ("attend", 4 * 2 * 64 * (4 * 32 + 1)),
        // Keys, values and 32 scores a token.
        ("project", 4 * 2 * 64 * (2 * 32 + 32)),
    ] {
        let kernel = kernel_of(&line, name);
        positive(kernel, &["seconds"]);
        assert_eq!(kernel["launches"], 1, "{line}");
        let bytes = kernel["bytes"].as_u64().expect("bytes");
        // Landmarks and parts come on top.
        assert!(
            (least..2 * least).contains(&bytes),
            "{name}: {bytes}, not {least}"
        );
    }
}

#[test]
fn a_step_is_told_apart_too() {
    let Some(wgpu) = adapter() else { return };
    let mut command = vec!["bench", "step", "--device", &wgpu, "--path", "fused"];
    command.extend(["--pass", "train_step", "--b", "1", "--n", "64"]);
    command.extend(["--repeats", "1", "--profile", "--json"]);
    let output = Workplace::empty().run(&command);
    assert!(output.status.success(), "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("a line of JSON");
    for name in [
        "embed",
        "linear",
        "linear_dx",
        "linear_backward",
        "layer_norm",
        "attend",
        "attend_dq",
        "project",
        "project_backward",
        "adamw",
    ] {
        let kernel = kernel_of(&line, name);
        positive(kernel, &["seconds", "launches", "bytes"]);
    }
}

/// Training and writing of a small language model, and on a GPU its kernels.
#[test]
fn language_models_are_measured() {
    let place = Workplace::empty();
    let sizes = ["--d-model=32", "--heads=2", "--layers=1", "--d-ff=64"];
    let text = ["--window=16", "--segment=32", "--memory=32", "--batch=2"];
    let on = |device: &str, more: &[&str]| {
        let command = ["bench", "lm", "--device", device, "--steps", "2"];
        place.run(&[&command[..], &sizes, &text, more].concat())
    };
    let figures = |output: &Output| -> Value {
        assert!(output.status.success(), "{}", stderr(output));
        let line: Value = serde_json::from_str(&stdout(output)).expect("a line of JSON");
        line["figures"].clone()
    };
    let both = figures(&on("flex", &["--characters", "300"]));
    positive(&both, &["training"]);
    if cfg!(target_os = "linux") {
        positive(&both, &["peak_bytes"]);
    }
    let names = ["characters_per_second", "early_characters_per_second"];
    positive(&both["generation"], &names);
    positive(&both["generation"], &["late_characters_per_second"]);
    for (options, said) in [
        (
            ["--characters", "150"],
            "--characters has to be 0 or at least 200",
        ),
        (
            ["--memory", "33"],
            "--memory 33 has to be made of whole chunks of 16",
        ),
        (["--heads", "5"], "choose another size"),
        (
            ["--profile", "--steps=1"],
            "flex has no kernels to tell apart",
        ),
    ] {
        let output = place.run(&[&["bench", "lm", "--device", "flex"][..], &options].concat());
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let Some(wgpu) = adapter() else { return };
    let training = figures(&on(&wgpu, &["--characters", "0", "--profile"]));
    assert!(training["generation"].is_null());
    positive(&training, &["training", "bytes_per_second"]);
    for name in ["attend", "attend_dq", "attend_dtables", "project", "adamw"] {
        let kernel = kernel_of(&training, name);
        positive(kernel, &["seconds", "launches", "bytes"]);
    }
}

#[test]
fn what_does_not_fit_is_said_and_left_out() {
    let place = Workplace::empty();
    let dense = |lengths| {
        place.run(&[
            "bench",
            "attention",
            "--device",
            "flex",
            "--path",
            "dense",
            "--pass",
            "forward",
            "--repeats",
            "1",
            "--json",
            "--n",
            lengths,
        ])
    };
    // Of 16 million tokens, petabytes of scores.
    let output = dense("64,16M");
    let lines = lines(&output, &ATTENTION_KEYS);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["n"], 64);
    let words = stderr(&output);
    assert!(
        words.contains("dense forward: left out from n 16777216 on: it needs 4504 TB at least"),
        "{words}"
    );
    let step = place.run(&[
        "bench", "step", "--device", "flex", "--b", "16M", "--n", "16M",
    ]);
    assert_eq!(step.status.code(), Some(1));
    assert!(
        stderr(&step).contains("fused train_step: left out from n 16777216 on: it needs "),
        "{}",
        stderr(&step)
    );
    // Where nothing is left, that is an error.
    let output = dense("8M,16M");
    assert_eq!(output.status.code(), Some(1));
    let words = stderr(&output);
    assert!(
        words.contains("error: nothing could be measured"),
        "{words}"
    );
    assert_eq!(words.matches("left out").count(), 1, "{words}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn wrong_options_are_refused_before_anything_is_measured() {
    let place = Workplace::empty();
    let attention: &[(&[&str], i32, &str)] = &[
        (
            &["--path", "fast"],
            2,
            "[possible values: fused, plain, dense]",
        ),
        (
            &["--pass", "back"],
            2,
            "[possible values: forward, forward_backward]",
        ),
        (&["--n", "0"], 2, "has to be at least 1"),
        (&["--n", "1K,0"], 2, "has to be at least 1"),
        (&["--n", "many"], 2, "has to be a whole number"),
        (&["--heads", "0"], 2, "has to be at least 1"),
        (&["--seconds", "0"], 2, "has to be a number above 0"),
        (
            &["--rank", "0", "--window", "0"],
            1,
            "attention sees nothing: give one of them",
        ),
        (
            &["--attention", "sparrow"],
            1,
            "--attention sparrow: `attention`: unknown variant `sparrow`, expected one of `long_short`",
        ),
        (
            &["--attention", "all", "--path", "fused"],
            2,
            "cannot be used with",
        ),
        (&["--device", "gpu9"], 1, "unknown device `gpu9`"),
        (
            &["--out", "bench.jpg"],
            1,
            "ends neither in .svg nor in .png",
        ),
        (
            &["--out", "absent/bench.svg"],
            1,
            "cannot write absent/bench.svg",
        ),
    ];
    for (extra, status, words) in attention {
        let mut args = vec!["bench", "attention", "--n", "64"];
        if extra.contains(&"--n") {
            args.truncate(2);
        }
        args.extend(*extra);
        refused(&place.run(&args), *status, words);
    }
    let step: &[(&[&str], i32, &str)] = &[
        (&["--path", "dense"], 2, "[possible values: fused, plain]"),
        (
            &["--preset", "chess"],
            1,
            "there is no preset `chess`: use one of listops",
        ),
        (
            &["--n", "4"],
            1,
            "window must be at most max_length 4, 8 is not: choose another length",
        ),
        (&["--b", "0"], 2, "has to be at least 1"),
    ];
    for (extra, status, words) in step {
        let mut args = vec!["bench", "step"];
        args.extend(*extra);
        refused(&place.run(&args), *status, words);
    }
    assert!(place.names().is_empty(), "{:?}", place.names());
}

fn refused(output: &Output, status: i32, words: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    assert!(message.contains(words), "{words:?} is not in {message}");
    assert_eq!(stdout(output), "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_measurement() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let place = Workplace::empty();
    let args = [
        "bench",
        "attention",
        "--device",
        "flex",
        "--path",
        "fused",
        "--pass",
        "forward",
        "--n",
        "64,128",
        "--out",
        "bench.svg",
    ];
    // Without the signal, an hour for each length.
    let mut child = place
        .command(&[&args[..], &["--seconds", "3600", "--repeats", "1000000000"]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ls-train starts");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.expect("kill runs").success());
    let words: Vec<String> = BufReader::new(child.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok)
        .collect();
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130), "{words:?}");
    assert!(place.names().is_empty(), "{:?}", place.names());
}
