//! Linear layers and their gradients against loops on the host. All numbers are small integers, whose
//! sums float32 has exactly.

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};
use transformer_ls_burn::ops::OptionalTensor;
use transformer_ls_burn::ops::layers::LayersBackend;

use super::compare::{assert_exact, float, integers};

/// Rows, inputs, outputs.
const SIZES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [1, 64, 64],
    [63, 3, 1],
    [63, 1, 100],
    [64, 100, 3],
    [65, 64, 64],
    [4097, 64, 128],
    [1000, 100, 65],
    [2, 2048, 6],
    [17, 70, 512],
];

/// Linear layers of every size. Their rows are those of a batch, `[rows, 1, ..]`, or of heads that
/// were turned, so that neighbouring channels are not neighbours in memory.
pub fn check_linear(device: &Device, dtype: DType) {
    for [rows, inputs, outputs] in SIZES {
        let (x, d) = (integers(rows * inputs, 1), integers(rows * outputs, 2));
        let (weight, bias) = (integers(inputs * outputs, 3), integers(outputs, 4));
        let mut y = bias.repeat(rows);
        let mut d_x = vec![0.0; rows * inputs];
        let mut d_weight = vec![0.0; inputs * outputs];
        let mut d_bias = vec![0.0; outputs];
        for row in 0..rows {
            for k in 0..outputs {
                let d = d[row * outputs + k];
                d_bias[k] += d;
                for i in 0..inputs {
                    let (x, weight) = (x[row * inputs + i], weight[i * outputs + k]);
                    y[row * outputs + k] += x * weight;
                    d_x[row * inputs + i] += d * weight;
                    d_weight[i * outputs + k] += x * d;
                }
            }
        }
        let without = y.iter().zip(bias.iter().cycle()).map(|(y, bias)| y - bias);
        let without: Vec<f64> = without.collect();
        for turned in [false, true] {
            let tensor = |values: &[f64], width: usize| {
                let values = TensorData::new(values.to_vec(), [rows, width]).convert_dtype(dtype);
                let x = Tensor::<2>::from_data(values, (device, dtype));
                let x = match turned {
                    true => (x.transpose() + 0.0).transpose(),
                    false => x,
                };
                x.reshape([rows, 1, width]).into_dispatch()
            };
            let what = format!("of {rows} rows, {inputs} → {outputs}, turned: {turned}");
            let parameters = |values: &[f64], shape: &[usize]| {
                TensorData::new(values.to_vec(), shape.to_vec()).convert_dtype(dtype)
            };
            let weight =
                Tensor::<2>::from_data(parameters(&weight, &[inputs, outputs]), (device, dtype));
            let bias = Tensor::<1>::from_data(parameters(&bias, &[outputs]), (device, dtype));
            // Twice, for the bits might depend on who comes first; then with others' rows added.
            for adds in [false, false, true] {
                let (weight, bias) = (weight.clone().into_dispatch(), bias.clone().into_dispatch());
                let onto = |values: &[f64], width: usize| match adds {
                    true => (OptionalTensor::Some(tensor(values, width)), values.to_vec()),
                    false => (OptionalTensor::None, vec![0.0; values.len()]),
                };
                let sum = |a: &[f64], b: &[f64]| -> Vec<f64> {
                    a.iter().zip(b).map(|(a, b)| a + b).collect()
                };
                let (added, values) = onto(&d, outputs);
                for (bias, y) in [
                    (OptionalTensor::Some(bias), &y),
                    (OptionalTensor::None, &without),
                ] {
                    let (x, weight) = (tensor(&x, inputs), weight.clone());
                    let found = Dispatch::linear_layer(x, weight, bias, added.clone());
                    let wanted = sum(y, &values);
                    assert_exact(
                        &float::<3>(found),
                        &wanted,
                        dtype,
                        &format!("output {what}"),
                    );
                }
                let (added, values) = onto(&x, inputs);
                let found = Dispatch::linear_layer_dx(tensor(&d, outputs), weight, added);
                let wanted = sum(&d_x, &values);
                assert_exact(
                    &float::<3>(found),
                    &wanted,
                    dtype,
                    &format!("d input {what}"),
                );
                let (weight, bias) =
                    Dispatch::linear_layer_backward(tensor(&d, outputs), tensor(&x, inputs));
                let (weight, bias) = (float::<2>(weight), float::<1>(bias));
                assert_exact(&weight, &d_weight, dtype, &format!("d weight {what}"));
                assert_exact(&bias, &d_bias, dtype, &format!("d bias {what}"));
            }
        }
    }
}
