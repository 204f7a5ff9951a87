//! How time, memory and bandwidth are taken.
//!
//! * The device has nothing left to do before and after what is timed, and nothing is read back.
//! * A first run compiles and tunes kernels, and its result is looked at. What it has reserved
//!   besides is given back, so that memory is what the work needs, not what finding the fastest
//!   kernel took.
//! * A run that is over within [`LONG_ENOUGH`] is repeated without waiting for the device in
//!   between, and its share of the whole counts: the time to wait for a device is no part of it.
//! * The median counts.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use serde::{Deserialize, Serialize};
use transformer_ls_infer::device::{device_bytes, is_cubecl, peak_resident_bytes};

use super::BenchError;

/// Seconds beside which waiting for a device (some 10⁻⁵ of them) does not count.
const LONG_ENOUGH: f64 = 0.02;
/// At most so many runs without waiting in between: their operations are held in a queue.
const MOST_IN_A_ROW: f64 = 64.0;
/// A median of fewer tells little; taken unless a single run uses up the time.
const FEWEST: usize = 3;
/// What is copied to measure bandwidth: more than caches hold, and not more than the 128 MiB that
/// every WebGPU device binds at once.
const COPIED_FLOATS: usize = 1 << 25;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Timed runs at most.
    pub repeats: usize,
    /// No run is begun after so many seconds (three runs are, unless one takes that long).
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The median of a run.
    pub seconds: f64,
    /// The most memory in use after any run: reserved bytes of a device with memory pools,
    /// resident bytes of this process, ever, elsewhere.
    pub peak_bytes: Option<u64>,
}

/// Times `run`, whose result is kept until the device has been told everything: an operation
/// whose output nobody holds any more might be left out. The first result goes to `check`, since a
/// device may say nothing of work that it could not do until its result is read.
///
/// # Errors
///
/// What the device reports of work that failed, and what `check` returns.
pub fn time<T>(
    device: &Device,
    budget: &Budget,
    mut run: impl FnMut() -> T,
    check: impl FnOnce(T) -> Result<(), BenchError>,
) -> Result<Timing, BenchError> {
    let device = device.clone().without_autodiff();
    let first = run();
    device.sync()?;
    check(first)?;
    if is_cubecl(&device) {
        device.memory_cleanup();
    }
    let mut several = |count: usize| -> Result<f64, BenchError> {
        device.sync()?;
        let started = Instant::now();
        for _ in 0..count {
            let result = run();
            device.flush()?;
            drop(result);
        }
        device.sync()?;
        Ok(started.elapsed().as_secs_f64() / count as f64)
    };
    // The run after giving memory back reserves it again, and tells how long a run takes. Where
    // that is too long for another one, it counts all the same.
    let started = Instant::now();
    let trial = several(1)?;
    let mut peak = memory(&device);
    let mut seconds = Vec::new();
    if trial > budget.seconds {
        seconds.push(trial);
    }
    let count = (LONG_ENOUGH / trial).ceil().clamp(1.0, MOST_IN_A_ROW) as usize;
    let wanted = |taken: usize| match started.elapsed().as_secs_f64() {
        spent if spent < budget.seconds => taken < budget.repeats.max(1),
        _ => taken < FEWEST.min(budget.repeats.max(1)) && trial <= budget.seconds,
    };
    while wanted(seconds.len()) {
        seconds.push(several(count)?);
        peak = peak.max(memory(&device));
    }
    Ok(Timing {
        seconds: median(&mut seconds),
        peak_bytes: peak,
    })
}

/// Reads the sum of a result's magnitudes.
///
/// # Errors
///
/// What the device reports when it is asked for the number, or a number that random inputs don't
/// give: none at all, or 0.
pub(super) fn read<const D: usize>(result: Tensor<D>) -> Result<(), BenchError> {
    let sum = result.abs().sum().try_into_data()?;
    match sum.iter::<f64>().next() {
        Some(sum) if sum.is_finite() && sum != 0.0 => Ok(()),
        sum => Err(BenchError::Nonsense(sum.unwrap_or(f64::NAN))),
    }
}

fn memory(device: &Device) -> Option<u64> {
    device_bytes(device).or_else(peak_resident_bytes)
}

/// Bytes read and written in a second when the device copies a large tensor.
///
/// Where tensors lie in this process's memory, all threads copy: not every backend would.
///
/// # Errors
///
/// What the device reports of work that failed.
pub fn bytes_per_second(device: &Device, budget: &Budget) -> Result<f64, BenchError> {
    let device = device.clone().without_autodiff();
    let moved = (2 * size_of::<f32>() * COPIED_FLOATS) as f64;
    let seconds = if is_cubecl(&device) {
        let source = Tensor::<1>::random([COPIED_FLOATS], Distribution::Uniform(0.0, 1.0), &device);
        // The source lives on, so that the product cannot be made in its place.
        time(&device, budget, || source.clone() * 1.5, read)?.seconds
    } else {
        let source = vec![1.0f32; COPIED_FLOATS];
        let mut copy = vec![0.0f32; COPIED_FLOATS];
        let copy = || copy_with_all_threads(&source, &mut copy);
        time(&device, budget, copy, Ok)?.seconds
    };
    Ok(moved / seconds)
}

fn copy_with_all_threads(source: &[f32], copy: &mut [f32]) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = source.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (source, copy) in source.chunks(share).zip(copy.chunks_mut(share)) {
            scope.spawn(|| copy.copy_from_slice(source));
        }
    });
    std::hint::black_box(copy);
}

/// The middle value; the mean of the two in the middle of an even number.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }

    #[test]
    fn runs_are_counted_and_timed() {
        let device = Device::flex();
        let nap = std::time::Duration::from_millis(25);
        let mut runs = 0;
        let budget = Budget {
            repeats: 4,
            seconds: 60.0,
        };
        let run = || {
            runs += 1;
            std::thread::sleep(nap);
        };
        let timing = time(&device, &budget, run, Ok);
        let timing = timing.unwrap();
        // Two to warm up, four that count.
        assert_eq!(runs, 6);
        assert!(
            timing.seconds >= 0.025 && timing.seconds < 1.0,
            "{timing:?}"
        );
        // A run that takes longer than the budget is not repeated.
        let mut runs = 0;
        let budget = Budget {
            repeats: 4,
            seconds: 0.001,
        };
        let run = || {
            runs += 1;
            std::thread::sleep(nap);
        };
        let timing = time(&device, &budget, run, Ok);
        assert_eq!(runs, 2);
        assert!(timing.unwrap().seconds >= 0.025);
    }

    #[test]
    fn every_element_is_copied() {
        let source: Vec<f32> = (0..1001).map(|i| i as f32).collect();
        let mut copy = vec![0.0; 1001];
        copy_with_all_threads(&source, &mut copy);
        assert_eq!(source, copy);
    }
}
