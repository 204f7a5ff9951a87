//! Switches of this process for tests: they show faults that one device would hide.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::tiles::Limits;

static POISON: AtomicBool = AtomicBool::new(false);
static LIMITS: RwLock<Option<Limits>> = RwLock::new(None);

/// Whether kernels get memory full of NaN instead of whatever lies there: an entry that one of them
/// leaves out is seen, and so is one that it reads before it is written.
pub fn poison_memory(poison: bool) {
    POISON.store(poison, Ordering::SeqCst);
}

/// Has kernels keep within these limits instead of their device's; `None` ends it.
pub fn force_limits(limits: Option<Limits>) {
    *LIMITS.write().unwrap_or_else(PoisonError::into_inner) = limits;
}

pub(crate) fn memory_is_poisoned() -> bool {
    POISON.load(Ordering::SeqCst)
}

pub(crate) fn forced_limits() -> Option<Limits> {
    *LIMITS.read().unwrap_or_else(PoisonError::into_inner)
}
