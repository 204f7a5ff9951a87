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
