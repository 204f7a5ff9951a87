//! What long work shows on a terminal.

use std::io::{self, IsTerminal, Write};

use transformer_ls_infer::evaluate::Progress;
use transformer_ls_infer::vocabulary::Search;

/// A line that is written over, on a terminal alone.
pub struct LiveLine {
    on: bool,
}

impl LiveLine {
    pub fn new() -> Self {
        Self {
            on: io::stderr().is_terminal(),
        }
    }

    /// From an archive, a task's files are taken first.
    pub fn reading(&self, done: u64, total: u64) {
        if self.on {
            let (done, total) = (done >> 20, total >> 20);
            let _ = write!(
                io::stderr(),
                "\rreading the archive: {done} of {total} MiB \x1b[K"
            );
        }
    }

    /// Before the first evaluation on a split its samples are packed.
    pub fn packing(&self, done: usize, total: usize) {
        if self.on {
            let _ = write!(io::stderr(), "\rpacking: {done} of {total} samples \x1b[K");
        }
    }

    pub fn show(&self, progress: &Progress) {
        if self.on {
            let _ = write!(
                io::stderr(),
                "\r{} of {} samples, {:.0} samples/s, {:.0} tokens/s \x1b[K",
                progress.done,
                progress.total,
                progress.samples_per_second(),
                progress.tokens_per_second()
            );
        }
    }

    pub fn searching(&self, search: &Search) {
        if self.on {
            let _ = write!(
                io::stderr(),
                "\rfinding the vocabulary: round {} of {}, start {} of {}, {} orders tried, loss {:.4} \x1b[K",
                search.round,
                search.rounds,
                search.order,
                search.orders,
                search.tried,
                search.loss
            );
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        if self.on {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
