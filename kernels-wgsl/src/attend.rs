//! `attend` and its launcher.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::{Dropout, Visibility};

use crate::context::{Contents, context};
use crate::documents::{Division, Documents};
use crate::kernel::Kernel;
use crate::launch::{dims, empty, empty_rows, launch};
use crate::problem::{LandmarkRow, Problem, Seen};

/// What attention takes.
#[derive(Clone, Debug)]
pub struct Attend<'a> {
    /// `[b, h, n, d]`
    pub query: &'a CubeTensor,
    /// `[b, h, m, d]`; `m` is `n`, but for full rows.
    pub key: &'a CubeTensor,
    /// `[b, h, m, d]`
    pub value: &'a CubeTensor,
    /// Keys and values of the landmarks, both `[documents, h, r, d]`.
    pub landmarks: Option<(&'a CubeTensor, &'a CubeTensor)>,
    /// A score by landmark, `[documents, h, r]`.
    pub landmark_bias: Option<&'a CubeTensor>,
    /// A score by offset `[h, entries]`: a pair of a query and a key at the column
    /// [`Visibility::offset`], and behind those, if the table is longer, one of a query and a landmark
    /// at [`Visibility::landmark_offset`].
    pub bias: Option<&'a CubeTensor>,
    /// Keys by offset, which queries meet besides their own, `[h, entries, d]`.
    pub relative_keys: Option<&'a CubeTensor>,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
    /// What a query sees.
    pub visibility: Visibility,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Dropout of probabilities.
    pub dropout: Dropout,
}

impl Attend<'_> {
    pub(crate) fn problem(&self) -> Problem<'_> {
        let landmarks = match self.landmarks {
            Some((key, _)) => dims::<4>(key)[2],
            None => 0,
        };
        let seen = Seen {
            visibility: self.visibility,
            bias: self.bias.is_some(),
            relative_keys: self.relative_keys.is_some(),
            entries: (self.bias.or(self.relative_keys)).map_or(0, |table| table.meta.shape()[1]),
            landmark_bias: self.landmark_bias.is_some(),
            scale: self.scale as f32,
            dropout: self.dropout,
        };
        let [_, _, keys, _] = dims(self.key);
        let row = LandmarkRow::KeyAndValue;
        Problem::new(self.query, keys, landmarks, row, &self.documents, seen)
    }

    pub(crate) fn context(&self, problem: &Problem) -> CubeTensor {
        let contents = Contents {
            landmarks: self.landmarks,
            landmark_bias: self.landmark_bias,
            bias: self.bias,
            relative_keys: self.relative_keys,
        };
        context(problem, self.query, &contents)
    }
}

/// Attention of every query over the landmarks of its document and the keys of its window, under
/// one softmax (paper section 3.3), and the log-sum-exp of each query's scores.
///
/// # Shapes
///
/// - output: `[b, h, n, d]` of the queries' type and `[b, h, n]` in float32
pub fn attend(inputs: &Attend) -> (CubeTensor, CubeTensor) {
    let problem = inputs.problem();
    let context = inputs.context(&problem);
    let query = inputs.query;
    let output = empty_rows(query, dims(query), query.dtype);
    let log_sum_exp = empty(
        query,
        [problem.rows, problem.heads, problem.tokens],
        DType::F32,
    );
    let count = problem.tasks(Division::Blocks) * problem.heads;
    launch(
        problem.shader(Kernel::Attend, problem.tiles.attend, Division::Blocks),
        count,
        problem.info(Division::Blocks).count(count),
        &[
            ("query", query),
            ("key", inputs.key),
            ("value", inputs.value),
            ("context", &context),
            ("output", &output),
            ("log_sum_exp", &log_sum_exp),
        ],
    );
    (output, log_sum_exp)
}
