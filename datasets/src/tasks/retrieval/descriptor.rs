//! The descriptor of Retrieval.

use std::path::Path;
use std::sync::Arc;

use super::{CLASSES, Retrieval, TRUNCATION, VOCAB_SIZE, WANTED, cache_key, check, source};
use crate::cache::Key;
use crate::descriptor::{Data, Descriptor, Ids};
use crate::fetch::Download;
use crate::files::Source;
use crate::input::InputError;
use crate::options::Options;
use crate::release::{Member, Release};
use crate::report::Report;
use crate::text::typed;
use crate::{DatasetError, Samples, Split, TokenIds};

pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: WANTED.task,
    alias: None,
    classes: CLASSES,
    ids: Ids::Count(VOCAB_SIZE),
    longest: TRUNCATION,
    pair: true,
    pixels: false,
    has_difficulty: false,
    has_splits: false,
    is_cut: false,
    folders: &[],
    in_archive: "tsv_data",
    download: Download::lra_release,
    data: &Pairs,
};

struct Pairs;

impl Data for Pairs {
    fn source(&self, dir: &Path, _: &Options) -> Option<Source> {
        source(dir)
    }

    fn member<'a>(&self, path: &'a str, _: &Options) -> Member<'a> {
        (WANTED.member)(path)
    }

    fn cache_key(&self, dir: &Path, split: Split, _: &Options) -> Result<Key, DatasetError> {
        cache_key(dir, split)
    }

    fn open(
        &self,
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        _: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        Ok(Box::new(Retrieval::open_in(dir, release, split)?))
    }

    fn encode(&self, texts: &str, _: &Options) -> Result<TokenIds, InputError> {
        let texts: Vec<&str> = texts.split('\t').collect();
        let &[first, second] = texts.as_slice() else {
            return Err(InputError::NotAPair(texts.len()));
        };
        Ok(TokenIds::Two(typed(first)?, typed(second)?))
    }

    fn check(&self, path: &Path, report: &mut Report) {
        check::check(path, report);
    }
}
