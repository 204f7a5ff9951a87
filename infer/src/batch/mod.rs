//! Samples to tensors.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::{Boundaries, Classifier, Layout, Tokens};
use transformer_ls_datasets::Sample;

/// The id that fills up a row after a document's end, and that a model never attends to.
pub const PADDING: u16 = 0;

/// A batch as the model takes it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The documents: one entry, or two where the task compares two documents.
    pub tokens: Vec<Tokens>,
    /// The classes `[count]`.
    pub labels: Tensor<1, Int>,
    /// The number of samples.
    pub count: usize,
    /// The number of tokens in all documents, padding left out.
    pub real_tokens: usize,
}

impl Batch {
    /// The model's logits.
    ///
    /// # Shapes
    ///
    /// - output: `[count, classes]`
    ///
    /// # Panics
    ///
    /// Panics if the model is for pairs and the batch is not, or the other way round.
    pub fn logits(self, model: &Classifier) -> Tensor<2> {
        let mut documents = self.tokens.into_iter();
        match (documents.next(), documents.next()) {
            (Some(first), Some(second)) => model.forward_pair(first, second),
            (Some(only), None) => model.forward(only),
            (None, _) => unreachable!("a batch is made of at least one document a sample"),
        }
    }
}

/// Puts samples into batches, in one of two ways that give the same answers:
///
/// * *padded*: a document a row, each row as long as the model's positions, whatever the documents'
///   lengths, so that every batch has one shape (kernels are compiled and tuned for a shape);
/// * *packed*: the documents end to end in one row, so that no time is spent on padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batcher {
    max_length: usize,
    packed: bool,
    short_rows: bool,
}

/// How many lengths of rows there are at most where rows may be short: kernels are compiled and
/// tuned for each.
const ROW_LENGTHS: usize = 8;

impl Batcher {
    /// A batcher for a model of `max_length` positions.
    pub fn new(max_length: usize, packed: bool) -> Self {
        Self {
            max_length,
            packed,
            short_rows: false,
        }
    }

    /// Lets an evaluation pad its batches no further than their documents ask for, where that does
    /// not change the answers: not with [`Pooling::MeanAll`], which counts the padding.
    ///
    /// [`Pooling::MeanAll`]: transformer_ls_burn::Pooling::MeanAll
    pub fn short_rows(self, short_rows: bool) -> Self {
        Self { short_rows, ..self }
    }

    /// Whether time is saved by putting documents of like length together.
    pub fn gains_by_length(&self) -> bool {
        self.short_rows && !self.packed
    }

    /// The batcher for a batch of these samples: rows no longer than an eighth of the model's
    /// positions beyond the longest document, where rows may be short.
    pub fn fitting(&self, samples: &[Sample]) -> Self {
        if !self.gains_by_length() {
            return *self;
        }
        let longest = samples.iter().map(longest_document).max().unwrap_or(0);
        let step = self.max_length.div_ceil(ROW_LENGTHS);
        let max_length = longest.max(1).next_multiple_of(step).min(self.max_length);
        Self {
            max_length,
            ..*self
        }
    }

    /// Whether documents are put end to end.
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// The batch of these samples.
    ///
    /// A document longer than the model's positions is cut there, as the protocols do. A batch
    /// with a document that holds the padding id itself (black pixels, in the image tasks) is
    /// padded even where packing was asked for: the mask can then hide those tokens.
    ///
    /// # Panics
    ///
    /// Panics if there is no sample, or if samples of one document are mixed with samples of two.
    pub fn batch(&self, samples: &[Sample], device: &Device, dropout_seed: Option<u64>) -> Batch {
        assert!(!samples.is_empty(), "a batch needs at least one sample");
        let per_sample = samples[0].documents.count();
        assert!(
            samples
                .iter()
                .all(|sample| sample.documents.count() == per_sample),
            "samples of one document and of two cannot be in one batch"
        );
        let mut real_tokens = 0;
        let tokens = (0..per_sample)
            .map(|which| {
                let documents: Vec<&[u16]> = samples
                    .iter()
                    .filter_map(|sample| sample.documents.iter().nth(which))
                    .map(|document| &document[..document.len().min(self.max_length)])
                    .collect();
                real_tokens += documents
                    .iter()
                    .map(|document| document.len())
                    .sum::<usize>();
                let holds_padding = documents.iter().any(|document| document.contains(&PADDING));
                let all_empty = documents.iter().all(|document| document.is_empty());
                let tokens = if self.packed && !holds_padding && !all_empty {
                    packed(&documents, device)
                } else {
                    padded(&documents, self.max_length, device)
                };
                match dropout_seed {
                    Some(seed) => tokens.dropout_seed(seed),
                    None => tokens,
                }
            })
            .collect();
        let labels: Vec<i32> = samples.iter().map(|sample| sample.label.into()).collect();
        Batch {
            tokens,
            labels: Tensor::from_data(TensorData::new(labels, [samples.len()]), device),
            count: samples.len(),
            real_tokens,
        }
    }
}

/// The tokens of a sample's longest document.
pub(crate) fn longest_document(sample: &Sample) -> usize {
    sample.documents.iter().map(<[u16]>::len).max().unwrap_or(0)
}

/// Documents a row each, `[b, max_length]`.
fn padded(documents: &[&[u16]], max_length: usize, device: &Device) -> Tokens {
    let shape = [documents.len(), max_length];
    let mut ids = vec![i32::from(PADDING); documents.len() * max_length];
    for (row, document) in ids.chunks_exact_mut(max_length).zip(documents) {
        for (place, &id) in row.iter_mut().zip(*document) {
            *place = id.into();
        }
    }
    let real: Vec<bool> = ids.iter().map(|&id| id != i32::from(PADDING)).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
    let real = Tensor::<2, Bool>::from_data(TensorData::new(real, shape), device);
    Tokens::new(ids).layout(Layout::Padded(real))
}

/// Documents end to end, `[1, Σn]`.
fn packed(documents: &[&[u16]], device: &Device) -> Tokens {
    let lengths: Vec<usize> = documents.iter().map(|document| document.len()).collect();
    let ids: Vec<i32> = documents.concat().into_iter().map(i32::from).collect();
    let shape = [1, ids.len()];
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
    Tokens::new(ids).layout(Layout::Packed(Boundaries::from_lengths(&lengths)))
}
