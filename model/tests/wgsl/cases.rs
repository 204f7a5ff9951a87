//! The two attention operations of many sizes.

use burn::backend::Dispatch;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use transformer_ls_burn::Boundaries;
use transformer_ls_burn::ops::{
    AttendArgs, AttendBackwardArgs, AttendGradients, AttentionDropout, Documents, Grid, Landmarks,
    LandmarksSeen, LongShortBackend, OptionalTensor, ProjectArgs, ProjectBackwardArgs, Visibility,
    Window, plain,
};

use super::compare::{Body, Results, as_given, compare, float, in_memory};

#[derive(Clone, Debug)]
pub enum Kind {
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
pub struct Case {
    pub kind: Kind,
    pub heads: usize,
    pub width: usize,
    pub landmarks: usize,
    pub visibility: Visibility,
    /// Keys, where they are not as many as queries.
    pub keys: Option<usize>,
    pub bias: bool,
    pub relative_keys: bool,
    /// Whether landmark scores have all the terms that they may have: entries of those tables that are
    /// there, and a bias of their own.
    pub landmark_terms: bool,
    pub dropout: f64,
    /// Whether neighbouring channels of queries, keys and values are not neighbours in memory.
    pub turned: bool,
    /// Size of queries, keys and scores.
    pub size: f64,
    pub seed: u64,
}

/// Numbers of a case, on the host.
struct Inputs {
    /// query, key, value, d_output `[b, n, h, d]` (of `m` keys, where they differ); scores `[b, n, h, r]`; landmark key, landmark
    /// value `[documents, h, r, d]`; bias `[h, offsets]`; d_projected `[documents, h, r, 2d + 1]`;
    /// relative keys `[h, offsets, d]`; landmarks' bias `[documents, h, r]`.
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
        let of_landmarks = if self.landmark_terms { r } else { 0 };
        let offsets = (self.visibility.window.offsets() + of_landmarks).max(1);
        let m = self.keys.unwrap_or(n);
        let shapes = [
            (vec![b, n, h, d], self.size),
            (vec![b, m, h, d], self.size),
            (vec![b, m, h, d], 1.0),
            (vec![b, n, h, d], 1.0),
            (vec![b, n, h, r], self.size),
            (vec![documents, h, r, d], self.size),
            (vec![documents, h, r, d], 1.0),
            (vec![h, offsets], 1.0),
            (vec![documents, h, r, 2 * d + 1], 1.0),
            (vec![h, offsets, d], 1.0),
            (vec![documents, h, r], 1.0),
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

impl Case {
    /// All results; backward passes are given those of forward passes, or take their own.
    pub fn run(
        &self,
        device: &Device,
        dtype: DType,
        body: Body,
        given: Option<&Results>,
    ) -> Results {
        let (inputs, (_, n)) = (self.inputs(), self.rows());
        let tensor = |i: usize| {
            let (shape, values) = &inputs.tensors[i];
            let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(dtype);
            Tensor::<4>::from_data(data, (device, dtype))
        };
        // As modules have them: views of memory `[b, n, h, ..]`.
        let rows = |i: usize| match self.turned {
            true => {
                let (shape, values) = &inputs.tensors[i];
                let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(dtype);
                in_memory(data, [0, 2, 3, 1], (device, dtype)).swap_dims(1, 2)
            }
            false => tensor(i).swap_dims(1, 2),
        };
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
        if self.landmarks > 0 && self.keys.is_none() {
            let scores = rows(4).swap_dims(2, 3).into_dispatch();
            let (k, v) = (k.clone(), v.clone());
            let project = match body {
                Body::Plain => plain::project,
                Body::Kernels => Dispatch::project,
            };
            let args = || ProjectArgs {
                scores: scores.clone(),
                key: k.clone(),
                value: v.clone(),
                documents: documents(),
            };
            let landmarks = project(args()).landmarks;
            results.push(("project", float::<4>(landmarks.clone())));
            let landmarks = match given {
                Some(given) => as_given(given, "project", landmarks, [0, 1, 2, 3]),
                None => landmarks,
            };
            let project_backward = match body {
                Body::Plain => plain::project_backward,
                Body::Kernels => Dispatch::project_backward,
            };
            let gradients = |d_key, d_value| {
                project_backward(ProjectBackwardArgs {
                    inputs: args(),
                    landmarks: landmarks.clone(),
                    d_landmarks: tensor(8).into_dispatch(),
                    d_key,
                    d_value,
                })
            };
            let alone = gradients(OptionalTensor::None, OptionalTensor::None);
            let mut d_scores = float::<4>(alone.scores);
            if n == 1 {
                // A lone token's probability is 1: what is left is the gradient of the log-sum-exp,
                // beside two sums that cancel. Their size is what the last bits are of.
                let rows = float::<4>(landmarks.clone());
                let d_rows = inputs.tensors[8].1.iter().map(|&x| x as f64);
                let products: Vec<f64> = rows.iter().zip(d_rows).map(|(x, d)| x * d).collect();
                let sums = products.chunks_exact(2 * self.width + 1);
                d_scores.extend(sums.map(|row| row[..2 * self.width].iter().sum::<f64>()));
            }
            results.push(("d scores", d_scores));
            results.push(("d key of project", float::<4>(alone.key)));
            results.push(("d value of project", float::<4>(alone.value)));
            // Added to memory that may be overwritten, and to some that may not.
            let d_key = OptionalTensor::Some(rows(3).into_dispatch());
            let added = gradients(d_key, OptionalTensor::Some(q.clone()));
            results.push(("d key, added to", float::<4>(added.key)));
            results.push(("d value, added to", float::<4>(added.value)));
        }
        if self.landmarks == 0 && self.visibility.window == Window::Off {
            return results;
        }
        let landmarks = || match self.landmarks {
            0 => Landmarks::None,
            _ => Landmarks::Rows {
                key: tensor(5).into_dispatch(),
                value: tensor(6).into_dispatch(),
            },
        };
        let table = |given: bool, i: usize| {
            let (shape, values) = &inputs.tensors[i];
            let data = TensorData::new(values.clone(), shape.clone()).convert_dtype(dtype);
            OptionalTensor::from_option(given.then(|| match shape[..] {
                [_, _] => Tensor::<2>::from_data(data, (device, dtype)).into_dispatch(),
                _ => Tensor::<3>::from_data(data, (device, dtype)).into_dispatch(),
            }))
        };
        let dropout = AttentionDropout {
            probability: self.dropout,
            seed: self.seed as u32,
        };
        let attend = match body {
            Body::Plain => plain::attend,
            Body::Kernels => Dispatch::attend,
        };
        let args = || AttendArgs {
            query: q.clone(),
            key: k.clone(),
            value: v.clone(),
            landmarks: landmarks(),
            landmark_bias: table(self.landmark_terms, 10),
            bias: table(self.bias, 7),
            relative_keys: table(self.relative_keys, 9),
            documents: documents(),
            visibility: self.visibility,
            scale: (self.width as f64).powf(-0.5),
            dropout,
        };
        let (output, log_sum_exp) = attend(args());
        results.push(("attend", float::<4>(output.clone())));
        results.push(("log-sum-exp", float::<3>(log_sum_exp.clone())));
        let (output, log_sum_exp) = match given {
            // The output in memory `[b, n, h, d]`, as the kernels write it.
            Some(given) => (
                as_given(given, "attend", output, [0, 2, 1, 3]),
                as_given(given, "log-sum-exp", log_sum_exp, [0, 1, 2]),
            ),
            None => (output, log_sum_exp),
        };
        let attend_backward = match body {
            Body::Plain => plain::attend_backward,
            Body::Kernels => Dispatch::attend_backward,
        };
        let gradients: AttendGradients<Dispatch> = attend_backward(AttendBackwardArgs {
            inputs: args(),
            output,
            log_sum_exp,
            d_output,
        });
        results.push(("d query", float::<4>(gradients.query)));
        results.push(("d key", float::<4>(gradients.key)));
        results.push(("d value", float::<4>(gradients.value)));
        if let Landmarks::Rows { key, value } = gradients.landmarks {
            results.push(("d landmark key", float::<4>(key)));
            results.push(("d landmark value", float::<4>(value)));
        }
        if let Some(table) = gradients.landmark_bias.into_option() {
            results.push(("d landmark bias", float::<3>(table)));
        }
        if let Some(table) = gradients.bias.into_option() {
            results.push(("d bias", float::<2>(table)));
        }
        if let Some(table) = gradients.relative_keys.into_option() {
            results.push(("d relative keys", float::<3>(table)));
        }
        results
    }

    /// Compares the kernels on `device` with the plain bodies.
    pub fn check(&self, device: &Device, dtype: DType) {
        let run = |device: &Device, dtype, body, given: Option<&Results>| {
            self.run(device, dtype, body, given)
        };
        compare(device, dtype, &run, &format!("{self:?}"));
    }
}

pub const PLAIN: Case = Case {
    kind: Kind::Full {
        documents: 2,
        length: 129,
    },
    heads: 2,
    width: 32,
    landmarks: 32,
    visibility: segments(8),
    keys: None,
    bias: false,
    relative_keys: false,
    landmark_terms: false,
    dropout: 0.0,
    turned: false,
    size: 1.0,
    seed: 1,
};

/// Segments of this width; 0: no window.
pub const fn segments(width: usize) -> Visibility {
    Visibility {
        window: match width {
            0 => Window::Off,
            width => Window::Segments { width },
        },
        memory: 0,
        landmarks: LandmarksSeen::All,
    }
}

pub fn padded(documents: usize, length: usize) -> Kind {
    Kind::Padded { documents, length }
}

pub fn packed(lengths: &[usize]) -> Kind {
    Kind::Packed {
        lengths: lengths.to_vec(),
    }
}

/// Sizes that divide nothing, and every part of the shaders at least once.
pub fn cases() -> Vec<Case> {
    let full = |length| Kind::Full {
        documents: 1,
        length,
    };
    vec![
        PLAIN,
        Case {
            kind: full(1),
            landmarks: 1,
            visibility: segments(1),
            ..PLAIN
        },
        Case {
            kind: full(7),
            landmarks: 5,
            visibility: segments(16),
            width: 6,
            turned: true,
            ..PLAIN
        },
        Case {
            kind: full(63),
            landmarks: 0,
            visibility: segments(3),
            width: 7,
            ..PLAIN
        },
        Case {
            kind: full(300),
            landmarks: 254,
            visibility: segments(0),
            width: 64,
            heads: 1,
            ..PLAIN
        },
        Case {
            kind: padded(3, 63),
            landmarks: 5,
            visibility: segments(3),
            bias: true,
            ..PLAIN
        },
        Case {
            kind: padded(2, 129),
            dropout: 0.3,
            width: 4,
            relative_keys: true,
            ..PLAIN
        },
        Case {
            kind: packed(&[1, 0, 150, 7, 64, 0]),
            bias: true,
            relative_keys: true,
            dropout: 0.2,
            ..PLAIN
        },
        Case {
            kind: packed(&[33]),
            landmarks: 512,
            visibility: segments(1),
            width: 16,
            heads: 3,
            ..PLAIN
        },
        Case {
            width: 128,
            landmarks: 20,
            visibility: segments(50),
            heads: 1,
            relative_keys: true,
            ..PLAIN
        },
        Case {
            kind: packed(&[200, 3, 70]),
            width: 33,
            landmarks: 40,
            visibility: segments(40),
            bias: true,
            relative_keys: true,
            dropout: 0.2,
            ..PLAIN
        },
        Case {
            kind: padded(1, 700),
            width: 256,
            landmarks: 70,
            visibility: segments(600),
            heads: 1,
            ..PLAIN
        },
        // Scores around ±80.
        Case {
            size: 6.7,
            kind: padded(2, 90),
            ..PLAIN
        },
        // All terms of landmark scores: those of finished chunks, and of all beside no window.
        Case {
            kind: packed(&[150, 1, 0, 70]),
            width: 64,
            turned: true,
            landmarks: 37,
            visibility: Visibility {
                window: Window::Causal { width: 40 },
                memory: 0,
                landmarks: LandmarksSeen::Chunks {
                    before: 0,
                    chunk: 10,
                    rows: 3,
                },
            },
            bias: true,
            relative_keys: true,
            landmark_terms: true,
            dropout: 0.2,
            ..PLAIN
        },
        Case {
            kind: padded(2, 90),
            visibility: segments(0),
            landmarks: 33,
            bias: true,
            landmark_terms: true,
            ..PLAIN
        },
    ]
}

/// Long documents, wide windows, many landmarks, and what lies next to whole chunks of channels.
pub fn extremes() -> Vec<Case> {
    let full = |length| Kind::Full {
        documents: 1,
        length,
    };
    vec![
        Case {
            kind: full(100_003),
            heads: 1,
            width: 4,
            landmarks: 3,
            visibility: segments(1),
            ..PLAIN
        },
        Case {
            kind: full(2100),
            heads: 1,
            width: 4,
            landmarks: 1,
            visibility: segments(2048),
            // Sharp: of thousands of values the mean is near 0, and its last bits are those of sums.
            size: 6.7,
            ..PLAIN
        },
        Case {
            kind: packed(&[1100, 1, 31]),
            heads: 1,
            width: 96,
            landmarks: 33,
            visibility: segments(512),
            ..PLAIN
        },
        Case {
            kind: full(513),
            width: 33,
            landmarks: 512,
            visibility: segments(2),
            ..PLAIN
        },
        Case {
            kind: full(1),
            width: 256,
            landmarks: 512,
            visibility: segments(0),
            ..PLAIN
        },
        // As a language model has them.
        Case {
            kind: full(130),
            heads: 1,
            width: 64,
            landmarks: 40,
            visibility: Visibility {
                window: Window::Causal { width: 512 },
                memory: 511,
                landmarks: LandmarksSeen::Chunks {
                    before: 32,
                    chunk: 16,
                    rows: 1,
                },
            },
            keys: Some(641),
            bias: true,
            relative_keys: true,
            landmark_terms: true,
            ..PLAIN
        },
    ]
}

/// Every pattern, with and without bias, dropout, memory, keys of another number, landmarks of
/// finished chunks, and documents that lie in every way.
pub fn patterns() -> Vec<Case> {
    let grid = |columns, tile, halo| {
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        })
    };
    let windows = [
        Window::All,
        Window::Segments { width: 5 },
        Window::Causal { width: 1 },
        Window::Causal { width: 9 },
        grid(7, 3, 1),
        grid(40, 4, 2),
    ];
    let full = Kind::Full {
        documents: 2,
        length: 83,
    };
    let chunks = LandmarksSeen::Chunks {
        before: 2,
        chunk: 10,
        rows: 3,
    };
    let mut cases = Vec::new();
    for window in windows {
        let bounded = window.offsets() > 0;
        for (keys, memory, landmarks) in
            [(Some(120), 37, chunks), (Some(50), 0, LandmarksSeen::All)]
        {
            cases.push(Case {
                kind: full.clone(),
                visibility: Visibility {
                    window,
                    memory,
                    landmarks,
                },
                keys,
                width: 12,
                landmarks: 17,
                bias: bounded,
                relative_keys: bounded,
                dropout: if memory > 0 { 0.3 } else { 0.0 },
                ..PLAIN
            });
        }
        // All terms of landmark scores, beside a window's and alone.
        if matches!(window, Window::Causal { .. } | Window::All) {
            cases.push(Case {
                kind: full.clone(),
                visibility: Visibility {
                    window,
                    memory: 37,
                    landmarks: chunks,
                },
                keys: Some(120),
                width: 12,
                landmarks: 17,
                bias: true,
                relative_keys: true,
                landmark_terms: true,
                ..PLAIN
            });
        }
        for kind in [padded(3, 63), packed(&[1, 0, 70, 33])] {
            cases.push(Case {
                kind,
                visibility: window.into(),
                width: 6,
                landmarks: 0,
                bias: bounded,
                relative_keys: bounded,
                ..PLAIN
            });
        }
    }
    cases
}
