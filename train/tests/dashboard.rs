//! On a terminal: the dashboard is drawn, Ctrl-C saves and leaves the terminal usable.
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{SMALL, Workplace, stdout};

/// Runs ls-train inside a terminal of util-linux's `script`.
fn in_terminal(place: &Workplace, args: &[&str]) -> Option<Command> {
    let there = Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("NOT TESTED: util-linux's `script` is needed to make a terminal");
        return None;
    }
    let program = assert_cmd::cargo_bin!("ls-train").display().to_string();
    let words: Vec<&str> = [&[program.as_str()][..], args].concat();
    // A terminal made from a pipe has no size of its own.
    let line = format!("stty rows 40 cols 140; exec {}", words.join(" "));
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .current_dir(place.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Some(command)
}

#[test]
fn ctrl_c_in_the_dashboard_saves_and_exits_130() {
    let place = Workplace::with_data(300);
    let args = [
        &[
            "listops", "--preset", "listops", "--data", "data", "--out", "run", "--device", "flex",
        ][..],
        &["--steps", "100000", "--set", "evaluate_every=5"],
        SMALL,
    ]
    .concat();
    let Some(mut command) = in_terminal(&place, &args) else {
        return;
    };
    let mut child = command.spawn().expect("script starts");
    place.wait_for_checkpoint("run", 20);
    // The screen is drawn ten times a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut keys = child.stdin.take().expect("a pipe");
    keys.write_all(b"\x03").expect("a key");
    keys.flush().expect("a key");
    let output = child.wait_with_output().expect("ended");
    drop(keys);
    assert_eq!(output.status.code(), Some(130));
    let screen = stdout(&output);
    let (entered, left) = ("\x1b[?1049h", "\x1b[?1049l");
    assert!(screen.contains(entered) && screen.contains("Accuracy"));
    // Of 100000 steps every fifth, and how long all of them take.
    assert!(screen.contains("of 20000, "), "{screen}");
    assert!(screen.contains(" left"), "{screen}");
    assert!(!screen.to_lowercase().contains("epoch"), "{screen}");
    let after = screen.rsplit(left).next().expect("the screen was left");
    assert!(after.contains("interrupted and saved at step"), "{after}");
    assert!(!screen.contains("panicked"), "{screen}");
}
