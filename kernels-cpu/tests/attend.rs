//! `attend` and its backward pass against the dense formulas and finite differences.

mod common;

use common::attend::{
    Sizes, case, case_of, run, with_bias, with_landmark_terms, with_relative_keys,
};
use common::dense::{Attend, Attended};
use common::{Batch, MemoryLayout, Numbers, Tensor, assert_close, assert_slopes, inner_product};
use transformer_ls_kernels::{Dropout, Grid, LandmarksSeen, Visibility, Window};
use transformer_ls_kernels_cpu::{self as kernels, Documents, View, ViewMut};

/// Checks the kernels' results against those of the dense formulas, in both precisions.
fn check_within(case: &Attend, name: &str, layouts: &[MemoryLayout], slack: f64) {
    let d_output = Tensor::random(case.query.shape, 1.0, 99);
    let exact = case.run::<f64>(&d_output);
    let float32 = case.run::<f32>(&d_output);
    let (exact, float32) = (exact.parts(), float32.parts());
    for layout in layouts {
        let name = format!("{name}, {layout:?}");
        let ours = run::<f32>(case, &d_output, *layout);
        let epsilon = f64::from(f32::EPSILON);
        assert_close(&name, &ours.parts(), &float32, &exact, epsilon, slack);
        let ours = run::<f64>(case, &d_output, *layout);
        let epsilon = 20.0 * f64::EPSILON;
        assert_close(&name, &ours.parts(), &exact, &exact, epsilon, slack);
    }
}

fn check(case: &Attend, name: &str) {
    let layouts = [
        MemoryLayout::HEADS_SIDE_BY_SIDE,
        MemoryLayout::ROW_MAJOR,
        MemoryLayout::GAPS,
    ];
    check_within(case, name, &layouts, 1.0);
}

#[test]
fn shapes_that_divide_nothing() {
    for n in [1, 7, 63, 129] {
        for w in [0, 1, 3, 8, 16] {
            for r in [0, 1, 5, 32, 254] {
                for d in [4, 8, 32, 33, 64] {
                    // All combinations of a few, a few combinations of all.
                    if (n + w + r + d) % 3 != 0 && d != 32 {
                        continue;
                    }
                    let sizes = Sizes {
                        b: 2,
                        h: 2,
                        n,
                        d,
                        w,
                        r,
                    };
                    let batch = Batch::of_lengths(&[n, n / 2], n);
                    let name = format!("n {n}, w {w}, r {r}, d {d}");
                    check(&case(sizes, batch), &name);
                }
            }
        }
    }
}

#[test]
fn wide_heads_and_wide_windows() {
    for (n, w, r, d) in [(150, 64, 5, 128), (150, 200, 0, 130), (70, 33, 32, 129)] {
        let sizes = Sizes {
            b: 1,
            h: 1,
            n,
            d,
            w,
            r,
        };
        check(
            &case(sizes, Batch::Full),
            &format!("n {n}, w {w}, r {r}, d {d}"),
        );
    }
}

#[test]
fn holes_and_documents_of_padding_alone() {
    let (b, n) = (3, 129);
    let mut numbers = Numbers(5);
    for w in [0, 1, 3, 8, 16] {
        for r in [0, 33] {
            let mut mask: Vec<u8> = (0..b * n).map(|_| u8::from(numbers.unit() < 0.5)).collect();
            mask[n..2 * n].fill(0);
            let sizes = Sizes {
                b,
                h: 2,
                n,
                d: 33,
                w,
                r,
            };
            let case = with_bias_if(w > 0, case(sizes, Batch::Padded(mask.clone())));
            check(&case, &format!("holes, w {w}, r {r}"));
            let d_output = Tensor::random(case.query.shape, 1.0, 3);
            let ours = run::<f32>(&case, &d_output, MemoryLayout::HEADS_SIDE_BY_SIDE);
            for index in ours.output.indices() {
                if mask[index[0] * n + index[2]] == 0 {
                    let parts = [&ours.output, &ours.d_query, &ours.d_key, &ours.d_value];
                    assert!(parts.iter().all(|x| x.at(index) == 0.0));
                    let [b, h, i, _] = index;
                    assert_eq!(ours.log_sum_exp.at([b, h, i, 0]), 0.0);
                }
            }
        }
    }
}

