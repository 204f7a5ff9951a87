//! Writing images in the published layout, batch by batch, so that an interrupted run goes on.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::image::Generator;
use crate::atomic::{self, remove_abandoned, sync_folder};
use crate::draws::PcgDraws;
use crate::files::Files;
use crate::pathfinder::folder::{IMAGES, METADATA, ORIGIN, UNFINISHED, incomplete, metadata_files};
use crate::pathfinder::{Difficulty, Size, parse_metadata, pixels};
use crate::staging::Lock;
use crate::state::is_bare;
use crate::{DatasetError, png};

/// The version of the generator: the same one draws the same images from the same
/// [`GenerateConfig`].
pub const GENERATOR_VERSION: u32 = 1;

/// Images in a folder of the published data.
const BATCH: usize = 1000;

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateConfig {
    /// The size of the images.
    pub size: Size,
    /// The length of the target contours.
    pub difficulty: Difficulty,
    /// The number of images over all splits, at least 10.
    pub count: usize,
    /// The seed: other seeds give other images.
    pub seed: u64,
}

impl GenerateConfig {
    /// The Long Range Arena's 200000 images of a size, hard ones, with seed 0.
    pub fn new(size: Size) -> Self {
        Self {
            size,
            difficulty: Difficulty::Hard,
            count: 200_000,
            seed: 0,
        }
    }

    fn json(&self) -> String {
        let Self {
            size,
            difficulty,
            count,
            seed,
        } = self;
        format!(
            "{{\n  \"task\": \"{}\",\n  \"generator_version\": {GENERATOR_VERSION},\n  \
             \"difficulty\": \"{difficulty}\",\n  \"count\": {count},\n  \"seed\": {seed}\n}}\n",
            size.task()
        )
    }
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The folder with `imgs` and `metadata`.
    pub folder: PathBuf,
    /// The number of images that were drawn now; the others of an interrupted run were there.
    pub drawn: usize,
    /// How many of those have their markers on one contour.
    pub connected: usize,
    /// How often the target contours of those were given up and started again.
    pub restarts: u64,
    /// How long it took, until the files were safe on the disk.
    pub elapsed: Duration,
}

/// Generates images in the folder of their difficulty below `dir`, in the published layout:
/// `imgs/<b>/sample_<i>.png` and `metadata/<b>.npy` (text), a thousand images a batch `b`.
///
/// Image `k` is drawn from [`PcgDraws::new(seed, k)`](PcgDraws::new): the files depend on `config`
/// alone, not on the number of threads (rayon's current pool).
///
/// A batch appears when it is complete, its metadata last; the next call with the same `config`
/// goes on after the last complete batch. Until the last one is there a file `generating.json`
/// keeps readers off. Complete data is never written to.
///
/// Waiting for the disk with each of 200000 images would take longer than to draw them. So what a
/// power cut may have left of the images is looked at when a run goes on, and a batch with a
/// damaged image drawn again; and readers refuse generated images that are empty.
///
/// `progress` is told how many images of how many there are; `cancelled` is asked several times a
/// second whether to stop. Both are called on the calling thread.
///
/// # Errors
/// [`DatasetError::TooFew`]; [`DatasetError::Exists`] if there is data already, or
/// [`DatasetError::Incomplete`] some of it;
/// [`DatasetError::OtherSettings`] if an interrupted run had another `config`;
/// [`DatasetError::Busy`]; [`DatasetError::Stopped`] after cancelling; [`DatasetError::Io`].
pub fn generate(
    dir: &Path,
    config: &GenerateConfig,
    progress: &dyn Fn(usize, usize),
    cancelled: &dyn Fn() -> bool,
) -> Result<Report, DatasetError> {
    const LEAST: usize = 10;
    let started = Instant::now();
    let count = config.count;
    if count < LEAST {
        return Err(DatasetError::TooFew {
            count,
            least: LEAST,
        });
    }
    let folder = dir.join(config.difficulty.folder());
    let _lock = claim(&folder, config)?;
    let complete = complete_batches(&folder, config.size)?;
    let generator = Generator::new(config.size, config.difficulty);
    let mut report = Report {
        folder: folder.clone(),
        drawn: 0,
        connected: 0,
        restarts: 0,
        elapsed: Duration::ZERO,
    };
    for batch in 0..count.div_ceil(BATCH) {
        let images = batch * BATCH..((batch + 1) * BATCH).min(count);
        progress(images.start, count);
        if complete.binary_search(&(batch as u32)).is_ok() {
            continue;
        }
        let writer = Batch::new(&folder, batch)?;
        let mut metadata = String::new();
        // Some images at a time, to hear of a cancellation in between.
        let step = 16 * rayon::current_num_threads();
        for start in images.clone().step_by(step) {
            if cancelled() {
                return Err(DatasetError::Stopped(folder));
            }
            let part = start..(start + step).min(images.end);
            let drawn = writer.write(&generator, config, part.clone(), &mut metadata)?;
            report.drawn += part.len();
            report.connected += drawn.iter().map(|d| usize::from(d.0)).sum::<usize>();
            report.restarts += drawn.iter().map(|d| d.1).sum::<u64>();
            progress(part.end, count);
        }
        writer.publish(&metadata)?;
    }
    let (unfinished, origin) = (folder.join(UNFINISHED), folder.join(ORIGIN));
    fs::rename(unfinished, &origin).map_err(DatasetError::io("create", &origin))?;
    sync_folder(&folder);
    progress(count, count);
    report.elapsed = started.elapsed();
    Ok(report)
}

