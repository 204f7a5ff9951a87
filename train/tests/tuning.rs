//! What a device compiles and tries out: once for batches of any length, and once for all starts.
#![cfg(target_os = "linux")] // where XDG_CACHE_HOME names the cache

mod common;

use std::fs;
use std::path::Path;

use common::{Workplace, adapter, stderr};

/// CubeCL writes a line for each kernel that it compiles, and one for each that it has tuned.
const SETTINGS: &str = r#"
[compilation]
logger = { level = "basic", file = "compiled.log" }
[autotune]
logger = { level = "minimal", file = "tuned.log" }
"#;

/// Kernels compiled and kernels tuned by `ls-train bench`.
fn made(place: &Workplace, args: &[&str]) -> [usize; 2] {
    made_and_said(place, args).0
}

/// The same, and what was said on standard error.
fn made_and_said(place: &Workplace, args: &[&str]) -> ([usize; 2], String) {
    fs::write(place.path("cubecl.toml"), SETTINGS).expect("settings");
    let mut command = place.command(&[&["bench"], args].concat());
    let output = command.env("XDG_CACHE_HOME", place.path("cache")).output();
    let output = output.expect("ls-train starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let count = |log: &str, start: &str| {
        let text = fs::read_to_string(place.path(log)).unwrap_or_default();
        let _ = fs::remove_file(place.path(log));
        text.lines().filter(|line| line.starts_with(start)).count()
    };
    let counts = [
        count("compiled.log", "[Compiling kernel]"),
        count("tuned.log", "Fastest"),
    ];
    (counts, stderr(&output))
}

/// Steps on packed batches of these among fifty lengths.
fn steps(place: &Workplace, device: &str, which: &[usize]) -> [usize; 2] {
    // Two documents a batch, of 90 to 3000 tokens together.
    let batch = |&i: &usize| format!("{} {}\n", 40 + i * 31, 50 + i * 29);
    let batches: String = which.iter().map(batch).collect();
    fs::write(place.path("lengths.txt"), batches).expect("lengths");
    let repeats = which.len().to_string();
    let mut args = vec!["step", "--device", device, "--path", "fused"];
    args.extend(["--pass", "train_step", "--packing", "packed"]);
    args.extend(["--lengths", "lengths.txt", "--repeats", &repeats]);
    args.extend(["--seconds", "600"]);
    made(place, &args)
}

/// What is left of Burn's own kernels, sums and copies of small tensors, goes by the power of two or of
/// eight of the tokens: four batches meet all that fifty have.
#[test]
fn fifty_lengths_take_the_kernels_of_four() {
    let Some(wgpu) = adapter() else { return };
    let place = Workplace::empty();
    let four = [0, 7, 12, 49];
    let all: Vec<usize> = (0..50).collect();
    let [_, tuned] = steps(&place, &wgpu, &four);
    assert!(tuned < 30, "{tuned}");
    // Now that nothing is tried out any more:
    let [few, _] = steps(&place, &wgpu, &four);
    let [many, tuned] = steps(&place, &wgpu, &all);
    assert!(few > 100, "{few}");
    assert_eq!((many, tuned), (few, 0), "kernels compiled, kernels tuned");
}

fn database(folder: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(folder).expect("a folder of the cache");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.find(|path| path.extension().is_some_and(|e| e == "db"));
    found.expect("a database")
}

/// A second start knows what the first has tried out, and says nothing of it. A damaged database is
/// replaced; a folder that cannot be one costs no more than the time. Nothing is left in the folder
/// that the program runs in.
#[test]
fn a_second_start_tries_nothing_out() {
    let Some(wgpu) = adapter() else { return };
    let place = Workplace::empty();
    let mut args = vec!["attention", "--device", &wgpu];
    args.extend(["--path", "dense", "--n", "64"]);
    args.extend(["--pass", "forward", "--repeats", "1", "--seconds", "0.1"]);
    let once = "trying out kernels for this device, once";
    let ([_, first], said) = made_and_said(&place, &args);
    assert!(first > 0, "products of matrices are tried out");
    assert_eq!(said.matches(once).count(), 1, "{said}");
    let ([_, second], said) = made_and_said(&place, &args);
    assert_eq!(second, 0);
    assert!(!said.contains("trying out"), "{said}");
    assert_eq!(place.names(), ["cache", "cubecl.toml"]);

    let folder = place.path("cache/cubecl");
    let file = database(&folder);
    fs::write(&file, [0x5a; 10_000]).expect("damage");
    let ([_, again], said) = made_and_said(&place, &args);
    assert_eq!(again, first);
    let removed = format!("removed {}: it was no database", file.display());
    assert!(said.contains(&removed) && said.contains(once), "{said}");
    let ([_, healed], said) = made_and_said(&place, &args);
    assert_eq!(healed, 0, "{said}");

    fs::remove_dir_all(&folder).expect("the folder");
    fs::write(&folder, "no folder").expect("a file in its place");
    made(&place, &args);
}
