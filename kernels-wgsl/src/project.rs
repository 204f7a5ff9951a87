//! `project` and its launcher.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::context::{Contents, context};
use crate::documents::{Division, Documents};
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::problem::{LandmarkRow, Problem, Seen};
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
    pub(crate) fn problem(&self, row: LandmarkRow) -> Problem<'_> {
        let ([_, _, landmarks, _], [_, _, tokens, _]) = (dims(self.scores), dims(self.key));
        let seen = Seen::NOTHING;
        Problem::new(self.key, tokens, landmarks, row, &self.documents, seen)
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
    let problem = inputs.problem(LandmarkRow::Nothing);
    let landmarks = problem.landmarks;
    let context = context(&problem, key, &Contents::default());
    let heads = problem.heads;
    let tasks = problem.tasks(Division::Splits);
    let row = 2 * problem.vectors() + 1;
    let parts = empty(
        key,
        [(tasks * heads * landmarks * row * 4).max(4)],
        DType::F32,
    );
    let tile = problem.tiles.project;
    let count = tasks * heads;
    let workgroups = tile.workgroups_of_landmarks(count, landmarks);
    launch(
        problem.shader(Kernel::Project, tile, Division::Splits),
        workgroups,
        problem.info(Division::Splits).count(count),
        &[
            ("scores", scores),
            ("key", key),
            ("value", value),
            ("context", &context),
            ("parts", &parts),
        ],
    );

    project_merge(&problem, &context, &parts, key.dtype)
}
