//! What is missing, wrong or cut off in a task's data, before a run finds out.

mod pathfinder;
mod tasks;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::pathfinder::{Size, folder};
use crate::printable::{on_one_line, shown};
use crate::side::is_side;
use crate::walk::files_below;

/// A task of the Long Range Arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Nested list operations.
    ListOps,
    /// Film reviews.
    Text,
    /// Pairs of papers.
    Retrieval,
    /// Grey CIFAR-10.
    Image,
    /// Connected markers, in images of a size.
    Pathfinder(Size),
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 8] = [
        Task::ListOps,
        Task::Text,
        Task::Retrieval,
        Task::Image,
        Task::Pathfinder(Size::N32),
        Task::Pathfinder(Size::N64),
        Task::Pathfinder(Size::N128),
        Task::Pathfinder(Size::N256),
    ];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Task::ListOps => "listops",
            Task::Text => "text",
            Task::Retrieval => "retrieval",
            Task::Image => "image",
            Task::Pathfinder(size) => size.task(),
        })
    }
}

/// The text names no [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no task {0:?}: use listops, text, retrieval, image, pathfinder32, pathfinder64, \
     path-x or pathfinder256"
)]
pub struct UnknownTask(pub String);

impl FromStr for Task {
    type Err = UnknownTask;

    /// Path-X may be called `pathfinder128`, too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = if text == "pathfinder128" {
            "path-x"
        } else {
            text
        };
        Task::ALL
            .into_iter()
            .find(|task| task.to_string() == text)
            .ok_or_else(|| UnknownTask(text.to_owned()))
    }
}

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
    /// The task.
    pub task: Task,
    /// The file or folder of the data, if there is any.
    pub place: Option<PathBuf>,
    /// What is there: counts, classes, lengths.
    pub facts: Vec<String>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Samples that can be read.
    samples: usize,
    /// Side files in an archive, which readers pass over.
    side_files: usize,
}

impl Report {
    fn new(task: Task) -> Self {
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

    fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(on_one_line(&text.into()));
    }

    fn warning(&mut self, message: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Warning,
            message: on_one_line(&message.into()),
        });
    }

    fn error(&mut self, error: impl ToString) {
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

/// Reads all of a task's data in `path`, a folder or an archive, and reports what is wrong with it.
///
/// Takes as long as reading everything once.
pub fn check(task: Task, path: &Path) -> Report {
    let mut report = Report::new(task);
    match task {
        Task::ListOps => tasks::listops(path, &mut report),
        Task::Text => tasks::text(path, &mut report),
        Task::Retrieval => tasks::retrieval(path, &mut report),
        Task::Image => tasks::image(path, &mut report),
        Task::Pathfinder(size) => pathfinder::check(path, size, &mut report),
    }
    if let Some(place) = report.place.clone() {
        which_copy(&place, &mut report);
        let side_files = report.side_files + side_files_in(task, &place);
        if side_files > 0 {
            report.fact(format!(
                "{side_files} side files of macOS or Windows, passed over"
            ));
        }
    }
    if report.samples == 0 && report.is_usable() {
        report.error("there are no samples in it: unpack or generate the data again");
    }
    report
}

/// The side files in a folder and in those below it that hold the task's files.
fn side_files_in(task: Task, place: &Path) -> usize {
    let below: &[&str] = match task {
        Task::ListOps | Task::Retrieval | Task::Image => &[],
        Task::Text => &["train", "test"],
        Task::Pathfinder(_) => &[folder::IMAGES, folder::METADATA],
    };
    let is_one = |path: &Path, _| is_side(&path.to_string_lossy());
    let below = below
        .iter()
        .map(|name| files_below(&place.join(name), &is_one));
    let below = below.flatten().flatten().filter(|is_one| *is_one).count();
    // What can't be read has been reported, and what is no folder has none.
    let beside = fs::read_dir(place).into_iter().flatten().flatten();
    let beside = beside.filter(|entry| is_side(&entry.file_name().to_string_lossy()));
    below + beside.count()
}

/// Says which of the two `lra_release` folders, one inside the other, the data is in.
fn which_copy(place: &Path, report: &mut Report) {
    let Some(copy) = folder::Copy::of(place) else {
        return;
    };
    report.fact(match copy.is_inner {
        true => "the inner of the two lra_release folders, which everybody uses",
        false => "the outer of the two lra_release folders of the archive",
    });
    if let Task::Pathfinder(size) = report.task
        && let Some(warning) = folder::warning_of(place, size)
    {
        report.warning(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_parse_as_they_print() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse(), Ok(task));
        }
        assert_eq!("pathfinder128".parse(), Ok(Task::Pathfinder(Size::N128)));
        let error = "pathfinder".parse::<Task>().unwrap_err().to_string();
        assert!(error.contains("pathfinder64"), "{error}");
    }
}
