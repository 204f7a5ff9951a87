//! Samples to tensors.

mod collated;
mod host;

use burn::tensor::{Device, Int, Tensor};
use transformer_ls_burn::{Classifier, ClassifierConfig, Input, MaskedTokens, Tokens};
use transformer_ls_datasets::Sample;

use collated::Collated;
pub use host::{HostBatch, HostMaskedBatch};

/// The id that fills up a row after a document's end, and that a model never attends to.
pub const PADDING: u16 = 0;

/// A batch as the model takes it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The documents: one entry, or two where the task compares two documents.
    pub tokens: Vec<Tokens>,
    /// The rows that are classified `[count]`, in the batch read row by row, where not each document
    /// is.
    pub places: Option<Tensor<1, Int>>,
    /// The classes `[count]`.
    pub labels: Tensor<1, Int>,
    /// The number of samples, or of rows that are classified.
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
            (Some(only), None) => match self.places {
                Some(places) => model.forward_rows(only, places),
                None => model.forward(only),
            },
            (None, _) => unreachable!("a batch is made of at least one document a sample"),
        }
    }
}

/// Whether a token is hidden from the model, given the number of its document in the batch (a sample's two
/// count apart, one after the other), at this place in it.
pub type Hides<'a> = &'a dyn Fn(usize, usize) -> bool;

/// The classes of rows inside a document with these ids, each with its place.
pub type Values<'a> = &'a dyn Fn(&[u16]) -> Vec<(usize, u8)>;

/// A batch with some of its tokens hidden, to be filled in.
#[derive(Clone, Debug)]
pub struct MaskedBatch {
    /// The documents: one entry, or two where the task compares two documents.
    pub tokens: Vec<MaskedTokens>,
    /// The number of hidden tokens.
    pub masked: usize,
    /// The number of tokens in all documents, padding left out.
    pub real_tokens: usize,
}

/// Puts samples into batches, in one of two ways that give the same answers:
///
/// * *padded*: a document a row, each row as long as the model's positions, whatever the documents'
///   lengths, so that every batch has one shape (Burn's products are tuned for a shape);
/// * *packed*: the documents end to end in one row, so that no time is spent on padding.
///
/// What is padding depends on the model: id 0, or, where ids are pixels that it takes as numbers,
/// nothing but what a row is filled up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batcher {
    max_length: usize,
    packed: bool,
    pixels: bool,
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
            pixels: false,
            short_rows: false,
        }
    }

    /// A batcher for a model of this configuration.
    pub fn for_model(model: &ClassifierConfig, packed: bool) -> Self {
        Self {
            pixels: model.encoder.embedding.input == Input::Floats,
            ..Self::new(model.encoder.embedding.max_length, packed)
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
        self.on_host(samples).to_device(device, dropout_seed)
    }

    /// [`batch`](Self::batch) before its numbers are on a device.
    ///
    /// # Panics
    ///
    /// As [`batch`](Self::batch).
    pub fn on_host(&self, samples: &[Sample]) -> HostBatch {
        HostBatch {
            documents: self.collate(samples).collect(),
            places: None,
            labels: samples.iter().map(|sample| sample.label).collect(),
        }
    }

    /// The batch of these samples in which rows have classes: of a document the last row its label, and
    /// those before it what `values` says.
    ///
    /// # Panics
    ///
    /// As [`batch`](Self::batch), and for samples of two documents.
    pub fn rows_on_host(&self, samples: &[Sample], values: Values) -> HostBatch {
        let mut collated = self.collate(samples);
        let (Some(collated), None) = (collated.next(), collated.next()) else {
            panic!("rows of two documents have no classes");
        };
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        for (sample, start) in samples.iter().zip(collated.starts()) {
            let document = sample.documents.iter().next().unwrap_or_default();
            let end = document.len().min(self.max_length).max(1) - 1;
            let inner = values(document);
            let inner = inner.into_iter().filter(|(place, _)| *place < end);
            for (place, value) in inner.chain([(end, sample.label)]) {
                places.push((start + place) as i32);
                labels.push(value);
            }
        }
        HostBatch {
            documents: vec![collated],
            places: Some(places),
            labels,
        }
    }

    /// The batch of these samples with some of their tokens hidden. Labels are not looked at, and
    /// padding is never hidden.
    ///
    /// # Panics
    ///
    /// As [`batch`](Self::batch).
    pub fn masked_on_host(&self, samples: &[Sample], hides: Hides) -> HostMaskedBatch {
        let masked = self.collate(samples).enumerate().map(|(which, collated)| {
            let hides = |document, place| hides(2 * document + which, place);
            let (mask, places) = collated.mask(&hides);
            (collated, mask, places)
        });
        HostMaskedBatch(masked.collect())
    }

    /// The samples' documents, or their first and their second ones, as they lie in a batch.
    fn collate(&self, samples: &[Sample]) -> impl Iterator<Item = Collated> {
        assert!(!samples.is_empty(), "a batch needs at least one sample");
        let per_sample = samples[0].documents.count();
        assert!(
            samples
                .iter()
                .all(|sample| sample.documents.count() == per_sample),
            "samples of one document and of two cannot be in one batch"
        );
        (0..per_sample).map(move |which| {
            let documents: Vec<&[u16]> = samples
                .iter()
                .filter_map(|sample| sample.documents.iter().nth(which))
                .map(|document| &document[..document.len().min(self.max_length)])
                .collect();
            let holds_padding =
                !self.pixels && documents.iter().any(|document| document.contains(&PADDING));
            let all_empty = documents.iter().all(|document| document.is_empty());
            match self.packed && !holds_padding && !all_empty {
                true => Collated::packed(&documents),
                false => Collated::padded(&documents, self.max_length, self.pixels),
            }
        })
    }
}

/// The tokens of a sample's longest document.
pub(crate) fn longest_document(sample: &Sample) -> usize {
    sample.documents.iter().map(<[u16]>::len).max().unwrap_or(0)
}
