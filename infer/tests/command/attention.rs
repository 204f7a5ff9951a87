//! `ls-infer attention`: what it writes, and what it refuses.

use std::fs;
use std::path::Path;

use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::corpus::Vocabulary;
use transformer_ls_datasets::png;

use crate::common::{config, config_of, language_run, names, untrained_run, untrained_run_of};
use crate::ls_infer;
use crate::mistakes::refused;

const EXPRESSION: &str = "[MAX 2 9 [MIN 4 7] 0]";
const TOKENS: usize = 9;

fn attention(dir: &Path, args: &[&str]) -> (i32, String, String) {
    ls_infer(
        dir,
        &[&["attention"][..], args, &["--device", "flex"]].concat(),
    )
}

fn succeeds(dir: &Path, args: &[&str]) {
    let (code, _, errors) = attention(dir, args);
    assert_eq!(code, 0, "{args:?}: {errors}");
}

/// Width and height of a PNG.
fn size(file: &Path) -> [u32; 2] {
    let bytes = fs::read(file).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

#[test]
fn a_picture_has_a_panel_for_each_head() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let draw = |name: &str, args: &[&str]| {
        let args = [&["run", EXPRESSION, "-o", name][..], args].concat();
        succeeds(dir.path(), &args);
        dir.path().join(name)
    };
    let [width, height] = size(&draw("all.png", &[]));
    let [alone_width, alone_height] = size(&draw("one.png", &["--layer", "1"]));
    // Two pixels for a point; the narrowest picture is wide enough for two small panels.
    assert_eq!((width, alone_width), (2 * 672, 2 * 672));
    // The second layer has a class row, so its panels are higher than the first's by themselves.
    assert!(
        height > 2 * alone_height - 2 * 200,
        "{height}, {alone_height}"
    );
    let text = fs::read_to_string(draw("all.svg", &[])).unwrap();
    for words in [
        "layer 1, head 1",
        "layer 2, head 2",
        "run: class ",
        EXPRESSION,
        "landmarks",
    ] {
        assert!(text.contains(words), "{words}");
    }
    let text = fs::read_to_string(draw("one.svg", &["--layer", "2", "--head", "1"])).unwrap();
    assert!(text.contains("layer 2, head 1") && !text.contains("layer 2, head 2"));
    assert!(!text.contains("layer 1"));
    // Longer inputs are shown in blocks.
    let long = format!("[SM {}]", "1 ".repeat(110));
    let mut config = config();
    config.model.encoder.embedding.max_length = 200;
    untrained_run_of(&dir.path().join("long"), config);
    succeeds(dir.path(), &["long", &long, "-o", "long.svg"]);
    let text = fs::read_to_string(dir.path().join("long.svg")).unwrap();
    assert!(text.contains("A cell is the largest share of 2 tokens."));
}

