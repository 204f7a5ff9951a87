//! The check of Text: every review is read.

use std::path::Path;

use burn_dataset::Dataset;

use super::{CLASSES, Text};
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::report::Report;
use crate::{DatasetError, Missing, Split};

pub(super) fn check(path: &Path, report: &mut Report) {
    for split in [Split::Train, Split::Test] {
        let opened = Text::open(path, split, Missing::Refuse).or_else(|error| match error {
            DatasetError::BadFile {
                problem: FileProblem::Incomplete { .. },
                ..
            } => {
                report.error(error);
                Text::open(path, split, Missing::LeaveOut)
            }
            error => Err(error),
        });
        match opened {
            Ok(data) => {
                report.place = Some(data.path().to_owned());
                report.side_files = data.side_files();
                if let (Some(first), count) = data.unusual() {
                    report.warning(format!(
                        "{}: the published reviews are named by a number and a rating, 0_5.txt for \
                         instance ({count} in {split} are not): delete it if it is a copy",
                        shown(first)
                    ));
                }
                report.summarise(split, data.labels(), data.lengths(), "tokens", CLASSES);
                report.count(split, data.len(), 25_000);
                report.balance(split, data.labels(), 12_500);
            }
            Err(error) => report.error(error),
        }
    }
    if report.place.is_some() {
        report.fact("dev: the test split, as in the published protocols");
    }
}
