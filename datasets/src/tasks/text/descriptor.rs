//! The descriptor of Text.

use std::path::Path;
use std::sync::Arc;

use super::{CLASSES, TRUNCATION, Text, VOCAB_SIZE, cache_key, check, typed};
use crate::cache::Key;
use crate::descriptor::{Data, Descriptor, Ids};
use crate::fetch::Download;
use crate::input::InputError;
use crate::options::Options;
use crate::release::Release;
use crate::report::Report;
use crate::{DatasetError, Samples, Split, TokenIds};

pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "text",
    alias: None,
    classes: CLASSES,
    ids: Ids::Count(VOCAB_SIZE),
    longest: TRUNCATION,
    pair: false,
    pixels: false,
    has_difficulty: false,
    has_splits: false,
    is_cut: false,
    folders: &["train", "test"],
    in_archive: "aclImdb",
    download: || Download {
        url: "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz".into(),
        file_name: "aclImdb_v1.tar.gz".into(),
        bytes: Some(84_125_825),
        sha256: Some("c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe".into()),
        page: "https://ai.stanford.edu/~amaas/data/sentiment/".into(),
    },
    data: &Reviews,
};

struct Reviews;

impl Data for Reviews {
    fn cache_key(&self, dir: &Path, split: Split, options: &Options) -> Result<Key, DatasetError> {
        cache_key(dir, split, options.missing)
    }

    fn open(
        &self,
        dir: &Path,
        _: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        Ok(Box::new(Text::open(dir, split, options.missing)?))
    }

    fn encode(&self, text: &str, _: &Options) -> Result<TokenIds, InputError> {
        Ok(TokenIds::One(typed(text)?))
    }

    fn check(&self, path: &Path, report: &mut Report) {
        check::check(path, report);
    }
}
