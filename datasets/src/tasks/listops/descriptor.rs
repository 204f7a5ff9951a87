//! The descriptor of ListOps.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::{CLASSES, ListOps, Tokenizer, WANTED, cache_key, check, evaluate, source};
use crate::cache::Key;
use crate::descriptor::{Data, Descriptor, Ids};
use crate::fetch::Download;
use crate::files::Source;
use crate::input::InputError;
use crate::options::Options;
use crate::release::{Member, Release};
use crate::report::Report;
use crate::{DatasetError, Samples, Split, TokenIds};

pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: WANTED.task,
    alias: None,
    classes: CLASSES,
    ids: Ids::OfTokenizer,
    longest: Tokenizer::Brackets.truncation(),
    pair: false,
    pixels: false,
    has_difficulty: false,
    has_splits: false,
    is_cut: false,
    folders: &[],
    in_archive: "listops-1000",
    download: Download::lra_release,
    data: &Expressions,
};

struct Expressions;

impl Data for Expressions {
    fn source(&self, dir: &Path, _: &Options) -> Option<Source> {
        source(dir)
    }

    fn member<'a>(&self, path: &'a str, _: &Options) -> Member<'a> {
        (WANTED.member)(path)
    }

    fn cache_key(&self, dir: &Path, split: Split, options: &Options) -> Result<Key, DatasetError> {
        cache_key(dir, split, options.tokenizer.unwrap_or_default())
    }

    fn open(
        &self,
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        let tokenizer = options.tokenizer.unwrap_or_default();
        Ok(Box::new(ListOps::open_in(dir, release, split, tokenizer)?))
    }

    fn encode(&self, typed: &str, options: &Options) -> Result<TokenIds, InputError> {
        let malformed = |problem: &dyn Display| InputError::Malformed(problem.to_string());
        // The tokens alone would let `[MAX 1` pass.
        evaluate(typed).map_err(|error| malformed(&error))?;
        let tokens = options.tokenizer.unwrap_or_default().encode(typed);
        Ok(TokenIds::One(tokens.map_err(|error| malformed(&error))?))
    }

    fn check(&self, path: &Path, report: &mut Report) {
        check::check(path, report);
    }
}
