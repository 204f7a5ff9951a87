//! Documents as they lie in a batch, on the host.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::{Boundaries, Layout, Tokens};

use super::{Hides, PADDING};

/// Documents as they lie in a batch.
#[derive(Clone, Debug)]
pub(super) struct Collated {
    /// 16 bits each, as in the samples: the device makes them integers of its own.
    ids: Vec<u16>,
    pub shape: [usize; 2],
    lengths: Vec<usize>,
    /// Which ids are tokens, where not all are; none where documents lie end to end.
    real: Option<Vec<bool>>,
    packed: bool,
    /// The documents' tokens, ids of padding among them.
    pub document_tokens: usize,
}

impl Collated {
    /// Documents a row each, `[b, max_length]`.
    pub fn padded(documents: &[&[u16]], max_length: usize, pixels: bool) -> Self {
        let mut ids = vec![PADDING; documents.len() * max_length];
        let mut real = vec![false; ids.len()];
        let rows = ids
            .chunks_exact_mut(max_length)
            .zip(real.chunks_exact_mut(max_length));
        for ((row, real), document) in rows.zip(documents) {
            for ((place, real), &id) in row.iter_mut().zip(real).zip(*document) {
                *place = id;
                *real = pixels || id != PADDING;
            }
        }
        let lengths: Vec<usize> = documents.iter().map(|document| document.len()).collect();
        // A mask that hides nothing costs a pass over the batch wherever it is asked.
        let whole = pixels && lengths.iter().all(|&length| length == max_length);
        Self {
            ids,
            shape: [documents.len(), max_length],
            document_tokens: lengths.iter().sum(),
            lengths,
            real: (!whole).then_some(real),
            packed: false,
        }
    }

    /// Documents end to end, `[1, Σn]`.
    pub fn packed(documents: &[&[u16]]) -> Self {
        let lengths: Vec<usize> = documents.iter().map(|document| document.len()).collect();
        let ids = documents.concat();
        Self {
            shape: [1, ids.len()],
            document_tokens: ids.len(),
            ids,
            lengths,
            real: None,
            packed: true,
        }
    }

    /// Where each document starts in the batch, read row by row.
    pub fn starts(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().scan(0, |next, length| {
            let start = *next;
            *next += if self.packed { *length } else { self.shape[1] };
            Some(start)
        })
    }

    pub fn tokens(self, device: &Device, dropout_seed: Option<u64>) -> Tokens {
        let ids = TensorData::new(self.ids, self.shape);
        let tokens = Tokens::new(Tensor::<2, Int>::from_data(ids, device));
        let tokens = match self.real {
            Some(real) => {
                let real = TensorData::new(real, self.shape);
                tokens.layout(Layout::Padded(Tensor::<2, Bool>::from_data(real, device)))
            }
            None if self.packed => {
                tokens.layout(Layout::Packed(Boundaries::from_lengths(&self.lengths)))
            }
            None => tokens,
        };
        match dropout_seed {
            Some(seed) => tokens.dropout_seed(seed),
            None => tokens,
        }
    }

    /// Which ids are hidden, and where those are. Where chance hides nothing, the first token
    /// is hidden: a step has to learn from something.
    pub fn mask(&self, hides: Hides) -> (Vec<bool>, Vec<i32>) {
        let mut mask = vec![false; self.ids.len()];
        let mut places = Vec::new();
        let mut first = None;
        for ((document, &length), start) in self.lengths.iter().enumerate().zip(self.starts()) {
            for place in 0..length {
                let at = start + place;
                let real = self.real.as_ref().is_none_or(|real| real[at]);
                if real && first.is_none() {
                    first = Some(at);
                }
                if real && hides(document, place) {
                    mask[at] = true;
                    places.push(at as i32);
                }
            }
        }
        if places.is_empty() {
            // Where there is no token at all, padding.
            let first = first.unwrap_or(0);
            mask[first] = true;
            places.push(first as i32);
        }
        (mask, places)
    }
}
