//! What the binaries' allocator does with memory that is free again.

use std::ffi::{c_int, c_long};

// The library links the allocator, so that the function is there whoever calls.
use mimalloc as _;

/// `mi_option_purge_delay` in `mimalloc.h`, alike in its versions 2 and 3.
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// Has mimalloc keep freed memory. For programs whose allocator it is.
///
/// Every step of a training makes the same large tensors. mimalloc gives memory back to the system
/// that has been free for 10 ms, and the system clears each page anew when the next step wants it:
/// up to a tenth of a step. The most memory that is held at once grows by a few percent.
pub fn keep() {
    // SAFETY: the declaration is that of `mimalloc.h`; any thread may set options at any time, and
    // mimalloc ignores numbers of options that it does not know.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}
