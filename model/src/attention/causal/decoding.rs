//! Causal attention of one row more, at a cost that does not grow with the text but for its landmarks.

use burn::tensor::Tensor;

use super::positions::{Distances, Terms};
use super::recent::Recent;
use super::{CausalAttention, CausalLandmarks, last_rows};
use crate::attention::heads::merge;
use crate::ops::layers::{layer_norm, linear_plus};
use crate::ops::{self, Attend, AttentionDropout, LandmarksSeen, Layout, Visibility, Window};

impl CausalAttention {
    /// What decoding keeps of a memory `[b, L, D]` and of a segment's first rows `[b, n, D]`; the
    /// distances are those of whole segments.
    pub(crate) fn state(
        &self,
        memory: Tensor<3>,
        rows: Option<Tensor<3>>,
        distances: &Distances,
    ) -> CausalState {
        let length = rows.as_ref().map_or(0, |rows| rows.dims()[1]);
        let all = match &rows {
            None => memory.clone(),
            Some(rows) => Tensor::cat(vec![memory.clone(), rows.clone()], 1),
        };
        let most = distances.window.dims()[1];
        let near = last_rows(&all, (most - 1).min(all.dims()[1]));
        let near = near.map(|rows| self.windowed(&rows));
        let mut state = CausalState {
            window: Recent::new(most, self.heads, near, &all),
            landmarks: None,
            open: Vec::new(),
            content: self.content().repeat_dim(0, all.dims()[0]),
            whole: self.terms(distances, None),
            terms: None,
        };
        let Some(landmarks) = &self.landmarks else {
            return state;
        };
        let open = length % self.chunk;
        if memory.dims()[1] > 0 {
            state.see(self.seen(landmarks, self.landmarks_of_memory(landmarks, memory)));
        }
        if let Some(rows) = rows.as_ref().filter(|_| length > open) {
            let finished = rows.clone().narrow(1, 0, length - open);
            state.see(self.seen(landmarks, self.landmarks_of(landmarks, finished)));
        }
        state
            .open
            .extend(rows.and_then(|rows| last_rows(&rows, open)));
        state
    }

    /// Landmarks `[b, T, D]` as queries meet them, `[b, h, T, d]`.
    fn seen(&self, of: &CausalLandmarks, own: [Tensor<3>; 2]) -> [Tensor<4>; 2] {
        own.map(|rows| self.split(layer_norm(rows, &of.norm)))
    }

    /// What the heads read for one more row of each text, `[b, 1, D]`.
    pub(crate) fn step(&self, hidden: Tensor<3>, state: &mut CausalState) -> Tensor<3> {
        let [key, value] = state.window.with(self.windowed(&hidden));
        let rows = key.dims()[2];
        let query = linear_plus(state.content.clone(), hidden.clone(), &self.query);
        let terms = state.terms(self);
        let width = state.window.most();
        let attended = ops::attend(Attend {
            query: self.split(query),
            key,
            value,
            landmarks: state.landmarks.clone().map(|[key, value]| (key, value)),
            landmark_bias: terms.landmark_bias,
            bias: Some(terms.bias),
            relative_keys: Some(terms.relative_keys),
            layout: Layout::Full,
            visibility: Visibility {
                window: Window::Causal { width },
                memory: rows - 1,
                landmarks: LandmarksSeen::All,
            },
            scale: self.scale(),
            dropout: AttentionDropout::OFF,
        });
        if let Some(landmarks) = &self.landmarks {
            state.open.push(hidden);
            if state.open_rows() == self.chunk {
                let rows = Tensor::cat(std::mem::take(&mut state.open), 1);
                state.see(self.seen(landmarks, self.landmarks_of(landmarks, rows)));
            }
        }
        merge(attended.output)
    }
}

/// What one attention keeps of a text between two tokens of it.
#[derive(Clone, Debug)]
pub struct CausalState {
    /// Keys and values of the last tokens.
    window: Recent,
    /// Keys and values of the landmarks that the next token sees, `[b, h, T, d]`.
    landmarks: Option<[Tensor<4>; 2]>,
    /// Rows of the chunk that is not finished, in pieces `[b, n, D]`.
    open: Vec<Tensor<3>>,
    /// [`CausalAttention::content`] of each text, `[b, 1, D]`.
    content: Tensor<3>,
    /// Terms of scores for a whole segment.
    whole: Terms,
    /// Those for the landmarks of now.
    terms: Option<Terms>,
}

impl CausalState {
    /// Takes in the landmarks of a finished chunk.
    fn see(&mut self, own: [Tensor<4>; 2]) {
        self.landmarks = Some(match self.landmarks.take() {
            None => own,
            Some(before) => std::array::from_fn(|side| {
                Tensor::cat(vec![before[side].clone(), own[side].clone()], 2)
            }),
        });
        self.terms = None;
    }

    fn open_rows(&self) -> usize {
        self.open.iter().map(|rows| rows.dims()[1]).sum()
    }

    fn terms(&mut self, attention: &CausalAttention) -> Terms {
        if let Some(terms) = &self.terms {
            return terms.clone();
        }
        let landmarks = self.landmarks.as_ref().map(|[key, _]| key);
        let entries = self.window.most() + landmarks.map_or(0, |key| key.dims()[2]);
        let terms = Terms {
            landmark_bias: landmarks.map(|key| attention.landmark_bias(key)),
            // In memory of their own: kernels would copy a part of the whole for every token.
            bias: self.whole.bias.clone().narrow(1, 0, entries) * 1.0,
            relative_keys: self.whole.relative_keys.clone().narrow(1, 0, entries) * 1.0,
        };
        self.terms.insert(terms).clone()
    }
}
