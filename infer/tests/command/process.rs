//! `ls-infer` as a process: pipes, signals, and machines without graphics drivers.

use std::fs;

use crate::common::untrained_run;
use crate::ls_infer_with;

/// Whoever reads our output may stop reading.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let expressions = "[MAX 1 2]\n".repeat(2000);
    fs::write(dir.path().join("many.txt"), expressions).unwrap();
    untrained_run(&dir.path().join("run"));
    let output = std::process::Command::new("sh")
        .current_dir(dir.path())
        .arg("-c")
        .arg("{ \"$0\" classify run --device flex --json --file many.txt; echo code $? >&2; } | head -n 1")
        .arg(env!("CARGO_BIN_EXE_ls-infer"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
}

/// On a machine without graphics drivers `wgpu` is explained, and `auto` works.
#[cfg(target_os = "linux")]
#[test]
fn no_graphics_driver_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing.json");
    let nothing = nothing.to_str().unwrap();
    let env = [
        ("VK_DRIVER_FILES", nothing),
        ("VK_ICD_FILENAMES", nothing),
        ("__EGL_VENDOR_LIBRARY_FILENAMES", nothing),
    ];
    for device in ["wgpu", "wgpu:cpu", "wgpu:0"] {
        let (code, _, errors) =
            ls_infer_with(dir.path(), &["classify", "5", "--device", device], "", &env);
        assert_eq!(code, 1, "{errors}");
        assert!(
            errors.starts_with(&format!(
                "error: device `{device}`: this machine has no graphics adapter"
            )),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let (code, out, errors) = ls_infer_with(dir.path(), &["classify", "5"], "", &env);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(out.lines().count(), 1);
}

/// Ctrl-C ends with the exit code that shells expect.
#[cfg(unix)]
#[test]
fn an_interrupt_exits_130() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    untrained_run(&dir.path().join("run"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ls-infer"))
        .current_dir(dir.path())
        .args(["classify", "run", "--device", "flex", "--batch-size", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write;
    // Held to the end: `wait` closes the one in `child`, and the end of its input ends the program.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"[MAX 1 2]\n").unwrap();
    stdin.flush().unwrap();
    // Its first answer shows that it is past its start and waits for more.
    let mut first = [0; 1];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}
