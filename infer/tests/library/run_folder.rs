//! The run folder: complete or absent, never deleted, never written by two.

use std::fs;

use crate::common::{config, line, names, untrained_run};
use burn::tensor::Device;
use transformer_ls_infer::run::{RunError, RunFolder, Summary, versions, write_atomically};

#[test]
fn a_new_folder_holds_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs/one");
    let folder = RunFolder::create(&path, &config()).unwrap();
    assert_eq!(folder.config(), &config());
    assert_eq!(names(&path), [".lock", "config.json"]);
    assert_eq!(names(&dir.path().join("runs")), ["one"]);
    drop(folder);
    assert_eq!(RunFolder::open(&path).unwrap().config(), &config());
}

#[test]
fn an_existing_path_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("file", true), ("empty", false)] {
        let path = dir.path().join(name);
        match content {
            true => fs::write(&path, "precious").unwrap(),
            false => fs::create_dir(&path).unwrap(),
        }
        let error = RunFolder::create(&path, &config()).unwrap_err();
        assert!(matches!(error, RunError::Exists { .. }), "{error}");
        assert!(error.to_string().contains("`--resume`"), "{error}");
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("file")).unwrap(),
        "precious"
    );
    assert_eq!(names(dir.path()), ["empty", "file"]);
}

#[test]
fn a_missing_or_incomplete_folder_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let missing = RunFolder::open(&dir.path().join("nowhere")).unwrap_err();
    assert!(
        missing.to_string().starts_with("there is no run folder at"),
        "{missing}"
    );
    let empty = RunFolder::open(dir.path()).unwrap_err();
    assert!(
        empty.to_string().contains("it has no config.json"),
        "{empty}"
    );
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let file = RunFolder::open(&file).unwrap_err();
    assert!(file.to_string().contains("is not a run folder"), "{file}");

    let path = dir.path().join("run");
    let folder = RunFolder::create(&path, &config()).unwrap();
    let unweighted = folder.load_model(&Device::flex()).unwrap_err();
    assert!(
        unweighted
            .to_string()
            .contains("has no model.safetensors yet"),
        "{unweighted}"
    );
    drop(folder);
    let text = fs::read_to_string(path.join("config.json")).unwrap();
    fs::write(
        path.join("config.json"),
        text.replace("\"heads\": 2", "\"heads\": \"two\""),
    )
    .unwrap();
    let broken = RunFolder::open(&path).unwrap_err().to_string();
    assert!(broken.contains("config.json: `model.heads`:"), "{broken}");
}

#[test]
fn two_writers_are_kept_apart_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let first = RunFolder::create(&path, &config()).unwrap();
    let second = RunFolder::resume(&path).unwrap_err();
    assert!(matches!(second, RunError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("another process"), "{second}");
    RunFolder::open(&path).unwrap();
    drop(first);
    let third = RunFolder::resume(&path).unwrap();
    assert!(RunFolder::resume(&path).is_err());
    drop(third);
}

#[test]
fn files_are_replaced_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(dir.path()), ["file"]);
    let error = write_atomically(&dir.path().join("no/folder"), b"").unwrap_err();
    assert!(error.to_string().starts_with("could not write"), "{error}");
    // A folder in the way: the write fails, and leaves no litter.
    fs::create_dir_all(dir.path().join("taken/x")).unwrap();
    write_atomically(&dir.path().join("taken"), b"").unwrap_err();
    assert_eq!(names(dir.path()), ["file", "taken"]);
}

#[test]
fn metrics_are_cut_to_what_the_checkpoint_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&dir.path().join("run"), &config()).unwrap();
    assert_eq!(folder.read_metrics().unwrap(), []);
    let mut log = folder.metrics(0).unwrap();
    log.append(&line(10)).unwrap();
    let remembered = log.durable_bytes().unwrap();
    assert_eq!(
        remembered,
        fs::metadata(folder.metrics_path()).unwrap().len()
    );
    log.append(&line(20)).unwrap();
    drop(log);
    // A killed writer tears its last line.
    let mut text = fs::read_to_string(folder.metrics_path()).unwrap();
    text.push_str("{\"step\": 30, \"spl");
    fs::write(folder.metrics_path(), text).unwrap();
    assert_eq!(folder.read_metrics().unwrap(), [line(10), line(20)]);

    let mut log = folder.metrics(remembered).unwrap();
    log.append(&line(21)).unwrap();
    assert_eq!(folder.read_metrics().unwrap(), [line(10), line(21)]);
    assert_eq!(
        log.durable_bytes().unwrap(),
        fs::metadata(folder.metrics_path()).unwrap().len()
    );

    let cut = folder.metrics(1_000_000).unwrap_err();
    assert!(cut.to_string().contains("1000000"), "{cut}");
    assert_eq!(folder.read_metrics().unwrap(), [line(10), line(21)]);
}

#[test]
fn a_line_has_the_fields_that_readers_count_on() {
    let text = serde_json::to_value(line(3)).unwrap();
    let mut fields: Vec<&str> = text
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    let mut expected =
        "step split loss accuracy learning_rate tokens_per_second seconds device_bytes"
            .split(' ')
            .collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(text["split"], "dev");
}

