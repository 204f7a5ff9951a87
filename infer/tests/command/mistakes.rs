//! Files, names and settings as users really have them.

use std::fs;

use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::png;

use crate::common::{config_of, untrained_run, untrained_run_of};
use crate::{ls_infer, ls_infer_with};

/// Exit status 1, nothing on the standard output, one sentence that has these words.
pub fn refused((code, out, errors): (i32, String, String), words: &[&str]) {
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in {errors:?}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let marked = |name: &str, text: &str| {
        fs::write(dir.path().join(name), format!("\u{feff}{text}")).unwrap();
    };
    marked("list.txt", "[MAX 1 2]\n3\n");
    let classify = ["classify", "run", "--device", "flex"];
    let (_, plain, _) = ls_infer(dir.path(), &[&classify[..], &["[MAX 1 2]", "3"]].concat());
    let (code, read, errors) = ls_infer(
        dir.path(),
        &[&classify[..], &["--file", "list.txt"]].concat(),
    );
    assert_eq!((code, &read), (0, &plain), "{errors}");

    let config = fs::read_to_string(dir.path().join("run/config.json")).unwrap();
    marked("run/config.json", &config);
    let (code, read, errors) = ls_infer(dir.path(), &[&classify[..], &["[MAX 1 2]", "3"]].concat());
    assert_eq!((code, &read), (0, &plain), "{errors}");
}

#[test]
fn a_batch_of_nothing_and_an_attention_path_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let (code, _, errors) = ls_infer(dir.path(), &["evaluate", "run", "--batch-size", "0"]);
    assert_eq!(code, 2);
    assert!(errors.contains("has to be at least 1"), "{errors}");

    let ask = |value: &str| {
        let args = ["classify", "run", "--device", "flex", "3"];
        ls_infer_with(dir.path(), &args, "", &[("LS_ATTENTION", value)])
    };
    refused(
        ask("fast"),
        &[
            "LS_ATTENTION is `fast`",
            "set it to `plain` or `cooperative`",
        ],
    );
    for value in ["plain", "Plain", " PLAIN ", ""] {
        let (code, _, errors) = ask(value);
        assert_eq!(code, 0, "{value:?}: {errors}");
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_refused_at_once() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let odd = OsStr::from_bytes(b"od\xffd");
    let copied = fs::rename(dir.path().join("run"), dir.path().join(odd));
    if copied.is_err() {
        eprintln!("NOT TESTED: this file system takes no such names");
        return;
    }
    let with = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_ls-infer"))
            .current_dir(dir.path())
            .args(args)
            .arg(odd)
            .output()
            .unwrap()
    };
    for args in [
        &["classify", "--run"][..],
        &["classify"],
        &["attention", "5", "--out"],
        &["evaluate"],
        &["evaluate", "--data"],
        &["export"],
        &["import", "a.safetensors"],
        &["generate"],
        &["score"],
        &["score", "a.txt", "--html"],
    ] {
        let output = with(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(
            errors.contains("not UTF-8 text: rename"),
            "{args:?}: {errors}"
        );
    }
}

#[test]
fn a_picture_of_another_kind_is_called_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run_of(
        &dir.path().join("run"),
        config_of("pathfinder32", 256, 1024),
    );
    let ask = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        ls_infer(dir.path(), &["classify", "run", "--device", "flex", name])
    };
    let (code, _, errors) = ask("fits.png", &png::encode(32, 32, &[0; 1024]));
    assert_eq!(code, 0, "{errors}");
    let cases: [(&str, Vec<u8>, &str); 5] = [
        (
            "large.png",
            png::encode(64, 32, &[0; 2048]),
            "64 × 32 pixels, and the model takes 32 × 32",
        ),
        ("photo.png", b"\xff\xd8\xff\xe0JFIF".to_vec(), "is a JPEG"),
        (
            "page.png",
            b"<!DOCTYPE html><p>no</p>".to_vec(),
            "is a web page",
        ),
        ("empty.png", Vec::new(), "is empty"),
        ("noise.png", b"\x1b[31mnoise\n\n".to_vec(), "is no grey PNG"),
    ];
    for (name, bytes, words) in cases {
        let answer = ask(name, &bytes);
        assert!(!answer.2.contains("folder"), "{}", answer.2);
        refused(answer, &[name, words]);
    }
}

#[test]
fn long_names_are_written_like_short_ones() {
    let dir = tempfile::tempdir().unwrap();
    // As long as file systems take.
    let name = "ü".repeat(127);
    let run = dir.path().join(&name);
    untrained_run(&run);
    let file = "w".repeat(255);
    let (code, _, errors) = ls_infer(dir.path(), &["export", &name, &file]);
    assert_eq!(code, 0, "{errors}");
    let mut left: Vec<String> = crate::common::names(dir.path());
    left.retain(|found| *found != name && *found != file);
    assert_eq!(left, [] as [&str; 0]);
}

