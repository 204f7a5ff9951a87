//! Launchers of `class_row_backward.wgsl` and of `class_row_sum.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::class_row::{ClassRow, Reading, reading};
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, empty_rows, launch};
use crate::tiles::{Limits, Tile};

/// Gradients of [`class_row`](crate::class_row), each of its input's shape and type.
#[derive(Clone, Debug)]
pub struct ClassRowGradients {
    /// `[documents, h, 1, d]`
    pub query: CubeTensor,
    /// `[documents, h, 1, d]`
    pub key: CubeTensor,
    /// `[documents, h, 1, d]`
    pub value: CubeTensor,
    /// `[b, h, n, d]`
    pub tokens: CubeTensor,
}

/// Gradients of [`class_row`](crate::class_row), which is computed again: the tokens are read once
/// more, and nothing has to be kept.
///
/// # Shapes
///
/// - d_output: `[documents, h, 1, d]`
pub fn class_row_backward(d_output: &CubeTensor, inputs: &ClassRow) -> ClassRowGradients {
    let tokens = inputs.tokens;
    let Reading {
        problem,
        context,
        readings,
        ..
    } = reading(inputs);
    let vectors = problem.vectors();
    let like = |x: &CubeTensor| empty_rows(x, dims(x), x.dtype);
    let d_tokens = like(tokens);
    let count = problem.tasks(Division::Splits) * problem.heads;
    let parts = empty(tokens, [(count * vectors * 4).max(4)], DType::F32);
    let tile = Tile::of_class_rows(&Limits::of(tokens));
    launch(
        problem.shader(Kernel::ClassRowBackward, tile, Division::Splits),
        count,
        problem.info(Division::Splits).count(count),
        &[
            ("d_output", d_output),
            ("tokens", tokens),
            ("context", &context),
            ("readings", &readings),
            ("d_tokens", &d_tokens),
            ("parts", &parts),
        ],
    );

    let gradients = ClassRowGradients {
        query: like(inputs.query),
        key: like(inputs.key),
        value: like(inputs.value),
        tokens: d_tokens,
    };
    let tile = problem.tiles.entries;
    let count = problem.documents * problem.heads * vectors;
    launch(
        problem.shader(Kernel::ClassRowSum, tile, Division::Splits),
        count.div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[
            ("d_output", d_output),
            ("context", &context),
            ("readings", &readings),
            ("parts", &parts),
            ("d_query", &gradients.query),
            ("d_key", &gradients.key),
            ("d_value", &gradients.value),
        ],
    );
    gradients
}
