//! The check of Image: every batch is read.

use std::path::Path;

use burn_dataset::Dataset;

use super::{CLASSES, Image, Protocol, TOKENS};
use crate::Split;
use crate::report::Report;

pub(super) fn check(path: &Path, report: &mut Report) {
    const PUBLISHED: [usize; 3] = [45_000, 5_000, 10_000];
    for (split, published) in Split::ALL.into_iter().zip(PUBLISHED) {
        match Image::open(path, split, Protocol::Tfds) {
            Ok(data) => {
                report.place = Some(data.path().to_owned());
                report.side_files = data.side_files();
                let lengths = (0..data.len()).map(|_| TOKENS);
                report.summarise(split, data.labels(), lengths, "tokens", CLASSES);
                report.count(split, data.len(), published);
                if split == Split::Test {
                    report.balance(split, data.labels(), 1000);
                }
            }
            Err(error) => report.error(error),
        }
    }
}
