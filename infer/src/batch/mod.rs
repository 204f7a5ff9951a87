//! Samples to tensors.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use transformer_ls_burn::{
    Boundaries, Classifier, ClassifierConfig, Input, Layout, MaskedTokens, Tokens,
};
use transformer_ls_datasets::Sample;

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
        let collated: Vec<Collated> = self.collate(samples).collect();
        let labels: Vec<u8> = samples.iter().map(|sample| sample.label).collect();
        Batch {
            real_tokens: collated
                .iter()
                .map(|collated| collated.document_tokens)
                .sum(),
            tokens: collated
                .into_iter()
                .map(|collated| collated.tokens(device, dropout_seed))
                .collect(),
            places: None,
            labels: Tensor::from_data(TensorData::new(labels, [samples.len()]), device),
            count: samples.len(),
        }
    }

    /// The batch of these samples in which rows have classes: of a document the last row its label, and
    /// those before it what `values` says.
    ///
    /// # Panics
    ///
    /// As [`batch`](Self::batch), and for samples of two documents.
    pub fn batch_of_rows(
        &self,
        samples: &[Sample],
        device: &Device,
        dropout_seed: Option<u64>,
        values: Values,
    ) -> Batch {
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
        let count = places.len();
        Batch {
            real_tokens: collated.document_tokens,
            tokens: vec![collated.tokens(device, dropout_seed)],
            places: Some(Tensor::from_data(TensorData::new(places, [count]), device)),
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
            count,
        }
    }

    /// The batch of these samples with some of their tokens hidden. Labels are not looked at, and
    /// padding is never hidden.
    ///
    /// # Panics
    ///
    /// As [`batch`](Self::batch).
    pub fn masked_batch(
        &self,
        samples: &[Sample],
        device: &Device,
        dropout_seed: Option<u64>,
        hides: Hides,
    ) -> MaskedBatch {
        let mut batch = MaskedBatch {
            tokens: Vec::new(),
            masked: 0,
            real_tokens: 0,
        };
        for (which, collated) in self.collate(samples).enumerate() {
            let (mask, places) =
                collated.mask(&|document, place| hides(2 * document + which, place));
            batch.masked += places.len();
            batch.real_tokens += collated.document_tokens;
            let mask = Tensor::from_data(TensorData::new(mask, collated.shape), device);
            let count = places.len();
            let places = Tensor::from_data(TensorData::new(places, [count]), device);
            let tokens = collated.tokens(device, dropout_seed);
            batch.tokens.push(MaskedTokens::new(tokens, mask, places));
        }
        batch
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

/// Documents as they lie in a batch, on the host.
struct Collated {
    /// 16 bits each, as in the samples: the device makes them integers of its own.
    ids: Vec<u16>,
    shape: [usize; 2],
    lengths: Vec<usize>,
    /// Which ids are tokens, where not all are; none where documents lie end to end.
    real: Option<Vec<bool>>,
    packed: bool,
    /// The documents' tokens, ids of padding among them.
    document_tokens: usize,
}

impl Collated {
    /// Documents a row each, `[b, max_length]`.
    fn padded(documents: &[&[u16]], max_length: usize, pixels: bool) -> Self {
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
    fn packed(documents: &[&[u16]]) -> Self {
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
    fn starts(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().scan(0, |next, length| {
            let start = *next;
            *next += if self.packed { *length } else { self.shape[1] };
            Some(start)
        })
    }

    fn tokens(self, device: &Device, dropout_seed: Option<u64>) -> Tokens {
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
    fn mask(&self, hides: Hides) -> (Vec<bool>, Vec<i32>) {
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

/// The tokens of a sample's longest document.
pub(crate) fn longest_document(sample: &Sample) -> usize {
    sample.documents.iter().map(<[u16]>::len).max().unwrap_or(0)
}
