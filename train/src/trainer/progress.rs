//! What a user sees of a run. On a terminal it is `burn-train`'s dashboard. Elsewhere each evaluation
//! prints a line, and an early line says how long the run will take.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use transformer_ls_datasets::printable::printable;

/// How a run shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// `burn-train`'s dashboard.
    Dashboard,
    /// Lines on the standard output.
    Lines,
}

impl Display {
    /// The dashboard where there is a terminal to draw on (and to take `q` from).
    pub fn detect() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !dumb {
            Display::Dashboard
        } else {
            Display::Lines
        }
    }
}

/// A progress bar on the standard error (invisible where that is no terminal).
pub(crate) fn bar(total: u64, verb: &str) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} ({eta} left)";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total)
        .with_style(style)
        .with_message(verb.to_owned())
}

/// Prints a line; a reader that has gone away (`ls-train … | head`) doesn't stop a run.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", printable(line)).and_then(|()| out.flush());
}

/// Prints a line on the standard error: a warning, or what is no result.
pub fn say_aside(line: &str) {
    // The terminal may be gone.
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// How fast this session goes, and how long it will take.
#[derive(Debug)]
pub struct Pace {
    steps: usize,
    step_seconds: f64,
    evaluations: usize,
    evaluation_seconds: f64,
}

/// The work that is left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Training steps.
    pub steps: usize,
    /// Evaluations of the dev split (the test counts as one).
    pub evaluations: usize,
    /// Samples of one evaluation, in units of a training batch.
    pub batches_per_evaluation: f64,
}

impl Pace {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self {
            steps: 0,
            step_seconds: 0.0,
            evaluations: 0,
            evaluation_seconds: 0.0,
        }
    }

    /// Enters the time of some steps.
    pub fn steps(&mut self, steps: usize, seconds: f64) {
        // The first step compiles and tunes kernels: it tells nothing of the rest.
        if self.steps == 1 {
            self.step_seconds = 0.0;
            self.steps = 0;
        }
        self.steps += steps;
        self.step_seconds += seconds;
    }

    /// Whether no step was entered yet: the first one is better entered alone.
    pub fn is_new(&self) -> bool {
        self.steps == 0
    }

    /// Enters the time of an evaluation.
    pub fn evaluation(&mut self, seconds: f64) {
        // As with steps, the first one may have compiled kernels.
        if self.evaluations == 1 {
            self.evaluation_seconds = 0.0;
            self.evaluations = 0;
        }
        self.evaluations += 1;
        self.evaluation_seconds += seconds;
    }

    /// Seconds a step, so far.
    pub fn per_step(&self) -> f64 {
        self.step_seconds / self.steps.max(1) as f64
    }

    /// Seconds until all of `left` is done.
    ///
    /// Before the first evaluation, a batch without its backward pass is taken for a third
    /// of a step.
    pub fn remaining(&self, left: &Left) -> f64 {
        let per_evaluation = if self.evaluations > 0 {
            self.evaluation_seconds / self.evaluations as f64
        } else {
            self.per_step() / 3.0 * left.batches_per_evaluation
        };
        self.per_step() * left.steps as f64 + per_evaluation * left.evaluations as f64
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// When to say how long a run will take: after ten steps, or half a minute of fewer (the first
/// step, which may have compiled kernels, not counted).
#[derive(Debug)]
pub struct Estimate {
    started: Instant,
    first: usize,
    said: bool,
}

impl Estimate {
    /// A session that starts at step `first`.
    pub fn new(first: usize) -> Self {
        Self {
            started: Instant::now(),
            first,
            said: false,
        }
    }

    /// Whether now is the moment; true once.
    pub fn due(&mut self, step: usize) -> bool {
        let steps = step - self.first;
        let due =
            !self.said && (steps > 10 || (steps >= 2 && self.started.elapsed().as_secs() >= 30));
        if steps <= 1 {
            self.started = Instant::now();
        }
        self.said |= due;
        due
    }
}

/// A duration as a person would say it: `48 s`, `52 min`, `3 h 05 min`, `2 d 4 h`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..5_970 => format!("{} min", (seconds + 30) / 60),
        5_970..172_800 => {
            let minutes = (seconds + 30) / 60;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
        _ => {
            let hours = (seconds + 1_800) / 3_600;
            format!("{} d {} h", hours / 24, hours % 24)
        }
    }
}

/// A rate with three figures: `412`, `41.2k`, `4.12M`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e6 => format!("{:.2}M", r / 1e6),
        r if r >= 1e5 => format!("{:.0}k", r / 1e3),
        r if r >= 1e3 => format!("{:.1}k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

/// A number with three figures or all before the point: `0.0123`, `1.23`, `12.3`, `1234`.
pub fn three_figures(number: f64) -> String {
    if number <= 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let decimals = (2.0 - number.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{number:.decimals$}")
}

/// A number of bytes with three figures: `101 MB`, `2.15 GB`.
pub fn bytes(number: f64) -> String {
    let (unit, name) = match number {
        n if n >= 1e12 => (1e12, "TB"),
        n if n >= 1e9 => (1e9, "GB"),
        n if n >= 1e6 => (1e6, "MB"),
        _ => (1e3, "kB"),
    };
    format!("{} {name}", three_figures(number / unit))
}

/// A count with thin groups of three: `96 000`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_rates_and_counts_read_well() {
        assert_eq!(duration(48.3), "48 s");
        assert_eq!(duration(52.0 * 60.0), "52 min");
        assert_eq!(duration(3.0 * 3600.0 + 299.0), "3 h 05 min");
        assert_eq!(duration(52.0 * 3600.0), "2 d 4 h");
        assert_eq!(rate(412.0), "412");
        assert_eq!(rate(41_234.0), "41.2k");
        assert_eq!(rate(4_123_400.0), "4.12M");
        for (number, text) in [
            (0.012_345, "0.0123"),
            (0.5, "0.500"),
            (12.34, "12.3"),
            (1234.5, "1234"),
            (0.0, "0"),
        ] {
            assert_eq!(three_figures(number), text);
        }
        assert_eq!(bytes(100_700_000.0), "101 MB");
        assert_eq!(bytes(2_147_000_000.0), "2.15 GB");
        assert_eq!(bytes(4.5036e15), "4504 TB");
        assert_eq!(count(96_000), "96 000");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1 234 567");
    }

    #[test]
    fn the_first_step_is_left_out_of_the_pace() {
        let mut pace = Pace::new();
        pace.steps(1, 30.0);
        pace.steps(1, 1.0);
        pace.steps(2, 2.0);
        assert_eq!(pace.per_step(), 1.0);
        let left = Left {
            steps: 10,
            evaluations: 2,
            batches_per_evaluation: 6.0,
        };
        assert_eq!(pace.remaining(&left), 10.0 + 2.0 * 2.0);
        pace.evaluation(5.0);
        assert_eq!(pace.remaining(&left), 10.0 + 10.0);
        pace.evaluation(4.0);
        assert_eq!(pace.remaining(&left), 10.0 + 8.0);
    }

    #[test]
    fn the_estimate_is_given_once() {
        let mut estimate = Estimate::new(100);
        assert!(!estimate.due(110));
        assert!(estimate.due(111));
        assert!(!estimate.due(112));
    }
}
