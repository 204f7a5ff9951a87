//! Launchers of `linear.wgsl` and of `linear_dx.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, LinearTiles};

/// A linear layer, `X W + b` or `X W`, its sums in float32, and rows that it is added to.
///
/// # Shapes
///
/// - x: `[.., inputs]`; weight: `[inputs, outputs]`; bias: `[outputs]`
/// - added and result: `[.., outputs]`
pub fn linear(
    x: &CubeTensor,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    added: Option<&CubeTensor>,
) -> CubeTensor {
    let [_, outputs] = dims(weight);
    let bias = bias.map(|bias| FlatRows::of(bias).view(bias));
    let kernel = Kernel::Linear {
        adds: added.is_some(),
        bias: bias.is_some(),
    };
    product(kernel, [x, weight], bias.as_ref(), added, outputs)
}

/// The gradient of [`linear`] for its input, and another that it is added to.
///
/// # Shapes
///
/// - d_output: `[.., outputs]`; weight: `[inputs, outputs]`
/// - added and result: `[.., inputs]`
pub fn linear_dx(
    d_output: &CubeTensor,
    weight: &CubeTensor,
    added: Option<&CubeTensor>,
) -> CubeTensor {
    let [inputs, _] = dims(weight);
    let adds = added.is_some();
    product(
        Kernel::LinearDx { adds },
        [d_output, weight],
        None,
        added,
        inputs,
    )
}

fn product(
    kernel: Kernel,
    [x, weight]: [&CubeTensor; 2],
    bias: Option<&CubeTensor>,
    added: Option<&CubeTensor>,
    columns: usize,
) -> CubeTensor {
    let x_rows = FlatRows::of(x);
    let y_rows = FlatRows {
        rows: x_rows.rows,
        width: columns,
    };
    let mut shape = x.meta.shape().clone();
    let last = shape.rank() - 1;
    shape[last] = columns;
    let y = empty(x, shape, x.dtype);
    let (x, weight) = (x_rows.view(x), FlatRows::of(weight).view(weight));
    let y_view = y_rows.view(&y);
    let added = added.map(|added| y_rows.view(added));
    let mut tensors = vec![("x", &x), ("weight", &weight)];
    tensors.extend(bias.map(|bias| ("bias", bias)));
    tensors.push(("y", &y_view));
    tensors.extend(added.iter().map(|added| ("added", added)));
    let tile = LinearTiles::product(&Limits::of(&x));
    let workgroups = LinearTiles::products([y_rows.rows, columns], &tile);
    launch(
        y_rows.shader(kernel, tile),
        workgroups,
        Info {
            keys: [x_rows.width as u32, 0, 0, 0],
            ..y_rows.info()
        },
        &tensors,
    );
    y
}
