//! AdamW's updates against its formulas on the host.

use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor, TensorData};
use transformer_ls_burn::ops::adamw::{AdamWParameter, AdamWUpdate, adamw};

use super::compare::{Float, float, integers};

/// Entries of parameters, in number more than two groups of eight.
const SIZES: [usize; 18] = [
    1, 64, 3, 4096, 65, 10, 130, 63, 2, 5000, 64, 7, 1, 1, 128, 70_000, 33, 9,
];

const UPDATE: AdamWUpdate = AdamWUpdate {
    decay: 0.99,
    beta1: 0.875,
    beta2: 0.75,
    step_size: 0.25,
    root_correction: 0.5,
    epsilon: 1.0,
};

/// Updates of parameters of many sizes; those of even places come turned, as views of their transposes.
pub fn check_adamw(device: &Device) {
    let given: Vec<[Vec<f64>; 4]> = (SIZES.iter().enumerate())
        .map(|(i, &size)| {
            let mut numbers = [0, 1, 2, 3].map(|j| integers(size, 4 * i + j));
            numbers[3].iter_mut().for_each(|v| *v = v.abs());
            numbers
        })
        .collect();
    let parameters = (given.iter().enumerate()).map(|(i, numbers)| {
        let [parameter, gradient, first, second] = numbers.each_ref().map(|numbers| {
            let data = TensorData::new(numbers.clone(), [1, numbers.len()]).convert::<f32>();
            let tensor = Tensor::<2>::from_data(data, device);
            match i % 2 {
                0 => (tensor.transpose() + 0.0).transpose().into_dispatch(),
                _ => tensor.into_dispatch(),
            }
        });
        AdamWParameter::<Dispatch>::Filled {
            parameter,
            gradient,
            first,
            second,
        }
    });
    let found = adamw(parameters.collect(), &UPDATE);
    assert_eq!(found.len(), SIZES.len());
    for (found, [parameter, gradient, first, second]) in found.into_iter().zip(&given) {
        let [updated, to_first, to_second]: [Float; 3] = found;
        let found = [updated, to_first, to_second].map(float::<2>);
        for i in 0..parameter.len() {
            let g = gradient[i];
            let m = first[i] + (g - first[i]) * (1.0 - UPDATE.beta1);
            let v = second[i] * UPDATE.beta2 + g * g * (1.0 - UPDATE.beta2);
            let step = UPDATE.step_size * m / (v.sqrt() / UPDATE.root_correction + UPDATE.epsilon);
            for (found, wanted) in found.iter().zip([parameter[i] * UPDATE.decay - step, m, v]) {
                let off = (found[i] - wanted).abs();
                assert!(
                    off <= 5e-7 * wanted.abs().max(1.0),
                    "{} where {wanted} is right, entry {i} of {}",
                    found[i],
                    parameter.len()
                );
            }
        }
    }
}
