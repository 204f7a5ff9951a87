//! Training in mixed precision, on WGPU. What a gradient in float16 is worth is tested in
//! `trainer/model.rs`.

mod common;

use common::{Workplace, adapter, stderr};

/// The losses are those of float32 on the CPU to three digits; the loss scale is part of a checkpoint.
#[test]
fn float16_learns_what_float32_learns() {
    let Some(wgpu) = adapter() else { return };
    let place = Workplace::with_data(40);
    let steps = ["--steps", "6", "--set", "evaluate_every=3"];
    let full = place.train("full", &[&steps[..], &["--stop-after", "6"]].concat());
    assert!(full.status.success(), "{}", stderr(&full));
    let half = [
        "--stop-after",
        "6",
        "--set",
        "precision=f16",
        "--device",
        &wgpu,
    ];
    let half = place.train("half", &[&steps[..], &half].concat());
    if stderr(&half).contains("does not train in float16") {
        eprintln!("NOT TESTED: {wgpu} does not compute in float16");
        return;
    }
    assert!(half.status.success(), "{}", stderr(&half));
    let state = std::fs::read_to_string(place.path("half/checkpoint/6/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    // PyTorch's first scale, halved for each gradient that was too large.
    let factor = state["loss_scale"]["factor"].as_f64().unwrap();
    assert!([65_536.0, 32_768.0, 16_384.0].contains(&factor), "{state}");
    let (full, half) = (place.metrics("full"), place.metrics("half"));
    assert_eq!(full.len(), half.len());
    for (full, half) in full.iter().zip(&half) {
        let off = (full.loss - half.loss).abs();
        assert!(off < 5e-3 * full.loss, "{full:?} {half:?}");
    }
}
