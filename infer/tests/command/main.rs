//! The command `ls-infer` end to end.

mod answers;
mod attention;
#[path = "../common/mod.rs"]
mod common;
mod generate;
mod mistakes;
mod process;
mod score;

use std::path::Path;

use assert_cmd::Command;

/// Runs `ls-infer` in a folder: its exit code, standard output and standard error.
fn ls_infer(dir: &Path, args: &[&str]) -> (i32, String, String) {
    ls_infer_with(dir, args, "", &[])
}

/// [`ls_infer`] with standard input and environment variables.
fn ls_infer_with(
    dir: &Path,
    args: &[&str],
    input: &str,
    env: &[(&str, &str)],
) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ls-infer"))
        .current_dir(dir)
        .args(args)
        .envs(env.iter().copied())
        .write_stdin(input)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}