fn with_tables_if(wanted: bool, case: Attend) -> Attend {
    match wanted {
        true => with_relative_keys(with_bias(case)),
        false => case,
    }
}

fn with_bias_if(wanted: bool, case: Attend) -> Attend {
    if wanted { with_bias(case) } else { case }
}

#[test]
fn packed_documents() {
    for w in [0, 3, 8] {
        let lengths = [5, 0, 1, 64, 33, 0];
        let sizes = Sizes {
            b: 1,
            h: 2,
            n: 103,
            d: 32,
            w,
            r: 33,
        };
        check(
            &case(sizes, Batch::packed(&lengths)),
            &format!("packed, w {w}"),
        );
    }
}

#[test]
fn parts_are_merged() {
    // Several parts a document, with borders inside and across documents.
    for (w, lengths) in [
        (8, [2100, 1025, 3]),
        (7, [1024, 1500, 600]),
        (300, [2500, 0, 1200]),
    ] {
        let n = lengths.iter().sum();
        let sizes = Sizes {
            b: 1,
            h: 1,
            n,
            d: 4,
            w,
            r: 3,
        };
        let packed = with_bias(case(sizes, Batch::packed(&lengths)));
        check_within(&packed, "packed parts", &[MemoryLayout::GAPS], 4.0);
        let sizes = Sizes {
            b: 2,
            h: 1,
            n: 2100,
            d: 4,
            w,
            r: 3,
        };
        let padded = with_bias(case(sizes, Batch::of_lengths(&[2100, 1030], 2100)));
        check_within(&padded, "padded parts", &[MemoryLayout::GAPS], 4.0);
    }
}

#[test]
fn bias_by_relative_position() {
    for w in [1, 3, 8, 16, 40] {
        let sizes = Sizes {
            b: 2,
            h: 2,
            n: 129,
            d: 8,
            w,
            r: 5,
        };
        let batch = Batch::of_lengths(&[129, 70], 129);
        check(&with_bias(case(sizes, batch)), &format!("bias, w {w}"));
    }
}

#[test]
fn relative_keys_without_a_bias() {
    for (w, d) in [(1, 8), (8, 33), (40, 64)] {
        let (b, h, n, r) = (2, 2, 129, 5);
        let sizes = Sizes { b, h, n, d, w, r };
        let case = with_relative_keys(case(sizes, Batch::of_lengths(&[129, 70], 129)));
        check(&case, &format!("relative keys, w {w}, d {d}"));
    }
}

#[test]
fn large_scores() {
    for scale in [32.0, -32.0] {
        let sizes = Sizes {
            b: 2,
            h: 2,
            n: 129,
            d: 4,
            w: 8,
            r: 32,
        };
        let mut case = case(sizes, Batch::of_lengths(&[129, 40], 129));
        // The products reach 2.5. A power of two, so that it does not matter when it is applied.
        case.scale = scale;
        // All error comes from rounding a few numbers near 80 to float32, by chance more or less.
        check_within(
            &case,
            "scores ±80",
            &[MemoryLayout::HEADS_SIDE_BY_SIDE],
            2.0,
        );
    }
}

#[test]
fn dropout() {
    for (w, r) in [(8, 33), (3, 0), (0, 5), (16, 1)] {
        for batch in [
            Batch::of_lengths(&[129, 70], 129),
            Batch::packed(&[64, 0, 65]),
        ] {
            let b = if matches!(batch, Batch::Packed(_)) {
                1
            } else {
                2
            };
            let sizes = Sizes {
                b,
                h: 2,
                n: 129,
                d: 8,
                w,
                r,
            };
            let mut case = with_bias_if(w > 0, case(sizes, batch));
            case.dropout = Dropout {
                probability: 0.3,
                seed: 42,
            };
            check(&case, &format!("dropout, w {w}, r {r}"));
        }
    }
}

