//! WGSL compute shaders of long-short attention (Zhu et al., *Long-Short Transformer: Efficient
//! Transformers for Language and Vision*, NeurIPS 2021), forward and backward, over the tensors of
//! Burn's CubeCL backend.
//!
//! * [`project`], the long path: a softmax over the sequence turns keys and values into `r`
//!   landmarks a head.
//! * [`attend`], the short path joined with the landmarks: one softmax over `[landmarks | window]`
//!   for every query.
//! * [`class_row`]: a row of each document reads its outputs.
//!
//! And of the layers around it what Burn composes of several passes or computes with few threads:
//! [`layer_norm`], [`gelu`], [`embed`], [`linear`] layers. Of a training step, the optimizer's: [`adamw`].
//!
//! Their backward passes recompute probabilities from the log-sum-exp: nothing of size
//! `n × (r + 2w)` is ever stored, and loops end where the window ends instead of masking what lies
//! beyond. No kernel uses atomics, so the same launch gives the same bits.
//!
//! In float16, the products of tiles can be those of [`cooperative`] matrices; they are off until asked for.
//!
//! # Layout
//!
//! `shaders/*.wgsl` holds one kernel a file, `src/` a launcher of the same name for each. A shader
//! is a template. [`kernel`] is the table of what each is made of and binds; [`shader`] puts the
//! text together and fills in the sizes that must be constants; [`tiles`] chooses those by one pure
//! function. Launchers know nothing of
//! autodiff or modules, and expect inputs for which [`refusal`] has no objection.
//!
//! Tensors are logical `[b, h, n, d]` of any strides; results lie in memory as `[b, n, h, d]`,
//! which is how modules merge heads without a copy.
#![warn(missing_docs)]

mod adamw;
mod attend;
mod attend_backward;
mod attend_delta;
mod attend_dkv;
mod attend_dlandmarks;
mod attend_dq;
mod attend_dtables;
mod class_row;
mod class_row_backward;
mod context;
pub mod cooperative;
mod device;
mod documents;
mod embed;
mod embedding_backward;
mod gelu;
mod info;
pub mod kernel;
mod launch;
mod layer_norm;
mod layer_norm_backward;
mod linear;
mod linear_backward;
mod pack_bias;
mod pack_landmarks;
mod pack_relative_keys;
mod pack_words;
mod problem;
mod project;
mod project_backward;
mod project_delta;
mod project_merge;
pub mod shader;
mod sort;
mod sum_bias;
mod sum_landmark_bias;
mod sum_parts;
mod sum_positions;
mod sum_relative_keys;
pub mod testing;
pub mod tiles;
pub mod traffic;

pub use adamw::{Parameter, Update, adamw};
pub use attend::{Attend, attend};
pub use attend_backward::{AttendGradients, attend_backward};
pub use class_row::{ClassRow, class_row};
pub use class_row_backward::{ClassRowGradients, class_row_backward};
pub use device::{MAX_LAYER_WIDTH, MAX_WIDTH, refusal, refusal_of_ids, runs_wgsl};
pub use documents::Documents;
pub use embed::embed;
pub use embedding_backward::embedding_backward;
pub use gelu::{gelu, gelu_backward};
pub use layer_norm::layer_norm;
pub use layer_norm_backward::layer_norm_backward;
pub use linear::{linear, linear_dx};
pub use linear_backward::linear_backward;
pub use project::{Project, project};
pub use project_backward::{ProjectGradients, project_backward};
pub use sum_positions::sum_positions;
