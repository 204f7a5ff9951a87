//! The check of ListOps: every expression is worked out.

use std::io::{BufRead, BufReader};
use std::path::Path;

use burn_dataset::Dataset;

use super::{CLASSES, ListOps, Tokenizer, WANTED, evaluate, file_name, source};
use crate::files::Files;
use crate::lines::{line_end, without_end};
use crate::report::Report;
use crate::{DatasetError, Split};

pub(super) fn check(path: &Path, report: &mut Report) {
    const PUBLISHED: [usize; 3] = [96_000, 2_000, 2_000];
    let Some(release) = report.release(source(path).as_ref(), &WANTED) else {
        return;
    };
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        let data = match ListOps::open_in(path, release.as_ref(), split, Tokenizer::Brackets) {
            Ok(data) => data,
            Err(error) => {
                report.error(error);
                continue;
            }
        };
        report.place = data.path().parent().map(Path::to_owned);
        report.summarise(split, data.labels(), data.lengths(), "tokens", CLASSES);
        report.count(split, data.len(), published);
        let place = report.place.clone().unwrap_or_default();
        let files = release.clone().map_or(Files::Folder(place), Files::Release);
        if let Err(error) = values(&files, file_name(split), report) {
            report.error(error);
        }
    }
}

/// Works every expression out, and compares with the label.
fn values(files: &Files, name: &str, report: &mut Report) -> Result<(), DatasetError> {
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
        let value = evaluate(expression).map(|value| value.to_string());
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
