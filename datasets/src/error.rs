//! What can go wrong with data on disk, said so that the reader knows what to do next.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::Split;
use crate::corpus::Shares;
use crate::printable::{on_one_line, shown};
use crate::problem::FileProblem;

/// Why data could not be read or generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// None of the folders that were looked into holds the task's files.
    #[error(
        "no {task} data in {}: none of {} holds {file}. Generate the data there with \
         `ls-train generate {task} --data {}`, or name lra_release.gz, or the folder that \
         holds lra_release",
        shown(.dir), list(.looked), shown(.dir)
    )]
    NotPrepared {
        /// The task.
        task: &'static str,
        /// The file that was looked for.
        file: &'static str,
        /// The folder that was named.
        dir: PathBuf,
        /// The folders that were looked into.
        looked: Vec<PathBuf>,
    },

    /// A folder with some of a task's files, but not all.
    #[error(
        "{} holds {}, but not {}: {advice}",
        shown(.dir), .there.join(" and "), .missing.join(" and ")
    )]
    Incomplete {
        /// The folder.
        dir: PathBuf,
        /// What is there.
        there: Vec<&'static str>,
        /// What is not.
        missing: Vec<&'static str>,
        /// What to do.
        advice: &'static str,
    },

    /// None of the places that were looked into holds the task's data, and it can't be generated.
    #[error(
        "no {task} data in {}: looked in vain at {}. {advice}", shown(.dir), list(.looked)
    )]
    NotFound {
        /// The task.
        task: &'static str,
        /// The folder or file that was named.
        dir: PathBuf,
        /// What was looked for.
        looked: Vec<PathBuf>,
        /// What to do.
        advice: &'static str,
    },

    /// A file, or the part of an archive that is named after its path, is not what it should be.
    #[error("{}: {problem}", shown(.path))]
    BadFile {
        /// The file; a file in an archive as `archive.tar.gz/path/inside`.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },

    /// A line of a data file is not what the format asks for.
    #[error("{}:{line}: {problem}", shown(.path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1 with the header as the first.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },

    /// A data file holds a header and nothing else, or nothing at all.
    #[error(
        "{}: it holds no samples. Delete the folder's data files and generate them again, \
         or copy them again from the archive",
        shown(.0)
    )]
    NoSamples(PathBuf),

    /// A split of a text has too few bytes.
    #[error(
        "{}: the {split} split has {found} bytes (of {whole}, cut {shares}), but {needed} are needed: \
         {of_what}. Name a longer file with --data, give the split a larger share, or take shorter \
         segments or fewer rows",
        shown(.path)
    )]
    ShortText {
        /// The file.
        path: PathBuf,
        /// The split.
        split: Split,
        /// How many bytes the split has.
        found: usize,
        /// How many the file has.
        whole: usize,
        /// How it is cut.
        shares: Shares,
        /// How many the split has to have.
        needed: usize,
        /// What for.
        of_what: String,
    },

    /// Data would be written where there is some already.
    #[error(
        "{} exists already, and data files are never overwritten. Use it as it is, or delete it, \
         or choose another folder with --data",
        shown(.0)
    )]
    Exists(PathBuf),

    /// Another process generates data in the same place.
    #[error(
        "another process is generating data in {} at the moment (it holds {}). Wait for it, or \
         choose another folder with --data",
        shown(.dir), shown(.lock)
    )]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// The lock that the other process holds.
        lock: PathBuf,
    },

    /// Fewer samples were asked for than there are splits.
    #[error("{count} samples cannot be split in three: ask for at least {least}")]
    TooFew {
        /// How many samples were asked for.
        count: usize,
        /// How many there have to be.
        least: usize,
    },

    /// More samples were asked for than there are, or than chance finds.
    #[error(
        "{count} different expressions of {} to {} tokens were asked for, and only {found} were found: ask \
         for fewer, or for longer ones",
        lengths.start(),
        lengths.end()
    )]
    TooMany {
        /// How many samples were asked for.
        count: usize,
        /// How many were found.
        found: usize,
        /// The lengths that were asked for, in tokens.
        lengths: RangeInclusive<usize>,
    },

    /// The caller's cancel check said stop. Nothing was left on disk.
    #[error("cancelled: no data was written. Run the same command again to start over")]
    Cancelled,

    /// The caller's cancel check said stop. What is complete was kept.
    #[error(
        "stopped: what is complete stays in {}. Run the same command again to go on", shown(.0)
    )]
    Stopped(PathBuf),

    /// Data that was generated in part stands in the way of other data.
    #[error(
        "{} holds data of other settings: {} (asked for: {wanted}). Ask for the same settings to go \
         on with it, or delete it, or choose another folder with --data",
        shown(.path), on_one_line(.found)
    )]
    OtherSettings {
        /// The file that says so.
        path: PathBuf,
        /// The settings there.
        found: String,
        /// The settings that were asked for.
        wanted: String,
    },

    /// A packed file can't be used.
    #[error("{}: {problem}. Delete it: it is made again from the data", shown(.path))]
    Packed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PackError,
    },

    /// A sample has a token that a packed file can't hold.
    #[error("token id {id} cannot be packed: ids from {first} to {first} + 255 can")]
    IdRange {
        /// The id.
        id: u16,
        /// The smallest one that can be.
        first: u16,
    },

    /// A sample can't be read.
    #[error(transparent)]
    Read(burn_dataset::DatasetError),

    /// The operating system refused.
    #[error("cannot {action} {}: {cause}. {}", shown(.path), advice(.cause))]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },
}

