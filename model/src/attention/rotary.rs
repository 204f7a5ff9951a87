//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864): each pair of features of a head
//! is turned by an angle proportional to the token's position, so that a product of a query and a
//! key depends on their distance.

use burn::tensor::{Device, Tensor, TensorData};

use crate::error::ConfigError;

/// Base of the wavelengths, as in the paper.
const BASE: f64 = 10_000.0;

/// Refuses heads whose features can't be paired.
pub(super) fn check_rotary(head_width: usize) -> Result<(), ConfigError> {
    match head_width.is_multiple_of(2) {
        true => Ok(()),
        false => {
            let problem = format!("needs an even head width, {head_width} is odd");
            Err(ConfigError::new("rotary", problem))
        }
    }
}

/// The angles of a batch's tokens, for queries and keys alike.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// `[1, 1, n, d/2]`
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Rotation {
    /// The angles of `n` positions, which are alike for every row, for heads of an even width.
    pub(super) fn new(positions: &[usize], width: usize, device: &Device) -> Self {
        let half = width / 2;
        let turns: Vec<f64> = (0..half)
            .map(|pair| BASE.powf(-(pair as f64) / half as f64))
            .collect();
        // Documents end to end repeat their positions: each is computed once.
        let longest = positions.iter().max().map_or(0, |last| last + 1);
        let table = |f: fn(f64) -> f64| {
            let rows: Vec<f32> = (0..longest)
                .flat_map(|position| {
                    turns
                        .iter()
                        .map(move |turn| f(position as f64 * turn) as f32)
                })
                .collect();
            let mut values = Vec::with_capacity(positions.len() * half);
            for &position in positions {
                values.extend_from_slice(&rows[position * half..][..half]);
            }
            let values = TensorData::new(values, [1, 1, positions.len(), half]);
            Tensor::from_data(values, device)
        };
        Self {
            cosine: table(f64::cos),
            sine: table(f64::sin),
        }
    }

    /// Turns `x` by its tokens' positions. Feature `i` is paired with feature `i + d/2`.
    ///
    /// # Shapes
    ///
    /// - x and output: `[b, h, n, d]`
    pub(super) fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let cosine = self.cosine.clone().cast(x.dtype());
        let sine = self.sine.clone().cast(x.dtype());
        let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        Tensor::cat(
            vec![
                a.clone() * cosine.clone() - b.clone() * sine.clone(),
                b * cosine + a * sine,
            ],
            3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(x: Tensor<4>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("float32")
    }

    fn turn(x: Tensor<4>, position: usize) -> Tensor<4> {
        Rotation::new(&[position], x.dims()[3], &x.device()).turn(x)
    }

    /// Each pair is a complex number, turned by `position · 10000^(−pair/half)` radians.
    #[test]
    fn pairs_are_turned_by_their_angles() {
        let x = Tensor::<4>::from_floats([[[[1.0, 0.5, 0.0, 2.0]]]], &Device::flex());
        let turned = host(turn(x, 3));
        // Angles 3 and 3/100: (1, 0) and (0.5, 2).
        let wanted = [
            3.0_f64.cos(),
            0.5 * 0.03_f64.cos() - 2.0 * 0.03_f64.sin(),
            3.0_f64.sin(),
            2.0 * 0.03_f64.cos() + 0.5 * 0.03_f64.sin(),
        ];
        for (a, b) in turned.iter().zip(wanted) {
            assert!(
                (f64::from(*a) - b).abs() < 1e-6,
                "{turned:?}, {wanted:?} wanted"
            );
        }
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let device = Device::flex();
        let q = Tensor::<4>::from_floats([[[[0.3, -1.0, 0.7, 0.2]]]], &device);
        let k = Tensor::<4>::from_floats([[[[1.1, 0.4, -0.6, 0.9]]]], &device);
        let product = |i, j| {
            let turned = turn(q.clone(), i) * turn(k.clone(), j);
            host(turned).iter().sum::<f32>()
        };
        assert!((product(2, 7) - product(102, 107)).abs() < 1e-5);
        assert!((product(2, 7) - product(2, 8)).abs() > 1e-3);
    }
}
