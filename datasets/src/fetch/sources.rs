//! Where the tasks' files can be downloaded.

use crate::check::Task;

/// A file that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub url: String,
    /// The name of the file.
    pub file_name: String,
    /// Its size, where it was published.
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal, where it is known. Otherwise the archive's own checksums decide.
    pub sha256: Option<String>,
    /// Where a person can look for it.
    pub page: String,
}

/// Where a task's published data is.
///
/// Text and Image have archives of their own, which are read as they are. The others are in the
/// Long Range Arena's archive of 8 GB, whose address is often dead; ListOps and Pathfinder are
/// better generated.
pub fn source(task: Task) -> Source {
    match task {
        Task::Text => Source {
            url: "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz".into(),
            file_name: "aclImdb_v1.tar.gz".into(),
            bytes: Some(84_125_825),
            sha256: Some("c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe".into()),
            page: "https://ai.stanford.edu/~amaas/data/sentiment/".into(),
        },
        Task::Image => Source {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".into(),
            file_name: "cifar-10-binary.tar.gz".into(),
            bytes: Some(170_052_171),
            sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into()),
            page: "https://www.cs.toronto.edu/~kriz/cifar.html".into(),
        },
        Task::ListOps | Task::Retrieval | Task::Pathfinder(_) => Source {
            url: "https://storage.googleapis.com/long-range-arena/lra_release.gz".into(),
            file_name: "lra_release.gz".into(),
            bytes: None,
            sha256: None,
            page: "https://github.com/google-research/long-range-arena".into(),
        },
    }
}