impl DatasetError {
    /// A [`DatasetError::BadFile`] for use with `map_err`.
    pub(crate) fn bad_file(path: &Path) -> impl FnOnce(FileProblem) -> Self {
        move |problem| DatasetError::BadFile {
            path: path.to_owned(),
            problem,
        }
    }

    /// A [`DatasetError::Malformed`] for use with `map_err`.
    pub(crate) fn malformed(path: &Path, line: usize) -> impl FnOnce(LineProblem) -> Self {
        move |problem| DatasetError::Malformed {
            path: path.to_owned(),
            line,
            problem,
        }
    }

    /// Whether a place can't be written to, as opposed to being full, say.
    pub fn is_read_only(&self) -> bool {
        let DatasetError::Io { cause, .. } = self else {
            return false;
        };
        matches!(
            cause.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// An [`DatasetError::Io`] for use with `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| DatasetError::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }
}

/// A text names none of the things that there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {text:?}: use {known}")]
pub struct UnknownName {
    what: &'static str,
    text: String,
    known: &'static str,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, text: &str, known: &'static str) -> Self {
        let text = text.to_owned();
        Self { what, text, known }
    }
}

/// What is wrong with one line of a data file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// The first line is not the header.
    #[error(
        "the header is {0:?}, but has to be \"Source\\tTarget\" (with a tab). Is this a \
         ListOps file?"
    )]
    Header(String),

    /// The last line ends before its label.
    #[error(
        "the file ends in the middle of this line: it was not copied or unpacked completely. \
         Copy it again from the archive, or delete the data and generate it"
    )]
    CutOff,

    /// There is nothing on the line.
    #[error("the line is empty: delete it")]
    Blank,

    /// No tab separates expression and label.
    #[error(
        "no tab between the expression and its label. A line is the expression, a tab and a \
         digit: did an editor turn tabs into spaces?"
    )]
    NoTab,

    /// More than one tab.
    #[error("more than one tab. A line is the expression, a tab and a digit")]
    ManyTabs,

    /// The label is not one of the classes.
    #[error("the label is {0:?}, but has to be a digit from 0 to 9")]
    Label(String),

    /// The line has not as many fields as it should.
    #[error("{found} fields, but a line has {wanted}: {layout}. {}", damaged())]
    Fields {
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: usize,
        /// What they are.
        layout: &'static str,
    },

    /// The label is no class of the task.
    #[error("the label is {found:?}, but has to be {wanted}. {}", damaged())]
    Class {
        /// What stands there, shortened.
        found: String,
        /// The classes.
        wanted: &'static str,
    },

    /// A name would lead out of the data's folder.
    #[error("{:?} is no name of a file below this folder. {}", .0, damaged())]
    Name(String),

    /// The line is longer than any in the published data.
    #[error(
        "the line has more than {} bytes: this is no file of the task. {}",
        .0,
        damaged()
    )]
    TooLong(usize),

    /// The bytes are no text.
    #[error(
        "byte {0} of the line is not valid UTF-8: the file is damaged or compressed. Unpack or \
         copy it again"
    )]
    NotUtf8(usize),

    /// The expression cannot be split into tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),

    /// The expression's brackets do not match.
    #[error(
        "the expression has {opened} opening and {closed} closing brackets: the line is damaged. \
         Copy the file again, or delete the data and generate it"
    )]
    Unbalanced {
        /// The number of operators.
        opened: usize,
        /// The number of `]`.
        closed: usize,
    },
}

impl From<std::str::Utf8Error> for LineProblem {
    fn from(error: std::str::Utf8Error) -> Self {
        let byte = error.valid_up_to() + 1;
        LineProblem::NotUtf8(byte)
    }
}

fn damaged() -> &'static str {
    "The file is damaged or of another task: copy it again from the archive"
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free some space, or choose another disk with --data"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "Change the permissions, or choose another folder with --data"
        }
        io::ErrorKind::NotFound => "Check the path, or choose another folder with --data",
        _ => "Check the disk and the path, then try again",
    }
}

/// Why an expression has no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Something that is no symbol of ListOps.
    #[error(
        "unknown token {token:?} in column {column}: an expression is made of [MIN [MAX [MED [SM, \
         the digits 0 to 9, ] and parentheses"
    )]
    Unknown {
        /// What stands there, shortened.
        token: String,
        /// Where it stands, counted from 1.
        column: usize,
    },

    /// No symbols at all.
    #[error("the expression is empty: write one such as [MAX 2 9 [MIN 4 7 ] 0 ]")]
    Empty,
}

/// Why a packed file can't be used. It is made again, from the sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Another file, or one of another version of this crate.
    #[error("it is no packed file of this version")]
    Version,
    /// Its length is not what its header says.
    #[error("it is damaged: its length is not what its header says")]
    Length,
    /// Its parts do not fit together.
    #[error("it is damaged: its parts do not fit together")]
    Parts,
}
