//! Documents as long as the tasks' own: the operations of each backend, which split such sequences
//! over threads or workgroups, against the plain bodies differentiated by Burn itself in float64.

mod common;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Distribution, Tensor};
use transformer_ls_burn::ops::{
    self, Attend, AttendArgs, AttentionDropout, Documents, Landmarks, OptionalTensor, ProjectArgs,
    Window, plain,
};
use transformer_ls_burn::{Boundaries, Layout};

const LENGTHS: [usize; 4] = [1900, 0, 701, 1];
const HEADS: usize = 2;
const WIDTH: usize = 32;
const RANK: usize = 33;
const WINDOW: Window = Window::Segments { width: 8 };
const SCALE: f64 = 0.176_776_695_296_636_9;

/// Values `[a, b, c, d]` on the host, the same for every backend.
fn random(shape: [usize; 4], seed: u64) -> Tensor<4> {
    let device = Device::flex();
    device.seed(seed);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device)
}

fn leaf(x: &Tensor<4>, device: &Device, dtype: DType) -> Tensor<4> {
    let data = x.clone().into_data().convert_dtype(dtype);
    Tensor::from_data(data, (device, dtype)).require_grad()
}

fn host(x: Tensor<4>) -> Vec<f64> {
    x.into_data()
        .convert::<f64>()
        .try_into_vec()
        .expect("float64")
}

fn assert_close(name: &str, ours: Tensor<4>, reference: Tensor<4>) {
    let (ours, reference) = (host(ours), host(reference));
    let largest = reference.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    let difference = ours
        .iter()
        .zip(&reference)
        .fold(0.0_f64, |max, (a, b)| max.max((a - b).abs()));
    assert!(ours.iter().all(|x| x.is_finite()), "{name} is not finite");
    let error = difference / largest;
    assert!(error < 2e-5, "{name}: error {error:.1e}");
}

/// As modules have them: views of memory `[1, n, h, d]`.
fn split(x: Tensor<4>) -> Tensor<4> {
    x.swap_dims(1, 2)
}

/// Compares output and gradients of each backend with the plain body's in float64. `run` takes the
/// device, the type, and whether to run the plain body.
fn compare<const N: usize>(run: impl Fn(&Device, DType, bool) -> (Tensor<4>, [Tensor<4>; N])) {
    let (output, gradients) = run(&Device::flex().autodiff(), DType::F64, true);
    for (name, device) in common::devices() {
        let (ours, our_gradients) = run(&device.autodiff(), DType::F32, false);
        assert_close(&format!("{name}: output"), ours, output.clone());
        for (i, (a, b)) in our_gradients.into_iter().zip(gradients.clone()).enumerate() {
            assert_close(&format!("{name}: gradient {i}"), a, b);
        }
    }
}

#[test]
fn attend_and_its_gradients() {
    let boundaries = Boundaries::from_lengths(&LENGTHS);
    let tokens = [1, boundaries.total(), HEADS, WIDTH];
    let landmarks = [LENGTHS.len(), HEADS, RANK, WIDTH];
    let inputs = [
        random(tokens, 1),
        random(tokens, 2),
        random(tokens, 3),
        random(landmarks, 4),
        random(landmarks, 5),
    ];
    let d_output = random(tokens, 6);
    let run = |device: &Device, dtype: DType, plain_body: bool| {
        let leaves = inputs.each_ref().map(|x| leaf(x, device, dtype));
        let [q, k, v, lk, lv] = leaves.clone();
        let (q, k, v) = (split(q), split(k), split(v));
        let output = match plain_body {
            false => {
                ops::attend(Attend {
                    query: q,
                    key: k,
                    value: v,
                    landmarks: Some((lk, lv)),
                    landmark_bias: None,
                    bias: None,
                    relative_keys: None,
                    layout: Layout::Packed(boundaries.clone()),
                    visibility: WINDOW.into(),
                    scale: SCALE,
                    dropout: AttentionDropout::OFF,
                })
                .output
            }
            true => Tensor::from_dispatch(
                plain::attend::<Dispatch>(AttendArgs {
                    query: q.into_dispatch(),
                    key: k.into_dispatch(),
                    value: v.into_dispatch(),
                    landmarks: Landmarks::Rows {
                        key: lk.into_dispatch(),
                        value: lv.into_dispatch(),
                    },
                    landmark_bias: OptionalTensor::None,
                    bias: OptionalTensor::None,
                    relative_keys: OptionalTensor::None,
                    documents: Documents::Packed(boundaries.clone()),
                    visibility: WINDOW.into(),
                    scale: SCALE,
                    dropout: AttentionDropout::OFF,
                })
                .0,
            ),
        };
        let weights = leaf(&d_output, device, dtype);
        let gradients = (output.clone() * split(weights)).sum().backward();
        let gradients = leaves.map(|x| x.grad(&gradients).expect("a gradient"));
        (output.inner(), gradients)
    };
    compare(run);
}

#[test]
fn project_and_its_gradients() {
    let boundaries = Boundaries::from_lengths(&LENGTHS);
    let n = boundaries.total();
    let inputs = [
        random([1, n, HEADS, RANK], 1),
        random([1, n, HEADS, WIDTH], 2),
        random([1, n, HEADS, WIDTH], 3),
    ];
    let d_output = random([LENGTHS.len(), HEADS, RANK, 2 * WIDTH + 1], 4);
    let run = |device: &Device, dtype: DType, plain_body: bool| {
        let leaves = inputs.each_ref().map(|x| leaf(x, device, dtype));
        let [scores, key, value] = leaves.clone().map(split);
        let scores = scores.swap_dims(2, 3);
        let output = match plain_body {
            false => {
                let layout = Layout::Packed(boundaries.clone());
                let out = ops::project(scores, key, value, layout);
                Tensor::cat(vec![out.key, out.value, out.log_sum_exp], 3)
            }
            true => {
                let out = plain::project::<Dispatch>(ProjectArgs {
                    scores: scores.into_dispatch(),
                    key: key.into_dispatch(),
                    value: value.into_dispatch(),
                    documents: Documents::Packed(boundaries.clone()),
                });
                Tensor::from_dispatch(out.landmarks)
            }
        };
        let weights = leaf(&d_output, device, dtype);
        let gradients = (output.clone() * weights).sum().backward();
        let gradients = leaves.map(|x| x.grad(&gradients).expect("a gradient"));
        (output.inner(), gradients)
    };
    compare(run);
}
