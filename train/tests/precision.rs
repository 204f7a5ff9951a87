//! Training in mixed precision, on WGPU. What a gradient in float16 is worth is tested in
//! `trainer/model.rs`.

mod common;

use common::{Workplace, adapter, stderr};

/// The losses are those of float32 to three digits, and a run that goes on
/// has the loss scale of the checkpoint.
#[test]
fn float16_learns_what_float32_learns() {
    let Some(wgpu) = adapter() else { return };
    let place = Workplace::with_data(40);
    let steps = [
        "--steps",
        "12",
        "--set",
        "evaluate_every=4",
        "--device",
        &wgpu,
    ];
    let full = place.train("full", &steps);
    assert!(full.status.success(), "{}", stderr(&full));
    let half = [&steps[..], &["--set", "precision=f16", "--stop-after", "8"]].concat();
    let half = place.train("half", &half);
    if stderr(&half).contains("does not train in float16") {
        eprintln!("NOT TESTED: {wgpu} does not compute in float16");
        return;
    }
    assert!(half.status.success(), "{}", stderr(&half));
    let state = std::fs::read_to_string(place.path("half/checkpoint/8/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    // None of 8 gradients was too large at PyTorch's first scale.
    assert_eq!(state["loss_scale"]["factor"], 65_536.0);
    assert_eq!(state["loss_scale"]["steps"], 8);
    let resumed = place.resume("half");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let (full, half) = (place.metrics("full"), place.metrics("half"));
    assert_eq!(full.len(), half.len());
    for (full, half) in full.iter().zip(&half) {
        let off = (full.loss - half.loss).abs();
        assert!(off < 5e-3 * full.loss, "{full:?} {half:?}");
    }
}
