//! What can be wrong with a file as a whole, and what to do about it.

use crate::corpus::UnknownByte;
use crate::options::Difficulty;
use crate::printable::on_one_line;

/// Why a file, or a file in an archive, can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// A gzip or tar file ends too early or is damaged.
    #[error(
        "the archive is damaged or was not downloaded completely ({}). Download it again",
        on_one_line(.0)
    )]
    Archive(String),

    /// Another file in the place of an archive: a failed download, most of the time.
    #[error(
        "it is {0}, not an archive: the download failed, or brought another file. Download it \
         again"
    )]
    NotArchive(&'static str),

    /// A file in an archive whose name is no text.
    #[error(
        "the name of the file {0:?} in it is not valid UTF-8: make the archive again with names \
         that are"
    )]
    NameNotUtf8(String),

    /// The file has the wrong length.
    #[error("{found} bytes, but {wanted}: it was not copied or unpacked completely. Copy it again")]
    Length {
        /// How many bytes there are.
        found: u64,
        /// What there should be.
        wanted: String,
    },

    /// A record's label is no class of the task.
    #[error(
        "record {record} has label {label}, but labels are {wanted}: the file is damaged or of \
         another task. Copy it again"
    )]
    Label {
        /// The record, counted from 1.
        record: usize,
        /// What stands there.
        label: u8,
        /// The classes.
        wanted: &'static str,
    },

    /// The bytes are no text.
    #[error("byte {0} is not valid UTF-8: the file is damaged. Unpack or copy it again")]
    NotUtf8(usize),

    /// The document has no text.
    #[error("there is no text in it: it was not unpacked completely. Unpack it again")]
    NoText,

    /// Samples whose files are empty or not there, see [`Missing`](crate::Missing).
    #[error(
        "the {what} is empty or not there ({count} in all). Unpack the data again, completely; or \
         train without, with `--set missing=leave_out`"
    )]
    Incomplete {
        /// What the file is, `review` or `image`.
        what: &'static str,
        /// How many there are in the data.
        count: usize,
    },

    /// The file is empty where it must not be.
    #[error("the file is empty: it was not unpacked completely. Unpack it again")]
    Empty,

    /// No picture, or one of another kind.
    #[error(
        "not a readable PNG ({}). Unpack it again, or delete the data and generate it",
        on_one_line(.0)
    )]
    Png(String),

    /// A picture of another size.
    #[error(
        "the image is {width} × {height}, but has to be {side} × {side}: this folder holds \
         images of another size. Name the folder of the right size"
    )]
    Side {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Columns and rows that were asked for.
        side: usize,
    },

    /// Pictures of another difficulty.
    #[error(
        "the images are {found} ({} paddles), but {wanted} ones were asked for: train on them with \
         --difficulty {found}, or name the folder {}", .found.contour_length(), .wanted.folder()
    )]
    Difficulty {
        /// What there is.
        found: Difficulty,
        /// What was asked for.
        wanted: Difficulty,
    },

    /// Not the binary version of CIFAR-10.
    #[error(
        "it is {0}, and the binary version of CIFAR-10 is what is read: fetch it with `ls-train \
         fetch image`, or take cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"
    )]
    NotBinary(&'static str),

    /// A NumPy file of another making, or a damaged one.
    #[error(
        "not a readable NumPy file of text ({}). Copy it again from the archive",
        on_one_line(.0)
    )]
    Npy(String),

    /// A folder of a class is missing, in a folder or in an archive.
    #[error(
        "{} is missing or holds no documents: unpack the archive again, completely",
        on_one_line(.0)
    )]
    NoClass(String),

    /// A file of an archive or folder is missing.
    #[error("{} is missing: unpack or download it again, completely", on_one_line(.0))]
    Missing(String),

    /// An archive holds two folders with the files of a task.
    #[error(
        "it holds the files of {task} twice, in {folder:?} and in {other:?}: unpack the one that is \
         meant, and name its folder"
    )]
    Twice {
        /// The task.
        task: String,
        /// One folder.
        folder: String,
        /// The other one.
        other: String,
    },

    /// A file in an archive whose contents are elsewhere.
    #[error(
        "{} is only a link in it, or a sparse file: make the archive again with \
         `tar --dereference --hard-dereference`, without --sparse",
        on_one_line(.0)
    )]
    Link(String),

    /// A generated file without contents: written before a power cut, and lost in it.
    #[error(
        "the generated file is empty or gone: the machine went down before the disk had it, or it \
         was deleted. Delete the folder and generate the data again"
    )]
    Lost,

    /// The file was changed while it was in use.
    #[error("the file has changed since it was opened: start the run again")]
    Changed,

    /// A text without a byte.
    #[error("the file is empty: name a file with text with --data")]
    NoBytes,

    /// A folder in the place of a text.
    #[error("it is a folder: name the file with the text in it with --data")]
    Folder,

    /// A pipe or a device in the place of a text.
    #[error("it is a pipe or a device: write the text to a file, and name that with --data")]
    NotRegular,

    /// A file of a known format in the place of a text.
    #[error(
        "it is {0}, not text: unpack or convert it, and name the file with the text with --data"
    )]
    NotText(&'static str),

    /// Another text under the name of a published one.
    #[error(
        "{found} different bytes, but {name} has {wanted}: it is another file, or damaged. Download it \
         again, or give this one another name to train on it as it is"
    )]
    OtherText {
        /// The published text.
        name: &'static str,
        /// How many different bytes there are.
        found: usize,
        /// What there should be.
        wanted: usize,
    },

    /// A byte that a model doesn't know.
    #[error(transparent)]
    UnknownByte(#[from] UnknownByte),

    /// Generated data that is not complete.
    #[error(
        "the images are still being generated, or that was interrupted: run the same `ls-train \
         generate` command again to complete them"
    )]
    Unfinished,
}
