//! The WGSL kernels, each result alone, against the plain bodies in float64: awkward and random
//! sizes, layouts and storage types, memory that is full of NaN, small devices, and the same bits
//! twice.
//!
//! Tolerances come from the plain bodies' own error: in float32, twice it for a result of the
//! forward pass and three times for a gradient (as the tests of FlashAttention have it); no less
//! than a few units in the last place of the largest entry, since sums of a few terms may be exact
//! by chance.
#![cfg(feature = "wgpu")]

mod common;

use std::sync::{Mutex, MutexGuard};

use burn::backend::Dispatch;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use transformer_ls_burn::Boundaries;
use transformer_ls_burn::ops::layers::{LayersBackend, NormLayer, plain as layers};
use transformer_ls_burn::ops::{
    AttendGradients, AttentionDropout, Documents, Gradient, Landmarks, LongShortBackend,
    OffsetBias, Window, plain,
};
use transformer_ls_kernels_wgsl::testing;
use transformer_ls_kernels_wgsl::tiles::Limits;

/// Switches of `testing` are the process's, so tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|error| error.into_inner())
}

#[derive(Clone, Debug)]
enum Kind {
    Full {
        documents: usize,
        length: usize,
    },
    /// Real tokens of each document, by a rule with holes.
    Padded {
        documents: usize,
        length: usize,
    },
    Packed {
        lengths: Vec<usize>,
    },
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    heads: usize,
    width: usize,
    landmarks: usize,
    window: usize,
    bias: bool,
    dropout: f64,
    /// Size of queries, keys and scores.
    size: f64,
    seed: u64,
}

/// Numbers of a case, on the host.
struct Inputs {
    /// query, key, value, d_output `[b, n, h, d]`; scores `[b, n, h, r]`; landmark key, landmark
    /// value `[documents, h, r, d]`; bias `[h, offsets]`; d_projected `[documents, h, r, 2d + 1]`.
    tensors: Vec<(Vec<usize>, Vec<f32>)>,
    mask: Option<Vec<bool>>,
}

impl Case {
    fn rows(&self) -> (usize, usize) {
        match &self.kind {
            Kind::Full { documents, length } | Kind::Padded { documents, length } => {
                (*documents, *length)
            }
            Kind::Packed { lengths } => (1, lengths.iter().sum()),
        }
    }

    fn documents(&self) -> usize {
        match &self.kind {
            Kind::Full { documents, .. } | Kind::Padded { documents, .. } => *documents,
            Kind::Packed { lengths } => lengths.len(),
        }
    }

    fn inputs(&self) -> Inputs {
        let ((b, n), h, d, r) = (self.rows(), self.heads, self.width, self.landmarks);
        let documents = self.documents();
        let offsets = 2 * Window::segments(self.window).reach() + 1;
        let shapes = [
            (vec![b, n, h, d], self.size),
            (vec![b, n, h, d], self.size),
            (vec![b, n, h, d], 1.0),
            (vec![b, n, h, d], 1.0),
            (vec![b, n, h, r], self.size),
            (vec![documents, h, r, d], self.size),
            (vec![documents, h, r, d], 1.0),
            (vec![h, offsets], 1.0),
            (vec![documents, h, r, 2 * d + 1], 1.0),
        ];
        let mut state = self.seed.wrapping_mul(2).wrapping_add(1);
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let tensors = shapes
            .into_iter()
            .map(|(shape, size)| {
                let count = shape.iter().product();
                let values = (0..count).map(|_| next() * size as f32).collect();
                (shape, values)
            })
            .collect();
        let mask = match self.kind {
            // The first document of several is padding alone, the others have holes and an end.
            Kind::Padded { .. } => Some(
                (0..b * n)
                    .map(|i| {
                        let (row, token) = (i / n, i % n);
                        (b == 1 || row > 0) && token % 11 != 3 && token <= n - n / 5 * row.min(2)
                    })
                    .collect(),
            ),
            _ => None,
        };
        Inputs { tensors, mask }
    }
}

