//! A linear layer of few rows against its definition.

use transformer_ls_kernels_cpu::{FEW_ROWS, linear};

/// Small whole numbers, whose sums of products are exact in any order.
fn numbers(count: usize, salt: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7 + i / 11 + salt) % 13) as f32 - 6.0;
    (0..count).map(number).collect()
}

fn check([rows, inputs, outputs]: [usize; 3]) {
    let x = numbers(rows * inputs, 1);
    let weight = numbers(inputs * outputs, 2);
    let bias = numbers(outputs, 3);
    let added = numbers(rows * outputs, 4);
    for (bias, added) in [
        (None, None),
        (Some(&bias), None),
        (None, Some(&added)),
        (Some(&bias), Some(&added)),
    ] {
        let mut found = vec![f32::NAN; rows * outputs];
        linear(
            &x,
            &weight,
            [inputs, outputs],
            bias.map(Vec::as_slice),
            added.map(Vec::as_slice),
            &mut found,
        );
        for row in 0..rows {
            for column in 0..outputs {
                let terms = 0..inputs;
                let product: f32 = terms
                    .map(|k| x[row * inputs + k] * weight[k * outputs + column])
                    .sum();
                let wanted = product
                    + bias.map_or(0.0, |bias| bias[column])
                    + added.map_or(0.0, |added| added[row * outputs + column]);
                let found = found[row * outputs + column];
                assert_eq!(found, wanted, "{rows}×{inputs}×{outputs} [{row}][{column}]");
            }
        }
    }
}

#[test]
fn a_layer_of_few_rows_is_that_of_the_definition() {
    for rows in [0, 1, 2, 3, FEW_ROWS] {
        for inputs in [0, 1, 7, 8, 9, 48, 193] {
            for outputs in [0, 1, 5, 16, 33, 192] {
                check([rows, inputs, outputs]);
            }
        }
    }
}

/// Weights that threads share, cut within their rows.
#[test]
fn a_large_weight_is_read_by_all_threads() {
    check([1, 1030, 1515]);
    check([3, 1030, 515]);
    check([1, 3, 200_000]);
}

#[test]
#[should_panic(expected = "weight is [inputs, outputs]")]
fn a_weight_of_another_size_is_refused() {
    linear(&[1.0], &[1.0; 3], [1, 2], None, None, &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "x is [rows, inputs]")]
fn rows_of_another_width_are_refused() {
    linear(&[1.0], &[1.0; 4], [2, 2], None, None, &mut [0.0; 2]);
}
