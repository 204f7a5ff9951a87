//! Batches that are made and not yet on a device: what a thread that reads ahead makes, so that the one
//! that owns the device has copies left to do.

use burn::tensor::{Device, Tensor, TensorData};
use transformer_ls_burn::MaskedTokens;

use super::collated::Collated;
use super::{Batch, MaskedBatch};

/// A [`Batch`] on the host.
#[derive(Clone, Debug)]
pub struct HostBatch {
    pub(super) documents: Vec<Collated>,
    pub(super) places: Option<Vec<i32>>,
    pub(super) labels: Vec<u8>,
}

impl HostBatch {
    /// The batch, copied to the device; the seed is that of its dropout.
    pub fn to_device(self, device: &Device, dropout_seed: Option<u64>) -> Batch {
        let count = self.labels.len();
        Batch {
            real_tokens: self.documents.iter().map(|it| it.document_tokens).sum(),
            tokens: self
                .documents
                .into_iter()
                .map(|documents| documents.tokens(device, dropout_seed))
                .collect(),
            places: self
                .places
                .map(|places| Tensor::from_data(TensorData::new(places, [count]), device)),
            labels: Tensor::from_data(TensorData::new(self.labels, [count]), device),
            count,
        }
    }
}

/// A [`MaskedBatch`] on the host: documents, which ids are hidden, and where those are.
#[derive(Clone, Debug)]
pub struct HostMaskedBatch(pub(super) Vec<(Collated, Vec<bool>, Vec<i32>)>);

impl HostMaskedBatch {
    /// The batch, copied to the device; the seed is that of its dropout.
    pub fn to_device(self, device: &Device, dropout_seed: Option<u64>) -> MaskedBatch {
        let mut batch = MaskedBatch {
            tokens: Vec::new(),
            masked: 0,
            real_tokens: 0,
        };
        for (documents, mask, places) in self.0 {
            batch.masked += places.len();
            batch.real_tokens += documents.document_tokens;
            let mask = Tensor::from_data(TensorData::new(mask, documents.shape), device);
            let count = places.len();
            let places = Tensor::from_data(TensorData::new(places, [count]), device);
            let tokens = documents.tokens(device, dropout_seed);
            batch.tokens.push(MaskedTokens::new(tokens, mask, places));
        }
        batch
    }
}