/// The two operations and their gradients, by name.
type Results = Vec<(&'static str, Vec<f64>)>;

#[derive(Clone, Copy, PartialEq)]
enum Body {
    Plain,
    Kernels,
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data()
        .convert::<f64>()
        .try_into_vec()
        .expect("float64")
}

type Float = burn::backend::tensor::FloatTensor<Dispatch>;

fn float<const D: usize>(x: Float) -> Vec<f64> {
    host(Tensor::<D>::from_dispatch(x))
}

impl Case {
    fn run(&self, device: &Device, dtype: DType, body: Body) -> Results {
        let inputs = self.inputs();
        let tensor = |i: usize| {
            let (shape, values) = &inputs.tensors[i];
            let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(dtype);
            Tensor::<4>::from_data(data, (device, dtype))
        };
        // As modules have them: views of memory `[b, n, h, ..]`.
        let rows = |i: usize| tensor(i).swap_dims(1, 2);
        let [q, k, v, d_output] = [0, 1, 2, 3].map(|i| rows(i).into_dispatch());
        let documents = || match &self.kind {
            Kind::Full { .. } => Documents::<Dispatch>::Full,
            Kind::Padded { documents, length } => {
                let mask = inputs.mask.clone().expect("a mask");
                let data = TensorData::new(mask, [*documents, *length]);
                Documents::Padded(Tensor::<2, Bool>::from_data(data, device).into_dispatch())
            }
            Kind::Packed { lengths } => Documents::Packed(Boundaries::from_lengths(lengths)),
        };
        let mut results = Results::new();
        if self.landmarks > 0 {
            let scores = rows(4).swap_dims(2, 3).into_dispatch();
            let (k, v) = (k.clone(), v.clone());
            let project = match body {
                Body::Plain => plain::project,
                Body::Kernels => Dispatch::project,
            };
            let output = project(scores.clone(), k.clone(), v.clone(), documents());
            results.push(("project", float::<4>(output.landmarks.clone())));
            let project_backward = match body {
                Body::Plain => plain::project_backward,
                Body::Kernels => Dispatch::project_backward,
            };
            let gradients = |d_key, d_value| {
                project_backward(
                    tensor(8).into_dispatch(),
                    d_key,
                    d_value,
                    scores.clone(),
                    k.clone(),
                    v.clone(),
                    output.landmarks.clone(),
                    documents(),
                )
            };
            let alone = gradients(Gradient::None, Gradient::None);
            results.push(("d scores", float::<4>(alone.scores)));
            results.push(("d key of project", float::<4>(alone.key)));
            results.push(("d value of project", float::<4>(alone.value)));
            // Added to memory that may be overwritten, and to some that may not.
            let d_key = Gradient::Some(rows(3).into_dispatch());
            let added = gradients(d_key, Gradient::Some(q.clone()));
            results.push(("d key, added to", float::<4>(added.key)));
            results.push(("d value, added to", float::<4>(added.value)));
        }
        if self.landmarks == 0 && self.window == 0 {
            return results;
        }
        let landmarks = || match self.landmarks {
            0 => Landmarks::None,
            _ => Landmarks::Rows {
                key: tensor(5).into_dispatch(),
                value: tensor(6).into_dispatch(),
            },
        };
        let bias = || match self.bias {
            false => OffsetBias::None,
            true => {
                let (shape, values) = &inputs.tensors[7];
                let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(dtype);
                OffsetBias::Table(Tensor::<2>::from_data(data, (device, dtype)).into_dispatch())
            }
        };
        let window = Window::segments(self.window);
        let scale = (self.width as f64).powf(-0.5);
        let dropout = AttentionDropout {
            probability: self.dropout,
            seed: self.seed as u32,
        };
        let (output, log_sum_exp) = {
            let (q, k, v) = (q.clone(), k.clone(), v.clone());
            match body {
                Body::Plain => plain::attend(
                    q,
                    k,
                    v,
                    landmarks(),
                    bias(),
                    documents(),
                    window,
                    scale,
                    dropout,
                ),
                Body::Kernels => Dispatch::attend(
                    q,
                    k,
                    v,
                    landmarks(),
                    bias(),
                    documents(),
                    window,
                    scale,
                    dropout,
                ),
            }
        };
        results.push(("attend", float::<4>(output.clone())));
        results.push(("log-sum-exp", float::<3>(log_sum_exp.clone())));
        let gradients: AttendGradients<Dispatch> = match body {
            Body::Plain => plain::attend_backward(
                d_output,
                q,
                k,
                v,
                landmarks(),
                bias(),
                output,
                log_sum_exp,
                documents(),
                window,
                scale,
                dropout,
            ),
            Body::Kernels => Dispatch::attend_backward(
                d_output,
                q,
                k,
                v,
                landmarks(),
                bias(),
                output,
                log_sum_exp,
                documents(),
                window,
                scale,
                dropout,
            ),
        };
        results.push(("d query", float::<4>(gradients.query)));
        results.push(("d key", float::<4>(gradients.key)));
        results.push(("d value", float::<4>(gradients.value)));
        if let Landmarks::Rows { key, value } = gradients.landmarks {
            results.push(("d landmark key", float::<4>(key)));
            results.push(("d landmark value", float::<4>(value)));
        }
        if let OffsetBias::Table(table) = gradients.bias {
            results.push(("d bias", float::<2>(table)));
        }
        results
    }

    /// Compares the kernels on `device` with the plain bodies.
    fn check(&self, device: &Device, dtype: DType) {
        let run = |device: &Device, dtype, body| self.run(device, dtype, body);
        compare(device, dtype, &run, &format!("{self:?}"));
    }
}

/// Compares what the kernels on `device` give with the plain bodies in float64, which may be off
/// by a few times what the plain bodies are in the same type.
fn compare(
    device: &Device,
    dtype: DType,
    run: &dyn Fn(&Device, DType, Body) -> Results,
    what: &str,
) {
    let flex = Device::flex();
    let exact = run(&flex, DType::F64, Body::Plain);
    let plain = run(&flex, dtype, Body::Plain);
    let ours = run(device, dtype, Body::Kernels);
    assert_eq!(ours.len(), exact.len());
    for (((name, ours), (_, exact)), (_, plain)) in ours.iter().zip(&exact).zip(&plain) {
        let scale = exact.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        let largest = |values: &[f64]| {
            assert_eq!(values.len(), exact.len());
            values.iter().zip(exact).fold(0.0_f64, |max, (a, b)| {
                // `max` passes over NaN.
                assert!(a.is_finite(), "{name}: {a} where {b} is right; {what}");
                max.max((a - b).abs())
            })
        };
        let (own, allowed) = (largest(ours), largest(plain));
        let unit = if dtype == DType::F16 { 1e-3 } else { 2.4e-7 };
        let factor = if name.starts_with("d ") { 3.0 } else { 2.0 };
        let allowed = (factor * allowed).max(4.0 * unit * scale);
        assert!(
            own <= allowed,
            "{name}: off by {own:.2e} of {scale:.2e}, {allowed:.2e} is allowed; {what}"
        );
    }
}

const PLAIN: Case = Case {
    kind: Kind::Full {
        documents: 2,
        length: 129,
    },
    heads: 2,
    width: 32,
    landmarks: 32,
    window: 8,
    bias: false,
    dropout: 0.0,
    size: 1.0,
    seed: 1,
};

fn padded(documents: usize, length: usize) -> Kind {
    Kind::Padded { documents, length }
}

fn packed(lengths: &[usize]) -> Kind {
    Kind::Packed {
        lengths: lengths.to_vec(),
    }
}

/// Sizes that divide nothing, and every part of the shaders at least once.
fn cases() -> Vec<Case> {
    let full = |length| Kind::Full {
        documents: 1,
        length,
    };
    vec![
        PLAIN,
        Case {
            kind: full(1),
            landmarks: 1,
            window: 1,
            ..PLAIN
        },
        Case {
            kind: full(7),
            landmarks: 5,
            window: 16,
            width: 6,
            ..PLAIN
        },
        Case {
            kind: full(63),
            landmarks: 0,
            window: 3,
            width: 7,
            ..PLAIN
        },
        Case {
            kind: full(300),
            landmarks: 254,
            window: 0,
            width: 64,
            heads: 1,
            ..PLAIN
        },
        Case {
            kind: padded(3, 63),
            landmarks: 5,
            window: 3,
            bias: true,
            ..PLAIN
        },
        Case {
            kind: padded(2, 129),
            dropout: 0.3,
            width: 4,
            ..PLAIN
        },
        Case {
            kind: packed(&[1, 0, 150, 7, 64, 0]),
            bias: true,
            dropout: 0.2,
            ..PLAIN
        },
        Case {
            kind: packed(&[33]),
            landmarks: 512,
            window: 1,
            width: 16,
            heads: 3,
            ..PLAIN
        },
        Case {
            width: 128,
            landmarks: 20,
            window: 50,
            heads: 1,
            ..PLAIN
        },
        // Scores around ±80.
        Case {
            size: 6.7,
            kind: padded(2, 90),
            ..PLAIN
        },
    ]
}

/// LayerNorm and GELU of rows of many widths, and their gradients.
fn check_layers(device: &Device) {
    for (rows, width) in [(1, 2), (7, 3), (700, 64), (33, 250), (9, 768), (5, 4096)] {
        let run = |device: &Device, dtype: DType, body: Body| -> Results {
            let input = |seed: usize, count: usize| -> TensorData {
                let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 250.0 - 3.0;
                let values: Vec<f32> = (0..count).map(value).collect();
                TensorData::new(values, [count]).convert_dtype(dtype)
            };
            let matrix = |seed| {
                let x = Tensor::<1>::from_data(input(seed, rows * width), (device, dtype));
                x.reshape([rows, width]).into_dispatch()
            };
            let vector =
                |seed| Tensor::<1>::from_data(input(seed, width), (device, dtype)).into_dispatch();
            let layer = || NormLayer::<Dispatch> {
                gain: vector(3),
                offset: vector(4),
            };
            let (y, gradients, activated, d_activated) = match body {
                Body::Plain => (
                    layers::norm(matrix(1), layer()),
                    layers::norm_backward(matrix(2), matrix(1), layer()),
                    plain::exact_gelu::<Dispatch>(matrix(1)),
                    plain::exact_gelu_backward::<Dispatch>(matrix(2), matrix(1)),
                ),
                Body::Kernels => (
                    Dispatch::norm(matrix(1), layer()),
                    Dispatch::norm_backward(matrix(2), matrix(1), layer()),
                    Dispatch::activate(matrix(1)),
                    Dispatch::activate_backward(matrix(2), matrix(1)),
                ),
            };
            vec![
                ("norm", float::<2>(y)),
                ("d x", float::<2>(gradients.x)),
                ("d gain", float::<1>(gradients.layer.gain)),
                ("d offset", float::<1>(gradients.layer.offset)),
                ("gelu", float::<2>(activated)),
                ("d gelu", float::<2>(d_activated)),
            ]
        };
        compare(device, DType::F32, &run, &format!("{rows} rows of {width}"));
    }
}

#[test]
fn kernels_agree_with_the_plain_bodies() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    for case in cases() {
        case.check(&device, DType::F32);
    }
    check_layers(&device);
}

