//! The check of Pathfinder: every image is read.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Report;
use crate::DatasetError;
use crate::pathfinder::folder::ORIGIN;
use crate::pathfinder::{Difficulty, Entry, Size, folder, parse_metadata};
use crate::problem::FileProblem;

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
    /// The first zero-byte image, and how many there are.
    empty: Option<PathBuf>,
    empties: usize,
    /// The first bad image, why, and how many there are.
    bad: Option<String>,
    bads: usize,
    brightness: f64,
}

pub(super) fn check(path: &Path, size: Size, report: &mut Report) {
    let found = |difficulty: &Difficulty| folder::find(path, size, *difficulty);
    let difficulties: Vec<Difficulty> = Difficulty::ALL
        .into_iter()
        .filter(|d| found(d).is_some())
        .collect();
    let mut places: Vec<PathBuf> = difficulties.iter().filter_map(found).collect();
    places.dedup();
    if places.is_empty() {
        report.error(DatasetError::NotPrepared {
            task: size.task(),
            file: "metadata/0.npy",
            dir: path.to_owned(),
            looked: folder::places(path, size, Difficulty::Hard),
        });
    }
    // Hard ones last: they are what the Long Range Arena uses, and what the report is about.
    for place in places {
        if let Err(error) = check_folder(&place, size, report) {
            report.error(error);
        }
        report.place = Some(place);
    }
}

fn check_folder(place: &Path, size: Size, report: &mut Report) -> Result<(), DatasetError> {
    let name = place.display();
    if place.join(folder::UNFINISHED).exists() {
        let path = place.join(folder::UNFINISHED);
        report.error(DatasetError::bad_file(&path)(FileProblem::Unfinished));
    }
    let files = folder::metadata_files(place)?;
    gaps(&files, place, report);
    let batches: Vec<Batch> = files
        .par_iter()
        .map(|(_, path)| check_batch(place, path, size))
        .collect::<Result<_, DatasetError>>()?;
    let sum = |value: fn(&Batch) -> usize| batches.iter().map(value).sum::<usize>();
    let (images, connected) = (sum(|b| b.images), sum(|b| b.connected));
    let read = images - sum(|b| b.empties) - sum(|b| b.bads);
    let mean = batches.iter().map(|b| b.brightness).sum::<f64>() / read.max(1) as f64;
    let difficulty = difficulty_of(place, &files)?;
    let level = difficulty.map_or("unknown difficulty".to_owned(), |d| {
        format!("{d} ({} paddles)", d.contour_length())
    });
    report.fact(format!(
        "{name}: {images} images in {} batches, {level}, {connected} connected, mean brightness \
         {mean:.2}",
        files.len()
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
    if let Some(first) = batches.iter().find_map(|batch| batch.empty.as_ref()) {
        let count = sum(|batch| batch.empties);
        let is_known = first.ends_with("pathfinder32/curv_baseline/imgs/0/sample_172.png");
        let note = match (count, is_known) {
            (1, true) => "it is so in the published data",
            _ => "unpack them again",
        };
        report.warning(format!(
            "{}: zero bytes, and left out ({count} images in all; {note})",
            first.display()
        ));
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
fn gaps(files: &[(u32, PathBuf)], place: &Path, report: &mut Report) {
    let numbers: Vec<u32> = files.iter().map(|file| file.0).collect();
    let last = numbers.last().copied().unwrap_or(0);
    let missing: Vec<u32> = (0..last)
        .filter(|n| numbers.binary_search(n).is_err())
        .collect();
    if let Some(first) = missing.first() {
        let path = place.join(folder::METADATA).join(format!("{first}.npy"));
        report.warning(format!(
            "{} is missing ({} batches between 0 and {last} are): unpack the archive again",
            path.display(),
            missing.len()
        ));
    }
}

fn check_batch(place: &Path, metadata: &Path, size: Size) -> Result<Batch, DatasetError> {
    let is_generated = place.join(ORIGIN).exists();
    let bytes = fs::read(metadata).map_err(DatasetError::io("read", metadata))?;
    let entries = parse_metadata(&bytes, metadata)?;
    let mut batch = Batch {
        images: entries.len(),
        connected: entries.iter().map(|entry| usize::from(entry.label)).sum(),
        ..Batch::default()
    };
    for Entry { image, .. } in entries {
        let path = place.join(image);
        let pixels = fs::read(&path)
            .map_err(DatasetError::io("read", &path))
            .and_then(|bytes| {
                crate::pathfinder::pixels(&bytes, size)
                    .map_err(|problem| match problem {
                        FileProblem::Empty if is_generated => FileProblem::Lost,
                        problem => problem,
                    })
                    .map_err(DatasetError::bad_file(&path))
            });
        match pixels {
            Ok(pixels) => {
                let sum: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
                batch.brightness += sum as f64 / pixels.len() as f64;
            }
            Err(DatasetError::BadFile {
                problem: FileProblem::Empty,
                ..
            }) => {
                batch.empties += 1;
                batch.empty.get_or_insert(path);
            }
            Err(error) => {
                batch.bads += 1;
                batch.bad.get_or_insert(error.to_string());
            }
        }
    }
    Ok(batch)
}

/// The difficulty that the folder is named after, else that of its first image.
fn difficulty_of(
    place: &Path,
    files: &[(u32, PathBuf)],
) -> Result<Option<Difficulty>, DatasetError> {
    let is_it = |difficulty: &Difficulty| place.ends_with(difficulty.folder());
    if let Some(difficulty) = Difficulty::ALL.into_iter().find(is_it) {
        return Ok(Some(difficulty));
    }
    let Some((_, path)) = files.first() else {
        return Ok(None);
    };
    let bytes = fs::read(path).map_err(DatasetError::io("read", path))?;
    let text = String::from_utf8_lossy(&bytes);
    let length = text
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(5));
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let mut all = Difficulty::ALL.into_iter();
    Ok(all.find(|difficulty| Some(difficulty.contour_length()) == length))
}
