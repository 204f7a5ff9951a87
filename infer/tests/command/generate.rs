//! `ls-infer generate` on a small untrained model.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use transformer_ls_datasets::corpus::Vocabulary;

use crate::common::{language_run, untrained_run};
use crate::mistakes::refused;
use crate::{ls_infer, ls_infer_with};

/// What the model knows.
const TEXT: &[u8] = b"abcdefghij .\n";

fn with_run() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    language_run(&dir.path().join("run"), Vocabulary::of(TEXT));
    dir
}

/// What is written with these options, 40 characters unless they say otherwise.
fn generated(dir: &Path, options: &[&str]) -> String {
    let base = ["generate", "run", "--device", "flex", "--length", "40"];
    let (code, out, errors) = ls_infer(dir, &[&base[..], options].concat());
    assert_eq!((code, errors.as_str()), (0, ""));
    out
}

#[test]
fn a_text_goes_on_from_its_prompt() {
    let dir = with_run();
    for options in [&["--greedy"][..], &["--seed", "3"], &[]] {
        let out = generated(dir.path(), &[options, &["--prompt", "a bad "]].concat());
        let written = out.strip_prefix("a bad ").unwrap();
        assert_eq!(written.len(), 40 + 1, "{out:?}");
        assert!(written.ends_with('\n'));
        assert!(written.bytes().all(|byte| TEXT.contains(&byte)), "{out:?}");
    }
}

#[test]
fn the_same_seed_writes_the_same() {
    let dir = with_run();
    let with = |options: &[&str]| generated(dir.path(), &[options, &["--prompt", "a"]].concat());
    assert_eq!(with(&["--seed", "3"]), with(&["--seed", "3"]));
    assert_ne!(with(&["--seed", "3"]), with(&["--seed", "4"]));
    assert_ne!(with(&[]), with(&[]));
    assert_eq!(with(&["--greedy"]), with(&["--greedy", "--seed", "4"]));
    // With one choice there is nothing to draw.
    assert_eq!(with(&["--greedy"]), with(&["--top-k", "1"]));
    assert_eq!(with(&["--greedy"]), with(&["--top-p", "0.000001"]));
    let all = with(&["--seed", "3", "--top-k", "1000", "--top-p", "1"]);
    assert_eq!(all, with(&["--seed", "3"]));
    let penalised = ["--greedy", "--repetition-penalty", "100"];
    assert_ne!(with(&penalised), with(&["--greedy"]));
}

#[test]
fn several_texts_are_what_each_would_be_alone() {
    let dir = with_run();
    // Of other lengths, beyond a segment and a memory.
    let long = "abc de.".repeat(11);
    let prompts = ["a", "head", &long];
    let options = ["--seed", "5", "--count", "2"];
    let prompted: Vec<&str> = prompts.iter().flat_map(|p| ["--prompt", p]).collect();
    let all = [&options[..], &prompted].concat();
    let together = generated(dir.path(), &all);
    for size in ["1", "2", "4"] {
        let sized = [&all[..], &["--batch-size", size]].concat();
        assert_eq!(generated(dir.path(), &sized), together, "{size} at once");
    }
    let texts: Vec<&str> = together.split("==> ").skip(1).collect();
    assert_eq!(texts.len(), 6);
    let mut written = Vec::new();
    for (number, text) in (1..).zip(&texts) {
        let text = text.strip_prefix(&format!("{number} of 6 <==\n")).unwrap();
        let prompt = prompts[(number - 1) / 2];
        written.push(text.strip_prefix(prompt).unwrap());
    }
    assert_ne!(written[0], written[1]);
    // The first is what it is without the others.
    let alone = generated(dir.path(), &["--seed", "5", "--prompt", "a"]);
    assert_eq!(
        format!("a{}", written[0].strip_suffix('\n').unwrap()),
        alone
    );
}

