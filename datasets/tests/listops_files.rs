//! Generated files appear complete or not at all, and replace nothing.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transformer_ls_datasets::listops::generate::{GenerateConfig, Report, generate};
use transformer_ls_datasets::listops::{file_name, is_prepared, state};
use transformer_ls_datasets::{DatasetError, Split, State};

fn run(dir: &Path, count: usize) -> Result<Report, DatasetError> {
    let config = GenerateConfig {
        count,
        seed: 1,
        ..GenerateConfig::default()
    };
    generate(dir, &config, &|_, _| {}, &|| false)
}

/// Gives up when the check has been asked `times` times.
fn run_cancelled(dir: &Path, times: usize) -> Result<Report, DatasetError> {
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > times
    };
    generate(dir, &GenerateConfig::default(), &|_, _| {}, &cancelled)
}

/// All that lies below a folder, hidden files included.
fn contents(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        }
        found.push(path.strip_prefix(dir).unwrap().to_owned());
    }
    found.sort();
    found
}

const FILES: [&str; 4] = [
    "basic_test.tsv",
    "basic_train.tsv",
    "basic_val.tsv",
    "generated.json",
];

#[test]
fn nothing_but_the_files_is_left() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("new");
    run(&dir, 10).unwrap();
    assert_eq!(contents(&dir), FILES.map(PathBuf::from));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    // Into a folder that exists, such as a mounted volume, beside what is there.
    let dir = root.path().join("mounted");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    run(&dir, 10).unwrap();
    assert_eq!(contents(&dir)[..4], FILES.map(PathBuf::from));
    assert_eq!(fs::read_to_string(dir.join("notes.txt")).unwrap(), "mine");
    assert_eq!(contents(&dir).len(), 5);
}

#[test]
fn cancelling_leaves_nothing() {
    for times in [0, 1, 4] {
        let root = TempDir::new().unwrap();
        let error = run_cancelled(&root.path().join("deep/down"), times).unwrap_err();
        assert!(matches!(error, DatasetError::Cancelled));
        assert_eq!(
            error.to_string(),
            "cancelled: no data was written. Run the same command again to start over"
        );
        assert_eq!(contents(root.path()), [""; 0].map(PathBuf::from));

        let dir = root.path().join("there");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        run_cancelled(&dir, times).unwrap_err();
        assert_eq!(contents(&dir), ["notes.txt"].map(PathBuf::from));
    }
}

