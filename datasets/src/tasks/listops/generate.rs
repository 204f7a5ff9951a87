//! Generating ListOps data: the Long Range Arena's distribution and file format, from a seed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Write};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::tree::LENGTHS;
use super::{HEADER, Tree, file_name, incomplete};
use crate::draws::PcgDraws;
use crate::staging::Staging;
use crate::{DatasetError, Split};

/// The version of the generator: the same one makes the same files from the same
/// [`GenerateConfig`], on every machine.
pub const GENERATOR_VERSION: u32 = 1;

/// The file that says where generated data came from.
pub const ORIGIN_FILE: &str = "generated.json";

/// Candidates that are drawn between two looks at the cancel check (some 10 ms), and the part of
/// them that one thread takes at a time. Neither changes the files.
const BLOCK: u64 = 16_384;
const PART: usize = 256;
/// Candidates without a new tree among them after which there is none to be expected.
const MOST_IN_VAIN: u64 = 1 << 20;

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateConfig {
    /// The number of trees over all splits, at least 3. The first 96 % are for training, the next
    /// 2 % for dev and the last 2 % for test, which are 96000, 2000 and 2000 of the usual 100000;
    /// dev and test are rounded down, but never empty.
    pub count: usize,
    /// The seed: other seeds give other trees.
    pub seed: u64,
    /// The lengths of trees that are taken, in tokens with brackets.
    pub lengths: RangeInclusive<usize>,
}

impl Default for GenerateConfig {
    /// The Long Range Arena's 100000 trees of 501 to 1999 tokens, with seed 0.
    fn default() -> Self {
        Self {
            count: 100_000,
            seed: 0,
            lengths: LENGTHS,
        }
    }
}

impl GenerateConfig {
    /// The number of samples in `split`.
    pub fn split_count(&self, split: Split) -> usize {
        let held_out = (self.count / 50).max(1);
        match split {
            Split::Train => self.count.saturating_sub(2 * held_out),
            Split::Dev | Split::Test => held_out,
        }
    }
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The files, in the order of [`Split::ALL`].
    pub files: [PathBuf; 3],
    /// The number of samples in each.
    pub counts: [usize; 3],
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// How many trees were drawn, up to the last that was taken.
    pub candidates: u64,
    /// How many trees had the right length, but were drawn before.
    pub duplicates: u64,
    /// How long it took, until the files were safe on the disk.
    pub elapsed: Duration,
}

impl Report {
    /// The share of drawn trees whose length was right (the original: 8.1 %).
    pub fn acceptance(&self) -> f64 {
        let accepted = self.counts.iter().sum::<usize>() as u64 + self.duplicates;
        accepted as f64 / self.candidates as f64
    }
}

/// Generates all three splits in `dir`, as published: tab-separated, with a header.
///
/// Candidate `i` is the tree drawn from [`PcgDraws::new(seed, i)`](PcgDraws::new); the first
/// `count` different ones of the right length are taken in order of `i`. So the files depend on
/// `config` alone, not on the number of threads (rayon's current pool).
///
/// The files appear under their names when all are complete and on the disk, and are never
/// overwritten. A killed process leaves none of them where `dir` did not exist; where it existed
/// they are renamed one directly after the other. An error, cancelling included, leaves nothing.
///
/// `progress` is told how many trees of how many there are; `cancelled` is asked a few dozen times
/// a second whether to give up. Both are called on the calling thread.
///
/// # Errors
/// [`DatasetError::TooFew`], [`DatasetError::TooMany`] where there are not so many different trees of
/// these lengths, or hardly, [`DatasetError::Exists`], [`DatasetError::Incomplete`] where some of
/// the files are there, [`DatasetError::Busy`] before anything is written,
/// [`DatasetError::Cancelled`], and [`DatasetError::Io`], on a full disk for instance.
pub fn generate(
    dir: &Path,
    config: &GenerateConfig,
    progress: &dyn Fn(usize, usize),
    cancelled: &dyn Fn() -> bool,
) -> Result<Report, DatasetError> {
    const LEAST: usize = 3;
    let started = Instant::now();
    let count = config.count;
    if count < LEAST {
        return Err(DatasetError::TooFew {
            count,
            least: LEAST,
        });
    }
    let names = [
        file_name(Split::Train),
        file_name(Split::Dev),
        file_name(Split::Test),
        ORIGIN_FILE,
    ];
    let staging = Staging::new(dir, &names).map_err(|error| match error {
        DatasetError::Exists(_) => incomplete(dir).unwrap_or(error),
        error => error,
    })?;
    let mut files = SplitFiles::new(&staging, config)?;
    let mut seen = Seen::default();
    let mut candidates = 0;
    // Since the last that was taken.
    let mut in_vain = 0;

    // While a block is written the next one is drawn.
    let mut block = Vec::new();
    let mut drawn = 0;
    progress(0, count);
    while files.missing() > 0 {
        if cancelled() {
            return Err(DatasetError::Cancelled);
        }
        let next = drawn..drawn + BLOCK;
        drawn = next.end;
        let missing = files.missing();
        let (written, drawn_block) = rayon::join(
            || write_block(&block, config, &mut seen, &mut files, &mut candidates),
            || draw_block(config, next),
        );
        written?;
        in_vain = match files.missing() < missing {
            true => 0,
            false => in_vain + BLOCK,
        };
        if in_vain > MOST_IN_VAIN {
            return Err(DatasetError::TooMany {
                count,
                found: count - files.missing(),
                lengths: config.lengths.clone(),
            });
        }
        block = drawn_block;
        progress(count - files.missing(), count);
    }
    let mut bytes = files.finish()?;
    bytes += write_origin(&staging, config)?;
    if cancelled() {
        return Err(DatasetError::Cancelled);
    }
    staging.publish(&names)?;
    Ok(Report {
        files: Split::ALL.map(|split| dir.join(file_name(split))),
        counts: Split::ALL.map(|split| config.split_count(split)),
        bytes,
        candidates,
        duplicates: seen.duplicates,
        elapsed: started.elapsed(),
    })
}

