//! The check of Pathfinder: every image is read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::folder::{self, ORIGIN};
use super::read::{is_known_empty, locate, pixels};
use super::{Difficulty, Size, parse_metadata};
use crate::DatasetError;
use crate::files::{Files, Source};
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::report::Report;

/// Images of the published data, of each size and difficulty.
const PUBLISHED: usize = 200_000;

/// Mean brightness of the original generator's hard images.
fn brightness(size: Size) -> f64 {
    match size {
        Size::N32 => 20.3,
        Size::N64 => 13.4,
        Size::N128 => 7.9,
        Size::N256 => 2.96,
    }
}

/// What was found of a batch.
#[derive(Default)]
struct Batch {
    images: usize,
    connected: usize,
    /// The published empty image.
    known: usize,
    /// The first image that is empty or not there, and how many there are.
    lacking: Option<PathBuf>,
    lacks: usize,
    /// The first bad image, why, and how many there are.
    bad: Option<String>,
    bads: usize,
    brightness: f64,
    /// Of the images' metadata, each once.
    difficulties: Vec<Difficulty>,
    names: Vec<String>,
}

pub(super) fn check(path: &Path, size: Size, report: &mut Report) {
    let of = |difficulty: Difficulty| Some((difficulty, folder::source(path, size, difficulty)?));
    let mut sources: Vec<_> = Difficulty::ALL.into_iter().filter_map(of).collect();
    // Where one difficulty is unpacked, an archive is not read through for the others.
    if sources.iter().any(|s| matches!(s.1, Source::Folder(_))) {
        sources.retain(|s| matches!(s.1, Source::Folder(_)));
    }
    let mut missing = None;
    // Hard ones last: they are what the Long Range Arena uses, and what the report is about.
    for (difficulty, source) in sources {
        let checked = folder::files(source, size, difficulty).and_then(|files| {
            // One that is not named after a difficulty is found for each.
            if report.place.replace(files.place()) == Some(files.place()) {
                return Ok(());
            }
            check_folder(&files, size, report)
        });
        match checked {
            Err(
                error @ DatasetError::BadFile {
                    problem: FileProblem::Missing(_) | FileProblem::Difficulty { .. },
                    ..
                },
            ) => missing = Some(error),
            Err(error) => report.error(error),
            Ok(()) => {}
        }
    }
    match (missing, &report.place) {
        (Some(error), None) => report.error(error),
        (None, None) if report.findings.is_empty() => {
            if let Err(error) = locate(path, size, Difficulty::Hard) {
                report.error(error);
            }
        }
        _ => {}
    }
    if let Some(place) = &report.place
        && let Some(warning) = folder::warning_of(place, size)
    {
        report.warning(warning);
    }
}

