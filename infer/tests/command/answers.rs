//! `ls-infer` end to end, on a small untrained run.

use std::fs;
use std::path::Path;

use crate::common::untrained_run;
use crate::{ls_infer, ls_infer_with};
use serde_json::Value;

/// The JSON objects of an output, one a line.
fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn expressions_from_everywhere_get_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let expressions = [
        "[MAX 2 9 [MIN 4 7] 0]",
        "5",
        "[SM 1 2 3]",
        "[MED 4 5 6 ]",
        "[MIN 1 [MAX 2 3]]",
    ];
    let mut args = vec!["classify", "run", "--json", "--device", "flex"];
    args.extend(expressions);
    let (code, from_arguments, errors) = ls_infer(dir.path(), &args);
    assert_eq!(code, 0, "{errors}");
    let answers = objects(&from_arguments);
    assert_eq!(answers.len(), 5);
    for (answer, expression) in answers.iter().zip(expressions) {
        assert_eq!(answer["input"], expression);
        let probabilities: Vec<f64> = answer["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_f64().unwrap())
            .collect();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        let label = answer["label"].as_u64().unwrap() as usize;
        assert!(probabilities.iter().all(|&p| p <= probabilities[label]));
        assert_eq!(answer.as_object().unwrap().len(), 3);
    }
    let text = expressions.join("\n\n") + "\n";
    fs::write(dir.path().join("list.txt"), &text).unwrap();
    let same = |args: &[&str], input: &str| {
        let (code, out, errors) = ls_infer_with(dir.path(), args, input, &[]);
        assert_eq!(code, 0, "{errors}");
        for (a, b) in objects(&out).iter().zip(&answers) {
            assert_eq!((&a["input"], &a["label"]), (&b["input"], &b["label"]));
        }
        assert_eq!(objects(&out).len(), 5);
    };
    let base = ["classify", "--json", "--device", "flex", "--run", "run"];
    same(
        &[&base[..], &["--file", "list.txt", "--batch-size", "2"]].concat(),
        "",
    );
    same(&[&base[..], &["--file", "-"]].concat(), &text);
    same(&base, &text);
    same(&[&base[..], &expressions].concat(), "");

    let (code, out, _) = ls_infer(dir.path(), &["classify", "run", "5", "--device", "flex"]);
    assert_eq!(code, 0);
    let label = answers[1]["label"].to_string();
    assert!(
        out.starts_with(&format!("{label}  probabilities 0=0.")),
        "{out}"
    );
    assert!(out.contains(&format!(" {label}=0.")), "{out}");
    assert_eq!(out.lines().count(), 1);
}

