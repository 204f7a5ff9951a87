//! The context: all that is small, in one buffer, since a kernel may have no more than seven.

use burn_backend::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::launch::{empty, for_all};
use crate::pack_bias::pack_bias;
use crate::pack_landmarks::pack_landmarks;
use crate::pack_relative_keys::pack_relative_keys;
use crate::pack_words::{pack_mask, pack_tables, uploaded};
use crate::problem::Problem;

/// What an operation puts into its context, besides what says how documents lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contents<'a> {
    /// `[documents, h, r, d]` twice
    pub landmarks: Option<(&'a CubeTensor, &'a CubeTensor)>,
    /// `[documents, h, r]`
    pub landmark_bias: Option<&'a CubeTensor>,
    /// `[h, entries]`
    pub bias: Option<&'a CubeTensor>,
    /// `[h, entries, d]`
    pub relative_keys: Option<&'a CubeTensor>,
}

/// The context of a call, filled where the problem says. Landmarks that aren't given are still to
/// be written.
///
/// A mask, or the tables of packed documents, with nothing beside them are the context themselves.
pub(crate) fn context(problem: &Problem, like: &CubeTensor, contents: &Contents) -> CubeTensor {
    let places = &problem.places;
    if let (0, Some(mask)) = (places.mask, problem.mask())
        && mask.shape().num_elements().is_multiple_of(4)
    {
        return into_contiguous(mask.clone());
    }
    if let (0, Some(tables)) = (places.documents, &problem.tables) {
        return uploaded(tables, like);
    }
    let context = empty(like, [problem.places.words], DType::U32);
    if let Some((key, value)) = contents.landmarks {
        pack_landmarks(problem, &context, key, value);
    }
    if let Some(bias) = contents.landmark_bias {
        pack_bias(problem, &context, bias, places.landmark_bias);
    }
    if let Some(bias) = contents.bias {
        pack_bias(problem, &context, &for_all(bias), places.bias);
    }
    if let Some(keys) = contents.relative_keys {
        pack_relative_keys(problem, &context, keys);
    }
    if let Some(mask) = problem.mask() {
        pack_mask(problem, &context, mask);
    }
    if let Some(tables) = &problem.tables {
        pack_tables(problem, &context, tables);
    }
    context
}
