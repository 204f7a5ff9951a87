//! What is missing, wrong or cut off in a task's data, before a run finds out.

use std::fs;
use std::path::Path;

pub use crate::report::{Finding, Report, Severity};

use crate::Task;
use crate::release::Copy;
use crate::side::is_side;
use crate::walk::files_below;

/// Reads all of a task's data in `path`, a folder or an archive, and reports what is wrong with it.
///
/// Takes as long as reading everything once.
pub fn check(task: Task, path: &Path) -> Report {
    let mut report = Report::new(task.name);
    task.data.check(path, &mut report);
    if let Some(place) = report.place.clone() {
        if let Some(copy) = Copy::of(&place) {
            report.fact(match copy.is_inner {
                true => "the inner of the two lra_release folders, which everybody uses",
                false => "the outer of the two lra_release folders of the archive",
            });
        }
        let side_files = report.side_files + side_files_in(&place, task.folders);
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

/// The side files in a folder, and in those folders `below` it that hold a task's files.
fn side_files_in(place: &Path, below: &[&str]) -> usize {
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
