//! Work before a run that takes a while: a bar on a terminal, a line now and then in a log, and a
//! first Ctrl-C that stops the work and not the process.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::trainer::interrupt;
use crate::trainer::progress::{bar, count, duration, rate, say};

/// The time between lines in a log. What is done earlier leaves none.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Samples,
    Bytes,
}

/// A count that grows. While there is one, Ctrl-C does not end the process.
pub(super) struct Counted {
    what: String,
    unit: Unit,
    bar: ProgressBar,
    is_terminal: bool,
    /// When the first count came, and what it was.
    first: Cell<Option<(Instant, u64)>>,
    said: Cell<Instant>,
}

impl Counted {
    pub(super) fn new(what: &str, unit: Unit) -> Self {
        interrupt::asked(true);
        let bar = bar(0, what);
        if unit == Unit::Bytes {
            let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec} ({eta} left)";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        Self {
            what: what.to_owned(),
            unit,
            bar,
            is_terminal: stderr().is_terminal(),
            first: Cell::new(None),
            said: Cell::new(Instant::now()),
        }
    }

    /// Whether the user wants the work to stop.
    pub(super) fn cancelled() -> bool {
        interrupt::requested()
    }

    /// A function that is told how many samples of how many are done.
    pub(super) fn samples(&self) -> impl Fn(usize, usize) + '_ {
        |done, total| self.at(done as u64, Some(total as u64))
    }

    /// Enters how much of how much is done.
    pub(super) fn at(&self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        let Some((since, first)) = self.first.get() else {
            // What was there before says nothing about the time that is left.
            self.bar.reset_eta();
            self.first.set(Some((now, done)));
            return;
        };
        if self.is_terminal || now - self.said.get() < INTERVAL {
            return;
        }
        self.said.set(now);
        let per_second =
            done.saturating_sub(first) as f64 / (now - since).as_secs_f64().max(f64::EPSILON);
        say(&self.line(done, total, per_second));
    }

    fn line(&self, done: u64, total: Option<u64>, per_second: f64) -> String {
        let amount = |number: u64| match self.unit {
            Unit::Samples => count(number as usize),
            Unit::Bytes => format!("{:.1} MB", number as f64 / 1e6),
        };
        let speed = match self.unit {
            Unit::Samples => format!("{} a second", rate(per_second)),
            Unit::Bytes => format!("{:.1} MB/s", per_second / 1e6),
        };
        let of = total.map_or(String::new(), |total| format!(" of {}", amount(total)));
        let left = match total {
            Some(total) if per_second > 0.0 => {
                let seconds = total.saturating_sub(done) as f64 / per_second;
                format!(", {} left", duration(seconds))
            }
            _ => String::new(),
        };
        format!("{}: {}{of}, {speed}{left}", self.what, amount(done))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        interrupt::asked(false);
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_much_how_fast_and_how_long() {
        let images = Counted::new("making images", Unit::Samples);
        assert_eq!(
            images.line(12_000, Some(200_000), 1_000.0),
            "making images: 12 000 of 200 000, 1.0k a second, 3 min left"
        );
        let file = Counted::new("fetching x", Unit::Bytes);
        assert_eq!(
            file.line(42_000_000, Some(84_000_000), 2e6),
            "fetching x: 42.0 MB of 84.0 MB, 2.0 MB/s, 21 s left"
        );
        assert_eq!(
            file.line(42_000_000, None, 2e6),
            "fetching x: 42.0 MB, 2.0 MB/s"
        );
    }
}
