//! Time and memory of attention and of a training step.
//!
//! Every measurement is a process of its own ([`process`]).
//!
//! * [`job`]: what can be measured, and what comes out;
//! * [`cost`]: the arithmetic and the memory traffic that the mathematics asks for;
//! * [`limits`]: what does not fit into memory, said beforehand;
//! * [`timing`]: how time, memory and the device's bandwidth are taken;
//! * [`attention`], [`step`], [`language`]: the work itself;
//! * [`picture`]: time and memory over the documents' length.

mod attention;
mod cost;
pub mod job;
pub mod language;
pub mod limits;
pub mod picture;
pub mod process;
pub mod step;
mod timing;
