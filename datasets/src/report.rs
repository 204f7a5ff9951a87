//! What a check of a task's data found, and what the checks of all tasks have in common.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Split;
use crate::files::Source;
use crate::printable::{on_one_line, shown};
use crate::release::{Release, Wanted};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The data can be used, but results may not be comparable, or not good.
    Warning,
    /// The data can't be used as it is.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, where, and what to do.
    pub message: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The task's name.
    pub task: &'static str,
    /// The file or folder of the data, if there is any.
    pub place: Option<PathBuf>,
    /// What is there: counts, classes, lengths.
    pub facts: Vec<String>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Samples that can be read.
    pub(crate) samples: usize,
    /// Side files in an archive, which readers pass over.
    pub(crate) side_files: usize,
}

impl Report {
    pub(crate) fn new(task: &'static str) -> Self {
        Self {
            task,
            place: None,
            facts: Vec::new(),
            findings: Vec::new(),
            samples: 0,
            side_files: 0,
        }
    }

    /// Whether the data can be used.
    pub fn is_usable(&self) -> bool {
        let mut findings = self.findings.iter();
        !findings.any(|finding| finding.severity == Severity::Error)
    }

    pub(crate) fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(on_one_line(&text.into()));
    }

    pub(crate) fn warning(&mut self, message: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Warning,
            message: on_one_line(&message.into()),
        });
    }

    pub(crate) fn error(&mut self, error: impl ToString) {
        let message = on_one_line(&error.to_string());
        // Splits that are read from the same file say the same.
        if !self
            .findings
            .iter()
            .any(|finding| finding.message == message)
        {
            self.findings.push(Finding {
                severity: Severity::Error,
                message,
            });
        }
    }

    /// States how many samples, of which classes and lengths, there are.
    pub(crate) fn summarise(
        &mut self,
        split: Split,
        labels: &[u8],
        lengths: impl Iterator<Item = usize>,
        unit: &str,
        classes: usize,
    ) {
        let (mut least, mut most, mut sum) = (usize::MAX, 0, 0);
        for length in lengths {
            (least, most, sum) = (least.min(length), most.max(length), sum + length);
        }
        let shares: Vec<String> = tally(labels, classes)
            .iter()
            .map(usize::to_string)
            .collect();
        let count = labels.len();
        self.samples += count;
        self.fact(format!(
            "{split}: {count} samples, classes {}, {least} to {most} {unit} (mean {})",
            shares.join(" / "),
            sum / count.max(1)
        ));
    }

    /// Warns of a split that is not of the published size.
    pub(crate) fn count(&mut self, split: Split, found: usize, published: usize) {
        if found != published {
            self.warning(format!(
                "{split} has {found} samples, the published data {published}: results are not \
                 comparable. If this is meant to be the published data, unpack or copy it again"
            ));
        }
    }

    /// Warns of a split of the published size that has not `each` samples of every class.
    pub(crate) fn balance(&mut self, split: Split, labels: &[u8], each: usize) {
        let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
        let counts = tally(labels, classes);
        let total: usize = counts.iter().sum();
        // A count that is off altogether has been reported.
        if total == each * classes && counts.iter().any(|&count| count != each) {
            self.warning(format!(
                "{split} has {counts:?} samples of its classes, the published data {each} of each"
            ));
        }
    }

    /// The archive that the data is in, if it is in one, read once for all splits; `None` if it can't
    /// be, which is reported.
    pub(crate) fn release(
        &mut self,
        source: Option<&Source>,
        wanted: &Wanted,
    ) -> Option<Option<Arc<Release>>> {
        let Some(Source::Archive(archive)) = source else {
            return Some(None);
        };
        match Release::read_all(archive, wanted) {
            Ok(release) => {
                self.side_files = release.side_files();
                Some(Some(release))
            }
            Err(error) => {
                self.error(error);
                None
            }
        }
    }
}

fn tally(labels: &[u8], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    counts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => writeln!(f, "{} in {}", self.task, shown(place))?,
            None => writeln!(f, "{}: no data", self.task)?,
        }
        for fact in &self.facts {
            writeln!(f, "  {fact}")?;
        }
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            writeln!(f, "  {severity}: {}", finding.message)?;
        }
        let verdict = match (self.is_usable(), self.findings.is_empty()) {
            (true, true) => "complete, as published",
            (true, false) => "can be used, but see the warnings",
            (false, _) => "can't be used as it is",
        };
        write!(f, "  {verdict}")
    }
}
