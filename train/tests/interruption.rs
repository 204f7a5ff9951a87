//! Kills and Ctrl-C: a resumed run ends exactly as one that was never interrupted.

mod common;

use common::{Workplace, comparable, stderr, stdout};

const STEPS: &[&str] = &[
    "--steps",
    "40",
    "--set",
    "training.evaluate_every=4",
    "--set",
    "model.dropout=0.1",
    "--set",
    "model.attention_dropout=0.1",
];

#[test]
fn a_killed_run_resumes_to_the_same_weights_and_lines() {
    let place = Workplace::with_data(300);
    let whole = place.train("whole", STEPS);
    assert!(whole.status.success(), "{}", stderr(&whole));

    let mut child = place.spawn_training("killed", STEPS);
    place.wait_for_checkpoint("killed", 8);
    child.kill().expect("SIGKILL");
    let status = child.wait().expect("ended");
    assert!(!status.success(), "the run ended before it could be killed");
    assert!(place.folder("killed").read_summary().unwrap().is_none());
    // A second kill, past another checkpoint of the second session.
    let mut child = place
        .command(&["listops", "--out", "killed", "--resume"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ls-train starts");
    place.wait_for_checkpoint("killed", 20);
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");

    let resumed = place.resume("killed");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("going on from step"));
    assert_eq!(place.final_weights("whole"), place.final_weights("killed"));
    assert_eq!(
        comparable(&place.metrics("whole")),
        comparable(&place.metrics("killed"))
    );
    let (whole, killed) = (place.summary("whole"), place.summary("killed"));
    assert_eq!(whole.test_accuracy, killed.test_accuracy);
    assert_eq!(whole.best_step, killed.best_step);
    assert_eq!(place.best_weights("whole"), place.best_weights("killed"));
}

/// Everything that is off unless it is asked for.
const OPTIONS: &[&str] = &[
    "--set",
    "schedule=cosine",
    "--set",
    "accumulate=3",
    "--set",
    "clip_norm=0.5",
    "--set",
    "label_smoothing=0.1",
    "--set",
    "ema=0.9",
];

#[test]
fn with_every_option_on_a_killed_run_resumes_to_the_same_weights_and_lines() {
    let place = Workplace::with_data(300);
    let steps = &[STEPS, OPTIONS].concat();
    let whole = place.train("whole", steps);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let mut child = place.spawn_training("killed", steps);
    place.wait_for_checkpoint("killed", 12);
    child.kill().expect("SIGKILL");
    let status = child.wait().expect("ended");
    assert!(!status.success(), "the run ended before it could be killed");
    let resumed = place.resume("killed");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(place.final_weights("whole"), place.final_weights("killed"));
    assert_eq!(place.average("whole"), place.average("killed"));
    assert_ne!(place.average("whole"), place.final_weights("whole"));
    assert_eq!(
        comparable(&place.metrics("whole")),
        comparable(&place.metrics("killed"))
    );
    // And it is another run than one without them.
    let plain = place.train("plain", STEPS);
    assert!(plain.status.success(), "{}", stderr(&plain));
    assert_ne!(place.final_weights("plain"), place.final_weights("whole"));
}

#[test]
fn the_average_of_the_weights_is_what_is_evaluated_and_kept() {
    let place = Workplace::with_data(300);
    let steps = |stop: &'static str, more: &[&'static str]| {
        let every = [
            "--steps",
            "8",
            "--stop-after",
            stop,
            "--set",
            "evaluate_every=2",
        ];
        [&every[..], more].concat()
    };
    // The weights after one step and after two; averaging leaves the training itself alone.
    for (run, stop, more) in [
        ("one", "1", &[][..]),
        ("two", "2", &[]),
        ("mean", "2", &["--set", "ema=0.25"]),
    ] {
        let output = place.train(run, &steps(stop, more));
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(place.final_weights("two"), place.final_weights("mean"));
    let kept = |run: &str| numbers(&place.best_weights(run));
    // The only evaluation of `one` and of `two` is after their last step.
    let (one, two, mean) = (kept("one"), kept("two"), kept("mean"));
    assert!(one.len() > 1000 && one.len() == mean.len());
    for ((one, two), mean) in one.iter().zip(two).zip(mean) {
        let wanted = 0.25 * one + 0.75 * two;
        assert!(
            (mean - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3),
            "{mean}, {wanted}"
        );
    }
}

/// The numbers of a safetensors file's tensors, which are all float32.
fn numbers(bytes: &[u8]) -> Vec<f32> {
    let chunks = bytes.chunks_exact(4);
    chunks
        .map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()))
        .collect()
}

