//! Device time by kernel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn_cubecl::cubecl::config::{TypeNameFormatLevel, type_name_format};
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::logging::{
    Duration, LaunchObservation, LaunchObserver, ProfileDuration, TimingMethod, TimingRequest,
};
use transformer_ls_burn::ops::traffic;

use super::KernelTime;

/// Runs `work`, which must leave nothing to do on the device, and times every kernel that it
/// launches.
///
/// Returns the most expensive kernels first.
pub(super) fn profile(work: impl FnOnce()) -> Vec<KernelTime> {
    let watch = Arc::new(Watch::default());
    traffic::start();
    let observation = LaunchObservation::new(watch.clone());
    work();
    drop(observation);
    let bytes = traffic::take();
    let launches = std::mem::take(&mut *watch.lock());
    let mut kernels = BTreeMap::<&str, KernelTime>::new();
    for (kernel, time) in launches {
        let seconds = match time {
            Time::Known(duration) => duration.as_secs_f64(),
            Time::Asked(profile) => {
                block_on(profile.resolve()).map_or(0.0, |ticks| ticks.duration().as_secs_f64())
            }
        };
        let entry = kernels.entry(kernel).or_insert_with(|| KernelTime {
            name: type_name_format(kernel, TypeNameFormatLevel::Balanced),
            launches: 0,
            seconds: 0.0,
            bytes: bytes.get(kernel).copied(),
        });
        entry.launches += 1;
        entry.seconds += seconds;
    }
    let mut kernels: Vec<_> = kernels.into_values().collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    kernels
}

enum Time {
    Asked(ProfileDuration),
    Known(Duration),
}

#[derive(Default)]
struct Watch(Mutex<Vec<(&'static str, Time)>>);

impl Watch {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, Time)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaunchObserver for Watch {
    fn launched(&self, _: &'static str) {}

    fn timing(&self) -> TimingRequest {
        TimingRequest::Deferred
    }

    fn profiled(&self, kernel: &'static str, profile: ProfileDuration) {
        self.lock().push((kernel, Time::Asked(profile)));
    }

    fn timed(&self, kernel: &'static str, duration: Duration, _: TimingMethod) {
        self.lock().push((kernel, Time::Known(duration)));
    }
}
