//! What a device compiles and tries out: once for batches of any length, and once for all starts.
#![cfg(target_os = "linux")] // where XDG_CACHE_HOME names the cache

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    args.extend(["--pass", "train_step"]);
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

/// What tries out a few kernels, in seconds.
fn tries_out(device: &str) -> Vec<&str> {
    let mut args = vec!["attention", "--device", device];
    args.extend(["--path", "dense", "--n", "64"]);
    args.extend(["--pass", "forward", "--repeats", "1", "--seconds", "0.1"]);
    args
}

const ONCE: &str = "trying out kernels for this device, once";

/// A second start knows what the first has tried out, and says nothing of it. Nothing is left in the
/// folder that the program runs in.
#[test]
fn a_second_start_tries_nothing_out() {
    let Some(wgpu) = adapter() else { return };
    let (place, args) = (Workplace::empty(), tries_out(&wgpu));
    let ([_, first], said) = made_and_said(&place, &args);
    assert!(first > 0, "products of matrices are tried out");
    assert_eq!(said.matches(ONCE).count(), 1, "{said}");
    let ([_, second], said) = made_and_said(&place, &args);
    assert_eq!(second, 0);
    assert!(!said.contains("trying out"), "{said}");
    assert_eq!(place.names(), ["cache", "cubecl.toml"]);
}

/// A database that is damaged, or whose log is, is replaced; a folder that cannot be one costs no more
/// than the time.
#[test]
fn a_damaged_database_is_replaced() {
    let Some(wgpu) = adapter() else { return };
    let (place, args) = (Workplace::empty(), tries_out(&wgpu));
    let [_, first] = made(&place, &args);
    let folder = place.path("cache/cubecl");
    let file = database(&folder);
    let log = file.with_extension("db-wal");
    let rubbish = |file: &Path, from: usize| {
        let mut bytes = fs::read(file).expect("a file of the database");
        assert!(bytes.len() > from, "{} bytes", bytes.len());
        bytes[from..].fill(0x5a);
        fs::write(file, bytes).expect("damage");
    };
    let cut = || fs::write(&log, &fs::read(&log).expect("a log")[..5000]).expect("damage");
    let damages: [(&str, &dyn Fn()); 3] = [
        ("no database", &|| rubbish(&file, 0)),
        ("a log of rubbish", &|| rubbish(&log, 64)),
        ("a log that was cut off", &cut),
    ];
    for (damage, inflict) in damages {
        inflict();
        let ([_, again], said) = made_and_said(&place, &args);
        assert_eq!(again, first, "{damage}");
        let removed = format!("removed {}, which was damaged", file.display());
        assert!(
            said.contains(&removed) && said.contains(ONCE),
            "{damage}: {said}"
        );
        let ([_, healed], said) = made_and_said(&place, &args);
        assert_eq!(healed, 0, "{damage}: {said}");
    }
    fs::remove_dir_all(&folder).expect("the folder");
    fs::write(&folder, "no folder").expect("a file in its place");
    made(&place, &args);
}

/// Two processes that share a database, one that is made and one that is there, end well and leave it whole.
#[test]
fn two_processes_share_a_database() {
    let Some(wgpu) = adapter() else { return };
    let (place, args) = (Workplace::empty(), tries_out(&wgpu));
    let start = || {
        let mut command = place.command(&[&["bench"], &args[..]].concat());
        command.env("XDG_CACHE_HOME", place.path("cache"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("ls-train starts")
    };
    let both = || -> Vec<String> {
        let processes = [start(), start()];
        let said = processes.map(|process| {
            let output = process.wait_with_output().expect("its end");
            assert!(output.status.success(), "{}", stderr(&output));
            stderr(&output)
        });
        said.into()
    };
    for said in both() {
        assert!(said.contains(ONCE) && !said.contains("damaged"), "{said}");
    }
    let file = database(&place.path("cache/cubecl"));
    let number = || file.metadata().expect("the database").ino();
    let before = number();
    for said in both() {
        assert!(
            !said.contains("trying out") && !said.contains("damaged"),
            "{said}"
        );
    }
    assert_eq!(made(&place, &args)[1], 0, "kernels tuned by one more");
    assert_eq!(number(), before, "it is another file");
}

/// A database that nobody may write is read, and stays as it is.
#[test]
fn a_database_is_read_where_it_cannot_be_written() {
    let Some(wgpu) = adapter() else { return };
    let (place, args) = (Workplace::empty(), tries_out(&wgpu));
    assert!(made(&place, &args)[1] > 0);
    let folder = place.path("cache/cubecl");
    let mode = |files: u32, of_folder: u32| {
        for entry in fs::read_dir(&folder).expect("the folder") {
            let file = entry.expect("an entry").path();
            fs::set_permissions(file, Permissions::from_mode(files)).expect("a mode");
        }
        fs::set_permissions(&folder, Permissions::from_mode(of_folder)).expect("a mode");
    };
    let bytes = || -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&folder).expect("the folder");
        let mut files: Vec<_> = entries.map(|it| it.expect("an entry").path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|it| (it.clone(), fs::read(it).expect("a file")))
            .collect()
    };
    let before = bytes();
    mode(0o444, 0o555);
    let command = place.command(&[&["bench"], &args[..]].concat());
    // Modes bind root only without the right to pass over them.
    let mut bound = Command::new("setpriv");
    bound.args([
        "--bounding-set",
        "-dac_override",
        "--inh-caps",
        "-dac_override",
    ]);
    bound.arg(command.get_program()).args(command.get_args());
    bound.current_dir(place.path("."));
    let mut command = match fs::write(folder.join("written"), "") {
        Ok(()) => bound,
        Err(_) => command,
    };
    let _ = fs::remove_file(folder.join("written"));
    let output = command.env("XDG_CACHE_HOME", place.path("cache")).output();
    let output = output.expect("setpriv, of util-linux");
    let said = stderr(&output);
    mode(0o644, 0o755);
    assert!(bytes() == before, "it was written to");
    assert!(output.status.success(), "{said}");
    assert!(
        !said.contains("trying out") && !said.contains("damaged"),
        "{said}"
    );
}
