//! `ls-infer score` on a small untrained model.

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::Value;
use tempfile::TempDir;
use transformer_ls_burn::Segment;
use transformer_ls_datasets::corpus::Vocabulary;
use transformer_ls_infer::language::LanguageRun;

use crate::common::{language_run, names, untrained_run};
use crate::mistakes::refused;
use crate::{ls_infer, ls_infer_with};

/// What the model knows.
const KNOWN: &str = "abcdefghij <>&.\né";

/// Several segments of 16, and a rest.
fn text() -> String {
    "a bad <head> & a café.\nabc de fgh\n".repeat(2) + "a jig"
}

fn with_text() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    language_run(&dir.path().join("run"), Vocabulary::of(KNOWN.as_bytes()));
    fs::write(dir.path().join("text.txt"), text()).unwrap();
    dir
}

fn score(dir: &Path, args: &[&str]) -> String {
    let base = ["score", "--device", "flex"];
    let (code, out, errors) = ls_infer(dir, &[&base[..], args].concat());
    assert_eq!((code, errors.as_str()), (0, ""));
    out
}

/// The lines of `--json`, and the last one, about all of the text.
fn lines(out: &str) -> (Vec<Value>, Value) {
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let last = lines.pop().unwrap();
    (lines, last)
}

/// `−log₂ p` of every byte but the first, from logits, in float64.
fn bits(run: &Path, text: &[u8]) -> Vec<f64> {
    let run = LanguageRun::open(run, &Device::flex()).unwrap();
    let ids = run.vocabulary.encode(text).unwrap();
    let mut memory = run.model.memory(1, run.memory);
    let mut bits = Vec::new();
    for start in (0..ids.len() - 1).step_by(run.segment) {
        let end = (start + run.segment).min(ids.len() - 1);
        let inputs: Vec<i32> = ids[start..end].iter().map(|&id| id.into()).collect();
        let inputs = TensorData::new(inputs, [1, end - start]);
        let read = run.model.forward(Segment {
            tokens: Tensor::<2, Int>::from_data(inputs, &Device::flex()),
            memory,
            dropout_seed: None,
        });
        memory = read.memory;
        let logits: Vec<f32> = read.logits.into_data().try_to_vec_as().unwrap();
        for (row, &id) in logits.chunks(run.vocabulary.len()).zip(&ids[start + 1..]) {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            bits.push(sum.log2() - f64::from(row[usize::from(id)]) / std::f64::consts::LN_2);
        }
    }
    bits
}

