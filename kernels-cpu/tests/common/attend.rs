//! Cases of the windowed path, and the kernels' results for them.

use transformer_ls_kernels::{Dropout, Visibility, Window};
use transformer_ls_kernels_cpu as kernels;
use transformer_ls_kernels_cpu::{AttendGradients, Real};

use super::dense::{Attend, Attended};
use super::{Batch, Memory, MemoryLayout, Tensor};

pub struct Sizes {
    pub b: usize,
    pub h: usize,
    pub n: usize,
    pub d: usize,
    pub w: usize,
    pub r: usize,
}

pub fn case(sizes: Sizes, batch: Batch) -> Attend {
    let Sizes { b, h, n, d, w, r } = sizes;
    let seed = (n * 1009 + r * 31 + d * 7 + w) as u64;
    let documents = batch.list(b, n).len();
    Attend {
        query: Tensor::random([b, h, n, d], 1.0, seed),
        key: Tensor::random([b, h, n, d], 1.0, seed + 1),
        value: Tensor::random([b, h, n, d], 1.0, seed + 2),
        landmark_key: Tensor::random([documents, h, r, d], 1.0, seed + 3),
        landmark_value: Tensor::random([documents, h, r, d], 1.0, seed + 4),
        landmark_bias: None,
        bias: None,
        relative_keys: None,
        batch,
        visibility: Window::segments(w).into(),
        scale: 1.5,
        dropout: Dropout::OFF,
    }
}

/// A case of any pattern, with so many keys.
pub fn case_of(sizes: Sizes, batch: Batch, keys: usize, visibility: Visibility) -> Attend {
    let mut case = case(sizes, batch);
    let [b, h, _, d] = case.query.shape;
    case.key = Tensor::random([b, h, keys, d], 1.0, 11);
    case.value = Tensor::random([b, h, keys, d], 1.0, 12);
    case.visibility = visibility;
    case
}

pub fn with_bias(mut case: Attend) -> Attend {
    let shape = [1, 1, case.query.shape[1], case.visibility.window.offsets()];
    case.bias = Some(Tensor::random(shape, 1.0, 77));
    case
}

pub fn with_relative_keys(mut case: Attend) -> Attend {
    let [_, h, _, d] = case.query.shape;
    let shape = [1, h, case.visibility.window.offsets(), d];
    case.relative_keys = Some(Tensor::random(shape, 1.0, 78));
    case
}

/// What landmark scores may have for terms, besides those of windows that bound offsets.
pub fn with_landmark_terms(mut case: Attend) -> Attend {
    let [documents, h, r, d] = case.landmark_key.shape;
    let entries = case.visibility.window.offsets() + r;
    case.landmark_bias = Some(Tensor::random([1, documents, h, r], 1.0, 79));
    case.bias = Some(Tensor::random([1, 1, h, entries], 1.0, 80));
    case.relative_keys = Some(Tensor::random([1, h, entries, d], 1.0, 81));
    case
}

/// The kernels' results, with tensors lying in memory as said.
pub fn run<T: Real>(case: &Attend, d_output: &Tensor, layout: MemoryLayout) -> Attended {
    let [query, key] = [&case.query, &case.key].map(|x| Memory::<T>::of(x, layout));
    let value = Memory::<T>::of(&case.value, MemoryLayout::ROW_MAJOR);
    let landmark_key = Memory::<T>::of(&case.landmark_key, layout);
    let landmark_value = Memory::<T>::of(&case.landmark_value, MemoryLayout::HEADS_SIDE_BY_SIDE);
    let table = |table: &Option<Tensor>| -> Option<Vec<T>> {
        let data = table.as_ref().map(|table| table.data.iter());
        data.map(|data| data.map(|&x| T::from_f64(x)).collect())
    };
    let (bias, relative_keys) = (table(&case.bias), table(&case.relative_keys));
    let landmark_bias = table(&case.landmark_bias);
    let inputs = kernels::Attend {
        query: query.view(),
        key: key.view(),
        value: value.view(),
        landmark_key: landmark_key.view(),
        landmark_value: landmark_value.view(),
        landmark_bias: landmark_bias.as_deref(),
        bias: bias.as_deref(),
        relative_keys: relative_keys.as_deref(),
        documents: case.batch.documents(),
        visibility: case.visibility,
        scale: case.scale,
        dropout: case.dropout,
    };
    let [b, h, n, _] = case.query.shape;
    let nan = T::from_f64(f64::NAN);
    let mut output = Memory::<T>::unwritten(case.query.shape, layout);
    let mut log_sum_exp = vec![nan; b * h * n];
    kernels::attend(&inputs, &mut output.view_mut(), &mut log_sum_exp);
    let d_output = Memory::<T>::of(d_output, layout);
    let mut d_query = Memory::<T>::unwritten(case.query.shape, layout);
    let mut d_key = Memory::<T>::unwritten(case.key.shape, layout);
    let mut d_value = Memory::<T>::unwritten(case.key.shape, MemoryLayout::ROW_MAJOR);
    let mut d_landmark_key = Memory::<T>::unwritten(case.landmark_key.shape, layout);
    let mut d_landmark_value = Memory::<T>::unwritten(case.landmark_key.shape, layout);
    let unwritten = |table: &Option<Vec<T>>| table.as_ref().map(|table| vec![nan; table.len()]);
    let (mut d_bias, mut d_relative_keys) = (unwritten(&bias), unwritten(&relative_keys));
    let mut d_landmark_bias = unwritten(&landmark_bias);
    let mut gradients = AttendGradients {
        query: d_query.view_mut(),
        key: d_key.view_mut(),
        value: d_value.view_mut(),
        landmark_key: d_landmark_key.view_mut(),
        landmark_value: d_landmark_value.view_mut(),
        landmark_bias: d_landmark_bias.as_deref_mut(),
        bias: d_bias.as_deref_mut(),
        relative_keys: d_relative_keys.as_deref_mut(),
    };
    kernels::attend_backward(&inputs, d_output.view(), &log_sum_exp, &mut gradients);
    let tensor = |data: &[T], shape| Tensor {
        shape,
        data: data.iter().map(|x| x.to_f64()).collect(),
    };
    Attended {
        output: output.tensor(),
        log_sum_exp: tensor(&log_sum_exp, [b, h, n, 1]),
        d_query: d_query.tensor(),
        d_key: d_key.tensor(),
        d_value: d_value.tensor(),
        d_landmark_key: d_landmark_key.tensor(),
        d_landmark_value: d_landmark_value.tensor(),
        d_landmark_bias: d_landmark_bias
            .map(|data| tensor(&data, case.landmark_bias.as_ref().unwrap().shape)),
        d_bias: d_bias.map(|data| tensor(&data, case.bias.as_ref().unwrap().shape)),
        d_relative_keys: d_relative_keys
            .map(|data| tensor(&data, case.relative_keys.as_ref().unwrap().shape)),
    }
}
