//! The checks of ListOps, Text, Retrieval and Image.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use burn_dataset::Dataset;

use super::{Report, Task};
use crate::files::Files;
use crate::image::{Image, Protocol};
use crate::lines::{line_end, without_end};
use crate::listops::{self, ListOps, Tokenizer};
use crate::pathfinder::Difficulty;
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::release::{Release, archive_of};
use crate::retrieval::Retrieval;
use crate::text::Text;
use crate::{DatasetError, Missing, Samples, Split};

/// Counts of samples in training, dev and test.
type Counts = [usize; 3];

pub(super) fn listops(path: &Path, report: &mut Report) {
    const PUBLISHED: Counts = [96_000, 2_000, 2_000];
    let Some(release) = release(Task::ListOps, path, report) else {
        return;
    };
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        let opened = match &release {
            Some(release) => ListOps::from_release(release, split, Tokenizer::Brackets),
            None => ListOps::open(path, split, Tokenizer::Brackets),
        };
        let data = match opened {
            Ok(data) => data,
            Err(error) => {
                report.error(error);
                continue;
            }
        };
        report.place = data.path().parent().map(Path::to_owned);
        summarise(
            report,
            split,
            data.labels(),
            data.lengths(),
            listops::CLASSES,
        );
        count(report, split, data.len(), published);
        let place = report.place.clone().unwrap_or_default();
        let files = release.clone().map_or(Files::Folder(place), Files::Release);
        if let Err(error) = listops_values(&files, listops::file_name(split), report) {
            report.error(error);
        }
    }
}

/// Works every expression out, and compares with the label.
fn listops_values(files: &Files, name: &str, report: &mut Report) -> Result<(), DatasetError> {
    let (path, file) = files.section(name)?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let end = line_end(file.fill_buf().map_err(DatasetError::io("read", &path))?);
    // The file was read: its lines are text, with a tab and a digit. The first is the header.
    for (number, line) in file.split(end).enumerate().skip(1) {
        let line = line.map_err(DatasetError::io("read", &path))?;
        let line = String::from_utf8_lossy(without_end(&line, end));
        let Some((expression, label)) = line.split_once('\t') else {
            continue;
        };
        let value = listops::evaluate(expression).map(|value| value.to_string());
        match value {
            Ok(value) if value == label => continue,
            Ok(value) => report.error(format!(
                "{}:{}: the label is {label}, but the expression's value is {value}: copy the \
                 file again, or delete the data and generate it",
                path.display(),
                number + 1
            )),
            Err(problem) => {
                report.error(format!("{}:{}: {problem}", path.display(), number + 1));
            }
        }
        return Ok(());
    }
    Ok(())
}

pub(super) fn text(path: &Path, report: &mut Report) {
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
                summarise(
                    report,
                    split,
                    data.labels(),
                    data.lengths(),
                    crate::text::CLASSES,
                );
                count(report, split, data.len(), 25_000);
                balance(report, split, data.labels(), 12_500);
            }
            Err(error) => report.error(error),
        }
    }
    if report.place.is_some() {
        report.fact("dev: the test split, as in the published protocols");
    }
}

pub(super) fn retrieval(path: &Path, report: &mut Report) {
    const PUBLISHED: Counts = [147_086, 18_090, 17_437];
    let Some(release) = release(Task::Retrieval, path, report) else {
        return;
    };
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        let opened = match &release {
            Some(release) => Retrieval::from_release(release, split),
            None => Retrieval::open(path, split),
        };
        match opened {
            Ok(data) => {
                report.place = data.path().parent().map(Path::to_owned);
                summarise(report, split, data.labels(), data.line_lengths(), 2);
                count(report, split, data.len() + data.left_out(), published);
                if data.has_open_end() {
                    report.warning(format!(
                        "{}: the last line has no line end, as if the file were cut off in it. If \
                         this is meant to be the published data, unpack or copy it again",
                        data.path().display()
                    ));
                }
                if data.left_out() > 0 {
                    report.warning(format!(
                        "{}: {} pairs have an empty document and are left out",
                        data.path().display(),
                        data.left_out()
                    ));
                }
            }
            Err(error) => report.error(error),
        }
    }
}

pub(super) fn image(path: &Path, report: &mut Report) {
    const PUBLISHED: Counts = [45_000, 5_000, 10_000];
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        match Image::open(path, split, Protocol::Tfds) {
            Ok(data) => {
                report.place = Some(data.path().to_owned());
                report.side_files = data.side_files();
                let lengths = (0..data.len()).map(|_| crate::image::TOKENS);
                summarise(report, split, data.labels(), lengths, crate::image::CLASSES);
                count(report, split, data.len(), published);
                if split == Split::Test {
                    balance(report, split, data.labels(), 1000);
                }
            }
            Err(error) => report.error(error),
        }
    }
}

/// The archive that the data is in, if it is in one, read once for all splits; `None` if it can't
/// be, which is reported.
fn release(task: Task, path: &Path, report: &mut Report) -> Option<Option<Arc<Release>>> {
    let difficulty = Difficulty::default();
    let Some(archive) = archive_of(task, difficulty, path) else {
        return Some(None);
    };
    let near = archive.parent().unwrap_or(Path::new("."));
    match Release::read(&archive, task, difficulty, near, &|_, _| {}, &|| false) {
        Ok(release) => {
            report.side_files = release.side_files();
            Some(Some(Arc::new(release)))
        }
        Err(error) => {
            report.error(error);
            None
        }
    }
}

/// States how many samples, of which classes and lengths, there are.
pub(super) fn summarise(
    report: &mut Report,
    split: Split,
    labels: &[u8],
    lengths: impl Iterator<Item = usize>,
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
    report.samples += count;
    let unit = match report.task {
        Task::Retrieval => "bytes a pair",
        _ => "tokens",
    };
    report.fact(format!(
        "{split}: {count} samples, classes {}, {least} to {most} {unit} (mean {})",
        shares.join(" / "),
        sum / count.max(1)
    ));
}

fn tally(labels: &[u8], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    counts
}

pub(super) fn count(report: &mut Report, split: Split, found: usize, published: usize) {
    if found != published {
        report.warning(format!(
            "{split} has {found} samples, the published data {published}: results are not \
             comparable. If this is meant to be the published data, unpack or copy it again"
        ));
    }
}

fn balance(report: &mut Report, split: Split, labels: &[u8], each: usize) {
    let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
    let counts = tally(labels, classes);
    let total: usize = counts.iter().sum();
    // A count that is off altogether has been reported.
    if total == each * classes && counts.iter().any(|&count| count != each) {
        report.warning(format!(
            "{split} has {counts:?} samples of its classes, the published data {each} of each"
        ));
    }
}