#[test]
fn every_entry_is_written_and_none_is_read_before() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    testing::poison_memory(true);
    for case in cases() {
        case.check(&device, DType::F32);
    }
    check_layers(&device);
    testing::poison_memory(false);
}

#[test]
fn the_smallest_device_and_a_processor_agree_too() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    for emulated in [false, true] {
        testing::force_limits(Some(Limits {
            emulated,
            ..Limits::PORTABLE
        }));
        for case in cases() {
            case.check(&device, DType::F32);
        }
        check_layers(&device);
    }
    testing::force_limits(None);
}

#[test]
fn the_same_launch_gives_the_same_bits() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    for kind in [padded(3, 200), packed(&[400, 3, 90])] {
        let case = Case {
            kind,
            bias: true,
            dropout: 0.1,
            ..PLAIN
        };
        let bits = || -> Vec<Vec<u64>> {
            let results = case.run(&device, DType::F32, Body::Kernels);
            let bits = |values: Vec<f64>| values.iter().map(|x| x.to_bits()).collect();
            results
                .into_iter()
                .map(|(_, values)| bits(values))
                .collect()
        };
        assert!(bits() == bits(), "{case:?}");
    }
}

/// More workgroups than a dimension takes: tasks lie in two.
#[test]
fn many_documents_take_a_second_dimension() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    let kind = Kind::Full {
        documents: 33_000,
        length: 2,
    };
    let case = Case {
        kind,
        width: 4,
        landmarks: 1,
        window: 1,
        ..PLAIN
    };
    case.check(&device, DType::F32);
}