fn check_folder(files: &Files, size: Size, report: &mut Report) -> Result<(), DatasetError> {
    let place = files.place();
    let name = place.display();
    if files.holds(folder::UNFINISHED) {
        let path = files.path(folder::UNFINISHED);
        report.error(DatasetError::bad_file(&path)(FileProblem::Unfinished));
    }
    let metadata = folder::metadata_files(files)?;
    gaps(&metadata, files, report);
    let batches: Vec<Batch> = metadata
        .par_iter()
        .map(|(_, name)| check_batch(files, name, size))
        .collect::<Result<_, DatasetError>>()?;
    let sum = |value: fn(&Batch) -> usize| batches.iter().map(value).sum::<usize>();
    let (images, connected) = (sum(|b| b.images), sum(|b| b.connected));
    if images == 0 {
        return Err(DatasetError::NoSamples(files.path(folder::METADATA)));
    }
    if let Files::Release(release) = files {
        report.side_files = release.side_files();
    }
    twice(batches.iter().flat_map(|batch| &batch.names), files, report);
    let read = images - sum(|b| b.known) - sum(|b| b.lacks) - sum(|b| b.bads);
    report.samples += read;
    let mean = batches.iter().map(|b| b.brightness).sum::<f64>() / read.max(1) as f64;
    let mut stated: Vec<Difficulty> = batches
        .iter()
        .flat_map(|batch| batch.difficulties.iter().copied())
        .collect();
    stated.sort_by_key(|difficulty| difficulty.contour_length());
    stated.dedup();
    let named = Difficulty::ALL
        .into_iter()
        .find(|difficulty| place.ends_with(difficulty.folder()));
    let difficulty = named.or(stated.first().copied());
    if let Some(other) = stated.iter().find(|other| Some(**other) != difficulty) {
        report.error(format!(
            "{name} has {other} images ({} paddles, by their metadata) where {} ones belong: \
             move them to a folder {}, or unpack the archive again",
            other.contour_length(),
            difficulty.unwrap_or_default(),
            other.folder()
        ));
    }
    let level = difficulty.map_or("unknown difficulty".to_owned(), |d| {
        format!("{d} ({} paddles)", d.contour_length())
    });
    report.fact(format!(
        "{name}: {images} images in {} batches, {level}, {connected} connected, mean brightness \
         {mean:.2}",
        metadata.len()
    ));
    if images != PUBLISHED {
        report.warning(format!(
            "{name} has {images} images, the published data {PUBLISHED}: results are not \
             comparable. If this is meant to be the published data, unpack it again"
        ));
    }
    if let Some(difficulty) = difficulty.filter(|d| *d != Difficulty::Hard) {
        report.warning(format!(
            "{name} holds {difficulty} images: the Long Range Arena's figures are on hard ones \
             ({})",
            Difficulty::Hard.folder()
        ));
    }
    if sum(|batch| batch.known) > 0 {
        report.fact("imgs/0/sample_172.png is empty, as in the published data, and left out");
    }
    if let Some(first) = batches.iter().find_map(|batch| batch.lacking.as_ref()) {
        let (what, count) = ("image", sum(|batch| batch.lacks));
        let problem = match files.holds(ORIGIN) {
            true => FileProblem::Lost,
            false => FileProblem::Incomplete { what, count },
        };
        report.error(DatasetError::bad_file(first)(problem));
    }
    if let Some(first) = batches.iter().find_map(|batch| batch.bad.as_ref()) {
        report.error(format!("{first} ({} bad images in all)", sum(|b| b.bads)));
    }
    let expected = brightness(size);
    let is_hard = difficulty == Some(Difficulty::Hard);
    if is_hard && read > 100 && !(0.8..1.25).contains(&(mean / expected)) {
        report.warning(format!(
            "{name}: the images' mean brightness is {mean:.2}, the original's {expected}: they \
             were made otherwise, and models may not learn from them"
        ));
    }
    let share = connected as f64 / images.max(1) as f64;
    if images > 100 && !(0.4..0.6).contains(&share) {
        report.warning(format!(
            "{name}: {connected} of {images} images are connected, not half"
        ));
    }
    Ok(())
}

/// Batches are numbered from 0 on.
fn gaps(metadata: &[(u32, String)], files: &Files, report: &mut Report) {
    let numbers: Vec<u32> = metadata.iter().map(|file| file.0).collect();
    let last = numbers.last().copied().unwrap_or(0);
    let missing: Vec<u32> = (0..last)
        .filter(|n| numbers.binary_search(n).is_err())
        .collect();
    if let Some(first) = missing.first() {
        let path = files.path(&format!("{}/{first}.npy", folder::METADATA));
        report.warning(format!(
            "{} is missing ({} batches between 0 and {last} are): unpack the archive again",
            path.display(),
            missing.len()
        ));
    }
}

fn check_batch(files: &Files, metadata: &str, size: Size) -> Result<Batch, DatasetError> {
    let entries = parse_metadata(&files.read(metadata)?, &files.path(metadata))?;
    let mut batch = Batch {
        images: entries.len(),
        connected: entries.iter().map(|entry| usize::from(entry.label)).sum(),
        ..Batch::default()
    };
    batch
        .difficulties
        .extend(entries.iter().filter_map(|entry| entry.difficulty));
    batch.difficulties.dedup();
    for entry in &entries {
        let path = || files.path(&entry.image);
        match files.length(&entry.image)? {
            Some(1..) => {}
            Some(0) if is_known_empty(entry, size) => {
                batch.known += 1;
                continue;
            }
            _ => {
                batch.lacks += 1;
                batch.lacking.get_or_insert_with(path);
                continue;
            }
        }
        let pixels = files.read(&entry.image).and_then(|bytes| {
            pixels(&bytes, size).map_err(|problem| DatasetError::bad_file(&path())(problem))
        });
        match pixels {
            Ok(pixels) => {
                let sum: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
                batch.brightness += sum as f64 / pixels.len() as f64;
            }
            Err(error) => {
                batch.bads += 1;
                batch.bad.get_or_insert(error.to_string());
            }
        }
    }
    batch.names = entries.into_iter().map(|entry| entry.image).collect();
    Ok(batch)
}

/// Warns of images that the metadata names more than once: the same one may be trained on and tested
/// by.
fn twice<'a>(names: impl Iterator<Item = &'a String>, files: &Files, report: &mut Report) {
    let mut seen = HashSet::new();
    let again: Vec<_> = names.filter(|name| !seen.insert(*name)).collect();
    if let Some(first) = again.first() {
        report.warning(format!(
            "{} is named more than once by the metadata ({} such lines): the same image may be \
             trained on and tested by. Unpack the data again",
            shown(&files.path(first)),
            again.len()
        ));
    }
}