#[test]
fn data_is_never_overwritten() {
    for name in FILES {
        let root = TempDir::new().unwrap();
        let path = root.path().join(name);
        fs::write(&path, "precious").unwrap();
        let error = run(root.path(), 10).unwrap_err();
        let message = match name {
            "generated.json" => format!(
                "{} exists already, and data files are never overwritten. Use it as it is, or \
                 delete it, or choose another folder with --data",
                path.display()
            ),
            // What is there, and what is not.
            _ => {
                let splits = Split::ALL.map(file_name).into_iter();
                let missing: Vec<_> = splits.filter(|split| *split != name).collect();
                format!(
                    "{} holds {name}, but not {}: copy what is missing there; or move these away, \
                     and generate all files with `ls-train generate listops`",
                    root.path().display(),
                    missing.join(" and ")
                )
            }
        };
        assert_eq!(error.to_string(), message);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(contents(root.path()), [name].map(PathBuf::from));
    }
    // A file where the folder should be.
    let root = TempDir::new().unwrap();
    let path = root.path().join("listops");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(run(&path, 10), Err(DatasetError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// What the command line may generate into, and what it may not.
#[test]
fn the_state_of_a_path_is_told() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("listops");
    let told = |path: &Path| format!("{:?}", state(path).unwrap());
    assert_eq!(told(&dir), "Absent");
    fs::create_dir(&dir).unwrap();
    assert_eq!(told(&dir), "Empty");
    // A killed generator, a desktop, and packed samples of data that was here.
    fs::create_dir(dir.join(".generating")).unwrap();
    fs::create_dir(dir.join("packed")).unwrap();
    for name in [
        ".generating/basic_train.tsv",
        ".generating.lock",
        "Thumbs.db",
        "packed/listops-train-0.samples",
    ] {
        fs::write(dir.join(name), b"").unwrap();
    }
    assert_eq!(told(&dir), "Empty");
    run(&dir, 10).unwrap();
    assert_eq!(told(&dir), "Complete");
    assert_eq!(told(&dir.join("basic_train.tsv")), "Other");
    fs::remove_file(dir.join("basic_test.tsv")).unwrap();
    let State::Partial(error) = state(&dir).unwrap() else {
        panic!("{}", told(&dir))
    };
    assert!(
        error.to_string().contains("but not basic_test.tsv: copy"),
        "{error}"
    );
    // A path that was mistyped.
    fs::write(root.path().join("notes.txt"), b"").unwrap();
    assert_eq!(told(root.path()), "Other");
}

/// Names as long as they can be, and two of them that only their ends tell apart.
#[test]
fn folders_of_long_names_are_written_to() {
    let root = TempDir::new().unwrap();
    for end in ["a", "b"] {
        let dir = root.path().join(format!("{}{end}", "x".repeat(254)));
        run(&dir, 10).unwrap();
        assert_eq!(contents(&dir), FILES.map(PathBuf::from));
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn too_few_samples_are_refused() {
    let root = TempDir::new().unwrap();
    for count in 0..3 {
        let error = run(&root.path().join("x"), count).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{count} samples cannot be split in three: ask for at least 3")
        );
    }
    let report = run(&root.path().join("x"), 3).unwrap();
    assert_eq!(report.counts, [1, 1, 1]);
}

#[test]
fn one_process_at_a_time() {
    let root = TempDir::new().unwrap();
    let lock_path = root.path().join(".listops-generating.lock");
    let lock = fs::File::create(&lock_path).unwrap();
    lock.try_lock().unwrap();
    let dir = root.path().join("listops");
    let error = run(&dir, 10).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "another process is generating data in {} at the moment (it holds {}). Wait for it, \
             or choose another folder with --data",
            dir.display(),
            lock_path.display()
        )
    );
    assert!(lock_path.exists(), "it is the other process's");
    drop(lock);
    run(&dir, 10).unwrap();
    assert!(!lock_path.exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_explained() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = run(&file.join("listops"), 10).unwrap_err().to_string();
    let start = format!("cannot create {}: ", file.display());
    assert!(error.starts_with(&start), "{error}");
    assert!(error.ends_with("then try again"), "{error}");
}

/// This test runs itself in a process of its own, which it kills.
#[test]
fn a_killed_process_leaves_no_data_and_no_obstacle() {
    const CHILD: &str = "LISTOPS_TEST_GENERATES_INTO";
    if let Some(dir) = std::env::var_os(CHILD) {
        let config = GenerateConfig {
            count: 10_000_000,
            seed: 0,
            ..GenerateConfig::default()
        };
        generate(Path::new(&dir), &config, &|_, _| {}, &|| false).unwrap();
        return;
    }
    let root = TempDir::new().unwrap();
    let existing = root.path().join("existing");
    fs::create_dir(&existing).unwrap();
    for (dir, hidden) in [
        (root.path().join("listops"), ".listops-generating"),
        (existing, "existing/.generating"),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_process_leaves_no_data_and_no_obstacle", "--exact"])
            .env(CHILD, &dir)
            .spawn()
            .unwrap();
        // Killed in the middle: once some data is on its way to the disk.
        let train = root.path().join(hidden).join(file_name(Split::Train));
        let started = Instant::now();
        while fs::metadata(&train).map_or(0, |data| data.len()) < 1 << 20 {
            assert!(started.elapsed() < Duration::from_secs(60));
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_prepared(&dir));
        assert!(!FILES.iter().any(|name| dir.join(name).exists()));
        // What it left behind is in nobody's way, and is cleared up.
        run(&dir, 10).unwrap();
        assert_eq!(contents(&dir), FILES.map(PathBuf::from));
        assert!(!root.path().join(hidden).exists());
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}
