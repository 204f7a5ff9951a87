//! The descriptors of Pathfinder: each size is a task.

use std::path::Path;
use std::sync::Arc;

use super::folder::{self, IMAGES, METADATA, member, source};
use super::{CLASSES, Pathfinder, Size, VOCAB_SIZE, cache_key, check};
use crate::cache::Key;
use crate::descriptor::{Data, Descriptor, Ids};
use crate::fetch::Download;
use crate::files::Source;
use crate::input::{InputError, picture};
use crate::options::Options;
use crate::release::{Member, Release};
use crate::report::Report;
use crate::{DatasetError, Samples, Split, TokenIds};

/// The descriptor of the task with images of a size.
pub(crate) fn descriptor(size: Size) -> &'static Descriptor {
    static ALL: [Descriptor; 4] = [
        of(&Size::N32),
        of(&Size::N64),
        of(&Size::N128),
        of(&Size::N256),
    ];
    &ALL[size as usize]
}

const fn of(size: &'static Size) -> Descriptor {
    Descriptor {
        name: size.task(),
        alias: match size {
            Size::N128 => Some(size.folder()),
            _ => None,
        },
        classes: CLASSES,
        ids: Ids::Count(VOCAB_SIZE),
        longest: size.tokens(),
        pair: false,
        pixels: true,
        has_difficulty: true,
        has_splits: false,
        is_cut: true,
        folders: &[IMAGES, METADATA],
        in_archive: size.folder(),
        download: Download::lra_release,
        data: size,
    }
}

impl Data for Size {
    fn source(&self, dir: &Path, options: &Options) -> Option<Source> {
        source(dir, *self, options.difficulty.unwrap_or_default())
    }

    fn member<'a>(&self, path: &'a str, options: &Options) -> Member<'a> {
        member(*self, options.difficulty.unwrap_or_default(), path)
    }

    fn cache_key(&self, dir: &Path, split: Split, options: &Options) -> Result<Key, DatasetError> {
        let difficulty = options.difficulty.unwrap_or_default();
        cache_key(dir, *self, difficulty, split, options.missing)
    }

    fn open(
        &self,
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        let (difficulty, missing) = (options.difficulty.unwrap_or_default(), options.missing);
        let data = Pathfinder::open_in(dir, release, *self, difficulty, split, missing)?;
        Ok(Box::new(data))
    }

    fn encode(&self, path: &str, _: &Options) -> Result<TokenIds, InputError> {
        Ok(TokenIds::One(picture(Path::new(path), self.side())?))
    }

    fn check(&self, path: &Path, report: &mut Report) {
        check::check(path, *self, report);
    }

    fn warning(&self, dir: &Path, options: &Options) -> Option<String> {
        folder::warning(dir, *self, options.difficulty.unwrap_or_default())
    }
}
