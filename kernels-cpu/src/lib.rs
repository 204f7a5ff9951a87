//! CPU kernels of long-short attention (Zhu et al., *Long-Short Transformer: Efficient Transformers
//! for Language and Vision*, NeurIPS 2021), forward and backward, over plain slices.
//!
//! * [`project`], the long path: a softmax over the sequence turns keys and values into `r`
//!   landmarks a head.
//! * [`attend`], the short path joined with the landmarks: one softmax over `[landmarks | window]`
//!   for every query.
//!
//! Their backward passes, [`project_backward`] and [`attend_backward`], recompute probabilities
//! from the log-sum-exp; nothing of size `n × (r + 2w)` is ever stored.
//!
//! Tensors are [`View`]s with any strides, so that memory `[b, n, h, d]` needs no transposing to be
//! read as `[b, h, n, d]`. A batch is padded or packed, see [`Documents`]. Elements are `f32`, or
//! `f64` where gradients are checked.
//!
//! # How they are fast
//!
//! Threads take parts of documents. A part is worked on in tiles of 32 queries (or landmarks), one
//! to a vector lane, so that a softmax is a loop over whole vectors; all products are two small
//! kernels that keep their sums in registers. One query of a text and linear layers of few rows, as
//! decoding has them, take no tiles: they read keys and weights once, where they lie. Vector instructions are chosen when the program runs
//! (AVX-512, AVX2, SSE, NEON). How work is cut depends on the batch alone: results are the same to
//! the bit for any number of threads.
//!
//! # Example
//!
//! ```
//! use transformer_ls_kernels::{Dropout, Window};
//! use transformer_ls_kernels_cpu::{Attend, Documents, View, ViewMut, attend};
//!
//! // One document of 5 tokens, 2 heads of 4 features; every query sees one landmark and the
//! // window of width 2.
//! let tokens = [1, 2, 5, 4];
//! let query: Vec<f32> = (0..40).map(|i| (i as f32).sin()).collect();
//! let landmark = [0.5; 8];
//! let inputs = Attend {
//!     query: View::contiguous(&query, tokens),
//!     key: View::contiguous(&query, tokens),
//!     value: View::contiguous(&query, tokens),
//!     landmark_key: View::contiguous(&landmark, [1, 2, 1, 4]),
//!     landmark_value: View::contiguous(&landmark, [1, 2, 1, 4]),
//!     bias: None,
//!     landmark_bias: None,
//!     relative_keys: None,
//!     documents: Documents::Rows { mask: None },
//!     visibility: Window::segments(2).into(),
//!     scale: 0.5,
//!     dropout: Dropout::OFF,
//! };
//! let (mut output, mut log_sum_exp) = ([0.0; 40], [0.0; 10]);
//! attend(&inputs, &mut ViewMut::contiguous(&mut output, tokens), &mut log_sum_exp);
//! assert!(output.iter().all(|x| x.abs() <= 1.0));
//! ```
#![warn(missing_docs)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over lanes and registers run through several arrays at once"
)]

mod activation;
mod after_attention;
mod after_attention_backward;
mod attend;
mod attend_backward;
mod attend_gradients;
mod attend_merge;
mod attend_query;
mod attend_tile;
mod class_row;
mod documents;
mod embed;
mod exp;
mod gelu;
mod heads;
mod heads_backward;
mod layer_norm;
mod layers;
mod linear;
mod matrix;
mod norm;
mod padded_bias;
mod parallel;
mod products;
mod project;
mod project_backward;
mod real;
mod sight;
mod tile;
mod tile_dropout;
mod view;

pub use activation::{gelu, gelu_backward};
pub use after_attention::{AfterAttention, after_attention};
pub use after_attention_backward::{AfterAttentionGradients, after_attention_backward};
pub use attend::{Attend, attend};
pub use attend_backward::{AttendGradients, attend_backward};
pub use class_row::{ClassRow, ClassRowGradients, class_row, class_row_backward};
pub use documents::Documents;
pub use embed::{Embed, embed, embed_backward};
pub use heads::{Heads, HeadsOutput, heads};
pub use heads_backward::{HeadsGradients, HeadsOutputGradients, heads_backward};
pub use layer_norm::{layer_norm, layer_norm_backward};
pub use layers::{Linear, LinearGradients};
pub use linear::{FEW_ROWS, linear};
pub use norm::{Norm, NormGradients};
pub use project::{Project, project};
pub use project_backward::{ProjectGradients, project_backward};
pub use real::Real;
pub use view::{View, ViewMut};