/// The batches whose images are all there and can be read.
fn complete_batches(folder: &Path, size: Size) -> Result<Vec<u32>, DatasetError> {
    let files = Files::Folder(folder.to_owned());
    let is_whole = |name: &str| -> Option<()> {
        let entries = parse_metadata(&files.read(name).ok()?, &files.path(name)).ok()?;
        let mut images = entries.iter().map(|entry| files.read(&entry.image));
        images.try_for_each(|image| pixels(&image.ok()?, size).ok().map(|_| ()))
    };
    let batches = metadata_files(&files)?.into_par_iter();
    let whole = batches.filter(|(_, name)| is_whole(name).is_some());
    Ok(whole.map(|(number, _)| number).collect())
}

/// Makes the folder this run's own, or that of the run that goes on.
fn claim(folder: &Path, config: &GenerateConfig) -> Result<Lock, DatasetError> {
    let exists = |path: PathBuf| DatasetError::Exists(path);
    let origin = folder.join(ORIGIN);
    if origin.exists() {
        return Err(exists(origin));
    }
    let unfinished = folder.join(UNFINISHED);
    for data in [METADATA, IMAGES] {
        let data = folder.join(data);
        if data.exists() && !is_bare(&data, &[])? && !unfinished.exists() {
            return Err(incomplete(folder)?.unwrap_or_else(|| exists(data)));
        }
    }
    fs::create_dir_all(folder).map_err(DatasetError::io("create", folder))?;
    let lock = Lock::take(folder.join(".generating.lock"), folder)?;
    // Only now, under the lock: the process that held it may have just finished.
    if origin.exists() {
        return Err(exists(origin));
    }
    let wanted = config.json();
    match fs::read_to_string(&unfinished) {
        Ok(found) if found == wanted => {}
        Ok(found) => {
            let words = |json: &str| {
                let text = json.replace(['{', '}', '"'], "");
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            };
            return Err(DatasetError::OtherSettings {
                path: unfinished,
                found: words(&found),
                wanted: words(&wanted),
            });
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            atomic::write(&unfinished, wanted.as_bytes())
                .map_err(DatasetError::io("write", &unfinished))?;
        }
        Err(cause) => return Err(DatasetError::io("read", &unfinished)(cause)),
    }
    for data in [METADATA, IMAGES] {
        let data = folder.join(data);
        fs::create_dir_all(&data).map_err(DatasetError::io("create", &data))?;
        remove_abandoned(&data);
    }
    remove_abandoned(folder);
    Ok(lock)
}

/// A batch in the making, in a hidden folder.
struct Batch<'a> {
    folder: &'a Path,
    number: usize,
    hidden: PathBuf,
}

impl<'a> Batch<'a> {
    fn new(folder: &'a Path, number: usize) -> Result<Self, DatasetError> {
        let hidden = folder.join(IMAGES).join(format!(".{number}"));
        let batch = Self {
            folder,
            number,
            hidden,
        };
        // What an interrupted run left of the batch: without metadata it is not complete.
        for left in [&batch.hidden, &batch.images()] {
            match fs::remove_dir_all(left) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(DatasetError::io("remove", left)(cause));
                }
                _ => {}
            }
        }
        fs::create_dir(&batch.hidden).map_err(DatasetError::io("create", &batch.hidden))?;
        Ok(batch)
    }

    fn images(&self) -> PathBuf {
        self.folder.join(IMAGES).join(self.number.to_string())
    }

    /// Draws and writes images, and adds their metadata; label and restarts of each.
    fn write(
        &self,
        generator: &Generator,
        config: &GenerateConfig,
        images: Range<usize>,
        metadata: &mut String,
    ) -> Result<Vec<(u8, u64)>, DatasetError> {
        let draw = |image: usize| {
            let drawn = generator.draw(&mut PcgDraws::new(config.seed, image as u64));
            let png = png::encode(generator.side(), generator.side(), &drawn.pixels);
            let path = self.hidden.join(format!("sample_{}.png", image % BATCH));
            File::create_new(&path)
                .and_then(|mut file| file.write_all(&png))
                .map_err(DatasetError::io("write", &path))?;
            Ok(drawn)
        };
        let drawn: Vec<_> = images
            .clone()
            .into_par_iter()
            .with_max_len(1)
            .map(draw)
            .collect::<Result<_, DatasetError>>()?;
        for (image, drawn) in images.zip(&drawn) {
            let sample = image % BATCH;
            // Writing to a string cannot fail.
            let _ = writeln!(
                metadata,
                "{IMAGES}/{} sample_{sample}.png {sample} {} {} {} 1",
                self.number,
                drawn.label,
                generator.describe(),
                drawn.margin,
            );
        }
        Ok(drawn.into_iter().map(|d| (d.label, d.restarts)).collect())
    }

    /// Gives the batch its name, and with its metadata makes it count.
    fn publish(self, metadata: &str) -> Result<(), DatasetError> {
        sync_folder(&self.hidden);
        let images = self.images();
        fs::rename(&self.hidden, &images).map_err(DatasetError::io("create", &images))?;
        sync_folder(&self.folder.join(IMAGES));
        let path = self
            .folder
            .join(METADATA)
            .join(format!("{}.npy", self.number));
        atomic::write(&path, metadata.as_bytes()).map_err(DatasetError::io("write", &path))
    }
}
