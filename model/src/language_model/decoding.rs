//! Incremental decoding: what a model keeps of a text so that one more token costs no more than what
//! that token sees.

use burn::tensor::{Int, Tensor};

use super::{LanguageModel, Memory, Segment};
use crate::attention::{CausalState, Distances};

/// A text (or `b` of them) that a [`LanguageModel`] reads and writes token by token.
///
/// It counts segments as training does: after `segment` tokens their last rows become the memory. So
/// the logits are those of [`LanguageModel::forward`] over the same segments, and a token costs the
/// same wherever in the text it stands: products with the window's keys and with the landmarks of
/// memory and segment. Begun by [`LanguageModel::decoding`].
#[derive(Clone, Debug)]
pub struct Decoding {
    memory: Memory,
    /// Tokens of a segment.
    segment: usize,
    /// Tokens of the present one.
    position: usize,
    /// Of the present segment every layer's inputs, in pieces `[b, n, D]`.
    inputs: Vec<Vec<Tensor<3>>>,
    layers: Vec<CausalState>,
    distances: Distances,
}

impl Decoding {
    /// The memory of all whole segments so far: what [`LanguageModel::forward`] would go on with.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Tokens of the present segment, which the memory does not have yet.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl LanguageModel {
    /// Begins to decode behind a memory, in segments of so many tokens.
    ///
    /// # Panics
    ///
    /// Panics if a segment has no tokens, or if the memory is another model's.
    pub fn decoding(&self, memory: Memory, segment: usize) -> Decoding {
        assert!(segment > 0, "a segment has at least one token");
        self.check(&memory, memory.texts());
        let attention = &self.layers[0].attention;
        let distances = attention.distances(segment, memory.seen(), &self.device());
        let mut decoding = Decoding {
            memory,
            segment,
            position: 0,
            inputs: vec![Vec::new(); self.layers.len()],
            layers: Vec::new(),
            distances,
        };
        self.look_back(&mut decoding);
        decoding
    }

    /// Reads tokens `[b, n]`, `n ≥ 1`, and gives the logits for the token after the last,
    /// `[b, vocabulary]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no token, or if the tokens are of another number of texts.
    pub fn decode(&self, decoding: &mut Decoding, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [b, n] = tokens.dims();
        assert!(n > 0, "no token to read");
        let mut read = 0;
        let mut last = None;
        while read < n {
            // A segment's beginning is read at once, whatever comes later token by token.
            let count = match decoding.position {
                0 => decoding.segment.min(n - read),
                _ => 1,
            };
            let part = tokens.clone().narrow(1, read, count);
            last = Some(match count {
                1 => self.step(decoding, part),
                _ => self.begin(decoding, part),
            });
            read += count;
        }
        let hidden = last.expect("a token was read");
        self.logits(hidden).reshape([b, self.vocabulary()])
    }

    /// The last hidden rows `[b, 1, D]` of a segment's first tokens.
    fn begin(&self, decoding: &mut Decoding, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, n] = tokens.dims();
        let (hidden, inputs) = self.hidden(&Segment {
            tokens,
            memory: decoding.memory.clone(),
            dropout_seed: None,
        });
        for (all, new) in decoding.inputs.iter_mut().zip(inputs) {
            all.push(new);
        }
        decoding.position = n;
        self.look_back(decoding);
        hidden.narrow(1, n - 1, 1)
    }

    /// The hidden rows `[b, 1, D]` of one more token of each text.
    fn step(&self, decoding: &mut Decoding, token: Tensor<2, Int>) -> Tensor<3> {
        let mut hidden = self.embed(token);
        let states = decoding.layers.iter_mut().zip(&mut decoding.inputs);
        for (layer, (state, inputs)) in self.layers.iter().zip(states) {
            inputs.push(hidden.clone());
            hidden = layer.step(hidden, state);
        }
        decoding.position += 1;
        if decoding.position == decoding.segment {
            self.look_back(decoding);
        }
        hidden
    }

    /// Makes the layers' states anew from the memory and the segment so far, which becomes memory
    /// where it is whole.
    fn look_back(&self, decoding: &mut Decoding) {
        let joined = |pieces: &mut Vec<Tensor<3>>| match pieces.len() {
            0 => None,
            1 => pieces.first().cloned(),
            _ => {
                let all = Tensor::cat(std::mem::take(pieces), 1);
                pieces.push(all.clone());
                Some(all)
            }
        };
        if decoding.position == decoding.segment {
            let inputs: Vec<_> = decoding.inputs.iter_mut().filter_map(joined).collect();
            decoding.memory = self.remember(decoding.memory.clone(), inputs).0;
            decoding.inputs.iter_mut().for_each(Vec::clear);
            decoding.position = 0;
        }
        let layers = self.layers.iter().zip(&mut decoding.inputs).enumerate();
        decoding.layers = layers
            .map(|(number, (layer, inputs))| {
                layer.state(
                    decoding.memory.layer(number),
                    joined(inputs),
                    &decoding.distances,
                )
            })
            .collect();
    }
}
