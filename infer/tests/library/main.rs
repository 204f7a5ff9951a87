//! The library's tests, in one binary, so that the backends are linked once.

mod batch;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod device;
mod evaluate;
mod language;
mod pixels;
mod run_folder;
mod shipped;
mod vocabulary;
mod weights_file;