#[test]
fn float16_storage_loses_no_more_than_its_rounding() {
    let _turn = turn();
    let Some(device) = common::wgpu() else { return };
    if !device.supports_dtype(DType::F16) {
        eprintln!(
            "\nNO FLOAT16 ON THIS ADAPTER: ITS KERNELS ARE VALIDATED (shaders.rs), NOT RUN\n"
        );
        return;
    }
    for case in cases().into_iter().filter(|case| case.size == 1.0) {
        case.check(&device, DType::F16);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn kernels_agree_at_random_sizes(
        layout in 0..3_u8,
        lengths in prop::collection::vec(0..200_usize, 1..4),
        heads in 1..4_usize,
        width in prop::sample::select(vec![4_usize, 10, 32]),
        landmarks in 0..40_usize,
        window in 1..20_usize,
        bias: bool,
        dropout in prop::sample::select(vec![0.0, 0.25]),
        seed: u64,
    ) {
        let _turn = turn();
        let Some(device) = common::wgpu() else { return Ok(()) };
        let (documents, length) = (lengths.len(), lengths[0].max(1));
        let kind = match layout {
            0 => Kind::Full { documents, length },
            1 => Kind::Padded { documents, length },
            _ if lengths.iter().sum::<usize>() > 0 => Kind::Packed { lengths },
            _ => Kind::Packed { lengths: vec![1] },
        };
        let case = Case { kind, heads, width, landmarks, window, bias, dropout, size: 1.0, seed };
        case.check(&device, DType::F32);
    }
}
