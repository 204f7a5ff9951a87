//! How the documents of a batch lie, and the tensors that follow from it.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::rotary::Rotation;
use crate::ops::Layout;

/// A [`Layout`] with the tensors that attentions derive from it. Each is made when it is first asked
/// for, so that the blocks of a model, which are given the same one, share them.
#[derive(Clone, Debug)]
pub struct BatchLayout {
    layout: Layout,
    made: Arc<Made>,
}

#[derive(Debug, Default)]
struct Made {
    rotation: Once<Rotation>,
    owners: Once<Tensor<1, Int>>,
    documents: Once<Option<Tensor<4>>>,
    rows: Once<Tensor<2, Bool>>,
    shares: Once<Tensor<4>>,
    spread: Once<[Tensor<1, Int>; 2]>,
}

impl From<Layout> for BatchLayout {
    fn from(layout: Layout) -> Self {
        let made = Arc::default();
        Self { layout, made }
    }
}

impl BatchLayout {
    /// How documents lie in the batch.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The angles of `n` tokens, for heads of this even width.
    pub(super) fn rotation(&self, n: usize, width: usize, device: &Device) -> Rotation {
        self.made.rotation.get(device, [n, width], || {
            Rotation::new(&self.layout.positions(n), width, device)
        })
    }

    /// The number of its document for each token of a packed batch, `[Σn]`; none for others.
    pub(super) fn owners(&self, device: &Device) -> Option<Tensor<1, Int>> {
        let Layout::Packed(boundaries) = &self.layout else {
            return None;
        };
        let make = || index(boundaries.document_of_each_token(), device);
        Some(self.made.owners.get(device, [0, 0], make))
    }

    /// 1 for a document with a real token, 0 for one without, `[documents, 1, 1, 1]`; none if all
    /// have.
    pub(super) fn real_documents(&self, device: &Device) -> Option<Tensor<4>> {
        self.made.documents.get(device, [0, 0], || {
            let real = self.layout.document_is_real(device)?;
            Some(real.reshape([-1, 1, 1, 1]))
        })
    }

    /// The mask of a padded batch behind as many rows of its documents' own, `[b, own + n]`, which
    /// are as real as the document; none for other batches.
    pub(super) fn real_rows(&self, own: usize) -> Option<Tensor<2, Bool>> {
        let Layout::Padded(mask) = &self.layout else {
            return None;
        };
        if own == 0 {
            return Some(mask.clone());
        }
        Some(self.made.rows.get(&mask.device(), [own, 0], || {
            let any = mask.clone().int().max_dim(1).equal_elem(1);
            let parts = std::iter::repeat_n(any, own).chain([mask.clone()]);
            Tensor::cat(parts.collect(), 1)
        }))
    }

    /// 1 for a real row of [`real_rows`](Self::real_rows), 0 for padding, `[b, 1, own + n, 1]`.
    pub(super) fn real_shares(&self, own: usize) -> Option<Tensor<4>> {
        let real = self.real_rows(own)?;
        let [b, m] = real.dims();
        Some(self.made.shares.get(&real.device(), [own, 0], || {
            real.clone().float().reshape([b, 1, m, 1])
        }))
    }

    /// Where the rows of a packed batch lie when its documents are `gap` rows apart, as
    /// [`Boundaries::spread`](crate::Boundaries) says; none for other batches.
    pub(super) fn spread(&self, gap: usize, device: &Device) -> Option<[Tensor<1, Int>; 2]> {
        let Layout::Packed(boundaries) = &self.layout else {
            return None;
        };
        Some(self.made.spread.get(device, [gap, 0], || {
            let (rows, places) = boundaries.spread(gap);
            [rows, places].map(|rows| index(rows, device))
        }))
    }
}

fn index(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// A value that is kept for the device and the sizes that it was first asked for with: those of a
/// model's blocks are alike.
#[derive(Debug)]
struct Once<T>(OnceLock<(Key, T)>);

/// A device, whether it differentiates, and sizes.
type Key = (Device, bool, [usize; 2]);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Clone> Once<T> {
    fn get(&self, device: &Device, sizes: [usize; 2], make: impl Fn() -> T) -> T {
        let make = || {
            #[cfg(test)]
            MADE.with(|made| made.set(made.get() + 1));
            make()
        };
        let key = (device.clone(), device.is_autodiff(), sizes);
        let (first, value) = self.0.get_or_init(|| (key.clone(), make()));
        match *first == key {
            true => value.clone(),
            false => make(),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How many values this thread has made.
    static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::super::{DenseAttentionConfig, LongShortAttentionConfig};
    use super::*;
    use crate::{Boundaries, EncoderConfig, Pooling, Tokens};

    /// Many blocks make what one block makes: angles, what a mask says of rows, and where the rows of
    /// a convolution lie.
    #[test]
    fn blocks_share_what_follows_from_the_layout() {
        let device = Device::flex();
        let long_short = LongShortAttentionConfig::new(8, 2)
            .with_rotary(true)
            .with_conv_kernel(Some(3));
        let dense = DenseAttentionConfig::new(8, 2).with_rotary(true);
        let ids = |shape| Tensor::<2, Int>::ones(shape, &device);
        let padded = || {
            let real = TensorData::new(vec![true, true, true, true, false, false], [2, 3]);
            let mask = Tensor::<2, Bool>::from_data(real, &device);
            Tokens::new(ids([2, 3])).layout(Layout::Padded(mask))
        };
        let packed = || {
            let boundaries = Boundaries::from_lengths(&[3, 0, 1]);
            Tokens::new(ids([1, 4])).layout(Layout::Packed(boundaries))
        };
        let made = |attention, layers, tokens| {
            let mut config = EncoderConfig {
                layers,
                pooling: Pooling::ClassEvery,
                ..EncoderConfig::default()
            };
            config.block.attention = attention;
            let encoder = config.init(&device).expect("a valid configuration");
            let before = MADE.get();
            encoder.forward(tokens);
            MADE.get() - before
        };
        for layers in [1, 4] {
            assert_eq!(made(long_short.clone().into(), layers, padded()), 2);
            assert_eq!(made(long_short.clone().into(), layers, packed()), 2);
            assert_eq!(made(dense.clone().into(), layers, padded()), 3);
            assert_eq!(made(dense.clone().into(), layers, packed()), 1);
        }
    }
}
