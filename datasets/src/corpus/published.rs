//! enwik8 and text8: their files and where those are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::map_file;
use crate::fetch::Download;
use crate::files;
use crate::problem::FileProblem;
use crate::zip::unzipped;
use crate::{DatasetError, UnknownName};

/// How many bytes both files have.
const SIZE: u64 = 100_000_000;

/// A text that papers compare models by: 100 000 000 bytes, of which the first 90 million are to
/// learn from, the next 5 million to choose by, and the last 5 million to be judged on
/// (<https://mattmahoney.net/dc/textdata.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Published {
    /// The start of an XML dump of the English Wikipedia of 2006: 205 different bytes.
    Enwik8,
    /// The same articles' text in small letters without accents, and spaces: 27 different bytes.
    Text8,
}

/// The text names no [`Published`].
fn unknown(text: &str) -> UnknownName {
    UnknownName::new("corpus", text, "enwik8 or text8")
}

impl Published {
    /// Both.
    pub const ALL: [Published; 2] = [Published::Enwik8, Published::Text8];

    /// The name, which the file has, too.
    pub const fn name(self) -> &'static str {
        match self {
            Published::Enwik8 => "enwik8",
            Published::Text8 => "text8",
        }
    }

    /// The number of different bytes.
    pub const fn vocabulary_size(self) -> usize {
        match self {
            Published::Enwik8 => 205,
            Published::Text8 => 27,
        }
    }

    /// Where the text may lie: `path` itself, a file, an archive or a folder, or below it.
    pub fn places(self, path: &Path) -> Vec<PathBuf> {
        let (name, archive) = (self.name(), self.archive());
        let nested = format!("{name}/{name}");
        files::places(path, &[name, &nested, archive])
    }

    /// Whether the text can be opened from `path`.
    pub fn is_prepared(self, path: &Path) -> bool {
        self.find(path).is_some()
    }

    /// Where the published archive is. It needs no unpacking.
    pub fn download(self) -> Download {
        let (bytes, sha256) = match self {
            Published::Enwik8 => (
                36_445_475,
                "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            ),
            Published::Text8 => (
                31_344_016,
                "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            ),
        };
        Download {
            url: format!("https://mattmahoney.net/dc/{}", self.archive()),
            file_name: self.archive().into(),
            bytes: Some(bytes),
            sha256: Some(sha256.into()),
            page: "https://mattmahoney.net/dc/textdata.html".into(),
        }
    }

    const fn archive(self) -> &'static str {
        match self {
            Published::Enwik8 => "enwik8.zip",
            Published::Text8 => "text8.zip",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Published::Enwik8 => {
                "Fetch it with `ls-train fetch enwik8`, or download https://mattmahoney.net/dc/enwik8.zip into that \
                 folder; it needs no unpacking"
            }
            Published::Text8 => {
                "Fetch it with `ls-train fetch text8`, or download https://mattmahoney.net/dc/text8.zip into that \
                 folder; it needs no unpacking"
            }
        }
    }

    fn find(self, path: &Path) -> Option<PathBuf> {
        let mut places = self.places(path).into_iter();
        places.find(|place| place.is_file())
    }
}

/// The file or archive that was found, and the text in it.
pub(super) fn open(which: Published, dir: &Path) -> Result<(PathBuf, Arc<Mmap>), DatasetError> {
    let path = which.find(dir).ok_or_else(|| DatasetError::NotFound {
        task: which.name(),
        dir: dir.to_owned(),
        looked: which.places(dir),
        advice: which.advice(),
    })?;
    let is_archive = path.extension().is_some_and(|end| end == "zip");
    let file = match is_archive {
        true => unzipped(&path, which.name(), SIZE)?,
        false => {
            let found = fs::metadata(&path).map_err(DatasetError::io("read", &path))?;
            let found = found.len();
            if found != SIZE {
                let wanted = format!("{} has {SIZE}", which.name());
                return Err(DatasetError::bad_file(&path)(FileProblem::Length {
                    found,
                    wanted,
                }));
            }
            File::open(&path).map_err(DatasetError::io("open", &path))?
        }
    };
    let bytes = Arc::new(map_file(&file, &path)?);
    Ok((path, bytes))
}
