//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864): each pair of features of a head
//! is turned by an angle proportional to the token's position, so that a product of a query and a
//! key depends on their distance.

use burn::tensor::{Device, Tensor, TensorData};

/// Base of the wavelengths, as in the paper.
const BASE: f64 = 10_000.0;

/// Turns `x` by its tokens' positions. Feature `i` is paired with feature `i + d/2`.
///
/// # Shapes
///
/// - x: `[b, h, n, d]`, `d` even; positions: `n` of them, alike for every row
/// - output: `[b, h, n, d]`
pub(super) fn rotate(x: Tensor<4>, positions: &[usize]) -> Tensor<4> {
    let [_, _, n, d] = x.dims();
    let half = d / 2;
    let (cosine, sine) = tables(positions, half, &x.device());
    let cosine = cosine.reshape([1, 1, n, half]).cast(x.dtype());
    let sine = sine.reshape([1, 1, n, half]).cast(x.dtype());
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    Tensor::cat(
        vec![
            a.clone() * cosine.clone() - b.clone() * sine.clone(),
            b * cosine + a * sine,
        ],
        3,
    )
}

fn tables(positions: &[usize], half: usize, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let angle =
        |position: usize, pair: usize| position as f64 * BASE.powf(-(pair as f64) / half as f64);
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f32> = positions
            .iter()
            .flat_map(|&position| (0..half).map(move |pair| f(angle(position, pair)) as f32))
            .collect();
        Tensor::from_data(TensorData::new(values, [positions.len(), half]), device)
    };
    (table(f64::cos), table(f64::sin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(x: Tensor<4>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("float32")
    }

    /// Each pair is a complex number, turned by `position · 10000^(−pair/half)` radians.
    #[test]
    fn pairs_are_turned_by_their_angles() {
        let x = Tensor::<4>::from_floats([[[[1.0, 0.5, 0.0, 2.0]]]], &Device::flex());
        let turned = host(rotate(x, &[3]));
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
            let turned = rotate(q.clone(), &[i]) * rotate(k.clone(), &[j]);
            host(turned).iter().sum::<f32>()
        };
        assert!((product(2, 7) - product(102, 107)).abs() < 1e-5);
        assert!((product(2, 7) - product(2, 8)).abs() > 1e-3);
    }
}
