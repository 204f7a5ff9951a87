//! PyTorch checkpoints in every shape that programs save: `fixtures/torch/make_torch_files.py` wrote
//! them, and says what is in them.

use std::path::Path;

use transformer_ls_burn::weights::{StateDict, WeightsError};

fn read(name: &str) -> Result<StateDict, WeightsError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch");
    StateDict::from_torch(&std::fs::read(folder.join(name)).expect("a fixture"))
}

/// The three tensors, names, shapes and numbers, of which one is a view of another, turned.
fn check(name: &str) {
    let state = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let of = |tensor: &str| {
        let data = &state.tensors[tensor];
        (
            data.shape().to_vec(),
            data.iter::<f32>().collect::<Vec<_>>(),
        )
    };
    let row = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25];
    let turned = [0.0, 0.75, 0.25, 1.0, 0.5, 1.25];
    assert_eq!(of("model.norm.weight"), (vec![6], row.to_vec()), "{name}");
    assert_eq!(of("model.turned"), (vec![3, 2], turned.to_vec()), "{name}");
    assert_eq!(of("model.none"), (vec![0, 4], vec![]), "{name}");
}

#[test]
fn weights_are_found_wherever_programs_put_them() {
    for name in [
        "release.pt",
        "bare.pt",
        "state_dict.pt",
        "model.pt",
        "ddp.pt",
        "compiled.pt",
        "ddp_compiled.pt",
        "compiled_ddp.pt",
        "zip_1.pt",
        "zip_2.pt",
        "row_1.pt",
        "row_2.pt",
        "integers.pt",
        "fairseq.pt",
    ] {
        check(name);
    }
}

/// A pickled module is read for its parameters; no code of it is run.
#[test]
fn a_whole_module_has_the_weights_of_its_state_dict() {
    let state = read("whole.pt").expect("weights");
    let shapes = |name: &str| state.tensors[name].shape().to_vec();
    assert_eq!((shapes("weight"), shapes("bias")), (vec![2, 2], vec![2]));
}

#[test]
fn what_is_not_read_is_called_what_it_is() {
    for (name, words) in [
        ("zip_0.pt", "saved with pickle protocol 0"),
        ("row_0.pt", "saved with pickle protocol 0"),
        ("odd_keys.pt", "holds more than weights"),
        ("whole_0.pt", "saved with pickle protocol 0"),
        ("optimizer.pt", "it holds no weights"),
        ("twice.pt", "holds tensor model."),
    ] {
        let error = read(name).map(|state| state.tensors.into_keys().collect::<Vec<_>>());
        let message = error.expect_err(name).to_string();
        assert!(message.contains(words), "{name}: {message}");
        assert!(!message.contains('\n'), "{name}: {message}");
    }
}

#[test]
fn cut_checkpoints_are_no_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch");
    for name in ["release.pt", "row_2.pt"] {
        let bytes = std::fs::read(folder.join(name)).expect("a fixture");
        for length in (0..bytes.len()).step_by(7) {
            if let Ok(state) = StateDict::from_torch(&bytes[..length]) {
                // Behind the last tensor there may be more.
                assert_eq!(state.tensors.len(), 3, "{name}, {length}");
            }
        }
    }
}
