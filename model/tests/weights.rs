//! Weights as files' bytes: round trips, and sentences for what does not fit.

use burn::tensor::{Device, TensorData};
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::weights::{self, StateDict, WeightsError};
use transformer_ls_burn::{Classifier, ClassifierConfig};

fn small() -> ClassifierConfig {
    let mut config = ClassifierConfig::default();
    config.encoder.embedding.vocab_size = 8;
    config.encoder.embedding.max_length = 16;
    config.encoder.block.attention = LongShortAttentionConfig::new(8, 2).with_rank(2).into();
    config.encoder.block.d_ff = 16;
    config.d_head = 8;
    config
}

fn build(config: ClassifierConfig) -> Classifier {
    config.init(&Device::flex()).expect("a valid configuration")
}

#[test]
fn safetensors_round_trip_exactly_and_repeatably() {
    let model = build(small());
    let metadata = [("step".to_owned(), "7".to_owned())].into();
    let bytes = weights::save_safetensors(&model, &metadata).expect("bytes");
    assert_eq!(StateDict::metadata(&bytes).expect("a header"), metadata);
    let copy = weights::load_safetensors(build(small()), &bytes).expect("the same model");
    let again = weights::save_safetensors(&copy, &metadata).expect("bytes");
    assert_eq!(bytes, again);
}

#[test]
fn linear_weights_lie_as_in_pytorch() {
    let state = weights::state_dict(&build(small())).expect("tensors");
    let shape = |name: &str| state.tensors[name].shape().to_vec();
    assert_eq!(shape("model.transformer_0.mlpblock.0.weight"), [16, 8]);
    assert_eq!(shape("model.transformer_1.mha.dconv_fc.weight"), [4, 8]);
    assert_eq!(shape("seq_classifer.mlpblock.2.weight"), [2, 8]);
}

#[test]
fn another_model_is_refused_with_the_tensors_that_differ() {
    let bytes = weights::save_safetensors(&build(small()), &Default::default()).expect("bytes");
    let mut wider = small();
    wider.encoder.block.d_ff = 32;
    let error = weights::load_safetensors(build(wider), &bytes).expect_err("another shape");
    let message = error.to_string();
    assert!(
        message.contains("model.transformer_0.mlpblock.0.bias ([16], the model wants [32])"),
        "{message}"
    );
    let mut deeper = small();
    deeper.encoder.layers = 3;
    let error = weights::load_safetensors(build(deeper), &bytes).expect_err("more layers");
    assert!(matches!(&error, WeightsError::OtherModel { missing, .. } if missing.len() == 22));
    let message = error.to_string();
    assert!(
        message.contains("it lacks model.transformer_2."),
        "{message}"
    );
    assert!(message.contains("and 17 more"), "{message}");
}

#[test]
fn cut_and_foreign_files_are_refused() {
    let bytes = weights::save_safetensors(&build(small()), &Default::default()).expect("bytes");
    for wrong in [
        &bytes[..bytes.len() / 2],
        &bytes[..4],
        b"not weights at all".as_slice(),
    ] {
        let error = weights::load_safetensors(build(small()), wrong).expect_err("cut short");
        assert!(
            error.to_string().contains("no safetensors weights"),
            "{error}"
        );
    }
    let error = weights::load_release(build(small()), b"not a checkpoint").expect_err("foreign");
    assert!(error.to_string().contains("no PyTorch weights"), "{error}");
}

/// A copy of a model's weights with a change to one tensor, as safetensors.
fn changed(name: &str, change: impl Fn(&mut TensorData)) -> Vec<u8> {
    let mut state = weights::state_dict(&build(small())).expect("tensors");
    change(state.tensors.get_mut(name).expect("a tensor"));
    state.to_safetensors(&Default::default()).expect("bytes")
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_name() {
    const NAME: &str = "model.transformer_0.mlpblock.0.weight";
    for (number, words) in [
        (f64::NAN, "has 1 of 128 values that are not finite numbers"),
        (
            f64::NEG_INFINITY,
            "has 1 of 128 values that are not finite numbers",
        ),
        (1e300, "has 1 of 128 values that are too large for float32"),
    ] {
        let bytes = changed(NAME, |data| {
            let mut numbers: Vec<f64> = data.iter::<f64>().collect();
            numbers[5] = number;
            *data = TensorData::new(numbers, data.shape().to_vec());
        });
        let error = weights::load_safetensors(build(small()), &bytes).expect_err("no number");
        let message = error.to_string();
        assert!(
            message.contains(NAME) && message.contains(words),
            "{message}"
        );
    }
    // Doubles that are numbers are weights.
    let bytes = changed(NAME, |data| {
        *data = TensorData::new(
            data.iter::<f64>().collect::<Vec<_>>(),
            data.shape().to_vec(),
        );
    });
    weights::load_safetensors(build(small()), &bytes).expect("numbers");
}

#[test]
fn whole_numbers_are_no_weights() {
    const NAME: &str = "model.norm.bias";
    let bytes = changed(NAME, |data| {
        *data = TensorData::new(vec![1_i64; 8], [8]);
    });
    let error = weights::load_safetensors(build(small()), &bytes).expect_err("integers");
    let message = error.to_string();
    assert!(
        message.contains("tensor model.norm.bias holds I64, not floats"),
        "{message}"
    );
}
