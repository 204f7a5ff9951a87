//! Batches for `burn-train`: a [`DataLoader`] whose order is a function of the run's
//! seed and the step, made one batch ahead on a thread of its own.
//!
//! `burn-train`'s own loaders are of no use here. With several workers, batches arrive in
//! the order in which they are completed, and no loader can start in the middle of an epoch.
//!
//! The thread reads the samples, hides tokens, and lays out the batch. Tensors are made on the thread that
//! trains, since CubeCL keeps a queue a thread: a copy of a few hundred kilobytes costs
//! less than joining two queues.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::transform::PartialDataset;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use transformer_ls_datasets::Sample;
use transformer_ls_datasets::listops::{Tokenizer, spread, values};
use transformer_ls_infer::batch::{Batcher, HostBatch, HostMaskedBatch};

use super::masking::Masking;
use super::model::Batch;
use super::order::{Schedule, dropout_seed, part_of};

/// The values that are learned at most of each depth of an expression.
const OF_A_DEPTH: usize = 16;

/// Batches of a data set for a range of steps: shuffled each epoch, with seeds for dropout.
#[derive(Clone)]
pub struct StepLoader {
    dataset: Arc<dyn Dataset<Sample>>,
    batcher: Batcher,
    batch_size: usize,
    accumulate: usize,
    seed: u64,
    steps: Range<usize>,
    device: Device,
    masking: Option<Masking>,
    inner_values: Option<Tokenizer>,
}

impl StepLoader {
    /// Shuffled batches for the given steps, over as many epochs as that takes.
    pub fn shuffled(
        dataset: Arc<dyn Dataset<Sample>>,
        batcher: Batcher,
        batch_size: usize,
        seed: u64,
        steps: Range<usize>,
        device: Device,
    ) -> Self {
        Self {
            dataset,
            batcher,
            batch_size,
            accumulate: 1,
            seed,
            steps,
            device,
            masking: None,
            inner_values: None,
        }
    }

    /// The same samples a step, in up to `accumulate` batches one after the other.
    pub fn accumulate(self, accumulate: usize) -> Self {
        Self { accumulate, ..self }
    }

    /// The batches that a step takes: no more than it has samples.
    pub fn parts(&self) -> usize {
        let samples = self.batch_size.min(self.dataset.len()).max(1);
        self.accumulate.clamp(1, samples)
    }

    /// The samples of a step before those of one of its parts.
    fn before(&self, part: usize) -> usize {
        let samples = self.batch_size.min(self.dataset.len());
        part * samples / self.parts()
    }

    /// Batches with hidden tokens, if any are to be hidden.
    pub fn masked(self, masking: Option<Masking>) -> Self {
        Self { masking, ..self }
    }

    /// Batches with the values inside an expression, and not of the whole alone, if its tokenizer is
    /// given.
    pub fn inner_values(self, inner_values: Option<Tokenizer>) -> Self {
        Self {
            inner_values,
            ..self
        }
    }

    /// The batch of a part of a step.
    fn prepare(&self, step: usize, part: usize, samples: &[Sample]) -> Prepared {
        if let Some(masking) = self.masking {
            // However a step is cut, it hides the same.
            let mask = masking.step(step).after(self.before(part));
            let hides = |document, place| mask.hides(document, place);
            return Prepared::Masked(self.batcher.masked_on_host(samples, &hides));
        }
        Prepared::Classified(match self.inner_values {
            Some(tokenizer) => {
                let inner = |ids: &_| {
                    let values = spread(values(tokenizer, ids), OF_A_DEPTH);
                    values.iter().map(|it| (it.place, it.value)).collect()
                };
                self.batcher.rows_on_host(samples, &inner)
            }
            None => self.batcher.on_host(samples),
        })
    }
}

impl DataLoader<Batch> for StepLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Ahead::start(self))
    }

    fn num_items(&self) -> usize {
        self.steps.len() * self.batch_size
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            dataset: Arc::new(PartialDataset::new(self.dataset.clone(), start, end)),
            ..self.clone()
        })
    }
}

/// A batch that is not on the device yet.
enum Prepared {
    Classified(HostBatch),
    Masked(HostMaskedBatch),
}

/// Step, part of the step, the number of its samples, and their batch.
type Read = (usize, usize, Result<(usize, Prepared), DatasetError>);

/// Makes each batch while the one before it is trained on.
struct Ahead<'a> {
    loader: &'a StepLoader,
    receiver: Option<Receiver<Read>>,
    reader: Option<JoinHandle<()>>,
    done: usize,
}

impl<'a> Ahead<'a> {
    fn start(loader: &'a StepLoader) -> Self {
        // No buffer in the channel: the reader holds one finished batch and waits with it.
        let (sender, receiver) = sync_channel::<Read>(0);
        let own = loader.clone();
        let reader = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || {
                let parts = own.parts();
                let mut schedule = Schedule::new(own.seed, own.dataset.len(), own.batch_size);
                for step in own.steps.clone() {
                    let indices = schedule.indices(step).to_vec();
                    for part in 0..parts {
                        let indices = part_of(&indices, part, parts).to_vec();
                        let samples = own.dataset.get_many(indices);
                        let failed = samples.is_err();
                        let batch = samples.map(|it| (it.len(), own.prepare(step, part, &it)));
                        if sender.send((step, part, batch)).is_err() || failed {
                            return;
                        }
                    }
                }
            })
            .ok();
        Self {
            loader,
            receiver: Some(receiver),
            reader,
            done: 0,
        }
    }
}

impl Iterator for Ahead<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Ok((step, part, batch)) = self.receiver.as_ref()?.recv() else {
            // All is read, or the reader has panicked.
            let ended = self.reader.take().map(JoinHandle::join);
            if let Some(Err(panic)) = ended {
                std::panic::resume_unwind(panic);
            }
            return None;
        };
        Some(batch.map(|(samples, batch)| {
            self.done += samples;
            let dropout = Some(dropout_seed(self.loader.seed, step, part));
            let device = &self.loader.device;
            match batch {
                Prepared::Classified(batch) => batch.to_device(device, dropout).into(),
                Prepared::Masked(batch) => Batch::Masked(batch.to_device(device, dropout)),
            }
        }))
    }
}

impl DataLoaderIterator<Batch> for Ahead<'_> {
    fn progress(&self) -> Progress {
        Progress::new(
            self.done,
            self.loader.num_items(),
            Some("samples".to_string()),
        )
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        // The reader's next hand-over fails, and it ends.
        self.receiver.take();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::data::dataset::InMemDataset;
    use transformer_ls_datasets::TokenIds;

    use super::*;

    /// A panic while a batch is made is that of the thread that wants it.
    #[test]
    fn a_panic_of_the_reader_is_passed_on() {
        let sample = |documents| Sample {
            documents,
            label: 0,
        };
        let samples = vec![
            sample(TokenIds::One(vec![1])),
            sample(TokenIds::Two(vec![1], vec![1])),
        ];
        let dataset = Arc::new(InMemDataset::new(samples));
        let batcher = Batcher::new(4, true);
        let loader = StepLoader::shuffled(dataset, batcher, 2, 1, 0..1, Device::flex());
        let first = std::panic::AssertUnwindSafe(|| loader.iter().next().is_some());
        let panic = std::panic::catch_unwind(first).expect_err("no batch of both kinds");
        let words = panic.downcast_ref::<&str>().expect("words");
        assert!(words.contains("cannot be in one batch"), "{words}");
    }
}
