//! Where a file can be downloaded.

/// A file that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
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

impl Download {
    /// The Long Range Arena's archive of 8 GB, whose address is often dead.
    pub(crate) fn lra_release() -> Self {
        Self {
            url: "https://storage.googleapis.com/long-range-arena/lra_release.gz".into(),
            file_name: "lra_release.gz".into(),
            bytes: None,
            sha256: None,
            page: "https://github.com/google-research/long-range-arena".into(),
        }
    }
}