#[test]
fn a_prompt_may_come_from_standard_input_or_not_at_all() {
    let dir = with_run();
    let base = [
        "generate", "run", "--device", "flex", "--length", "40", "--greedy",
    ];
    let with = |options: &[&str], input: &str| {
        let (code, out, errors) =
            ls_infer_with(dir.path(), &[&base[..], options].concat(), input, &[]);
        assert_eq!((code, errors.as_str()), (0, ""));
        out
    };
    let typed = with(&["--prompt", "a\nbad"], "");
    assert_eq!(with(&["--prompt", "-"], "a\nbad"), typed);
    assert_eq!(with(&["--prompt", "-"], "a\nbad\n"), typed);
    assert_eq!(with(&["--prompt", "-"], "a\nbad\r\n"), typed);
    // Nothing is after a line end.
    let nothing = with(&[], "");
    assert_eq!(format!("\n{nothing}"), with(&["--prompt", "\n"], ""));
    assert_eq!(with(&["--prompt", ""], ""), nothing);
}

/// The model that comes along, trained on English.
#[test]
fn without_a_run_english_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let written = || {
        let args = ["generate", "--prompt", "The ", "--length", "300"];
        let (code, out, errors) = ls_infer(
            dir.path(),
            &[&args[..], &["--seed", "1", "--device", "flex"]].concat(),
        );
        assert_eq!((code, errors.as_str()), (0, ""));
        out
    };
    let text = written();
    assert_eq!(text, written());
    assert!(
        text.starts_with("The ") && text.len() == 4 + 300 + 1,
        "{text}"
    );
    // Words and no noise: a fifth of English prose are these, and a random text has hardly any.
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let frequent = [
        "the", "and", "to", "of", "i", "you", "my", "a", "that", "in", "is", "not", "me", "it",
        "for", "with", "be", "his", "your", "this", "but", "he", "have", "as", "thou", "him", "so",
        "will", "what", "her", "no", "by", "all", "shall", "if", "are", "we", "thee", "our", "on",
        "now", "from", "at", "they", "she",
    ];
    let known = words
        .iter()
        .filter(|word| frequent.contains(&word.as_str()));
    assert!(5 * known.count() > words.len(), "{text}");
}

#[test]
fn a_file_of_weights_is_as_good_as_its_run() {
    let dir = with_run();
    let of = |run: &str| {
        let args = [
            "generate", run, "--device", "flex", "--length", "9", "--greedy",
        ];
        let (code, out, errors) = ls_infer(dir.path(), &args);
        assert_eq!((code, errors.as_str()), (0, ""));
        out
    };
    fs::copy(
        dir.path().join("run/model.safetensors"),
        dir.path().join("copy.safetensors"),
    )
    .unwrap();
    assert_eq!(of("copy.safetensors"), of("run"));
}

