//! How records get out of `burn-train`, and back in.
//!
//! `burn-train`'s `Learner` hides its optimizer; only a `LearningCheckpointer` may take
//! its record. Its file checkpointer, though, writes model, optimizer and scheduler from
//! three threads with nothing that says when all are there, and panics when one cannot
//! be read. So the three [`Handover`]s below, put in its place, write nothing: saving
//! hands the record to the training loop, which writes a checkpoint in one piece
//! (`checkpoint.rs`); restoring gives the record that was read and validated beforehand.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use super::lock;

/// Everything of a learner that a checkpoint holds.
pub struct Records {
    /// The weights, with the parameters' identities.
    pub model: ModuleRecord,
    /// AdamW's moments and step counts.
    pub optimizer: OptimizerRecord,
    /// The schedule's position.
    pub scheduler: LrSchedulerRecord,
}

/// Hands saved records over instead of writing them.
pub struct Handover<R> {
    sender: Sender<R>,
    validated: Mutex<Option<R>>,
}

impl<R: Checkpoint> Checkpointer<R> for Handover<R> {
    fn save(&self, _step: usize, record: R) -> Result<(), CheckpointerError> {
        self.sender
            .send(record)
            .map_err(|_| CheckpointerError::Unknown("the training loop has ended".into()))
    }

    fn delete(&self, _step: usize) -> Result<(), CheckpointerError> {
        // Old checkpoints are removed where new ones are written.
        Ok(())
    }

    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        lock(&self.validated)
            .take()
            .ok_or_else(|| CheckpointerError::Unknown(format!("nothing was read for {step}")))
    }
}

/// The loop's end of the three handovers.
pub struct Collector {
    model: Receiver<ModuleRecord>,
    optimizer: Receiver<OptimizerRecord>,
    scheduler: Receiver<LrSchedulerRecord>,
}

impl Collector {
    /// Waits for the records of one save; `None` if a checkpointer thread is gone.
    pub fn collect(&self) -> Option<Records> {
        Some(Records {
            model: self.model.recv().ok()?,
            optimizer: self.optimizer.recv().ok()?,
            scheduler: self.scheduler.recv().ok()?,
        })
    }
}

/// The three handovers (model, optimizer, scheduler) and the loop's end of them.
#[allow(clippy::type_complexity)]
pub fn handovers(
    resumed: Option<Records>,
) -> (
    Handover<ModuleRecord>,
    Handover<OptimizerRecord>,
    Handover<LrSchedulerRecord>,
    Collector,
) {
    fn pair<R>(record: Option<R>) -> (Handover<R>, Receiver<R>) {
        let (sender, receiver) = channel();
        let validated = Mutex::new(record);
        (Handover { sender, validated }, receiver)
    }
    let (model, optimizer, scheduler) = match resumed {
        Some(records) => (
            Some(records.model),
            Some(records.optimizer),
            Some(records.scheduler),
        ),
        None => (None, None, None),
    };
    let (model, from_model) = pair(model);
    let (optimizer, from_optimizer) = pair(optimizer);
    let (scheduler, from_scheduler) = pair(scheduler);
    let collector = Collector {
        model: from_model,
        optimizer: from_optimizer,
        scheduler: from_scheduler,
    };
    (model, optimizer, scheduler, collector)
}

/// Saves at every call: the loop decides when to call.
pub struct EveryCall;

impl CheckpointingStrategy for EveryCall {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}