#[test]
fn bad_expressions_are_named_and_the_good_ones_answered() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let (code, out, errors) = ls_infer(
        dir.path(),
        &[
            "classify",
            "run",
            "--json",
            "--device",
            "flex",
            "[MAX 1 2]",
            "[MAX 1",
            "[AVG 1 2]",
            "3",
        ],
    );
    assert_eq!(code, 1);
    let answered: Vec<Value> = objects(&out);
    assert_eq!(answered.len(), 2);
    assert_eq!(answered[1]["input"], "3");
    let lines: Vec<&str> = errors.lines().collect();
    assert!(lines[0].starts_with("error: input 2: "), "{errors}");
    assert!(lines[1].starts_with("error: input 3: "), "{errors}");
    assert!(lines[1].contains("AVG"), "{errors}");
    assert_eq!(lines[2], "error: 2 of 4 expressions could not be answered");

    fs::write(
        dir.path().join("list.txt"),
        b"[MAX 1 2]\n\n12x\n\xff\xfe\n4\n",
    )
    .unwrap();
    let (code, out, errors) = ls_infer(
        dir.path(),
        &["classify", "run", "--device", "flex", "--file", "list.txt"],
    );
    assert_eq!((code, out.lines().count()), (1, 2), "{errors}");
    assert!(errors.contains("error: list.txt, line 3: "), "{errors}");
    assert!(
        errors.contains("error: list.txt, line 4: the line is not UTF-8"),
        "{errors}"
    );

    let (code, _, errors) = ls_infer_with(
        dir.path(),
        &["classify", "run", "--device", "flex"],
        "\nbad\n",
        &[],
    );
    assert_eq!(code, 1);
    assert!(
        errors.starts_with("error: standard input, line 2: "),
        "{errors}"
    );
    // Nothing to answer is no error.
    let (code, out, errors) = ls_infer(dir.path(), &["classify", "run", "--device", "flex"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(errors.contains("no expression"), "{errors}");
}

#[test]
fn the_shipped_model_answers_where_no_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, errors) = ls_infer(dir.path(), &["classify", "--json", "[MAX 2 9]"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(objects(&out)[0]["input"], "[MAX 2 9]");
    // A mistyped run is taken for an expression, and the sentence says so.
    let (code, _, errors) = ls_infer(dir.path(), &["classify", "runs/typo", "[MAX 2 9]"]);
    assert_eq!(code, 1);
    assert!(errors.contains("meant to be a run folder"), "{errors}");
}

#[test]
fn mistakes_are_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::create_dir(dir.path().join("unweighted")).unwrap();
    fs::copy(
        dir.path().join("run/config.json"),
        dir.path().join("unweighted/config.json"),
    )
    .unwrap();
    let flex = ["--device", "flex"];
    for (args, expected) in [
        (
            vec!["classify", "--run", "nowhere", "5"],
            "there is no run folder at nowhere",
        ),
        (
            vec!["classify", "empty", "5"],
            "empty is not a run folder: it has no config.json",
        ),
        (
            vec!["classify", "unweighted", "5"],
            "has no model.safetensors yet",
        ),
        (
            vec!["classify", "run", "--file", "none.txt"],
            "could not read none.txt",
        ),
        (
            vec!["evaluate", "nowhere"],
            "there is no run folder at nowhere",
        ),
        (vec!["evaluate", "run"], "ls-train generate listops"),
        (vec!["export", "nowhere", "x"], "there is no run folder"),
        (
            vec!["export", "run", "run/config.json"],
            "exists already: replace it with `--force`",
        ),
        (
            vec!["import", "none", "new"],
            "there is no weight file at none",
        ),
        (
            vec!["import", "run/config.json", "new"],
            "no safetensors weights",
        ),
    ] {
        let (code, out, errors) = ls_infer(dir.path(), &[&args[..], &flex].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {errors}");
        assert!(errors.starts_with("error: "), "{args:?}: {errors}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
    }
    for args in [
        vec!["classify", "--batch-size", "0", "5"],
        vec!["evaluate", "run", "--split", "val"],
        vec!["evaluate", "--split"],
        vec!["nothing"],
        vec![],
    ] {
        let (code, _, errors) = ls_infer(dir.path(), &args);
        assert_eq!(code, 2, "{args:?}: {errors}");
    }
    let (code, _, errors) = ls_infer(dir.path(), &["classify", "5", "--device", "gpu"]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("unknown device `gpu`: use one of auto, flex"),
        "{errors}"
    );
}

/// A data set of five small expressions.
fn write_data(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let rows = [
        ("[MAX 1 2 ]", 2),
        ("[MIN 3 [SM 4 5 ] ]", 3),
        ("[MED 1 2 3 ]", 2),
        ("[SM 9 9 ]", 8),
        ("[MAX 0 7 ]", 7),
    ];
    let text: String = rows.iter().map(|(e, v)| format!("{e}\t{v}\n")).collect();
    for name in ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"] {
        fs::write(dir.join(name), format!("Source\tTarget\n{text}")).unwrap();
    }
}

#[test]
fn a_run_is_evaluated_exported_and_imported() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    write_data(&dir.path().join("lists"));
    let evaluate = |run: &str, device: &str| {
        let (code, out, errors) = ls_infer(
            dir.path(),
            &[
                "evaluate", run, "--split", "dev", "--data", "lists", "--json", "--device", device,
            ],
        );
        assert_eq!(code, 0, "{errors}");
        objects(&out).remove(0)
    };
    let first = evaluate("run", "flex");
    assert_eq!(first["samples"], 5);
    assert_eq!(first["split"], "dev");
    assert_eq!(first["device"], "flex");
    let loss = first["loss"].as_f64().unwrap();
    // An untrained model is about as good as ten equal probabilities.
    assert!((loss - 10f64.ln()).abs() < 1.0, "{loss}");
    let other = evaluate("run", "ndarray");
    assert!((other["loss"].as_f64().unwrap() - loss).abs() < 1e-5);

    let (code, out, errors) = ls_infer(
        dir.path(),
        &[
            "evaluate",
            "run",
            "--data",
            "lists",
            "--device",
            "flex",
            "--batch-size",
            "2",
        ],
    );
    assert_eq!(code, 0, "{errors}");
    assert!(out.starts_with("run, test: accuracy "), "{out}");
    assert!(out.contains(" of 5), loss "), "{out}");

    let (code, out, errors) = ls_infer(dir.path(), &["export", "run", "out.safetensors"]);
    assert_eq!(code, 0, "{errors}");
    let sum = transformer_ls_infer::weights_file::sha256(
        &fs::read(dir.path().join("out.safetensors")).unwrap(),
    );
    assert_eq!(out, format!("{sum}  out.safetensors\n"));
    let (code, _, errors) = ls_infer(dir.path(), &["export", "run", "out.safetensors", "--force"]);
    assert_eq!(code, 0, "{errors}");

    let (code, out, errors) = ls_infer(dir.path(), &["import", "out.safetensors", "copies/one"]);
    assert_eq!((code, out.as_str()), (0, "copies/one\n"), "{errors}");
    assert_eq!(
        evaluate("copies/one", "flex")["loss"].as_f64().unwrap(),
        loss
    );
    let (code, _, errors) = ls_infer(dir.path(), &["import", "out.safetensors", "copies/one"]);
    assert_eq!(code, 1);
    assert!(errors.contains("copies/one exists already"), "{errors}");

    // The preset's model is another one, and the tensors that differ are named.
    for (option, words) in [
        (["--preset", "listops"], "another model"),
        (
            ["--preset", "listop"],
            "no preset `listop`: use one of listops-values, listops, ",
        ),
        (["--set", "widow=3"], "model.window"),
    ] {
        let args = [&["import", "out.safetensors", "copies/two"], &option[..]].concat();
        let (code, _, errors) = ls_infer(dir.path(), &args);
        assert_eq!(code, 1);
        assert!(errors.contains(words), "{errors}");
        assert!(!dir.path().join("copies/two").exists());
    }
}

/// The help names the devices of this build, and no others.
#[test]
fn help_names_the_devices_of_this_build() {
    let dir = tempfile::tempdir().unwrap();
    let (code, help, _) = ls_infer(dir.path(), &["classify", "-h"]);
    assert_eq!(code, 0);
    let help: Vec<&str> = help.split_whitespace().collect();
    let names = transformer_ls_infer::device::names().join(", ");
    assert!(help.join(" ").contains(&format!("compute: {names} (")));
}
