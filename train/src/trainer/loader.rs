//! Batches for `burn-train`: a [`DataLoader`] whose order is a function of the run's
//! seed and the step, read one batch ahead on a thread of its own.
//!
//! `burn-train`'s own loaders are of no use here. With several workers, batches arrive in
//! the order in which they are completed, and no loader can start in the middle of an epoch.
//!
//! The thread reads and tokenises the samples. Tensors are made on the thread that
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
use transformer_ls_infer::batch::Batcher;

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

/// Step, part of the step, samples.
type Read = (usize, usize, Result<Vec<Sample>, DatasetError>);

/// The samples of one batch, ahead of the batch before it.
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
        let dataset = loader.dataset.clone();
        let (batch_size, steps, seed) = (loader.batch_size, loader.steps.clone(), loader.seed);
        let parts = loader.parts();
        let reader = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || {
                let mut schedule = Schedule::new(seed, dataset.len(), batch_size);
                for step in steps {
                    let indices = schedule.indices(step).to_vec();
                    for part in 0..parts {
                        let samples = dataset.get_many(part_of(&indices, part, parts).to_vec());
                        let failed = samples.is_err();
                        if sender.send((step, part, samples)).is_err() || failed {
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
        let (step, part, samples) = self.receiver.as_ref()?.recv().ok()?;
        Some(samples.map(|samples| {
            self.done += samples.len();
            let dropout = Some(dropout_seed(self.loader.seed, step, part));
            let (batcher, device) = (&self.loader.batcher, &self.loader.device);
            let Some(masking) = self.loader.masking else {
                return match self.loader.inner_values {
                    Some(tokenizer) => {
                        let inner = |ids: &_| {
                            let values = spread(values(tokenizer, ids), OF_A_DEPTH);
                            values.iter().map(|it| (it.place, it.value)).collect()
                        };
                        batcher.batch_of_rows(&samples, device, dropout, &inner)
                    }
                    None => batcher.batch(&samples, device, dropout),
                }
                .into();
            };
            // However a step is cut, it hides the same.
            let mask = masking.step(step).after(self.loader.before(part));
            let hides = |document, place| mask.hides(document, place);
            Batch::Masked(batcher.masked_batch(&samples, device, dropout, &hides))
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