/// All patterns, with keys in front of the queries, more keys and fewer, landmarks of finished
/// chunks, a table by offset and dropout.
#[test]
fn patterns() {
    let grid = |columns, tile, halo| {
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        })
    };
    let windows = [
        Window::All,
        Window::segments(5),
        Window::Causal { width: 1 },
        Window::Causal { width: 9 },
        Window::Causal { width: 300 },
        grid(7, 3, 1),
        grid(40, 4, 2),
        grid(64, 2, 0),
    ];
    let chunks = LandmarksSeen::Chunks {
        before: 2,
        chunk: 10,
        rows: 3,
    };
    for window in windows {
        for (n, m, memory) in [(129, 129, 0), (70, 100, 30), (100, 45, 0), (33, 150, 20)] {
            for (landmarks, dropped) in [(LandmarksSeen::All, false), (chunks, true)] {
                let sizes = Sizes {
                    b: 2,
                    h: 2,
                    n,
                    d: 12,
                    w: 0,
                    r: 17,
                };
                let visibility = Visibility {
                    window,
                    memory,
                    landmarks,
                };
                let mut case = case_of(sizes, Batch::Full, m, visibility);
                if dropped {
                    case.dropout = Dropout {
                        probability: 0.3,
                        seed: 9,
                    };
                }
                let name = format!("{visibility:?}, {n} queries, {m} keys");
                let case = with_tables_if(window.offsets() > 0, case);
                check(&case, &name);
                check(&with_landmark_terms(case), &format!("{name}, all terms"));
            }
        }
        for batch in [
            Batch::packed(&[64, 0, 1, 65]),
            Batch::of_lengths(&[130, 77], 130),
        ] {
            let sizes = Sizes {
                b: if matches!(batch, Batch::Packed(_)) {
                    1
                } else {
                    2
                },
                h: 2,
                n: 130,
                d: 8,
                w: 0,
                r: 3,
            };
            let case = case_of(sizes, batch, 130, window.into());
            let case = with_tables_if(window.offsets() > 0, case);
            check(&case, &format!("{window:?} of documents"));
            let case = with_landmark_terms(case);
            check(&case, &format!("{window:?} of documents, all terms"));
        }
    }
}

/// One query a text, as decoding asks it, of few texts and of many.
#[test]
fn one_query() {
    let windows = [
        Window::Off,
        Window::All,
        Window::Causal { width: 1 },
        Window::Causal { width: 128 },
        Window::segments(5),
        Window::Grid(Grid {
            columns: 7,
            tile: 3,
            halo: 1,
        }),
    ];
    for (b, d, r) in [(1, 48, 32), (2, 33, 3), (9, 1, 0), (6, 16, 17)] {
        for window in windows
            .into_iter()
            .filter(|window| r > 0 || *window != Window::Off)
        {
            for (keys, memory) in [(1, 0), (128, 127), (45, 20), (20, 30)] {
                // A lone key: the query's gradient is 0 but for rounding, of which no error can be a share.
                if r == 0 && (keys == 1 || window == Window::Causal { width: 1 }) {
                    continue;
                }
                let landmarks = match memory {
                    // The first three of them.
                    20 if r > 0 && window == Window::Causal { width: 128 } => {
                        LandmarksSeen::Chunks {
                            before: 3,
                            chunk: 10,
                            rows: r,
                        }
                    }
                    _ => LandmarksSeen::All,
                };
                let sizes = Sizes {
                    b,
                    h: 2,
                    n: 1,
                    d,
                    w: 0,
                    r,
                };
                let visibility = Visibility {
                    window,
                    memory,
                    landmarks,
                };
                let case = case_of(sizes, Batch::Full, keys, visibility);
                let name = format!("{visibility:?}, {keys} keys, {b} texts");
                // Of few keys one can weigh nearly all: what is left of gradients is rounding's.
                let lone = keys == 1 || window == Window::Causal { width: 1 };
                let slack = match landmarks == LandmarksSeen::All && !(lone && r <= 3) {
                    true => 1.0,
                    false => 10.0,
                };
                let check = |case: &Attend, name: &str| {
                    let layouts = [MemoryLayout::HEADS_SIDE_BY_SIDE, MemoryLayout::GAPS];
                    check_within(case, name, &layouts, slack);
                };
                check(&case, &name);
                let case = with_tables_if(window.offsets() > 0, case);
                let case = match r {
                    0 => case,
                    _ => with_landmark_terms(case),
                };
                check(&case, &format!("{name}, all terms"));
            }
        }
    }
}

