//! The context: all that is small, in one buffer, since a kernel may have no more than seven.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::launch::empty;
use crate::pack_bias::pack_bias;
use crate::pack_landmarks::pack_landmarks;
use crate::pack_words::{pack_mask, pack_tables};
use crate::problem::Problem;

/// The context buffer, landmarks first, and where its other parts begin, in 32-bit words.
#[derive(Debug)]
pub(crate) struct Context {
    pub buffer: CubeTensor,
    pub bias_at: usize,
    pub mask_at: usize,
    pub documents_at: usize,
}

impl Context {
    /// A context whose landmark rows, of `row_vectors` vectors each, are still to be written.
    pub fn new(problem: &Problem, like: &CubeTensor, row_vectors: usize) -> Self {
        Self::with_bias(problem, like, row_vectors, None)
    }

    /// A context of landmarks and bias.
    pub fn of_attention(
        problem: &Problem,
        like: &CubeTensor,
        landmarks: Option<(&CubeTensor, &CubeTensor)>,
        bias: Option<&CubeTensor>,
    ) -> Self {
        let context = Self::with_bias(problem, like, 2 * problem.vectors(), bias);
        if let Some((key, value)) = landmarks {
            pack_landmarks(problem, &context, key, value);
        }
        context
    }

    fn with_bias(
        problem: &Problem,
        like: &CubeTensor,
        row_vectors: usize,
        bias: Option<&CubeTensor>,
    ) -> Self {
        // Each part begins with a whole vector.
        let part = |words: usize| words.next_multiple_of(4);
        let landmarks = problem.documents * problem.heads * problem.landmarks * 4 * row_vectors;
        let bias_at = part(landmarks);
        let offsets = match bias {
            Some(_) => problem.heads * problem.seen.visibility.window.offsets(),
            None => 0,
        };
        let mask_at = bias_at + part(offsets);
        let mask = match problem.mask() {
            Some(_) => problem.rows * problem.tokens,
            None => 0,
        };
        let documents_at = mask_at + part(mask);
        let tables = problem.tables.as_ref().map_or(0, |t| t.words.len());
        let words = (documents_at + part(tables)).max(4);
        let context = Self {
            buffer: empty(like, [words], DType::U32),
            bias_at,
            mask_at,
            documents_at,
        };
        if let Some(bias) = bias {
            pack_bias(problem, &context, bias);
        }
        if let Some(mask) = problem.mask() {
            pack_mask(problem, &context, mask);
        }
        if let Some(tables) = &problem.tables {
            pack_tables(problem, &context, tables);
        }
        context
    }
}
