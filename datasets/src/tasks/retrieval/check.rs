//! The check of Retrieval: every pair is read.

use std::path::Path;

use burn_dataset::Dataset;

use super::{CLASSES, Retrieval, WANTED, source};
use crate::report::Report;
use crate::{Samples, Split};

pub(super) fn check(path: &Path, report: &mut Report) {
    const PUBLISHED: [usize; 3] = [147_086, 18_090, 17_437];
    let Some(release) = report.release(source(path).as_ref(), &WANTED) else {
        return;
    };
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        match Retrieval::open_in(path, release.as_ref(), split) {
            Ok(data) => {
                report.place = data.path().parent().map(Path::to_owned);
                let lengths = data.line_lengths();
                report.summarise(split, data.labels(), lengths, "bytes a pair", CLASSES);
                report.count(split, data.len() + data.left_out(), published);
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
