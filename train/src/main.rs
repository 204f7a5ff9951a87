//! The `ls-train` command: everything lives in the library, see [`transformer_ls_train::cli`].

use std::process::ExitCode;

/// Each tensor operation makes a fresh buffer, and the system's allocator hands big
/// ones back to the kernel each time: on the CPU that costs more than the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: the first thing that the program does, with one thread.
    unsafe { transformer_ls_infer::device::hush_graphics_drivers() };
    transformer_ls_infer::memory::keep();
    transformer_ls_train::cli::run()
}
