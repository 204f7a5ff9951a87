//! Launchers of `class_row.wgsl` and of `class_row_merge.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::context::{Contents, context};
use crate::documents::{Division, Documents};
use crate::kernel::Kernel;
use crate::launch::{dims, empty, empty_rows, launch};
use crate::problem::{LandmarkRow, Problem, Seen};
use crate::tiles::{Limits, Tile};

/// What a class row's reading takes.
#[derive(Clone, Debug)]
pub struct ClassRow<'a> {
    /// `[documents, h, 1, d]`
    pub query: &'a CubeTensor,
    /// `[documents, h, 1, d]`
    pub key: &'a CubeTensor,
    /// `[documents, h, 1, d]`
    pub value: &'a CubeTensor,
    /// What is read, `[b, h, n, d]`.
    pub tokens: &'a CubeTensor,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
}

/// A reading, and what its backward pass wants to know of it.
pub(crate) struct Reading<'a> {
    pub problem: Problem<'a>,
    pub context: CubeTensor,
    /// `[documents, h, 1, d]`
    pub output: CubeTensor,
    /// As `class_row_merge.wgsl` says.
    pub readings: CubeTensor,
}

/// Class rows read their documents: with `p = softmax([q·k, q·C_1 … q·C_n])` over the real tokens,
/// `p_0 v + Σ p_i C_i`; 0 for a document without a real token.
///
/// # Shapes
///
/// - output: `[documents, h, 1, d]`
pub fn class_row(inputs: &ClassRow) -> CubeTensor {
    reading(inputs).output
}

pub(crate) fn reading<'a>(inputs: &'a ClassRow) -> Reading<'a> {
    let (query, tokens) = (inputs.query, inputs.tokens);
    let [_, _, length, _] = dims(tokens);
    let seen = Seen::NOTHING;
    let row = LandmarkRow::Nothing;
    let problem = Problem::new(tokens, length, 0, row, &inputs.documents, seen);
    let context = context(&problem, tokens, &Contents::default());
    let vectors = problem.vectors();
    let count = problem.tasks(Division::Splits) * problem.heads;
    let parts = empty(tokens, [(count * (vectors + 1) * 4).max(4)], DType::F32);
    let tile = Tile::of_class_rows(&Limits::of(tokens));
    launch(
        problem.shader(Kernel::ClassRow, tile, Division::Splits),
        count,
        problem.info(Division::Splits).count(count),
        &[
            ("query", query),
            ("tokens", tokens),
            ("context", &context),
            ("parts", &parts),
        ],
    );

    let rows = problem.documents * problem.heads;
    let output = empty_rows(query, dims(query), query.dtype);
    let readings = empty(tokens, [rows * (4 * vectors + 1) * 4], DType::F32);
    let tile = problem.tiles.entries;
    let count = rows * vectors;
    launch(
        problem.shader(Kernel::ClassRowMerge, tile, Division::Splits),
        count.div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[
            ("query", query),
            ("key", inputs.key),
            ("value", inputs.value),
            ("context", &context),
            ("parts", &parts),
            ("output", &output),
            ("readings", &readings),
        ],
    );
    Reading {
        problem,
        context,
        output,
        readings,
    }
}
