//! Launcher of `attend_dtables.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::shader::Pattern;
use crate::sum_bias::sum_bias;
use crate::sum_relative_keys::sum_relative_keys;

/// Gradients for the tables by offset: the bias `[h, entries]` and the relative keys
/// `[h, entries, d]`, as far as they are given.
pub(crate) fn attend_dtables(backward: &Backward) -> (Option<CubeTensor>, Option<CubeTensor>) {
    let Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    } = backward;
    let (bias, relative_keys) = (inputs.bias, inputs.relative_keys);
    if bias.is_none() && relative_keys.is_none() {
        return (None, None);
    }
    let window = problem.seen.visibility.window;
    let tile = problem.tiles.of_dtables(Pattern::of(window));
    let tasks = problem.tasks(Division::Splits);
    let entries = tasks * problem.heads * problem.seen.entries;
    let numbers = match relative_keys {
        Some(_) => 4 * problem.vectors() + 1,
        None => 1,
    };
    let parts = empty(inputs.query, [(entries * numbers).max(1)], DType::F32);
    let heads = tasks * problem.heads;
    let (count, workgroups) = match tile.owns_rows() {
        true => (heads, entries.div_ceil(tile.invocations)),
        false => {
            let [of_window, all] = [window.offsets(), problem.seen.entries];
            let blocks = [of_window, all - of_window].map(|rows| rows.div_ceil(tile.rows()));
            let workgroups = heads * (blocks[0] + blocks[1]);
            (workgroups, workgroups)
        }
    };
    launch(
        problem.shader(Kernel::AttendDtables, tile, Division::Splits),
        workgroups,
        problem.info(Division::Splits).count(count),
        &[
            ("d_output", d_output),
            ("query", inputs.query),
            ("key", inputs.key),
            ("value", inputs.value),
            ("context", context),
            ("stats", stats),
            ("parts", &parts),
        ],
    );
    (
        bias.map(|bias| sum_bias(problem, &parts, bias)),
        relative_keys.map(|keys| sum_relative_keys(problem, &parts, keys)),
    )
}
