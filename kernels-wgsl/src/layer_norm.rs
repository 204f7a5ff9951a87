//! Launcher of `layer_norm.wgsl`, and what a LayerNorm's kernels share.

use burn_backend::Shape;
use burn_backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::shader::{Element, Layout, Pattern, Shader};
use crate::tiles::{Limits, Tile};

/// Rows of a tensor that a LayerNorm or an activation takes.
pub(crate) struct FlatRows {
    pub rows: usize,
    pub width: usize,
}

impl FlatRows {
    pub fn of(x: &CubeTensor) -> Self {
        let shape = x.meta.shape();
        let width = shape[shape.rank() - 1];
        Self {
            rows: shape.num_elements() / width,
            width,
        }
    }

    /// Vectors of four channels a row.
    pub fn vectors(&self) -> usize {
        self.width.div_ceil(4)
    }

    /// The tensor's memory as `[1, 1, rows, width]`.
    pub fn view(&self, x: &CubeTensor) -> CubeTensor {
        let shape = Shape::new([1, 1, self.rows, self.width]);
        <CubeBackend as FloatTensorOps<CubeBackend>>::float_reshape(
            into_contiguous(x.clone()),
            shape,
        )
    }

    /// A tensor like `x` with memory that nothing has written yet.
    pub fn empty(&self, x: &CubeTensor) -> CubeTensor {
        empty(x, x.meta.shape().clone(), x.dtype)
    }

    pub fn shader(&self, kernel: Kernel, tile: Tile) -> Shader {
        Shader {
            kernel,
            tile,
            task: 1,
            first_task_column: 0,
            width: self.width,
            layout: Layout::Full,
            landmarks: false,
            chunks: false,
            pattern: Pattern::Off,
            bias: false,
            relative_keys: false,
            landmark_offsets: false,
            landmark_bias: false,
            dropout: false,
            rows: Vec::new(),
            element: Element::F32,
        }
    }

    pub fn info(&self) -> Info {
        Info {
            batch: [1, self.rows as u32, 0, 0],
            ..Info::default()
        }
    }
}

/// LayerNorm of every row, `x̂ γ + β`, its sums in float32.
///
/// # Shapes
///
/// - x and result: `[.., D]`; gamma, beta: `[D]`
pub fn layer_norm(
    x: &CubeTensor,
    gamma: &CubeTensor,
    beta: &CubeTensor,
    epsilon: f32,
) -> CubeTensor {
    let rows = FlatRows::of(x);
    let tile = Tile::of_norm(rows.width, &Limits::of(x));
    let slots = Tile::norm_slots(rows.rows, &Limits::of(x));
    let y = rows.empty(x);
    let (x, y_rows) = (rows.view(x), rows.view(&y));
    let (gamma, beta) = (
        into_contiguous(gamma.clone()),
        into_contiguous(beta.clone()),
    );
    launch(
        rows.shader(Kernel::LayerNorm, tile),
        (slots * tile.lanes).div_ceil(tile.invocations),
        rows.info().epsilon(epsilon).count(slots),
        &[
            ("x", &x),
            ("gamma", &gamma),
            ("beta", &beta),
            ("y", &y_rows),
        ],
    );
    y
}
