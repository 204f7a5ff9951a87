//! Launcher of `attend_dlandmarks.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::sum_landmark_bias::sum_landmark_bias;
use crate::sum_parts::sum_parts;

/// Gradients for the landmarks' keys and values, both `[documents, h, r, d]`, and for their bias
/// `[documents, h, r]`, as far as they are given.
pub(crate) fn attend_dlandmarks(
    backward: &Backward,
) -> (Option<(CubeTensor, CubeTensor)>, Option<CubeTensor>) {
    let Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    } = backward;
    let Some((key, value)) = inputs.landmarks else {
        return (None, None);
    };
    let bias = inputs.landmark_bias;
    let (heads, landmarks) = (problem.heads, problem.landmarks);
    let tasks = problem.tasks(Division::Splits);
    let row = 2 * problem.vectors() + usize::from(bias.is_some());
    let parts = empty(
        d_output,
        [(tasks * heads * landmarks * row * 4).max(4)],
        DType::F32,
    );
    let tile = problem.tiles.attend_dlandmarks;
    let count = tasks * heads;
    let workgroups = tile.workgroups_of_landmarks(count, landmarks);
    launch(
        problem.shader(Kernel::AttendDlandmarks, tile, Division::Splits),
        workgroups,
        problem.info(Division::Splits).count(count),
        &[
            ("d_output", d_output),
            ("query", inputs.query),
            ("context", context),
            ("stats", stats),
            ("parts", &parts),
        ],
    );

    (
        Some(sum_parts(problem, context, &parts, key, value)),
        bias.map(|bias| sum_landmark_bias(problem, context, &parts, bias)),
    )
}
