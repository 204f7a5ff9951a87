//! The descriptor of Image.

use std::path::Path;
use std::sync::Arc;

use super::{CLASSES, Image, SIDE, TOKENS, VOCAB_SIZE, cache_key, check};
use crate::cache::Key;
use crate::descriptor::{Data, Descriptor, Ids};
use crate::fetch::Download;
use crate::input::{InputError, picture};
use crate::options::Options;
use crate::release::Release;
use crate::report::Report;
use crate::{DatasetError, Samples, Split, TokenIds};

pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "image",
    alias: None,
    classes: CLASSES,
    ids: Ids::Count(VOCAB_SIZE),
    longest: TOKENS,
    pair: false,
    pixels: true,
    has_difficulty: false,
    has_splits: true,
    is_cut: false,
    folders: &[],
    in_archive: "cifar-10-batches-bin",
    download: || Download {
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".into(),
        file_name: "cifar-10-binary.tar.gz".into(),
        bytes: Some(170_052_171),
        sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into()),
        page: "https://www.cs.toronto.edu/~kriz/cifar.html".into(),
    },
    data: &Batches,
};

struct Batches;

impl Data for Batches {
    fn cache_key(&self, dir: &Path, split: Split, options: &Options) -> Result<Key, DatasetError> {
        cache_key(dir, split, options.splits.unwrap_or_default())
    }

    fn open(
        &self,
        dir: &Path,
        _: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        let protocol = options.splits.unwrap_or_default();
        Ok(Box::new(Image::open(dir, split, protocol)?))
    }

    fn encode(&self, path: &str, _: &Options) -> Result<TokenIds, InputError> {
        Ok(TokenIds::One(picture(Path::new(path), SIDE)?))
    }

    fn check(&self, path: &Path, report: &mut Report) {
        check::check(path, report);
    }
}
