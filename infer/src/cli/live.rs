//! What long work shows on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use transformer_ls_infer::evaluate::Progress;
use transformer_ls_infer::vocabulary::Search;

/// A line that is written over, on a terminal alone.
pub struct LiveLine(ProgressBar);

impl LiveLine {
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self(ProgressBar::new_spinner().with_style(style))
    }

    /// From an archive, a task's files are taken first.
    pub fn reading(&self, done: u64, total: u64) {
        let (done, total) = (done >> 20, total >> 20);
        self.0
            .set_message(format!("reading the archive: {done} of {total} MiB"));
    }

    /// Before the first evaluation on a split its samples are packed.
    pub fn packing(&self, done: usize, total: usize) {
        self.0
            .set_message(format!("packing: {done} of {total} samples"));
    }

    pub fn show(&self, progress: &Progress) {
        self.0.set_message(format!(
            "{} of {} samples, {:.0} samples/s, {:.0} tokens/s",
            progress.done,
            progress.total,
            progress.samples_per_second(),
            progress.tokens_per_second()
        ));
    }

    pub fn scoring(&self, done: usize, total: usize, elapsed: Duration, bits: f64) {
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
        self.0.set_message(format!(
            "{done} of {total} bytes, {rate:.0} bytes/s, {bits:.3} bits per character"
        ));
    }

    pub fn searching(&self, search: &Search) {
        self.0.set_message(format!(
            "finding the vocabulary: round {} of {}, start {} of {}, {} orders tried, loss {:.4}",
            search.round, search.rounds, search.order, search.orders, search.tried, search.loss
        ));
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
