//! `project` and its launcher.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::{Division, Documents};
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::problem::{Problem, Seen};
use crate::project_merge::project_merge;

/// What the projection takes.
#[derive(Clone, Debug)]
pub struct Project<'a> {
    /// `[b, h, r, n]`
    pub scores: &'a CubeTensor,
    /// `[b, h, n, d]`
    pub key: &'a CubeTensor,
    /// `[b, h, n, d]`
    pub value: &'a CubeTensor,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
}

impl Project<'_> {
    pub(crate) fn problem(&self) -> Problem<'_> {
        let ([_, _, landmarks, _], [_, _, tokens, _]) = (dims(self.scores), dims(self.key));
        Problem::new(self.key, tokens, landmarks, &self.documents, Seen::NOTHING)
    }
}

/// Landmarks of every document, `[P·key | P·value | log Σ exp scores]` with `P` = softmax over the
/// document's tokens of `scores` (paper section 3.2). A document without a real token gives zeros.
///
/// # Shapes
///
/// - output: `[documents, h, r, 2·d + 1]` of the keys' type
pub fn project(inputs: &Project) -> CubeTensor {
    let (scores, key, value) = (inputs.scores, inputs.key, inputs.value);
    let problem = inputs.problem();
    let landmarks = problem.landmarks;
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
        problem.shader(Kernel::Project, tile, Division::Splits),
        invocations.div_ceil(tile.invocations),
        problem
            .info(&context, Division::Splits)
            .count(tasks * heads),
        &[
            ("scores", scores),
            ("key", key),
            ("value", value),
            ("context", &context.buffer),
            ("parts", &parts),
        ],
    );

    project_merge(&problem, &context, &parts, key.dtype)
}
