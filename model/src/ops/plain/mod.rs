//! The operations in plain tensor operations: free functions, generic over every backend.
//!
//! They are the default bodies of [`LongShortBackend`](super::LongShortBackend), what runs where
//! no kernel does, and the oracle that the kernels are tested against. Called with
//! [`Dispatch`](burn::backend::Dispatch) or with `Autodiff<B>` they are differentiable by Burn's
//! own rules, which tests the hand-written backward passes.
//!
//! What they materialise: scores `[b, h, r, n]` in `project`, scores `n × (r + w + 2e)` and the
//! windows' keys and values in `attend`; of size `n × n` only where a query sees all keys. A packed batch is computed
//! one document after another, so that memory follows the longest document.

mod attend;
mod groups;
mod project;
mod wide;

pub use attend::{attend, attend_backward};
pub use project::{project, project_backward};