#[test]
fn every_byte_but_the_first_is_scored_once() {
    let dir = with_text();
    let text = text();
    let wanted = bits(&dir.path().join("run"), text.as_bytes());
    assert_eq!(wanted.len(), text.len() - 1);
    let out = score(dir.path(), &["run", "text.txt", "--json"]);
    let (bytes, all) = lines(&out);
    assert_eq!(bytes.len(), wanted.len());
    for (index, (line, wanted)) in bytes.iter().zip(&wanted).enumerate() {
        let at = index + 1;
        assert_eq!(line["at"], at);
        assert_eq!(line["byte"], text.as_bytes()[at]);
        let found = line["bits"].as_f64().unwrap();
        assert!((found - wanted).abs() < 1e-4, "{at}: {found} {wanted}");
        // What is guessed costs no more than what came, and the same if it is that.
        let guesses = line["guesses"].as_array().unwrap();
        assert_eq!(guesses.len(), 3);
        let best = -guesses[0]["probability"].as_f64().unwrap().log2();
        assert!(best <= found + 1e-4, "{at}: {line}");
        if guesses[0]["byte"] == line["byte"] {
            assert!((best - found).abs() < 1e-4, "{at}: {line}");
        }
    }
    let sum: f64 = wanted.iter().sum();
    assert_eq!(all["scored"], wanted.len());
    assert_eq!(all["bytes"], text.len());
    assert_eq!(all["run"], "run");
    let mean = all["bits_per_character"].as_f64().unwrap();
    assert!((mean - sum / wanted.len() as f64).abs() < 1e-4);

    // The same for people, in a pipe, and through standard input.
    let out = score(dir.path(), &["run", "text.txt"]);
    let start = format!(
        "text.txt: {mean:.4} bits per character ({} of ",
        wanted.len()
    );
    assert!(out.starts_with(&start), "{out}");
    assert_eq!(out.lines().count(), 1);
    let args = ["score", "run", "-", "--device", "flex"];
    let (code, out, errors) = ls_infer_with(dir.path(), &args, &text, &[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(
        out.starts_with(&format!("standard input: {mean:.4} bits")),
        "{out}"
    );
}

/// What a model writes greedily is what it expects, also when it reads it whole segments at a time.
#[test]
fn a_greedy_text_is_as_expected() {
    let dir = with_text();
    let args = [
        "generate", "run", "--device", "flex", "--greedy", "--length", "100", "--raw", "--prompt",
        "a",
    ];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ls-infer"))
        .current_dir(dir.path())
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 101);
    fs::write(dir.path().join("greedy.txt"), &output.stdout).unwrap();
    let (bytes, greedy) = lines(&score(dir.path(), &["run", "greedy.txt", "--json"]));
    for line in &bytes {
        assert_eq!(line["byte"], line["guesses"][0]["byte"], "{line}");
    }
    let (_, other) = lines(&score(dir.path(), &["run", "text.txt", "--json"]));
    let of = |line: &Value| line["bits_per_character"].as_f64().unwrap();
    assert!(of(&greedy) < of(&other) - 1.0, "{greedy} {other}");
}

#[test]
fn colours_are_for_terminals_and_take_nothing_away() {
    let dir = with_text();
    let plain = score(dir.path(), &["run", "text.txt"]);
    assert!(!plain.contains('\x1b'));
    let coloured = score(dir.path(), &["run", "text.txt", "--color", "always"]);
    assert!(coloured.contains("\x1b[38;5;16;48;5;"), "{coloured:?}");
    // Every colour is put off again before the next.
    let mut shown = String::new();
    for (index, part) in coloured.split("\x1b[").enumerate() {
        let (code, rest) = match index {
            0 => ("", part),
            _ => part.split_once('m').unwrap(),
        };
        assert_eq!(code == "0" || code.is_empty(), index % 2 == 0, "{part:?}");
        shown += rest;
    }
    let shown = shown.replace('↵', "");
    assert!(shown.starts_with(&text()), "{shown:?}");
    assert!(shown.lines().last().unwrap().starts_with("text.txt: "));
    // JSON stays JSON.
    lines(&score(
        dir.path(),
        &["run", "text.txt", "--json", "--color", "always"],
    ));
}

/// On a terminal text is coloured, unless NO_COLOR is set.
#[cfg(target_os = "linux")]
#[test]
fn no_color_is_respected_on_a_terminal() {
    let dir = with_text();
    let on_terminal = |env: &str| {
        let command = format!(
            "{env} {} score run text.txt --device flex",
            env!("CARGO_BIN_EXE_ls-infer")
        );
        let output = std::process::Command::new("script")
            .current_dir(dir.path())
            .args(["-qec", &command, "/dev/null"])
            .output();
        output
            .ok()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(coloured) = on_terminal("") else {
        eprintln!("NOT TESTED: this machine has no `script`");
        return;
    };
    let background = "48;5;";
    assert!(coloured.contains(background), "{coloured:?}");
    assert!(on_terminal("NO_COLOR=").unwrap().contains(background));
    let plain = on_terminal("NO_COLOR=1").unwrap();
    assert!(
        !plain.contains(background) && plain.contains("bits per character"),
        "{plain:?}"
    );
}

#[test]
fn a_page_is_written_once_and_whole() {
    let dir = with_text();
    let out = score(dir.path(), &["run", "text.txt", "--html", "page.html"]);
    assert!(out.contains("bits per character"), "{out}");
    let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let characters = text().chars().count();
    assert_eq!(page.matches(" data-t=").count(), characters);
    assert!(
        page.contains("&lt;</i>") && page.contains(">é</i>"),
        "{page}"
    );
    assert_eq!(names(dir.path()), ["page.html", "run", "text.txt"]);

    let again = [
        "score",
        "run",
        "text.txt",
        "--html",
        "page.html",
        "--device",
        "flex",
    ];
    fs::write(dir.path().join("page.html"), "mine").unwrap();
    refused(
        ls_infer(dir.path(), &again),
        &["page.html exists already", "`--force`"],
    );
    let mine = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert_eq!(mine, "mine");
    score(
        dir.path(),
        &["run", "text.txt", "--html", "page.html", "--force"],
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("page.html")).unwrap(),
        page
    );
    assert_eq!(names(dir.path()), ["page.html", "run", "text.txt"]);
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let dir = with_text();
    untrained_run(&dir.path().join("listops"));
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("empty.txt", b"");
    write("one.txt", b"a");
    write("photo.txt", b"\xff\xd8\xff\xe0JFIF");
    write("data.txt", b"a\0\x01b");
    write("other.txt", b"a bad\nquiz");
    let with =
        |args: &[&str]| ls_infer(dir.path(), &[&["score", "--device", "flex"], args].concat());
    refused(
        with(&["run", "none.txt"]),
        &["there is no file none.txt: check"],
    );
    refused(with(&["run", "empty.txt"]), &["empty.txt is empty: name"]);
    refused(with(&["run", "one.txt"]), &["one.txt has 1 byte"]);
    refused(with(&["run", "."]), &[". is a folder: name the file"]);
    // Only a run was given.
    refused(
        with(&["run"]),
        &["run is a folder", "ls-infer score RUN FILE"],
    );
    refused(
        with(&["run", "photo.txt"]),
        &["photo.txt is a JPEG, not text"],
    );
    refused(
        with(&["run", "run/model.safetensors"]),
        &["a safetensors file, not text"],
    );
    refused(
        with(&["run", "data.txt"]),
        &["data.txt: ", "byte 0", "at byte 2"],
    );
    refused(
        with(&["run", "other.txt"]),
        &["other.txt: 'q'", "at byte 7 in line 2", "replace it"],
    );
    refused(
        with(&["listops", "text.txt"]),
        &["a run of the task listops", "name a run of `ls-train lm`"],
    );
    refused(
        with(&["none", "text.txt"]),
        &["no run folder or file of weights at none", "RUN FILE"],
    );
    let html = |out: &str| with(&["run", "text.txt", "--html", out]);
    refused(html("run"), &["run is a folder: name a file"]);
    refused(html("none/page.html"), &["could not write none/page.html"]);
    let device = ls_infer(dir.path(), &["score", "run", "text.txt", "--device", "tpu"]);
    refused(device, &["unknown device", "tpu", "auto"]);
    let before = ["data.txt", "empty.txt", "listops", "one.txt", "other.txt"];
    let after = ["photo.txt", "run", "text.txt"];
    assert_eq!(names(dir.path()), [&before[..], &after].concat());
}

/// A model whose answers are no numbers has no score, and leaves no page.
#[test]
fn answers_that_are_no_numbers_are_no_result() {
    let dir = with_text();
    let path = dir.path().join("run/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for number in bytes[header..].chunks_exact_mut(4) {
        number.copy_from_slice(&3e38_f32.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let flex = ["--device", "flex"];
    let score = [
        &["score", "run", "text.txt", "--html", "page.html"][..],
        &flex,
    ]
    .concat();
    refused(ls_infer(dir.path(), &score), &["not a number (NaN)"]);
    assert!(!dir.path().join("page.html").exists());
    // What was written before is the prompt.
    let generate = [&["generate", "run", "--greedy"][..], &flex].concat();
    let (code, out, errors) = ls_infer(dir.path(), &generate);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("not a number (NaN)"), "{errors}");
}