#[test]
fn metrics_hold_each_evaluation_once() {
    let place = Workplace::with_data(300);
    let mut child = place.spawn_training("run", STEPS);
    place.wait_for_checkpoint("run", 12);
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
    // What a kill between a line and its checkpoint would leave behind.
    use std::io::Write;
    let mut file = std::fs::File::options()
        .append(true)
        .open(place.path("run/metrics.jsonl"))
        .unwrap();
    file.write_all(b"{\"step\":16,\"split\":\"train\",\"lo")
        .unwrap();
    drop(file);
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let lines = place.metrics("run");
    let of = |split: &str| -> Vec<usize> {
        let lines = lines.iter().filter(|line| line.split.to_string() == split);
        lines.map(|line| line.step).collect()
    };
    let expected: Vec<usize> = (4..=40).step_by(4).collect();
    assert_eq!(of("train"), expected);
    assert_eq!(of("dev"), expected);
    assert_eq!(of("test").len(), 1);
    assert!(
        lines
            .windows(2)
            .all(|pair| pair[0].seconds <= pair[1].seconds)
    );
}

#[cfg(unix)]
fn signal(child: &std::process::Child, name: &str) {
    let sent = std::process::Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

/// A training that SIGHUP reaches, also where these tests were started under `nohup`: an ignored signal
/// is inherited, and stays ignored in the program.
#[cfg(unix)]
fn hearing_hangups(place: &Workplace, run: &str, extra: &[&str]) -> std::process::Child {
    use std::os::unix::process::CommandExt;
    let mut command = place.command(&common::arguments(run, extra));
    let silent = std::process::Stdio::null;
    command.stdout(silent()).stderr(silent());
    // SAFETY: `signal` may be called between fork and exec, and nothing else is.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    command.spawn().expect("ls-train starts")
}

#[cfg(unix)]
#[test]
fn signals_save_and_the_run_goes_on() {
    let place = Workplace::with_data(300);
    let mut steps = [STEPS, &["--checkpoint-every", "10000"]].concat();
    // Some time for a signal to arrive.
    steps[1] = "200";
    let steps = &steps;
    let whole = place.train("whole", steps);
    assert!(whole.status.success(), "{}", stderr(&whole));

    // Ctrl-C, `kill` and schedulers, a terminal that is closed; `timeout` sends its signal twice.
    for (run, signals, status) in [
        ("int", &["INT"][..], 130),
        ("term", &["TERM", "TERM"], 143),
        ("hup", &["HUP", "HUP"], 129),
    ] {
        let mut child = hearing_hangups(&place, run, steps);
        wait_for_line(&place, run);
        signals.iter().for_each(|name| signal(&child, name));
        assert_eq!(child.wait().expect("ended").code(), Some(status), "{run}");
        assert!(place.newest(run).step > 0, "{run}");

        let resumed = place.resume(run);
        assert!(resumed.status.success(), "{}", stderr(&resumed));
        assert_eq!(place.final_weights("whole"), place.final_weights(run));
        assert_eq!(
            comparable(&place.metrics("whole")),
            comparable(&place.metrics(run))
        );
    }
}

#[cfg(unix)]
#[test]
fn nohup_keeps_a_run_going() {
    use std::process::{Command, Stdio};
    let place = Workplace::with_data(300);
    let program = assert_cmd::cargo_bin!("ls-train");
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(program)
        .args([
            "listops", "--preset", "listops", "--data", "data", "--out", "run", "--device", "flex",
        ])
        .args(common::SMALL)
        .args(STEPS)
        .current_dir(place.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("sh starts");
    wait_for_line(&place, "run");
    signal(&child, "HUP");
    assert!(child.wait().expect("ended").success());
    assert_eq!(place.summary("run").steps, 40);
}

#[cfg(unix)]
fn wait_for_line(place: &Workplace, run: &str) {
    let path = place.path(run).join("metrics.jsonl");
    let started = std::time::Instant::now();
    while std::fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
        assert!(started.elapsed().as_secs() < 300, "no evaluation");
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

#[test]
fn stopping_early_saves_without_a_test_and_the_run_goes_on() {
    let place = Workplace::with_data(300);
    let stopped = place.train("run", &[STEPS, &["--stop-after", "6"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    assert!(stdout(&stopped).contains("stopped after step 6 as asked, not tested yet"));
    let summary = place.summary("run");
    assert_eq!((summary.steps, summary.test_accuracy), (6, None));
    assert!(place.folder("run").weights_path().exists());
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let summary = place.summary("run");
    assert_eq!(summary.steps, 40);
    assert!(summary.test_accuracy.is_some());
    // A finished run is only reported, and left as it is.
    let lines = place.metrics("run");
    let again = place.resume("run");
    assert!(again.status.success());
    assert!(stdout(&again).contains("is finished already"));
    assert_eq!(place.metrics("run"), lines);
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_one_before() {
    let place = Workplace::with_data(300);
    let whole = place.train("whole", STEPS);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let stopped = place.train("run", &[STEPS, &["--stop-after", "12"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let newest = place.newest("run");
    assert_eq!(newest.step, 12);
    let optimizer = newest.path.join("optimizer.bpk");
    let mut bytes = std::fs::read(&optimizer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&optimizer, bytes).unwrap();

    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let warning = stderr(&resumed);
    assert!(
        warning.contains("optimizer.bpk is damaged") && warning.contains("from step 8 instead"),
        "{warning}"
    );
    assert_eq!(place.final_weights("whole"), place.final_weights("run"));
    assert_eq!(
        comparable(&place.metrics("whole")),
        comparable(&place.metrics("run"))
    );
}

#[test]
fn a_checkpoint_that_cannot_be_read_just_now_is_kept() {
    let place = Workplace::with_data(300);
    let stopped = place.train("run", &[STEPS, &["--stop-after", "12"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let newest = place.newest("run");
    let (optimizer, away) = (newest.path.join("optimizer.bpk"), place.path("away"));
    std::fs::rename(&optimizer, &away).unwrap();
    // Reading a folder as a file fails, as reading from a broken disk does.
    std::fs::create_dir(&optimizer).unwrap();
    let resumed = place.resume("run");
    assert_eq!(resumed.status.code(), Some(1));
    let message = stderr(&resumed);
    assert!(message.contains("optimizer.bpk: "), "{message}");
    assert!(message.contains("Check the disk"), "{message}");
    std::fs::remove_dir(&optimizer).unwrap();
    std::fs::rename(&away, &optimizer).unwrap();
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stdout(&resumed).contains("going on from step 12"));
}

#[test]
fn a_checkpoint_of_another_version_is_kept() {
    let place = Workplace::with_data(300);
    let stopped = place.train("run", &[STEPS, &["--stop-after", "12"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let newest = place.newest("run");
    let state = newest.path.join("state.json");
    std::fs::write(&state, r#"{"format": 99, "steps": "twelve"}"#).unwrap();
    let resumed = place.resume("run");
    assert_eq!(resumed.status.code(), Some(1));
    let message = stderr(&resumed);
    assert!(message.contains("has format 99"), "{message}");
    assert!(state.exists());
}

#[test]
fn without_any_usable_checkpoint_the_user_is_told_what_to_do() {
    let place = Workplace::with_data(300);
    let stopped = place.train("run", &[STEPS, &["--stop-after", "4"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let newest = place.newest("run");
    std::fs::write(newest.path.join("state.json"), "{").unwrap();
    let resumed = place.resume("run");
    assert_eq!(resumed.status.code(), Some(1));
    let message = stderr(&resumed);
    assert!(message.contains("none of the checkpoints in"), "{message}");
    assert!(message.contains("--config run/config.json"), "{message}");
}