/// Without a landmark, what it reads is the key's value.
#[test]
fn one_query_and_a_lone_key() {
    let (query, key, value) = ([1.0, -2.0, 0.5], [0.25, 1.0, 4.0], [3.0, -5.0, 7.0]);
    let tokens = [1, 1, 1, 3];
    let none = View::contiguous(&[], [1, 1, 0, 3]);
    let (mut output, mut log_sum_exp) = ([f32::NAN; 3], [f32::NAN]);
    let inputs = kernels::Attend {
        query: View::contiguous(&query, tokens),
        key: View::contiguous(&key, tokens),
        value: View::contiguous(&value, tokens),
        landmark_key: none,
        landmark_value: none,
        landmark_bias: None,
        bias: Some(&[0.5, 0.125]),
        relative_keys: None,
        documents: Documents::Rows { mask: None },
        visibility: Window::Causal { width: 2 }.into(),
        scale: 2.0,
        dropout: Dropout::OFF,
    };
    let mut to = ViewMut::contiguous(&mut output, tokens);
    kernels::attend(&inputs, &mut to, &mut log_sum_exp);
    assert_eq!(output, value);
    // 2 · (0.25 − 2 + 2) + 0.5
    assert_eq!(log_sum_exp, [1.0]);
}

/// Several parts a document, with queries and keys that differ in number.
#[test]
fn parts_of_patterns_are_merged() {
    for window in [Window::Causal { width: 40 }, Window::segments(9)] {
        for (n, m, memory) in [(2100, 2140, 40), (2100, 2000, 0), (1500, 2500, 300)] {
            let sizes = Sizes {
                b: 1,
                h: 1,
                n,
                d: 4,
                w: 0,
                r: 3,
            };
            let visibility = Visibility {
                memory,
                ..window.into()
            };
            let case = case_of(sizes, Batch::Full, m, visibility);
            let case = with_landmark_terms(case);
            let name = format!("{visibility:?}, {n} queries, {m} keys in parts");
            check_within(&case, &name, &[MemoryLayout::GAPS], 4.0);
        }
    }
}

#[test]
fn finite_differences() {
    for (w, dropout) in [
        (3, Dropout::OFF),
        (
            8,
            Dropout {
                probability: 0.4,
                seed: 3,
            },
        ),
    ] {
        let sizes = Sizes {
            b: 2,
            h: 1,
            n: 13,
            d: 3,
            w,
            r: 2,
        };
        let case = case(sizes, Batch::of_lengths(&[13, 6], 13));
        let mut case = with_landmark_terms(case);
        case.dropout = dropout;
        let d_output = Tensor::random(case.query.shape, 1.0, 7);
        let gradients = run::<f64>(&case, &d_output, MemoryLayout::HEADS_SIDE_BY_SIDE);
        let loss = |case: &Attend| {
            let output = run::<f64>(case, &d_output, MemoryLayout::HEADS_SIDE_BY_SIDE).output;
            inner_product(&output, &d_output)
        };
        let Attended {
            d_query,
            d_key,
            d_value,
            ..
        } = &gradients;
        assert_slopes(&mut case, "query", |case| &mut case.query, d_query, loss);
        assert_slopes(&mut case, "key", |case| &mut case.key, d_key, loss);
        assert_slopes(&mut case, "value", |case| &mut case.value, d_value, loss);
        let (d_key, d_value) = (&gradients.d_landmark_key, &gradients.d_landmark_value);
        assert_slopes(
            &mut case,
            "landmark key",
            |case| &mut case.landmark_key,
            d_key,
            loss,
        );
        assert_slopes(
            &mut case,
            "landmark value",
            |case| &mut case.landmark_value,
            d_value,
            loss,
        );
        let d_bias = gradients.d_landmark_bias.as_ref().unwrap();
        assert_slopes(
            &mut case,
            "landmark bias",
            |case| case.landmark_bias.as_mut().unwrap(),
            d_bias,
            loss,
        );
        let d_bias = gradients.d_bias.as_ref().unwrap();
        assert_slopes(
            &mut case,
            "bias",
            |case| case.bias.as_mut().unwrap(),
            d_bias,
            loss,
        );
        let d_keys = gradients.d_relative_keys.as_ref().unwrap();
        assert_slopes(
            &mut case,
            "relative keys",
            |case| case.relative_keys.as_mut().unwrap(),
            d_keys,
            loss,
        );
    }
}