/// Weights that are numbers, and answers that are none.
#[test]
fn answers_that_are_no_numbers_are_no_result() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let path = dir.path().join("run/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for number in bytes[header..].chunks_exact_mut(4) {
        number.copy_from_slice(&3e38_f32.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    for name in ["train", "val", "test"] {
        let text = "Source\tTarget\n[MAX 1 2 ]\t2\n";
        fs::write(dir.path().join(format!("basic_{name}.tsv")), text).unwrap();
    }
    let flex = ["--device", "flex"];
    let evaluate = [&["evaluate", "run", "--data", "."][..], &flex].concat();
    refused(ls_infer(dir.path(), &evaluate), &["not a number (NaN)"]);
    let classify = [&["classify", "run", "[MAX 1 2]"][..], &flex].concat();
    refused(ls_infer(dir.path(), &classify), &["not a number (NaN)"]);
}

#[test]
fn an_import_takes_the_words_in_their_order_and_leaves_nothing_half_made() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let run = |args: &[&str]| ls_infer(dir.path(), args);
    let (code, _, errors) = run(&["export", "run", "a.safetensors"]);
    assert_eq!(code, 0, "{errors}");
    let own = "[MIN,[MAX,[MED,[SM,0,1,2,3,4,5,6,7,8,9,]";
    let swapped = own.replace("0,1", "1,0");
    let tensors = |run: &str| {
        let bytes = fs::read(dir.path().join(run).join("model.safetensors")).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[header..].to_vec()
    };
    fs::write(dir.path().join("words.txt"), swapped.replace(',', "\n")).unwrap();
    for (out, words) in [("own", own), ("other", &swapped), ("file", "words.txt")] {
        let (code, _, errors) = run(&["import", "a.safetensors", out, "--vocabulary", words]);
        assert_eq!(code, 0, "{errors}");
    }
    assert_eq!(tensors("own"), tensors("run"));
    assert_eq!(tensors("other"), tensors("file"));
    assert_ne!(tensors("other"), tensors("run"));

    let exists = run(&["import", "a.safetensors", "own"]);
    assert!(!exists.2.contains("--resume"), "{}", exists.2);
    refused(exists, &["own exists already: name another folder"]);
    refused(
        run(&["import", "a.safetensors", "new", "--vocabulary", "0,1"]),
        &["the vocabulary lacks"],
    );
    refused(
        run(&["import", "a.safetensors", "new", "--vocabulary", "none.txt"]),
        &["there is no file none.txt"],
    );
    fs::write(dir.path().join("page.pt"), "<html>\x1b[31m").unwrap();
    refused(run(&["import", "page.pt", "new"]), &["is a web page"]);
    let cut = fs::read(dir.path().join("a.safetensors")).unwrap();
    fs::write(dir.path().join("cut.safetensors"), &cut[..cut.len() / 2]).unwrap();
    refused(
        run(&["import", "cut.safetensors", "new"]),
        &["is cut short"],
    );
    assert!(!dir.path().join("new").exists());
}

/// A release's ListOps checkpoint does not say how its words are numbered.
#[test]
fn weights_whose_words_have_no_order_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let (code, _, errors) = ls_infer(dir.path(), &["export", "run", "ours.safetensors"]);
    assert_eq!(code, 0, "{errors}");
    // Exported weights say whose they are; a release's do not.
    let bytes = fs::read(dir.path().join("ours.safetensors")).unwrap();
    let state = StateDict::from_safetensors(&bytes).unwrap();
    let bare = state.to_safetensors(&Default::default()).unwrap();
    fs::write(dir.path().join("theirs.safetensors"), bare).unwrap();
    let config = ["--config", "run/config.json"];
    for (name, warned) in [("ours", false), ("theirs", true)] {
        let file = format!("{name}.safetensors");
        let args = [&["import", &file, name][..], &config].concat();
        let (code, out, errors) = ls_infer(dir.path(), &args);
        assert_eq!(code, 0, "{errors}");
        let warns = (out + &errors).contains("--vocabulary");
        assert_eq!(warns, warned, "{name}: {errors}");
    }
    let find = ["--vocabulary", "find", "--data", "none"];
    let args = [
        &["import", "theirs.safetensors", "found"][..],
        &config,
        &find,
    ]
    .concat();
    refused(ls_infer(dir.path(), &args), &["no listops data in none"]);
}

/// Whatever ends an import, the same command can be given again.
#[cfg(unix)]
#[test]
fn an_import_that_ended_badly_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let (code, _, errors) = ls_infer(dir.path(), &["export", "run", "a.safetensors"]);
    assert_eq!(code, 0, "{errors}");
    // Files end after 4 KiB: the system stops the program while it writes the weights.
    let ended = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$0\" import a.safetensors new"])
        .arg(env!("CARGO_BIN_EXE_ls-infer"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(!ended.status.success());
    assert!(!dir.path().join("new").exists());
    let (code, _, errors) = ls_infer(dir.path(), &["import", "a.safetensors", "new"]);
    assert_eq!(code, 0, "{errors}");
}
