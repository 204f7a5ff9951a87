//! A measurement in a process of its own: this program, started again.
//!
//! The job goes in as a line of JSON on the standard input, the figures come out as one on the
//! standard output. The input stays open as long as the parent lives, so that a child never
//! outlives it.

use std::io::{self, BufRead, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use transformer_ls_burn::ops::PATH_VARIABLE;

use super::job::{Figures, Job, Path};
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

/// Measures in a fresh process, which is ended as soon as `interrupted` says so.
///
/// # Errors
///
/// If no process can be started.
pub fn run(job: &Job, interrupted: &dyn Fn() -> bool) -> Result<Outcome, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Start)?;
    let mut command = Command::new(program);
    command
        .args(["bench", "measure"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The user's own setting must not turn one path into another.
        .env_remove(PATH_VARIABLE)
        .env_remove("RUST_BACKTRACE");
    if job.path() == Path::Plain {
        command.env(PATH_VARIABLE, "plain");
    }
    let mut child = Ended(command.spawn().map_err(BenchError::Start)?);
    let input = child.0.stdin.take();
    let answer = child.0.stdout.take().map(reader);
    let complaints = child.0.stderr.take().map(reader);
    if let Some(mut input) = input.as_ref() {
        let line = serde_json::to_string(job).map_err(|error| BenchError::Start(error.into()))?;
        // A child that is gone already says why below.
        let _ = writeln!(input, "{line}").and_then(|()| input.flush());
    }
    let status = loop {
        if interrupted() {
            return Ok(Outcome::Interrupted);
        }
        match child.0.try_wait().map_err(BenchError::Start)? {
            Some(status) => break status,
            None => std::thread::sleep(GLANCE),
        }
    };
    drop(input);
    let text = |reader: Option<JoinHandle<String>>| {
        let text = reader.and_then(|reader| reader.join().ok());
        text.unwrap_or_default()
    };
    let (answer, complaints) = (text(answer), text(complaints));
    let figures: Option<Figures> = answer
        .lines()
        .find_map(|line| serde_json::from_str(line).ok());
    Ok(match figures.filter(|_| status.success()) {
        // Figures under a wrong name would be worse than none.
        Some(Figures { taken, .. }) if job.path() == Path::Plain && taken.0 != "plain" => {
            let (path, reason) = taken;
            Outcome::Failed(format!("the device took the path {path}: {reason}"))
        }
        Some(figures) => Outcome::Measured(figures),
        // A signal to the whole group may end it before the parent.
        None if status.code().is_some_and(interrupt::is_status) => Outcome::Interrupted,
        None => Outcome::Failed(reason(&complaints, status)),
    })
}

/// Ends the process when it goes out of scope, whichever way.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads to the end on a thread of its own, so that the child never waits for a full pipe.
fn reader(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
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

/// The child's side: measures what the standard input asks for.
///
/// # Errors
///
/// No job on the standard input, or whatever the measurement fails with.
pub fn answer() -> Result<String, BenchError> {
    volunteer();
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|_| BenchError::NoJob)?;
    let job: Job = serde_json::from_str(&line).map_err(|_| BenchError::NoJob)?;
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // The parent is gone, or has what it wanted.
        std::process::exit(i32::from(interrupt::status()));
    });
    let figures = match &job {
        Job::Attention(job) => attention::measure(job),
        Job::Step(job) => step::measure(job),
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