#[test]
fn a_loss_that_is_no_number_survives_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&dir.path().join("run"), &config()).unwrap();
    let mut log = folder.metrics(0).unwrap();
    log.append(&transformer_ls_infer::run::MetricLine {
        loss: f64::NAN,
        ..line(1)
    })
    .unwrap();
    let text = fs::read_to_string(folder.metrics_path()).unwrap();
    assert!(text.contains("\"loss\":null"), "{text}");
    assert!(folder.read_metrics().unwrap()[0].loss.is_nan());
    fs::write(folder.metrics_path(), format!("{text}nonsense\n")).unwrap();
    let error = folder.read_metrics().unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl: line 2:"), "{error}");
}

#[test]
fn a_checkpoint_is_complete_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let folder = RunFolder::create(&path, &config()).unwrap();
    assert_eq!(folder.checkpoints().unwrap(), []);

    let writer = folder.begin_checkpoint(10).unwrap();
    fs::write(writer.path().join("state.json"), "ten").unwrap();
    assert_eq!(folder.checkpoints().unwrap(), []);
    let ten = writer.commit().unwrap();
    assert_eq!(
        (ten.step, ten.path.clone()),
        (10, path.join("checkpoint/10"))
    );
    assert_eq!(folder.checkpoints().unwrap(), [ten]);

    // One that fails half-way changes nothing.
    let writer = folder.begin_checkpoint(20).unwrap();
    fs::write(writer.path().join("state.json"), "twe").unwrap();
    drop(writer);
    assert_eq!(names(&path.join("checkpoint")), ["10"]);

    // Numbers are compared as numbers, and all but the last two go.
    folder.begin_checkpoint(90).unwrap().commit().unwrap();
    assert_eq!(names(&path.join("checkpoint")), ["10", "90"]);
    let writer = folder.begin_checkpoint(100).unwrap();
    fs::write(writer.path().join("state.json"), "hundred").unwrap();
    writer.commit().unwrap();
    assert_eq!(names(&path.join("checkpoint")), ["100", "90"]);

    // The same step again: replaced.
    let writer = folder.begin_checkpoint(100).unwrap();
    fs::write(writer.path().join("state.json"), "again").unwrap();
    let again = writer.commit().unwrap();
    assert_eq!(
        fs::read_to_string(again.path.join("state.json")).unwrap(),
        "again"
    );
    assert_eq!(names(&path.join("checkpoint")), ["100", "90"]);
}

#[test]
fn what_a_killed_process_left_is_cleaned_on_resume() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let folder = RunFolder::create(&path, &config()).unwrap();
    folder.begin_checkpoint(5).unwrap().commit().unwrap();
    // A kill runs no destructor.
    std::mem::forget(folder.begin_checkpoint(6).unwrap());
    fs::write(path.join(".unfinished-model.safetensors-1-0"), "half").unwrap();
    drop(folder);
    let found = RunFolder::open(&path).unwrap().checkpoints().unwrap();
    assert_eq!(found.iter().map(|it| it.step).collect::<Vec<_>>(), [5]);
    let folder = RunFolder::resume(&path).unwrap();
    assert_eq!(names(&path), [".lock", "checkpoint", "config.json"]);
    assert_eq!(names(&path.join("checkpoint")), ["5"]);
    drop(folder);
}

#[test]
fn the_summary_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&dir.path().join("run"), &config()).unwrap();
    assert_eq!(folder.read_summary().unwrap(), None);
    let summary = Summary {
        test_accuracy: Some(0.375),
        best_dev_loss: Some(1.75),
        best_dev_accuracy: Some(0.36),
        best_step: Some(2000),
        steps: 5000,
        wall_seconds: 12.5,
        peak_bytes: None,
        device: "flex".into(),
        adapter: "a processor".into(),
        command: "ls-train listops".into(),
        versions: versions(),
        seed: 7,
    };
    folder.write_summary(&summary).unwrap();
    assert_eq!(folder.read_summary().unwrap(), Some(summary));
    fs::write(folder.summary_path(), "{").unwrap();
    let error = folder.read_summary().unwrap_err().to_string();
    assert!(error.contains("summary.json: line 1:"), "{error}");
}

/// The recorded version is the one in the lock file.
#[test]
fn the_version_of_burn_is_the_locked_one() {
    let lock = include_str!("../../../Cargo.lock");
    let entry = format!("name = \"burn\"\nversion = \"{}\"", versions()["burn"]);
    assert!(lock.contains(&entry), "not in Cargo.lock: {entry}");
}

#[test]
fn weights_come_back_with_their_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let config = untrained_run(&path);
    let folder = RunFolder::open(&path).unwrap();
    folder.load_model(&Device::flex()).unwrap();
    let metadata = folder.weights_metadata().unwrap();
    assert_eq!(metadata["step"], "0");
    assert_eq!(metadata["dev_accuracy"], "0.125");
    assert_eq!(metadata["run_config"], config.to_json());
    assert_eq!(names(&path), [".lock", "config.json", "model.safetensors"]);
}
