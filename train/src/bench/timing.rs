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

use anyhow::ensure;
use burn::tensor::{DType, Device, Distribution, Tensor};
use transformer_ls_infer::device::{KernelTime, is_cubecl, profile};

use super::job::Budget;
use crate::trainer::memory;

/// Seconds beside which waiting for a device (some 10⁻⁵ of them) does not count.
const LONG_ENOUGH: f64 = 0.02;
/// At most so many runs without waiting in between: their operations are held in a queue.
const MOST_IN_A_ROW: f64 = 64.0;
/// A median of fewer tells little; taken unless a single run uses up the time.
const FEWEST: usize = 3;
/// What is copied to measure bandwidth: more than caches hold, and not more than the 128 MiB that
/// every WebGPU device binds at once.
const COPIED_FLOATS: usize = 1 << 25;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The median of a run.
    pub seconds: f64,
    /// The most memory in use after any run: reserved bytes of a device with memory pools,
    /// resident bytes of this process, ever, elsewhere.
    pub peak_bytes: Option<u64>,
}

/// Times `run`, whose result is kept until the device has been told everything: an operation
/// whose output is not held any more might be left out. The first result goes to `check`, since a
/// device may say nothing of work that it could not do until its result is read.
///
/// # Errors
///
/// What the device reports of work that failed, and what `check` returns.
pub fn time<T>(
    device: &Device,
    budget: &Budget,
    mut run: impl FnMut() -> T,
    check: impl FnOnce(T) -> anyhow::Result<()>,
) -> anyhow::Result<Timing> {
    let device = device.clone().without_autodiff();
    let first = run();
    device.sync()?;
    check(first)?;
    if is_cubecl(&device) {
        device.memory_cleanup();
    }
    let mut several = |count: usize| -> anyhow::Result<f64> {
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
    let mut peak_bytes = memory::peak(&device, None);
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
        peak_bytes = memory::peak(&device, peak_bytes);
    }
    seconds.sort_by(f64::total_cmp);
    let (low, high) = ((seconds.len() - 1) / 2, seconds.len() / 2);
    Ok(Timing {
        seconds: (seconds[low] + seconds[high]) / 2.0,
        peak_bytes,
    })
}

/// Runs once and times every kernel. The kernels run one after the other without waiting for each
/// other's times.
///
/// # Errors
///
/// What the device reports of work that failed.
pub fn kernels<T>(device: &Device, run: impl FnOnce() -> T) -> anyhow::Result<Vec<KernelTime>> {
    let device = device.clone().without_autodiff();
    device.sync()?;
    let mut done = Ok(());
    let kernels = profile(|| {
        let result = run();
        done = device.sync();
        drop(result);
    });
    done?;
    Ok(kernels)
}

/// Reads the sum of a result's magnitudes.
///
/// # Errors
///
/// What the device reports when it is asked for the number, or a number that random inputs don't
/// give: none at all, or 0.
pub fn read<const D: usize>(result: Tensor<D>) -> anyhow::Result<()> {
    // Float16 ends at 65 504.
    let sum = result.cast(DType::F32).abs().sum().try_into_data()?;
    sensible(sum.iter::<f64>().next().unwrap_or(f64::NAN))
}

/// That a device computed something.
///
/// # Errors
///
/// If the number is none, or 0.
pub fn sensible(sum: f64) -> anyhow::Result<()> {
    ensure!(
        sum.is_finite() && sum != 0.0,
        "the device computed nonsense without reporting a failure (its magnitudes add up to {sum}), \
         most likely because a tensor is too large for it"
    );
    Ok(())
}

/// Bytes read and written in a second when the device copies a large tensor.
///
/// Where tensors lie in this process's memory, all threads copy: not every backend would.
///
/// # Errors
///
/// What the device reports of work that failed.
pub fn bytes_per_second(device: &Device, budget: &Budget) -> anyhow::Result<f64> {
    let device = device.clone().without_autodiff();
    let moved = (2 * size_of::<f32>() * COPIED_FLOATS) as f64;
    let timing = if is_cubecl(&device) {
        let source = Tensor::<1>::random([COPIED_FLOATS], Distribution::Uniform(0.0, 1.0), &device);
        // The source lives on, so that the product cannot be made in its place.
        time(&device, budget, || source.clone() * 1.5, read)?
    } else {
        let source = vec![1.0f32; COPIED_FLOATS];
        let mut copy = vec![0.0f32; COPIED_FLOATS];
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = COPIED_FLOATS.div_ceil(threads);
        let copying = || {
            std::thread::scope(|scope| {
                for (source, copy) in source.chunks(share).zip(copy.chunks_mut(share)) {
                    scope.spawn(|| copy.copy_from_slice(source));
                }
            });
            std::hint::black_box(&copy);
        };
        time(&device, budget, copying, Ok)?
    };
    Ok(moved / timing.seconds)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_and_timed() {
        // A run that takes longer than the budget is not repeated.
        for (seconds, counted) in [(60.0, 4), (0.001, 0)] {
            let mut runs = 0;
            let budget = Budget {
                repeats: 4,
                seconds,
            };
            let run = || {
                runs += 1;
                std::thread::sleep(std::time::Duration::from_millis(25));
            };
            let timing = time(&Device::flex(), &budget, run, Ok).unwrap();
            // Two to warm up.
            assert_eq!(runs, 2 + counted);
            assert!((0.025..1.0).contains(&timing.seconds), "{timing:?}");
        }
    }
}