/// The accepted ones of a run of candidates.
#[derive(Default)]
struct Part {
    accepted: Vec<Accepted>,
    /// Their lines, end to end.
    text: Vec<u8>,
}

struct Accepted {
    candidate: u64,
    hash: u64,
    /// Where the line ends in [`Part::text`].
    end: usize,
}

fn draw_block(config: &GenerateConfig, candidates: Range<u64>) -> Vec<Part> {
    let candidates: Vec<u64> = candidates.collect();
    candidates
        .par_chunks(PART)
        .map(|candidates| {
            let mut part = Part::default();
            let mut tree = Tree::default();
            for &candidate in candidates {
                if !tree.redraw(&mut PcgDraws::new(config.seed, candidate), &config.lengths) {
                    continue;
                }
                tree.write(&mut part.text);
                part.text.extend([b'\t', b'0' + tree.value(), b'\n']);
                part.accepted.push(Accepted {
                    candidate,
                    hash: hash(&tree),
                    end: part.text.len(),
                });
            }
            part
        })
        .collect()
}

fn write_block(
    block: &[Part],
    config: &GenerateConfig,
    seen: &mut Seen,
    files: &mut SplitFiles,
    candidates: &mut u64,
) -> Result<(), DatasetError> {
    for part in block {
        let mut start = 0;
        for accepted in &part.accepted {
            let line = &part.text[start..accepted.end];
            start = accepted.end;
            if files.missing() == 0 {
                return Ok(());
            }
            *candidates = accepted.candidate + 1;
            // Drawing a tree again is cheaper than keeping 100000 of them.
            let same = |a, b| {
                let draw = |candidate| {
                    let mut tree = Tree::default();
                    tree.redraw(&mut PcgDraws::new(config.seed, candidate), &config.lengths);
                    tree
                };
                draw(a) == draw(b)
            };
            if seen.is_new(accepted.hash, accepted.candidate, same) {
                files.write(line)?;
            }
        }
    }
    Ok(())
}

/// A hash of the tree's symbols, which say the same as its serialised form in a sixth of the
/// bytes. Equal hashes are looked into, so that it need not be the same in all versions.
fn hash(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(tree.symbols());
    hasher.finish()
}

/// The trees that were taken, by their hash.
#[derive(Default)]
struct Seen {
    first: HashMap<u64, u64>,
    /// Different trees whose hash was taken already: (hash, candidate).
    clashes: Vec<(u64, u64)>,
    duplicates: u64,
}

