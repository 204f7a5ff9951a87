//! Small untrained runs for the tests.
#![allow(dead_code)] // every test binary uses a part

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::weights::{language_model_state_dict, state_dict};
use transformer_ls_burn::{Classifier, ClassifierConfig, LanguageModelConfig};
use transformer_ls_datasets::corpus::{Shares, Vocabulary};
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::{Missing, Sample, TokenIds};
use transformer_ls_infer::language::{
    CorpusKind, LanguageConfig, LanguageFolder, LanguageTraining, Phase, TextConfig,
};
use transformer_ls_infer::run::{
    DataConfig, MetricLine, Packing, RunConfig, RunFolder, ScheduleKind, TrainingConfig,
};

fn model() -> ClassifierConfig {
    let attention = LongShortAttentionConfig::new(16, 2);
    let mut model = ClassifierConfig::default();
    model.encoder.embedding.vocab_size = 17;
    model.encoder.embedding.max_length = 48;
    model.encoder.block.attention = attention.with_rank(4).with_window(4).into();
    model.encoder.block.d_ff = 32;
    model.classes = 10;
    model.d_head = 16;
    model
}

/// A ListOps run small enough for tests.
pub fn config() -> RunConfig {
    RunConfig {
        task: "listops".into(),
        preset: "listops".into(),
        seed: 7,
        device: "flex".into(),
        model: model(),
        data: DataConfig {
            dir: PathBuf::from("data/listops"),
            tokenizer: Some(Tokenizer::Brackets),
            difficulty: None,
            splits: None,
            cache: None,
            missing: Missing::default(),
            packed: Packing::Auto,
        },
        training: TrainingConfig {
            steps: 100,
            warmup: 20,
            learning_rate: 1e-4,
            weight_decay: 0.0,
            beta2: 0.999,
            epsilon: 1e-6,
            batch_size: 4,
            evaluate_every: 10,
            checkpoint_every: 10,
            eval_batch_size: 3,
            ..TrainingConfig::default()
        },
        pretraining: None,
        init: None,
    }
}

/// A run folder with untrained weights, released again for readers and writers.
pub fn untrained_run(path: &Path) -> RunConfig {
    untrained_run_of(path, config())
}

/// The same of this configuration.
pub fn untrained_run_of(path: &Path, config: RunConfig) -> RunConfig {
    let device = Device::flex();
    device.seed(config.seed);
    let model = config.model.init(&device).unwrap();
    let folder = RunFolder::create(path, &config).unwrap();
    save_weights(&folder, &model, Some(0.125));
    config
}

/// A small run of another task, whose tokens have so many ids, two classes, and no choices.
pub fn config_of(task: &str, ids: usize, longest: usize) -> RunConfig {
    let mut config = config();
    config.task = task.into();
    config.data.tokenizer = None;
    config.model.encoder.embedding.vocab_size = ids;
    config.model.encoder.embedding.max_length = longest;
    config.model.classes = 2;
    config
}

/// Makes a model the run's best.
pub fn save_weights(folder: &RunFolder, model: &Classifier, dev_accuracy: Option<f64>) {
    let state = state_dict(model).unwrap();
    folder.save_state(&state, 0, dev_accuracy).unwrap();
}

/// A run of a language model of these bytes, small enough for tests.
pub fn language_config(vocabulary: Vocabulary) -> LanguageConfig {
    LanguageConfig {
        task: "lm".into(),
        preset: "lm".into(),
        seed: 7,
        device: "flex".into(),
        model: LanguageModelConfig {
            vocab_size: vocabulary.len(),
            layers: 2,
            d_model: 16,
            heads: 2,
            d_ff: 32,
            window: 8,
            chunk: 4,
            rank: 1,
            ..LanguageModelConfig::default()
        },
        data: TextConfig {
            path: PathBuf::from("text.txt"),
            corpus: CorpusKind::Bytes,
            splits: Shares::default(),
            sha256: String::new(),
            vocabulary,
        },
        training: LanguageTraining {
            batch_size: 2,
            accumulate: 1,
            phases: vec![Phase {
                segment: 16,
                memory: 16,
                learning_rate: 1e-3,
                warmup: 0,
                steps: 10,
            }],
            schedule: ScheduleKind::Constant,
            weight_decay: 0.0,
            beta2: 0.98,
            epsilon: 1e-6,
            clip_norm: None,
            ema: None,
            evaluate_every: 10,
            checkpoint_every: 10,
            eval_batch_size: 2,
            test_segment: 16,
            test_memory: 16,
            sample: 0,
            rate_changes: Vec::new(),
        },
    }
}

/// The folder of such a run, whose model was not trained but has strong opinions.
pub fn language_run(path: &Path, vocabulary: Vocabulary) -> LanguageConfig {
    let config = language_config(vocabulary);
    let device = Device::flex();
    device.seed(config.seed);
    let model = config.model.init(&device).unwrap();
    let mut state = language_model_state_dict(&model).unwrap();
    for data in state.tensors.values_mut() {
        // Weights of N(0, 0.02) would give every character about the same probability.
        let larger: Vec<f32> = data.iter::<f32>().map(|x| x * 12.0).collect();
        let shape = data.shape().to_vec();
        if shape.len() == 2 {
            *data = TensorData::new(larger, shape);
        }
    }
    let folder = LanguageFolder::create(path, &config).unwrap();
    folder.save_weights(&state, 10, 2.0).unwrap();
    config
}

/// A sample of one document with made-up tokens.
pub fn sample(length: usize, label: u8) -> Sample {
    Sample {
        documents: TokenIds::One(tokens(length, u16::from(label))),
        label,
    }
}

/// Made-up tokens, none of them padding.
pub fn tokens(length: usize, salt: u16) -> Vec<u16> {
    (0..length)
        .map(|i| (i as u16 * 7 + salt * 3) % 15 + 1)
        .collect()
}

/// A line of metrics.
pub fn line(step: usize) -> MetricLine {
    MetricLine {
        step,
        split: transformer_ls_datasets::Split::Dev,
        loss: 2.25,
        accuracy: 0.5,
        learning_rate: 1e-4,
        tokens_per_second: 1000.0,
        seconds: 1.5,
        device_bytes: None,
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
