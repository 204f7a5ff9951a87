//! Launcher of `pack_words.wgsl`, for masks and for the tables of packed documents.

use std::cell::RefCell;

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::documents::{Division, Tables};
use crate::kernel::Kernel;
use crate::launch::{launch, upload};
use crate::problem::Problem;

/// The mask `[b, n]`.
pub(crate) fn pack_mask(problem: &Problem, context: &CubeTensor, mask: &CubeTensor) {
    let mask = into_contiguous(mask.clone());
    pack_words(
        problem,
        context,
        &mask,
        problem.rows * problem.tokens,
        problem.places.mask,
    );
}

thread_local! {
    /// The tables that came last, on their device: the operations of a batch have two or three.
    static LAST: RefCell<Vec<(Tables, CubeTensor)>> = const { RefCell::new(Vec::new()) };
}

/// How many are kept.
const KEPT: usize = 4;

/// The tables in whole vectors on the device of `like`.
pub(crate) fn uploaded(tables: &Tables, like: &CubeTensor) -> CubeTensor {
    LAST.with_borrow_mut(|last| {
        let known =
            |(known, words): &(Tables, CubeTensor)| known == tables && words.device == like.device;
        if let Some(place) = last.iter().position(known) {
            return last[place].1.clone();
        }
        let mut words = tables.words.clone();
        words.resize(words.len().next_multiple_of(4), 0);
        let words = upload(like, &words);
        last.truncate(KEPT - 1);
        last.insert(0, (tables.clone(), words.clone()));
        words
    })
}

/// The tables of packed documents.
pub(crate) fn pack_tables(problem: &Problem, context: &CubeTensor, tables: &Tables) {
    let words = uploaded(tables, context);
    pack_words(
        problem,
        context,
        &words,
        tables.words.len(),
        problem.places.documents,
    );
}

fn pack_words(
    problem: &Problem,
    context: &CubeTensor,
    words: &CubeTensor,
    length: usize,
    to: usize,
) {
    let tile = problem.tiles.entries;
    let count = length.div_ceil(4);
    let mut info = problem.info(Division::Blocks).count(count);
    info.context[1] = to as u32;
    info.tasks[1] = length as u32;
    launch(
        problem.shader(Kernel::PackWords, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        info,
        &[("words", words), ("context", context)],
    );
}
