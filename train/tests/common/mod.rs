//! What the tests of the binary share: small data, a small model, and a run's files.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use transformer_ls_infer::device;
use transformer_ls_infer::run::{Checkpoint, MetricLine, RunFolder, Summary};
use transformer_ls_train::trainer::TrainingModel;

/// A folder that goes away with the test, with ListOps data in it.
pub struct Workplace {
    pub dir: tempfile::TempDir,
}

impl Workplace {
    /// Data of `count` expressions; the splits are 96, 2 and 2 %.
    pub fn with_data(count: usize) -> Self {
        let place = Self::empty();
        let count = count.to_string();
        let made = place.run(&["generate", "listops", "--data", "data", "--count", &count]);
        assert!(made.status.success(), "{}", stderr(&made));
        place
    }

    pub fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo_bin!("ls-train"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("ls-train starts")
    }

    /// `ls-train listops` with a small model, into `out`.
    pub fn train(&self, out: &str, extra: &[&str]) -> Output {
        self.run(&arguments(out, extra))
    }

    pub fn spawn_training(&self, out: &str, extra: &[&str]) -> Child {
        self.command(&arguments(out, extra))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ls-train starts")
    }

    /// `ls-infer`, which lies beside `ls-train`.
    pub fn ls_infer(&self, args: &[&str]) -> Output {
        let program = Path::new(assert_cmd::cargo_bin!("ls-train")).with_file_name("ls-infer");
        assert!(program.exists(), "the whole workspace has to be built");
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path());
        command.output().expect("ls-infer starts")
    }

    /// The names of what lies in the folder.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn resume(&self, out: &str) -> Output {
        self.run(&["listops", "--out", out, "--resume"])
    }

    pub fn folder(&self, out: &str) -> RunFolder {
        RunFolder::open(&self.path(out)).expect("a run folder")
    }

    pub fn metrics(&self, out: &str) -> Vec<MetricLine> {
        self.folder(out).read_metrics().expect("metrics")
    }

    pub fn summary(&self, out: &str) -> Summary {
        let summary = self.folder(out).read_summary().expect("readable");
        summary.expect("a summary")
    }

    /// The weights of the newest checkpoint, as bytes that hold nothing but names and numbers.
    pub fn final_weights(&self, out: &str) -> Vec<u8> {
        self.record(out, "model.bpk")
    }

    /// The same of the moving average of the weights.
    pub fn average(&self, out: &str) -> Vec<u8> {
        self.record(out, "average.bpk")
    }

    /// The tensors of `model.safetensors`, without the metadata, which tells the run's settings.
    pub fn best_weights(&self, out: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.folder(out).weights_path()).expect("weights");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        bytes[8 + header..].to_vec()
    }

    /// The newest checkpoint.
    pub fn newest(&self, out: &str) -> Checkpoint {
        let mut checkpoints = self.folder(out).checkpoints().expect("readable");
        checkpoints.pop().expect("a checkpoint")
    }

    fn record(&self, out: &str, name: &str) -> Vec<u8> {
        let folder = self.folder(out);
        let path = self.newest(out).path.join(name);
        let model = TrainingModel::init(folder.config(), &Device::flex()).expect("valid");
        let record = ModuleRecord::load(path).expect("a record");
        let model = model.try_load_record(record).expect("fits");
        let state = model.state_dict().expect("readable");
        state.to_safetensors(&Default::default()).expect("saves")
    }

    /// Waits until the run has written the checkpoint of `step` or a later one.
    pub fn wait_for_checkpoint(&self, out: &str, step: usize) {
        wait_for_checkpoint(&self.path(out), step);
    }
}

/// Waits until the run in a folder has written the checkpoint of `step` or a later one.
pub fn wait_for_checkpoint(run: &Path, step: usize) {
    let folder = run.join("checkpoint");
    let started = Instant::now();
    while newest(&folder).is_none_or(|newest| newest < step) {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no checkpoint"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn newest(checkpoints: &Path) -> Option<usize> {
    std::fs::read_dir(checkpoints)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .max()
}

/// A model of one narrow block on the first 128 tokens, 4 expressions a step.
pub const SMALL: &[&str] = &[
    "--set",
    "model.d_model=16",
    "--set",
    "model.d_ff=16",
    "--set",
    "model.d_head=16",
    "--set",
    "model.layers=1",
    "--set",
    "model.rank=4",
    "--set",
    "model.window=8",
    "--set",
    "model.max_length=128",
    "--set",
    "training.batch_size=4",
    "--set",
    "training.learning_rate=1e-3",
];

pub fn arguments<'a>(out: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "listops", "--preset", "listops", "--data", "data", "--out", out,
    ];
    if !extra.contains(&"--device") {
        args.extend(["--device", "flex"]);
    }
    args.extend(SMALL);
    args.extend(extra);
    args
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// One sentence says what is wrong, with these words in it.
pub fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// What has to be equal in two runs that did the same: all but times and memory.
pub fn comparable(lines: &[MetricLine]) -> Vec<(usize, String, u64, u64, u64)> {
    lines
        .iter()
        .map(|line| {
            (
                line.step,
                line.split.to_string(),
                line.loss.to_bits(),
                line.accuracy.to_bits(),
                line.learning_rate.to_bits(),
            )
        })
        .collect()
}

/// The name of the default WGPU adapter; `None`, loudly, without any.
///
/// # Panics
///
/// Panics without an adapter where `LS_REQUIRE_WGPU=1` demands one.
pub fn adapter() -> Option<String> {
    let mut names = device::list().into_iter().map(|info| info.name);
    let wgpu = names.find(|name| name.starts_with("wgpu"));
    if wgpu.is_none() {
        assert!(
            std::env::var_os("LS_REQUIRE_WGPU").is_none_or(|value| value != "1"),
            "LS_REQUIRE_WGPU=1, and no WGPU adapter was found"
        );
        eprintln!("NOT TESTED: no WGPU adapter was found (Mesa's software Vulkan would do)");
    }
    wgpu
}
