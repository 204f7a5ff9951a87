//! The model that comes with the crate.

use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;
use transformer_ls_infer::evaluate::best_class;
use transformer_ls_infer::language::costs;
use transformer_ls_infer::predict::Predictor;
use transformer_ls_infer::{shipped, weights_file};

/// A line of `ls-infer classify --json`.
#[derive(Deserialize)]
struct Answer {
    input: String,
    label: usize,
    probabilities: Vec<f32>,
}

#[test]
fn it_answers_as_recorded() {
    let predictor = Predictor::shipped(&Device::flex()).unwrap();
    let recorded = include_str!("../data/shipped_answers.jsonl");
    assert!(recorded.lines().count() >= 5);
    for line in recorded.lines() {
        let answer: Answer = serde_json::from_str(line).unwrap();
        let sample = predictor.encode(&answer.input).unwrap();
        let rows = predictor.probabilities(&[sample]).unwrap();
        assert_eq!(best_class(&rows[0]), Some(answer.label), "{}", answer.input);
        for (now, then) in rows[0].iter().zip(&answer.probabilities) {
            assert!((now - then).abs() < 1e-4, "{}: {now} {then}", answer.input);
        }
    }
}

#[test]
fn its_files_are_the_ones_of_the_card() {
    assert!(shipped::WEIGHTS.len() < 2_000_000);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let listed: Vec<(&str, &str)> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .collect();
    let names: Vec<&str> = listed.iter().map(|(_, name)| *name).collect();
    assert_eq!(
        names,
        ["listops.json", "listops.safetensors", "text.safetensors"]
    );
    for (sum, name) in listed {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(weights_file::sha256(&bytes), sum, "{name}");
    }
    for (name, bytes) in [("listops.md", shipped::WEIGHTS), ("text.md", shipped::TEXT)] {
        let card = std::fs::read_to_string(folder.join(name)).unwrap();
        let weights = weights_file::sha256(bytes);
        assert!(card.contains(&weights), "{name} lacks {weights}");
    }
}

#[test]
fn its_configuration_is_whole() {
    let config = shipped::config().unwrap();
    config.validate_for_inference().unwrap();
    assert_eq!(config.task, "listops");
    // Where `ls-infer evaluate` looks.
    assert_eq!(config.data.dir, Path::new("data/listops"));
}

/// Where a language model is shipped, it is small, whole, and knows how English begins.
#[test]
fn the_language_model_is_whole() {
    let Some(run) = shipped::text(&Device::flex()).unwrap() else {
        eprintln!("NOT TESTED: this build ships no language model");
        return;
    };
    assert!(shipped::TEXT.len() < 4_000_000);
    run.vocabulary.encode(b"The ").unwrap();
    let ids = run
        .vocabulary
        .encode(b"The number of the first one is the same as that of the other.");
    let mut bits = 0.0;
    costs(&run, &ids.unwrap(), |costs| {
        bits += costs.iter().map(|cost| cost.bits).sum::<f64>();
        anyhow::Ok(())
    })
    .unwrap();
    // Letters alone would cost 4.7 each.
    assert!(bits / 60.0 < 3.5, "{bits}");
}
