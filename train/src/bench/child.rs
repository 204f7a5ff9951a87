//! A measurement in a process of its own: this program, started again.
//!
//! The job is an argument, the figures come out as a line of JSON on the standard output. The input
//! stays open as long as the parent lives, so that a child never outlives it.

use std::io;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use transformer_ls_burn::ops::PATH_VARIABLE;

use super::job::{Figures, Job, Path, Subject};
use super::{BenchError, attention, step};
use crate::trainer::interrupt;

/// How often the parent looks after its child.
const GLANCE: Duration = Duration::from_millis(10);
/// Longer explanations are cut.
const LONGEST_REASON: usize = 300;

/// How a measurement ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With figures.
    Measured(Figures),
    /// Without, and why: half a sentence.
    Failed(String),
    /// The user stopped it.
    Interrupted,
}

/// Measures in a fresh process, which is told to end as soon as `interrupted` says so.
///
/// # Errors
///
/// If no process can be started.
pub fn run(job: &Job, interrupted: &dyn Fn() -> bool) -> Result<Outcome, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Start)?;
    let words = serde_json::to_string(job).map_err(|error| BenchError::Start(error.into()))?;
    let mut command = Command::new(program);
    command
        .args(["bench", "measure", &words])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The user's own setting must not turn one path into another.
        .env_remove(PATH_VARIABLE)
        .env_remove("RUST_BACKTRACE");
    if job.path == Path::Plain {
        command.env(PATH_VARIABLE, "plain");
    }
    let mut child = command.spawn().map_err(BenchError::Start)?;
    // When it is closed, the child ends.
    let _lifeline = child.stdin.take();
    let waiting = std::thread::spawn(move || child.wait_with_output());
    while !waiting.is_finished() {
        if interrupted() {
            return Ok(Outcome::Interrupted);
        }
        std::thread::sleep(GLANCE);
    }
    let ended = waiting.join();
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let Output {
        status,
        stdout,
        stderr,
    } = ended.map_err(BenchError::Start)?;
    let figures: Option<Figures> = String::from_utf8_lossy(&stdout)
        .lines()
        .find_map(|line| serde_json::from_str(line).ok());
    Ok(match figures.filter(|_| status.success()) {
        // Figures under a wrong name would be worse than none.
        Some(Figures { taken, .. }) if job.path == Path::Plain && taken.0 != "plain" => {
            let (path, reason) = taken;
            Outcome::Failed(format!("the device took the path {path}: {reason}"))
        }
        Some(figures) => Outcome::Measured(figures),
        // A signal to the whole group may end it before the parent.
        None if status.code().is_some_and(interrupt::is_status) => Outcome::Interrupted,
        None => Outcome::Failed(reason(&String::from_utf8_lossy(&stderr), status)),
    })
}

/// Why a process ended without figures: its own words, or what the system says.
fn reason(complaints: &str, status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if status.signal() == Some(9) {
            return "the system ended its process, most likely because memory ran out".to_string();
        }
    }
    let words = words(complaints);
    match words.is_empty() {
        true => format!("its process ended with {status}"),
        false => words,
    }
}

/// The sentence in what a failing program wrote: the message of its first panic, else its last
/// line.
fn words(complaints: &str) -> String {
    let mut lines = complaints.lines().map(str::trim);
    let panic = lines.by_ref().find(|line| line.contains("panicked at"));
    let line = match panic {
        Some(_) => lines.find(|line| !line.is_empty()),
        None => complaints
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty()),
    };
    let line = line.unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let mut words: String = line.chars().take(LONGEST_REASON).collect();
    if words.len() < line.len() {
        words += "…";
    }
    words.trim_end_matches('.').to_string()
}

/// The child's side: measures what `job` asks for, in JSON.
///
/// # Errors
///
/// No such job, or whatever the measurement fails with.
pub fn answer(job: Option<&str>) -> Result<String, BenchError> {
    volunteer();
    let job = job.and_then(|job| serde_json::from_str(job).ok());
    let job: Job = job.ok_or(BenchError::NoJob)?;
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // The parent is gone, or has what it wanted.
        std::process::exit(i32::from(interrupt::status()));
    });
    let figures = match &job.subject {
        Subject::Attention(sizes) => attention::measure(&job, sizes),
        Subject::Step { preset, .. } => step::measure(&job, preset),
    }?;
    serde_json::to_string(&figures).map_err(|error| BenchError::Execution(error.to_string()))
}

/// Where main memory runs out all the same, this process is the one to end, nobody else's.
fn volunteer() {
    if cfg!(target_os = "linux") {
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let written = "warning: a driver\n\nthread 'main' (7) panicked at src/a.rs:1:2:\n\
                       the buffer is too large.\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(words(written), "the buffer is too large");
        assert_eq!(
            words("something\nerror: device `x` failed\n\n"),
            "device `x` failed"
        );
        assert_eq!(
            words("memory allocation of 8589934592 bytes failed\n"),
            "memory allocation of 8589934592 bytes failed"
        );
        assert_eq!(words(""), "");
        assert_eq!(words(&"é".repeat(1000)).chars().count(), LONGEST_REASON + 1);
    }
}