#[test]
fn the_numbers_are_shares() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    succeeds(
        dir.path(),
        &["run", EXPRESSION, "--raw", "maps.safetensors"],
    );
    let bytes = fs::read(dir.path().join("maps.safetensors")).unwrap();
    let state = StateDict::from_safetensors(&bytes).unwrap();
    let numbers = |name: &str, shape: &[usize]| -> Vec<f32> {
        let data = &state.tensors[name];
        assert_eq!(data.shape().to_vec(), shape, "{name}");
        data.iter::<f32>().collect()
    };
    assert_eq!(state.tensors.len(), 7);
    // The last layer has the class row, which is a landmark too.
    for (layer, landmarks) in [(0, 4), (1, 5)] {
        let window = numbers(&format!("layers.{layer}.window"), &[2, TOKENS, TOKENS]);
        let shares = numbers(
            &format!("layers.{layer}.landmarks"),
            &[2, TOKENS, landmarks],
        );
        let rows = window.chunks(TOKENS).zip(shares.chunks(landmarks));
        for (window, landmarks) in rows {
            let sum: f32 = window.iter().chain(landmarks).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
        let weights = numbers(&format!("layers.{layer}.projection"), &[2, 4, TOKENS]);
        for weights in weights.chunks(TOKENS) {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
    let class_row = numbers("layers.1.class_row", &[2, 1 + TOKENS]);
    for shares in class_row.chunks(1 + TOKENS) {
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let metadata = StateDict::metadata(&bytes).unwrap();
    let words = r#"["[MAX","2","9","[MIN","4","7","]","0","]"]"#;
    assert_eq!(metadata["tokens"], words);
    assert_eq!(
        (&*metadata["model"], &*metadata["input"]),
        ("run", EXPRESSION)
    );
    let (_, answer, _) = ls_infer(
        dir.path(),
        &["classify", "run", EXPRESSION, "--device", "flex"],
    );
    assert!(answer.starts_with(&metadata["class"]), "{answer}");
}

#[test]
fn images_are_shown_as_images() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run_of(
        &dir.path().join("run"),
        config_of("pathfinder32", 256, 1024),
    );
    let pixels: Vec<u8> = (0..1024).map(|place| (place * 7 % 256) as u8).collect();
    fs::write(dir.path().join("image.png"), png::encode(32, 32, &pixels)).unwrap();
    succeeds(dir.path(), &["run", "image.png", "-o", "map.svg"]);
    let text = fs::read_to_string(dir.path().join("map.svg")).unwrap();
    for words in [
        "input",
        "window",
        "landmark 4",
        "class row",
        "layer 2, head 2",
    ] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn either_document_of_a_pair_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_of("retrieval", 257, 64);
    config.model.pair = true;
    untrained_run_of(&dir.path().join("run"), config);
    let words = |args: &[&str]| {
        let args = [&["run", "ab\tc d", "--force", "--raw", "maps"][..], args].concat();
        succeeds(dir.path(), &args);
        let bytes = fs::read(dir.path().join("maps")).unwrap();
        StateDict::metadata(&bytes).unwrap()["tokens"].clone()
    };
    assert_eq!(words(&[]), r#"["a","b"]"#);
    assert_eq!(words(&["--second"]), r#"["c","␣","d"]"#);
}

#[test]
fn what_cannot_be_shown_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    untrained_run(&path("run"));
    let mut dense = config();
    dense.model.encoder.block.attention = dense
        .model
        .encoder
        .block
        .attention
        .to_kind("dense")
        .unwrap();
    untrained_run_of(&path("dense"), dense);
    untrained_run_of(&path("path-x"), config_of("path-x", 256, 128 * 128));
    language_run(&path("language"), Vocabulary::of(b"abc"));
    let image = png::encode(128, 128, &[9; 128 * 128]);
    fs::write(path("image.png"), image).unwrap();
    fs::write(path("old.png"), "old").unwrap();
    let before = names(dir.path());
    let out = ["-o", "map.png"];
    let cases: [(&[&str], &[&str], &str); 11] = [
        (&["run", EXPRESSION], &[], "name a picture with --out"),
        (
            &["run", EXPRESSION],
            &["-o", "map.jpg"],
            "neither in .svg nor in .png",
        ),
        (
            &["run", EXPRESSION],
            &["-o", "old.png"],
            "exists already: replace it with `--force`",
        ),
        (
            &["run", EXPRESSION],
            &["-o", "none/map.png"],
            "a folder that exists",
        ),
        (
            &["nowhere", EXPRESSION],
            &out,
            "there is no run folder at nowhere",
        ),
        (&["run"], &out, "there is no input"),
        (&["run", "[MAX 1"], &out, "ends too early"),
        (&["dense", EXPRESSION], &out, "of the kind `dense`"),
        (
            &["path-x", "image.png"],
            &out,
            "16384 tokens, and at most 4096 are shown",
        ),
        (&["language", "abc"], &out, "a language model's run"),
        (&["run", EXPRESSION, "--second"], &out, "no second document"),
    ];
    for (input, out, words) in cases {
        refused(attention(dir.path(), &[input, out].concat()), &[words]);
    }
    for (part, asked) in [("layer", "3"), ("head", "9")] {
        let option = format!("--{part}={asked}");
        let args = [&["run", EXPRESSION, &option][..], &out].concat();
        let words = format!("the model has no {part} {asked}: it has 2");
        refused(attention(dir.path(), &args), &[&words]);
    }
    assert_eq!(names(dir.path()), before);
    assert_eq!(fs::read(path("old.png")).unwrap(), b"old");
    succeeds(dir.path(), &["run", EXPRESSION, "-o", "old.png", "--force"]);
    size(&path("old.png"));
}
