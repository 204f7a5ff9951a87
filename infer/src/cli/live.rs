//! What long work shows on a terminal.

use std::fmt::Arguments;
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
        let (done, total) = (done >> 20, total >> 20);
        self.write(format_args!("reading the archive: {done} of {total} MiB "));
    }

    /// Before the first evaluation on a split its samples are packed.
    pub fn packing(&self, done: usize, total: usize) {
        self.write(format_args!("packing: {done} of {total} samples "));
    }

    pub fn show(&self, progress: &Progress) {
        self.write(format_args!(
            "{} of {} samples, {:.0} samples/s, {:.0} tokens/s ",
            progress.done,
            progress.total,
            progress.samples_per_second(),
            progress.tokens_per_second()
        ));
    }

    pub fn searching(&self, search: &Search) {
        self.write(format_args!(
            "finding the vocabulary: round {} of {}, start {} of {}, {} orders tried, loss {:.4} ",
            search.round, search.rounds, search.order, search.orders, search.tried, search.loss
        ));
    }

    /// `text` in place of what the line says.
    fn write(&self, text: Arguments) {
        if self.on {
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.write(format_args!(""));
    }
}
