//! Embeddings and their gradients, against loops on the host. All numbers are small integers, whose
//! sums float32 has exactly: in whatever order, nothing may be off.

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use transformer_ls_burn::Boundaries;
use transformer_ls_burn::ops::OptionalTensor;
use transformer_ls_burn::ops::layers::LayersBackend;

use super::compare::{assert_exact, float, integers};

/// What tokens a batch has.
#[derive(Clone, Copy, Debug)]
enum Ids {
    /// Each id about as often as another.
    Even,
    /// Three tokens of five are id 0, and of the others most are a few.
    Skewed,
    /// All are the last id.
    One,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: [usize; 2],
    packed: Option<&'static [usize]>,
    vocabulary: usize,
    /// Rows of the table of positions; 0 for none.
    positions: usize,
    width: usize,
    ids: Ids,
}

const CASES: [Case; 9] = [
    case([1, 1], 2, 1, 1, Ids::One),
    case([2, 3], 1, 4, 3, Ids::Even),
    case([3, 7], 2, 9, 3, Ids::Even),
    case([2, 300], 17, 300, 64, Ids::Skewed),
    case([1, 5000], 100_000, 0, 5, Ids::Even),
    case([4, 1030], 300, 1100, 100, Ids::Skewed),
    case([3, 129], 5, 130, 1024, Ids::Even),
    case([1, 4097], 300, 0, 8, Ids::One),
    Case {
        packed: Some(&[40, 0, 900, 1, 60, 0]),
        ..case([1, 1001], 70_000, 901, 12, Ids::Skewed)
    },
];

const fn case(
    shape: [usize; 2],
    vocabulary: usize,
    positions: usize,
    width: usize,
    ids: Ids,
) -> Case {
    Case {
        shape,
        packed: None,
        vocabulary,
        positions,
        width,
        ids,
    }
}

impl Case {
    fn ids(&self) -> Vec<usize> {
        let [b, n] = self.shape;
        let id = |i: usize| match self.ids {
            Ids::Even => (i * 7919 + i / 3) % self.vocabulary,
            Ids::Skewed if i % 5 < 3 => 0,
            Ids::Skewed => (i * i % 97) * (i % 7) % self.vocabulary,
            Ids::One => self.vocabulary - 1,
        };
        (0..b * n).map(id).collect()
    }

    /// The position of each token.
    fn places(&self) -> Vec<usize> {
        let [b, n] = self.shape;
        let lengths = self.packed.map_or(vec![n; b], <[usize]>::to_vec);
        lengths.into_iter().flat_map(|length| 0..length).collect()
    }

    fn check(&self, device: &Device, dtype: DType) {
        let &Self {
            shape: [b, n],
            vocabulary,
            positions,
            width,
            ..
        } = self;
        let rows = |rows: usize, seed| integers(rows * width, seed);
        let (token, position, d) = (rows(vocabulary, 1), rows(positions, 2), rows(b * n, 3));
        let (ids, places) = (self.ids(), self.places());

        let mut output = vec![0.0; b * n * width];
        let mut d_token = vec![0.0; vocabulary * width];
        let mut d_position = vec![0.0; positions * width];
        for (i, (&id, &place)) in ids.iter().zip(&places).enumerate() {
            for k in 0..width {
                let at = i * width + k;
                output[at] = token[id * width + k];
                d_token[id * width + k] += d[at];
                if positions > 0 {
                    output[at] += position[place * width + k];
                    d_position[place * width + k] += d[at];
                }
            }
        }

        let tensor = |values: &[f64], rows: usize| {
            let values = TensorData::new(values.to_vec(), [rows, width]).convert_dtype(dtype);
            Tensor::<2>::from_data(values, (device, dtype))
        };
        let table = || tensor(&token, vocabulary).into_dispatch();
        let position = || {
            let table = (positions > 0).then(|| tensor(&position, positions).into_dispatch());
            OptionalTensor::from_option(table)
        };
        let ids = ids.iter().map(|&id| id as i32).collect::<Vec<_>>();
        let ids = || {
            let ids = TensorData::new(ids.clone(), [b, n]);
            Tensor::<2, Int>::from_data(ids, device).into_dispatch()
        };
        let packed = || self.packed.map(Boundaries::from_lengths);
        let found = Dispatch::embed(table(), position(), ids(), packed());
        assert_exact(&float::<3>(found), &output, dtype, &format!("{self:?}"));
        // Twice, for the bits might depend on who comes first.
        for _ in 0..2 {
            let d = tensor(&d, b * n).reshape([b, n, width]).into_dispatch();
            let found = Dispatch::embed_backward(d, table(), position(), ids(), packed());
            let what = format!("d token of {self:?}");
            assert_exact(&float::<2>(found.token), &d_token, dtype, &what);
            if let OptionalTensor::Some(found) = found.position {
                let what = format!("d position of {self:?}");
                assert_exact(&float::<2>(found), &d_position, dtype, &what);
            }
        }
    }
}

/// Embeddings of every size.
pub fn check_embeddings(device: &Device, dtype: DType) {
    for case in CASES {
        case.check(device, dtype);
    }
}
