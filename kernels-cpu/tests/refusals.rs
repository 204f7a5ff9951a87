//! Inputs that do not fit each other are refused before anything is computed.

use std::sync::LazyLock;

use transformer_ls_kernels::{Boundaries, Dropout, Window};
use transformer_ls_kernels_cpu::{Attend, Documents, View, ViewMut, attend};

const SHAPE: [usize; 4] = [2, 1, 3, 4];

fn run(change: impl FnOnce(&mut Attend<'_, f32>)) {
    let data = [0.5; 24];
    let tokens = View::contiguous(&data, SHAPE);
    let none = View::contiguous(&[], [2, 1, 0, 4]);
    let mut inputs = Attend {
        query: tokens,
        key: tokens,
        value: tokens,
        landmark_key: none,
        landmark_value: none,
        bias: None,
        landmark_bias: None,
        relative_keys: None,
        documents: Documents::Rows { mask: None },
        visibility: Window::segments(2).into(),
        scale: 1.0,
        dropout: Dropout::OFF,
    };
    change(&mut inputs);
    let (mut output, mut log_sum_exp) = ([f32::NAN; 24], [f32::NAN; 6]);
    let mut view = ViewMut::contiguous(&mut output, SHAPE);
    attend(&inputs, &mut view, &mut log_sum_exp);
    assert!(output.iter().all(|&x| x == 0.5));
}

#[test]
fn what_fits_is_computed() {
    run(|_| ());
}

#[test]
#[should_panic(expected = "the values' shape")]
fn values_of_another_shape() {
    run(|inputs| inputs.value = inputs.landmark_value);
}

#[test]
#[should_panic(expected = "the last dimension of key must lie side by side")]
fn rows_that_do_not_lie_side_by_side() {
    static DATA: [f32; 24] = [0.5; 24];
    run(|inputs| inputs.key = View::new(&DATA, SHAPE, [12, 12, 1, 3]));
}

#[test]
#[should_panic(expected = "the mask's length")]
fn a_mask_of_another_length() {
    run(|inputs| {
        inputs.documents = Documents::Rows {
            mask: Some(&[1; 5]),
        }
    });
}

#[test]
#[should_panic(expected = "a packed batch is one row of as many tokens")]
fn packed_documents_in_two_rows() {
    static BOUNDARIES: LazyLock<Boundaries> = LazyLock::new(|| Boundaries::from_lengths(&[1, 2]));
    run(|inputs| {
        inputs.documents = Documents::Packed(&BOUNDARIES);
    });
}

#[test]
#[should_panic(expected = "a table by offset has 5 entries a head")]
fn relative_keys_of_another_length() {
    run(|inputs| inputs.relative_keys = Some(&[0.0; 4]));
}

#[test]
#[should_panic(expected = "a table by offset has 5 entries a head")]
fn a_bias_of_another_length() {
    run(|inputs| inputs.bias = Some(&[0.0; 4]));
}

#[test]
#[should_panic(expected = "a dropout probability lies in [0, 1)")]
fn dropping_everything() {
    run(|inputs| {
        inputs.dropout = Dropout {
            probability: 1.0,
            seed: 0,
        };
    });
}