impl Seen {
    /// Takes a candidate, unless it is the `same` as one that was taken.
    fn is_new(&mut self, hash: u64, candidate: u64, same: impl Fn(u64, u64) -> bool) -> bool {
        match self.first.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(candidate);
                true
            }
            Entry::Occupied(entry) => {
                let clashes = self.clashes.iter().filter(|clash| clash.0 == hash);
                let mut taken = clashes.map(|clash| clash.1).chain([*entry.get()]);
                if taken.any(|taken| same(taken, candidate)) {
                    self.duplicates += 1;
                    return false;
                }
                self.clashes.push((hash, candidate));
                true
            }
        }
    }
}

/// The three files, filled one after the other.
struct SplitFiles {
    files: Vec<SplitFile>,
    current: usize,
}

struct SplitFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    missing: usize,
}

impl SplitFiles {
    fn new(staging: &Staging, config: &GenerateConfig) -> Result<Self, DatasetError> {
        let files = Split::ALL.into_iter().map(|split| {
            let name = file_name(split);
            let mut file = SplitFile {
                path: staging.target(name),
                file: BufWriter::with_capacity(1 << 20, staging.create(name)?),
                bytes: 0,
                missing: config.split_count(split),
            };
            file.write(format!("{HEADER}\n").as_bytes())?;
            Ok(file)
        });
        Ok(Self {
            files: files.collect::<Result<_, DatasetError>>()?,
            current: 0,
        })
    }

    /// How many samples are still to come.
    fn missing(&self) -> usize {
        self.files.iter().map(|file| file.missing).sum()
    }

    fn write(&mut self, line: &[u8]) -> Result<(), DatasetError> {
        while let Some(file) = self.files.get_mut(self.current) {
            if file.missing > 0 {
                file.missing -= 1;
                return file.write(line);
            }
            self.current += 1;
        }
        Ok(())
    }

    /// Writes what is buffered and waits until it is on the disk; the size of all files.
    fn finish(self) -> Result<u64, DatasetError> {
        let mut bytes = 0;
        for mut file in self.files {
            let synced = file.file.flush();
            synced
                .and_then(|()| file.file.get_ref().sync_all())
                .map_err(DatasetError::io("write", &file.path))?;
            bytes += file.bytes;
        }
        Ok(bytes)
    }
}

impl SplitFile {
    fn write(&mut self, line: &[u8]) -> Result<(), DatasetError> {
        let written = self.file.write_all(line);
        written.map_err(DatasetError::io("write", &self.path))?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// Says in a small file where the data came from; its size.
fn write_origin(staging: &Staging, config: &GenerateConfig) -> Result<u64, DatasetError> {
    let GenerateConfig {
        count,
        seed,
        lengths,
    } = config;
    let of_length = match *lengths == LENGTHS {
        true => String::new(),
        false => {
            let (least, most) = (lengths.start(), lengths.end());
            format!("  \"min_length\": {least},\n  \"max_length\": {most},\n")
        }
    };
    let origin = format!(
        "{{\n  \"task\": \"listops\",\n  \"generator_version\": {GENERATOR_VERSION},\n{of_length}  \
         \"count\": {count},\n  \"seed\": {seed}\n}}\n"
    );
    let mut file = staging.create(ORIGIN_FILE)?;
    let written = file.write_all(origin.as_bytes());
    written
        .and_then(|()| file.sync_all())
        .map_err(DatasetError::io("write", &staging.target(ORIGIN_FILE)))?;
    Ok(origin.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_are_looked_into() {
        // Candidates are "the same" when they agree modulo 10; all hashes clash.
        let same = |a: u64, b: u64| a % 10 == b % 10;
        let mut seen = Seen::default();
        let taken: Vec<u64> = [1, 2, 11, 3, 12, 13, 4]
            .into_iter()
            .filter(|&candidate| seen.is_new(7, candidate, same))
            .collect();
        assert_eq!(taken, [1, 2, 3, 4]);
        assert_eq!(seen.duplicates, 3);
        // Another hash is another tree, unseen.
        assert!(seen.is_new(8, 21, |_, _| unreachable!("no hash is equal")));
    }

    #[test]
    fn splits_are_proportional_and_never_empty() {
        let counts = |count| {
            let config = GenerateConfig {
                count,
                ..GenerateConfig::default()
            };
            Split::ALL.map(|split| config.split_count(split))
        };
        assert_eq!(counts(100_000), [96_000, 2_000, 2_000]);
        assert_eq!(counts(1_000), [960, 20, 20]);
        assert_eq!(counts(149), [145, 2, 2]);
        assert_eq!(counts(3), [1, 1, 1]);
    }
}
