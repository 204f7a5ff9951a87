//! LayerNorm and GELU, and all layers of many rows with numbers whose sums depend on their order.

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use transformer_ls_burn::ops::OptionalTensor;
use transformer_ls_burn::ops::layers::{LayersBackend, NormLayer, plain};

use super::compare::{Body, Results, compare, float};

/// LayerNorm and GELU of rows of many widths, and their gradients; the last are wider than the
/// shader's LayerNorm takes.
pub fn check_layers(device: &Device, dtype: DType) {
    let sizes = [(1, 2), (7, 3), (700, 64), (33, 250), (9, 768), (5, 4096)];
    for (rows, width) in sizes.into_iter().chain([(3, 4097), (2, 6000)]) {
        let run = |device: &Device, dtype: DType, body: Body, _: Option<&Results>| -> Results {
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
        compare(device, dtype, &run, &format!("{rows} rows of {width}"));
    }
}

/// What layers and their backward passes give for 4097 rows of fractions, and for tokens most of which are
/// one.
pub fn layers_results(device: &Device) -> Results {
    let (rows, inputs, outputs, vocabulary) = (4097, 64, 128, 300);
    let fractions = |shape: [usize; 2], seed: usize| {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 20_011) as f32 / 3001.0 - 3.3;
        let values = (0..shape[0] * shape[1]).map(value).collect();
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let of_rows = |width, seed| {
        let x = fractions([rows, width], seed);
        x.reshape([1, rows, width]).into_dispatch()
    };
    let table = |rows, seed| fractions([rows, inputs], seed).into_dispatch();
    let vector = |seed| {
        fractions([1, inputs], seed)
            .reshape([inputs])
            .into_dispatch()
    };
    let ids: Vec<i32> = (0..rows)
        .map(|i| if i % 5 < 3 { 0 } else { (i * i % 293) as i32 })
        .collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, rows]), device);
    let norm = NormLayer::<Dispatch> {
        gamma: vector(3),
        beta: vector(4),
    };
    let (x, d) = (of_rows(inputs, 1), of_rows(outputs, 2));
    let normed = Dispatch::norm_backward(of_rows(inputs, 5), x.clone(), norm, OptionalTensor::None);
    let position = OptionalTensor::Some(table(rows, 7));
    let tables = Dispatch::embed_backward(
        x.clone(),
        table(vocabulary, 6),
        position,
        ids.into_dispatch(),
        None,
    );
    let weight = fractions([inputs, outputs], 8).into_dispatch();
    let d_x = Dispatch::linear_layer_dx(d.clone(), weight, OptionalTensor::None);
    let (d_weight, d_bias) = Dispatch::linear_layer_backward(d, x);
    vec![
        ("d gamma", float::<1>(normed.layer.gamma)),
        ("d beta", float::<1>(normed.layer.beta)),
        ("d x of the norm", float::<3>(normed.x)),
        ("d tokens", float::<2>(tables.token)),
        ("d x of the linear layer", float::<3>(d_x)),
        ("d weight", float::<2>(d_weight)),
        ("d bias", float::<1>(d_bias)),
    ]
}
