//! What takes no more memory: three epochs of training and validation, and a wide window.
//!
//! Burn's users have seen device memory grow with every epoch of training and validation
//! (burn#4792, burn#2042): the pool must not grow once the first epoch has been through.

mod common;

use common::{Workplace, adapter, stderr, stdout};

/// 38 training samples in batches of 4: an epoch of 9 steps, evaluated three times in each.
const SAMPLES: usize = 40;
const EPOCH: usize = 9;
const STEPS: &[&str] = &["--steps", "27", "--set", "evaluate_every=3"];

#[test]
fn a_device_pool_stays_flat_over_three_epochs() {
    let Some(wgpu) = adapter() else { return };
    let place = Workplace::with_data(SAMPLES);
    let run = place.train("run", &[STEPS, &["--device", &wgpu][..]].concat());
    assert!(run.status.success(), "{}", stderr(&run));
    let lines = place.metrics("run");
    let highest = |range: std::ops::RangeInclusive<usize>| {
        let bytes = lines
            .iter()
            .filter(|line| range.contains(&line.step))
            .map(|line| line.device_bytes.expect("a pool tells its size"));
        bytes.max().expect("evaluations")
    };
    let first = highest(1..=EPOCH);
    let third = highest(2 * EPOCH + 1..=3 * EPOCH);
    assert!(first > 0);
    // Tuning may still add a page of a few kilobytes; a leak adds every batch's tensors.
    assert!(
        third <= first + first / 50,
        "the pool grew from {first} to {third} bytes"
    );
}

#[test]
fn a_process_on_the_cpu_stays_flat_over_three_epochs() {
    let place = Workplace::with_data(SAMPLES);
    let peak = |out: &str, steps: usize| {
        let steps = steps.to_string();
        let run = place.train(out, &["--steps", &steps, "--set", "evaluate_every=3"]);
        assert!(run.status.success(), "{}", stderr(&run));
        place.summary(out).peak_bytes
    };
    let (Some(one), Some(three)) = (peak("one", EPOCH), peak("three", 3 * EPOCH)) else {
        eprintln!("NOT TESTED: this system does not tell a process's peak memory");
        return;
    };
    // The allocator's caches and threads make it waver by some megabytes.
    let slack = 24_000_000;
    assert!(
        three <= one + slack,
        "the peak grew from {one} bytes in one epoch to {three} in three"
    );
}

/// The scores of a language model's window, 8192 × 4096 float32, would take 134 MB in each pass alone.
#[test]
fn a_wide_causal_window_takes_no_more_memory_on_the_cpu() {
    let place = Workplace::empty();
    let peak = |window: &str| {
        let sizes = ["--d-model=64", "--heads=1", "--layers=1", "--d-ff=64"];
        let text = ["--segment=8K", "--memory=4K", "--batch=1", "--window"];
        let command = [
            "bench",
            "lm",
            "--device=flex",
            "--steps=1",
            "--characters=0",
        ];
        let run = place.run(&[&command[..], &sizes, &text, &[window]].concat());
        assert!(run.status.success(), "{}", stderr(&run));
        let line: serde_json::Value = serde_json::from_str(&stdout(&run)).expect("a line of JSON");
        line["figures"]["peak_bytes"].as_u64()
    };
    let (Some(narrow), Some(wide)) = (peak("64"), peak("4K")) else {
        eprintln!("NOT TESTED: this system does not tell a process's peak memory");
        return;
    };
    assert!(
        wide < narrow + 40_000_000,
        "{narrow} bytes at w 64, {wide} at w 4096"
    );
}
