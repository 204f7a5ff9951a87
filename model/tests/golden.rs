//! The PyTorch release's numbers, and those of the attentions and language models that it is compared
//! with: every `.safetensors` of three folders on every backend.
//!
//! `LS_GOLDEN` names another folder of the release's, with the others' folders in it, if at all (a
//! relative path is taken from the workspace root). A file's metadata says what it holds; outputs
//! agree to 1e-5 and gradients to 1e-4, as max|a − b| / max|b| of each tensor. Documents whose padding
//! is at the end are computed packed as well, which crops them to lengths that no window divides.
//!
//! Of the compared attentions, WGPU computes those that this project's kernels compute, in one layout
//! each: Burn tries its products out anew for each shape, for half a minute a file on a software GPU.
//! `LS_COMPARED=all` has it compute all of them.

#[path = "golden/attention.rs"]
mod attention;
mod common;
#[path = "golden/compared.rs"]
mod compared;
#[path = "golden/file.rs"]
mod file;
#[path = "golden/language_model.rs"]
mod language_model;
#[path = "golden/model.rs"]
mod model;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use file::Golden;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut all = Vec::new();
    for folder in folders() {
        match trials(&folder) {
            Ok(trials) => all.extend(trials),
            Err(problem) => {
                eprintln!("golden files: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    libtest_mimic::run(&arguments, all).exit_code()
}

fn folders() -> Vec<PathBuf> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("LS_GOLDEN") {
        Some(folder) => {
            let release = crate_root.join("..").join(folder);
            let others = ["attentions", "recurrence"].map(|folder| release.join(folder));
            let given = others.into_iter().filter(|folder| folder.is_dir());
            std::iter::once(release.clone()).chain(given).collect()
        }
        None => ["golden", "attentions", "recurrence"]
            .map(|folder| crate_root.join("tests/fixtures").join(folder))
            .to_vec(),
    }
}

/// Whether WGPU computes a file of a compared attention.
fn on_wgpu(name: &str) -> bool {
    let kernels = ["local", "longformer", "reformer", "sparse"];
    std::env::var("LS_COMPARED").is_ok_and(|value| value == "all")
        || name.ends_with("holes_class") && kernels.iter().any(|kind| name.starts_with(kind))
}

fn trials(folder: &Path) -> Result<Vec<Trial>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{} holds no .safetensors", folder.display()));
    }
    let mut trials = Vec::new();
    for path in paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (backend, device) in common::devices() {
            if backend == "wgpu" && folder.ends_with("attentions") && !on_wgpu(&name) {
                continue;
            }
            let title = format!("golden::{name}::{backend}");
            let (path, name) = (path.clone(), name.clone());
            let trial = Trial::test(title, move || {
                let golden = Golden::read(&path)?;
                let worst = match golden.text("kind")?.as_str() {
                    "lra_attention" => attention::check(&golden, &device)?,
                    "lra_model" => model::check(&golden, &path, &device)?,
                    "compared_attention" => compared::check(&golden, &device)?,
                    "lm_model" => language_model::check(&golden, &path, &device)?,
                    kind => return Err(Failed::from(format!("unknown kind {kind}"))),
                };
                println!("worst error of {name} on {backend}: {worst}");
                Ok(())
            });
            trials.push(trial);
        }
    }
    Ok(trials)
}
