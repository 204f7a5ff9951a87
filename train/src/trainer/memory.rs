//! How much memory a run uses: reserved bytes on a device that has a pool of its own,
//! resident bytes of the process on a CPU.

use burn::tensor::Device;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
use transformer_ls_infer::device::{device_bytes, peak_resident_bytes};

/// Bytes in use now.
pub fn bytes(device: &Device) -> Option<u64> {
    device_bytes(device).or_else(resident_bytes)
}

/// The greatest use so far, given what was `seen` before.
///
/// A process's peak is the operating system's own figure; of a pool there is none, but it
/// hardly ever shrinks, so looking at each evaluation is enough.
pub fn peak(device: &Device, seen: Option<u64>) -> Option<u64> {
    device_bytes(device).or_else(peak_resident_bytes).max(seen)
}

/// Resident bytes of this process now.
pub fn resident_bytes() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(pid).map(sysinfo::Process::memory)
}
