//! How far a series of measurements is: a bar on a terminal, a line a measurement in a log, both on
//! the standard error.

use std::io::{self, Write};

use indicatif::ProgressBar;

use crate::bench::limits::bytes;
use crate::bench::timing::Timing;
use crate::trainer::progress::bar;

pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn start(measurements: usize) -> Self {
        Self {
            bar: bar(measurements as u64, "measuring"),
        }
    }

    pub(super) fn begin(&self, label: &str) {
        self.bar.set_message(format!("measuring {label}"));
        self.bar.tick();
    }

    pub(super) fn finish(&self, label: &str, timing: &Timing) {
        self.bar.inc(1);
        if self.bar.is_hidden() {
            let memory = timing
                .peak_bytes
                .map(|peak| format!(", {}", bytes(peak as f64)));
            self.say(&format!(
                "{}/{} {label}: {} ms{}",
                self.bar.position(),
                self.bar.length().unwrap_or_default(),
                three_figures(timing.seconds * 1e3),
                memory.unwrap_or_default()
            ));
        }
    }

    pub(super) fn skip(&self) {
        self.bar.inc(1);
    }

    /// A line beside the bar.
    pub(super) fn say(&self, line: &str) {
        self.aside(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Writes elsewhere while the bar is out of the way.
    pub(super) fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A number with three figures or all before the point: `0.0123`, `1.23`, `12.3`, `1234`.
pub(super) fn three_figures(number: f64) -> String {
    if number <= 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let decimals = (2.0 - number.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::three_figures;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [
            (0.012_345, "0.0123"),
            (0.5, "0.500"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (1234.5, "1234"),
            (0.0, "0"),
        ] {
            assert_eq!(three_figures(number), text);
        }
    }
}
