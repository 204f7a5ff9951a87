//! LayerNorm and GELU.

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};
use transformer_ls_burn::ops::OptionalTensor;
use transformer_ls_burn::ops::layers::{LayersBackend, NormLayer, plain};

use super::compare::{Body, Results, compare, float};

/// LayerNorm and GELU of rows of many widths, and their gradients; the last are wider than the
/// shader's LayerNorm takes.
pub fn check_layers(device: &Device) {
    let sizes = [(1, 2), (7, 3), (700, 64), (33, 250), (9, 768), (5, 4096)];
    for (rows, width) in sizes.into_iter().chain([(3, 4097), (2, 6000)]) {
        let run = |device: &Device, dtype: DType, body: Body| -> Results {
            let input = |seed: usize, count: usize| -> TensorData {
                let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 250.0 - 3.0;
                let values: Vec<f32> = (0..count).map(value).collect();
                TensorData::new(values, [count]).convert_dtype(dtype)
            };
            let matrix = |seed| {
                let x = Tensor::<1>::from_data(input(seed, rows * width), (device, dtype));
                x.reshape([rows, width]).into_dispatch()
            };
            let vector =
                |seed| Tensor::<1>::from_data(input(seed, width), (device, dtype)).into_dispatch();
            let layer = || NormLayer::<Dispatch> {
                gamma: vector(3),
                beta: vector(4),
            };
            let onto = || OptionalTensor::Some(matrix(5));
            let added = match body {
                Body::Plain => plain::norm_backward(matrix(2), matrix(1), layer(), onto()),
                Body::Kernels => Dispatch::norm_backward(matrix(2), matrix(1), layer(), onto()),
            };
            let added = added.x;
            let (y, gradients, activated, d_activated) = match body {
                Body::Plain => (
                    plain::norm(matrix(1), layer()),
                    plain::norm_backward(matrix(2), matrix(1), layer(), OptionalTensor::None),
                    plain::exact_gelu::<Dispatch>(matrix(1)),
                    plain::exact_gelu_backward::<Dispatch>(matrix(2), matrix(1)),
                ),
                Body::Kernels => (
                    Dispatch::norm(matrix(1), layer()),
                    Dispatch::norm_backward(matrix(2), matrix(1), layer(), OptionalTensor::None),
                    Dispatch::gelu_pass(matrix(1)),
                    Dispatch::gelu_pass_backward(matrix(2), matrix(1)),
                ),
            };
            vec![
                ("norm", float::<2>(y)),
                ("d x", float::<2>(gradients.x)),
                ("d x, added", float::<2>(added)),
                ("d gamma", float::<1>(gradients.layer.gamma)),
                ("d beta", float::<1>(gradients.layer.beta)),
                ("gelu", float::<2>(activated)),
                ("d gelu", float::<2>(d_activated)),
            ]
        };
        compare(device, DType::F32, &run, &format!("{rows} rows of {width}"));
    }
}
