//! A run's metrics as TensorBoard event files.
//!
//! `tensorboard/train`, `tensorboard/dev` and `tensorboard/test` in the run folder have a file each,
//! so that TensorBoard draws the three in one picture. They say what `metrics.jsonl` says and are
//! made from it: [`EventFiles::open`] brings them to the state of that file, whatever a killed
//! process left, and keeps what is there already, with its times.

mod record;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use transformer_ls_datasets::Split;
use transformer_ls_infer::run::{MetricLine, RunError, RunFolder, write_atomically};

/// The folder in a run's.
const FOLDER: &str = "tensorboard";
/// TensorBoard takes any name with `tfevents` in it.
const NAME: &str = "events.out.tfevents.run";

/// The event files of a run, open for appending.
#[derive(Debug)]
pub struct EventFiles {
    folder: PathBuf,
}

impl EventFiles {
    /// The run's event files, each brought to what `metrics.jsonl` says at present; `None` unless
    /// they are `wanted` or the run has some already.
    ///
    /// # Errors
    ///
    /// Metrics that cannot be read, or the system's error.
    pub fn open(run: &RunFolder, wanted: bool) -> Result<Option<Self>, RunError> {
        let folder = run.path().join(FOLDER);
        if !wanted && !folder.is_dir() {
            return Ok(None);
        }
        // Made at once: a resumed run recognises by the folder that it has event files.
        fs::create_dir_all(&folder).map_err(RunError::io("create", &folder))?;
        let files = Self { folder };
        let lines = run.read_metrics()?;
        for split in [Split::Train, Split::Dev, Split::Test] {
            files.bring_to(split, &lines)?;
        }
        Ok(Some(files))
    }

    /// Appends a line's figures.
    ///
    /// # Errors
    ///
    /// The system's error (a full disk, for instance).
    pub fn append(&mut self, line: &MetricLine) -> Result<(), RunError> {
        let path = self.path(line.split);
        let now = now();
        let bytes = match path.exists() {
            true => event(line, now),
            false => [record::version(now), event(line, now)].concat(),
        };
        self.make_folder(&path)?;
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(RunError::io("open", &path))?;
        // One call, so that a killed process leaves a torn event only if the system tears it.
        file.write_all(&bytes)
            .map_err(RunError::io("append to", &path))
    }

    fn path(&self, split: Split) -> PathBuf {
        self.folder.join(split.to_string()).join(NAME)
    }

    fn make_folder(&self, file: &Path) -> Result<(), RunError> {
        let folder = file.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(RunError::io("create", folder))
    }

    /// Makes a split's file say what `lines` say.
    fn bring_to(&self, split: Split, lines: &[MetricLine]) -> Result<(), RunError> {
        let path = self.path(split);
        let found = match fs::read(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(RunError::io("read", &path)(error)),
        };
        // Of what was before this session it is known how far apart it was, not when.
        let (now, end) = (now(), lines.last().map_or(0.0, |line| line.seconds));
        let mut events = lines
            .iter()
            .filter(|line| line.split == split)
            .map(|line| event(line, now - (end - line.seconds)))
            .peekable();
        if found.is_none() && events.peek().is_none() {
            return Ok(());
        }
        let wanted = std::iter::once(record::version(now - end))
            .chain(events)
            .collect::<Vec<_>>()
            .concat();
        match found {
            // Cut in place: a TensorBoard that is reading the file reads on.
            Some(found) if record::begins_alike(&found, &wanted) => {
                cut(&path, wanted.len()).map_err(RunError::io("cut", &path))
            }
            _ => {
                self.make_folder(&path)?;
                write_atomically(&path, &wanted)
            }
        }
    }
}

/// The event of a line, framed.
fn event(line: &MetricLine, time: f64) -> Vec<u8> {
    let mut scalars = vec![
        ("loss", line.loss as f32),
        ("accuracy", line.accuracy as f32),
        ("tokens_per_second", line.tokens_per_second as f32),
    ];
    if line.split == Split::Train {
        scalars.push(("learning_rate", line.learning_rate as f32));
    }
    record::scalars(time, line.step as u64, &scalars)
}

fn cut(path: &Path, length: usize) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(length as u64)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
