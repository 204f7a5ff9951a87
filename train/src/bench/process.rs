//! A measurement in a process of its own: this program, started again.
//!
//! A second measurement in the same process would be charged for the memory that the first one
//! reserved, since that hardly ever shrinks; `LS_ATTENTION` is read once a process; and a measurement
//! that runs out of memory ends no other.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use transformer_ls_burn::ops::PATH_VARIABLE;
use transformer_ls_infer::device::TRYING_OUT;
use transformer_ls_infer::logging;

use super::job::{Budget, Job, Line, Path, Subject};
use super::{attention, step};
use crate::trainer::interrupt;

/// How often the parent looks whether a signal has come.
const GLANCE: Duration = Duration::from_millis(10);

/// Measures in a fresh process. None if a signal came: the process then ends. `say` is told where it
/// tries out kernels, which takes longer than measuring.
pub fn measure(job: &Job, budget: &Budget, say: &dyn Fn(&str)) -> anyhow::Result<Option<Line>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["bench", "measure", &serde_json::to_string(&(job, budget))?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("RUST_BACKTRACE");
    if job.path == Path::Plain {
        command.env(PATH_VARIABLE, "plain");
    }
    let mut child = command.spawn().context("cannot start this program again")?;
    // The child ends when this is closed, and so with this process at the latest.
    let _lifeline = child.stdin.take();
    let errors = child.stderr.take();
    let (announced, announcements) = mpsc::channel();
    let listening = std::thread::spawn(move || {
        let lines = errors
            .into_iter()
            .flat_map(|errors| BufReader::new(errors).split(b'\n'));
        let heard = |line: Vec<u8>| {
            if line.starts_with(TRYING_OUT.as_bytes()) {
                let _ = announced.send(String::from_utf8_lossy(&line).into_owned());
            }
            line
        };
        let lines: Vec<Vec<u8>> = lines.map_while(Result::ok).map(heard).collect();
        lines.join(&b'\n')
    });
    let waiting = std::thread::spawn(move || child.wait_with_output());
    while !waiting.is_finished() {
        if interrupt::requested() {
            return Ok(None);
        }
        announcements.try_iter().for_each(|line| say(&line));
        std::thread::sleep(GLANCE);
    }
    let output = joined(waiting)?;
    let errors = joined(listening);
    announcements.try_iter().for_each(|line| say(&line));
    match output.status.code() {
        Some(0) => Ok(Some(serde_json::from_slice(&output.stdout)?)),
        // A signal to the whole group may end the child first.
        Some(status) if interrupt::is_status(status) => Ok(None),
        _ => bail!(reason(&errors, output.status)),
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    let result = thread.join();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Why a process ended without a line: the message of its panic, the last cause of its error, or
/// its last words.
fn reason(stderr: &[u8], status: ExitStatus) -> String {
    let words = String::from_utf8_lossy(stderr);
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let before = |line: &&str| line.contains("panicked at") || line.ends_with("Caused by:");
    let cause = lines.iter().rposition(before);
    let cause = cause.and_then(|before| lines.get(before + 1));
    let words = cause.or(lines.last()).map(|line| {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        line.trim_end_matches('.').to_owned()
    });
    match words {
        Some(words) if status.code().is_some() => words,
        Some(words) => format!("{words} ({status})"),
        None => format!("its process ended with {status}"),
    }
}

/// The child's side: measures what it is asked for, in JSON.
pub fn answer(job: &str) -> anyhow::Result<String> {
    let (job, budget): (Job, Budget) = serde_json::from_str(job)?;
    logging::start(None);
    // If main memory runs out, the system is to end this process and no other.
    if cfg!(target_os = "linux") {
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(i32::from(interrupt::status()));
    });
    let line = match job.subject.clone() {
        Subject::Attention(sizes) => attention::measure(job, &sizes, &budget),
        Subject::Module { module } => attention::measure_module(job, module, &budget),
        Subject::Step { .. } => step::measure(job, &budget),
    }?;
    Ok(serde_json::to_string(&line)? + "\n")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_reason_is_the_childs_own_words() {
        let ended = |words: &str| reason(words.as_bytes(), ExitStatus::from_raw(256));
        let panic = "warning: a driver\n\nthread 'main' (7) panicked at src/a.rs:1:2:\n\
                     the buffer is too large.\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(ended(panic), "the buffer is too large");
        let causes = "error: An error happened during execution\nCaused by:\n  Several failures\n\
                      Caused by:\n  can't allocate buffer of size: 536870912\nNo backtrace \
                      available\nAsked at:\nNo backtrace available";
        assert_eq!(ended(causes), "can't allocate buffer of size: 536870912");
        assert_eq!(ended("a\nerror: no such thing\n\n"), "no such thing");
        assert_eq!(ended(""), "its process ended with exit status: 1");
        let killed = reason(b"no memory\n", ExitStatus::from_raw(9));
        assert_eq!(killed, "no memory (signal: 9 (SIGKILL))");
    }
}
