//! `project` and its launcher.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::{Division, Documents};
use crate::launch::{dims, empty, launch};
use crate::problem::{Problem, Seen};
use crate::project_merge::project_merge;
use crate::shader::Kernel;

/// Landmarks of every document, `[P·key | P·value | log Σ exp scores]` with `P` = softmax over the
/// document's tokens of `scores` (paper section 3.2). A document without a real token gives zeros.
///
/// # Shapes
///
/// - scores: `[b, h, r, n]`; key, value: `[b, h, n, d]`
/// - output: `[documents, h, r, 2·d + 1]` of the keys' type
pub fn project(
    scores: &CubeTensor,
    key: &CubeTensor,
    value: &CubeTensor,
    documents: &Documents,
) -> CubeTensor {
    let [_, _, landmarks, _] = dims(scores);
    let problem = Problem::new(key, landmarks, documents, Seen::NOTHING);
    // Landmarks are what this makes: the context holds none.
    let context = Context::new(&problem, key, 0);
    let heads = problem.heads;
    let tasks = problem.tasks(Division::Splits);
    let row = 2 * problem.vectors() + 1;
    let parts = empty(
        key,
        [(tasks * heads * landmarks * row * 4).max(4)],
        DType::F32,
    );
    let tile = problem.tiles.project;
    let invocations = tasks * heads * landmarks.div_ceil(tile.group);
    launch(
        problem
            .shader(Kernel::Project, tile, Division::Splits)
            .rows(&[key, value])
            .element(scores),
        invocations.div_ceil(tile.invocations),
        &[scores, key, value, &context.buffer, &parts],
        &problem
            .info(&context, Division::Splits)
            .strides(&[scores, key, value])
            .count(tasks * heads),
    );

    project_merge(&problem, &context, &parts, key.dtype)
}
