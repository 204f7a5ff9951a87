//! The backward pass of `project`, and the launcher of `project_backward.wgsl`.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::context::{Contents, context};
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty_rows, launch, swap};
use crate::problem::LandmarkRow;
use crate::project::Project;
use crate::project_delta::project_delta;

/// Gradients of [`project`](crate::project), each of its input's shape and type.
#[derive(Clone, Debug)]
pub struct ProjectGradients {
    /// `[b, h, r, n]`
    pub scores: CubeTensor,
    /// `[b, h, n, d]`
    pub key: CubeTensor,
    /// `[b, h, n, d]`
    pub value: CubeTensor,
}

/// Gradients of [`project`](crate::project).
///
/// Those of key and value are added to `added`, in its memory unless something else reads that.
///
/// # Shapes
///
/// - d_output, output: `[documents, h, r, 2·d + 1]`; added: `[b, h, n, d]` twice
pub fn project_backward(
    d_output: &CubeTensor,
    added: Option<(CubeTensor, CubeTensor)>,
    inputs: &Project,
    output: &CubeTensor,
) -> ProjectGradients {
    let (key, value) = (inputs.key, inputs.value);
    let [rows, heads, landmarks, tokens] = dims(inputs.scores);
    let problem = inputs.problem(LandmarkRow::Gradients);
    let context = context(&problem, key, &Contents::default());
    project_delta(&problem, &context, d_output, output);

    // A token's scores are a row: `[b, h, n, r]`, in memory `[b, n, h, r]`, as the layer that makes
    // scores has them.
    let scores = &swap(inputs.scores.clone(), 2, 3);
    let d_scores = empty_rows(scores, [rows, heads, tokens, landmarks], scores.dtype);
    let adds = added.is_some();
    let (d_key, d_value) = match added {
        Some((key, value)) => (writable(key), writable(value)),
        None => (
            empty_rows(key, dims(key), key.dtype),
            empty_rows(value, dims(value), value.dtype),
        ),
    };
    let count = problem.tasks(Division::Blocks) * heads;
    launch(
        problem.shader(
            Kernel::ProjectBackward { adds },
            problem.tiles.project_backward,
            Division::Blocks,
        ),
        count,
        problem.info(Division::Blocks).count(count),
        &[
            ("scores", scores),
            ("key", key),
            ("value", value),
            ("context", &context),
            ("d_scores", &d_scores),
            ("d_key", &d_key),
            ("d_value", &d_value),
        ],
    );
    ProjectGradients {
        scores: swap(d_scores, 2, 3),
        key: d_key,
        value: d_value,
    }
}

/// The tensor itself if it may be written to, else a copy.
fn writable(tensor: CubeTensor) -> CubeTensor {
    match (tensor.is_nonoverlapping(), tensor.can_mut()) {
        (true, true) => tensor,
        (true, false) => tensor.copy(),
        (false, _) => into_contiguous(tensor),
    }
}
