//! Launcher of `pack_words.wgsl`, for masks and for the tables of packed documents.

use burn_backend::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::documents::{Division, Tables};
use crate::kernel::Kernel;
use crate::launch::launch;
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

/// The tables of packed documents.
pub(crate) fn pack_tables(problem: &Problem, context: &CubeTensor, tables: &Tables) {
    let bytes: Vec<u8> = tables.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let client = context.client.clone();
    let handle = client.create_from_slice(&bytes);
    let words = CubeTensor::new_contiguous(
        client,
        context.device.clone(),
        [tables.words.len()].into(),
        handle,
        DType::U32,
    );
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
