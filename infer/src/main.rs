//! `ls-infer`: answers from trained Long-Short Transformers.

mod cli;

use std::process::ExitCode;

/// Tensors are big and short-lived: mimalloc keeps their pages, where the system's allocator gives
/// them back and has them zeroed again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: the first thing that the program does, with one thread.
    unsafe { transformer_ls_infer::device::hush_graphics_drivers() };
    transformer_ls_infer::memory::keep();
    cli::run()
}