/// Bytes that are no UTF-8, and what a terminal would obey.
#[test]
fn what_is_written_is_safe_to_print() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = b"\x1b\xff\x80\xc3\xa9";
    language_run(&dir.path().join("run"), Vocabulary::of(bytes));
    let with = |options: &[&str]| {
        let base = ["generate", "run", "--device", "flex", "--seed", "1"];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ls-infer"))
            .current_dir(dir.path())
            .args(base)
            .args(["--temperature", "5", "--length", "200"])
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let raw = with(&["--raw"]);
    assert_eq!(raw.len(), 200);
    assert!(raw.iter().all(|byte| bytes.contains(byte)));
    assert!(std::str::from_utf8(&raw).is_err() && raw.contains(&0x1b));
    let safe = String::from_utf8(with(&[])).unwrap();
    let back = safe.strip_suffix('\n').unwrap().replace("\\u{1b}", "\x1b");
    let back = ["\\xff", "\\x80", "\\xc3", "\\xa9"]
        .iter()
        .fold(back, |text, name| text.replace(name, "?"));
    assert_eq!(back.len(), 200, "{safe:?}");
    assert!(!safe.contains('\x1b'));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let dir = with_run();
    untrained_run(&dir.path().join("listops"));
    let with = |args: &[&str]| {
        ls_infer(
            dir.path(),
            &[&["generate", "--device", "flex"], args].concat(),
        )
    };
    let prompt = "a é z z € ú Ŵ ŷ q";
    refused(
        with(&["run", "--prompt", prompt]),
        &[
            "the prompt has 'é' (character 3), 'z' (character 5), '€' (character 9), 'ú' (character 11), \
             'Ŵ' (character 13) and 2 more",
            "never seen: leave that out",
        ],
    );
    let two = with(&["run", "--prompt", "a", "--prompt", "az"]);
    refused(two, &["prompt 2 has 'z' (character 2), which"]);
    let twice = with(&["run", "--prompt", "-", "--prompt", "-"]);
    refused(twice, &["`--prompt -` a single time"]);
    refused(
        with(&["listops", "--prompt", "a"]),
        &["a run of the task listops", "name a run of `ls-train lm`"],
    );
    refused(
        with(&["listops/model.safetensors"]),
        &["a run of the task listops", "name a run of `ls-train lm`"],
    );
    refused(
        with(&["The cat"]),
        &["no run folder or file of weights at The cat", "--prompt"],
    );
    fs::write(dir.path().join("page.safetensors"), "<html>").unwrap();
    refused(with(&["page.safetensors"]), &["is a web page"]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    refused(with(&["empty"]), &["empty is not a run folder"]);
    let device = ls_infer(dir.path(), &["generate", "run", "--device", "tpu"]);
    refused(device, &["unknown device", "tpu", "auto"]);
    // Another kind of command for a language model.
    for command in [&["classify", "run", "3"][..], &["evaluate", "run"]] {
        refused(
            ls_infer(dir.path(), command),
            &["a language model's run", "`ls-infer generate`"],
        );
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let dir = with_run();
    for (option, value, words) in [
        ("--temperature", "0", "use --greedy"),
        ("--temperature", "-1", "has to be a number above 0"),
        ("--temperature", "inf", "has to be a number above 0"),
        ("--temperature", "warm", "has to be a number"),
        ("--top-p", "0", "has to be above 0 and at most 1"),
        ("--top-p", "1.01", "has to be above 0 and at most 1"),
        ("--top-p", "nan", "has to be above 0 and at most 1"),
        ("--top-k", "0", "has to be at least 1"),
        ("--repetition-penalty", "0.5", "has to be a number from 1"),
        ("--length", "0", "has to be at least 1"),
        ("--count", "none", "has to be a whole number"),
        ("--seed", "-1", "invalid"),
    ] {
        let option = format!("{option}={value}");
        let (code, out, errors) = ls_infer(dir.path(), &["generate", "run", &option]);
        assert_eq!((code, out.as_str()), (2, ""), "{option}: {errors}");
        assert!(errors.contains(words), "{option}: {errors}");
    }
    let both = ["generate", "run", "--greedy", "--temperature", "1"];
    let (code, _, errors) = ls_infer(dir.path(), &both);
    assert_eq!(code, 2);
    assert!(errors.contains("cannot be used with"), "{errors}");
}

/// Characters come before the text is complete; who has read enough may go, and who has seen enough
/// may interrupt.
#[cfg(unix)]
#[test]
fn characters_come_one_by_one_and_a_reader_may_leave() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let dir = with_run();
    let start = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ls-infer"))
            .current_dir(dir.path())
            .args(["generate", "run", "--device", "flex", "--prompt", "bad"])
            // More than any test waits for.
            .args(["--length", "1000000000", "--count", "2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut first = [0; 40];
        out.read_exact(&mut first).unwrap();
        assert!(first.starts_with(b"==> 1 of 2 <==\nbad"));
        assert!(child.try_wait().unwrap().is_none());
        (child, out)
    };
    let (child, out) = start();
    drop(out);
    let left = child.wait_with_output().unwrap();
    assert_eq!(left.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&left.stderr), "");

    let (child, _out) = start();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
