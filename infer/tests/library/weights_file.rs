//! Weight files: what is wrong with one is said in a sentence.

use std::fs;

use crate::common::{config, sample, untrained_run};
use burn::tensor::{Device, Tensor};
use transformer_ls_burn::ClassifierConfig;
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::run::RunFolder;
use transformer_ls_infer::weights_file::{self, WeightsFileError};

#[test]
fn a_saved_model_answers_as_before_on_every_cpu_backend() {
    let dir = tempfile::tempdir().unwrap();
    let flex = Device::flex();
    flex.seed(11);
    let config = config();
    let model = config.model.init(&flex).unwrap();
    let samples = [sample(30, 1), sample(9, 2)];
    let logits = |model: &transformer_ls_burn::Classifier, device: &Device| {
        let batch = Batcher::new(48, false).batch(&samples, device, None);
        batch.logits(model).into_data()
    };
    let path = dir.path().join("weights");
    let metadata = weights_file::metadata(&config, Some(3), None);
    weights_file::save(&path, &model, &metadata).unwrap();
    let before = logits(&model, &flex);
    for name in ["flex", "ndarray"] {
        let device = transformer_ls_infer::device::resolve(name).unwrap().device;
        let loaded = weights_file::load(&path, &config.model, &device).unwrap();
        let a = Tensor::<2>::from_data(before.clone(), &flex);
        let b = Tensor::<2>::from_data(logits(&loaded, &device), &flex);
        let worst = (a - b).abs().max().into_scalar::<f32>();
        assert!(worst < 1e-5, "{name}: {worst}");
    }
    let bytes = weights_file::read(&path).unwrap();
    assert_eq!(
        weights_file::read_metadata(&path, &bytes).unwrap(),
        metadata
    );
    // The same weights give the same bytes.
    weights_file::save(&path, &model, &metadata).unwrap();
    assert_eq!(weights_file::read(&path).unwrap(), bytes);
}

#[test]
fn bad_files_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = untrained_run(&run);
    let folder = RunFolder::open(&run).unwrap();
    let good = fs::read(folder.weights_path()).unwrap();
    let device = Device::flex();
    let path = dir.path().join("weights");
    let load = |bytes: &[u8], config: &ClassifierConfig| {
        fs::write(&path, bytes).unwrap();
        weights_file::load(&path, config, &device)
            .unwrap_err()
            .to_string()
    };

    let missing = weights_file::load(&dir.path().join("none"), &config.model, &device);
    let missing = missing.unwrap_err().to_string();
    assert!(
        missing.starts_with("there is no weight file at"),
        "{missing}"
    );

    for length in [0, good.len() / 2, good.len() - 1, 100] {
        let error = load(&good[..length], &config.model);
        assert!(error.contains("is cut short"), "{length}: {error}");
        assert!(error.contains("copy it again"), "{length}: {error}");
    }
    for nonsense in [&b"hello"[..], b"a text that is long enough to be something"] {
        let error = load(nonsense, &config.model);
        assert!(error.contains("no safetensors weights"), "{error}");
    }
    for nonsense in [&b"PK\x03\x04 but no archive"[..], b"\x80\x02 but no pickle"] {
        let error = load(nonsense, &config.model);
        assert!(error.contains("no PyTorch weights"), "{error}");
    }

    let wider = ClassifierConfig {
        classes: 11,
        ..config.model.clone()
    };
    let error = load(&good, &wider);
    assert!(error.contains("another model"), "{error}");
    assert!(error.contains("[11"), "{error}");
    let mut unbuildable = config.model.clone();
    unbuildable.encoder.block.attention = LongShortAttentionConfig::new(16, 3).into();
    fs::write(&path, &good).unwrap();
    let error = weights_file::load(&path, &unbuildable, &device).unwrap_err();
    assert!(matches!(error, WeightsFileError::Model(_)), "{error}");
}
