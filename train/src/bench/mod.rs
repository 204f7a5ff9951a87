//! Time and memory of attention and of a training step.
//!
//! Every figure comes from a process of its own ([`child`]): reserved memory hardly ever shrinks,
//! so a second measurement in the same process would be charged for the first; and a measurement
//! that dies for want of memory takes nothing else with it.
//!
//! * [`job`]: what can be measured, and what comes out;
//! * [`attention`], [`step`]: the work itself, in the child;
//! * [`timing`]: how time, memory and the device's bandwidth are taken;
//! * [`cost`]: the arithmetic and the memory traffic that the mathematics asks for;
//! * [`limits`]: what can't be held, said beforehand;
//! * [`picture`]: time and memory over the documents' length.

pub mod attention;
pub mod child;
pub mod cost;
mod error;
pub mod job;
pub mod limits;
pub mod picture;
pub mod step;
pub mod timing;

pub use error::BenchError;
