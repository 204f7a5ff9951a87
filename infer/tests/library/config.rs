//! Configurations: reading, setting by name, and what is said about wrong ones.

use crate::common::config;
use transformer_ls_burn::Pooling;
use transformer_ls_burn::attention::{
    AttentionConfig, DenseAttentionConfig, LongShortAttentionConfig,
};
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_infer::run::{Packing, RunConfig, ScheduleKind};

fn long_short(config: &RunConfig) -> &LongShortAttentionConfig {
    match &config.model.encoder.block.attention {
        AttentionConfig::LongShort(attention) => attention,
        other => panic!("{other:?}"),
    }
}

fn message(key: &str, value: &str) -> String {
    config().set(key, value).unwrap_err().to_string()
}

#[test]
fn json_round_trip() {
    let config = config();
    assert_eq!(RunConfig::from_json(&config.to_json()).unwrap(), config);
    assert!(config.to_json().ends_with("}\n"));
}

#[test]
fn a_bad_field_is_named() {
    let text = config().to_json();
    for (from, to, expected) in [
        ("\"steps\": 100", "\"steps\": -1", "`training.steps`"),
        ("\"steps\": 100", "\"stepz\": 100", "unknown field `stepz`"),
        (
            "\"packed\": \"auto\"",
            "\"packed\": \"both\"",
            "`data.packed`",
        ),
        ("\"seed\": 7", "\"sead\": 7", "unknown field `sead`"),
        ("\"heads\": 2", "\"heads\": true", "`model.heads`: invalid"),
        ("\"d_ff\": 32", "\"d_ff\": \"x\"", "`model.d_ff`: invalid"),
        ("\"heads\": 2", "\"beads\": 2", "missing field `heads`"),
        (
            "\"heads\": 2",
            "\"heads\": 2, \"beads\": 2",
            "`model.beads`: unknown field `beads`, expected one of `attention`, ",
        ),
        (
            "\"heads\": 2",
            "\"heads\": 2, \"heads\": 2",
            "duplicate field `heads`",
        ),
        (
            "\"long_short\"",
            "\"short_long\"",
            "`model.attention`: unknown variant `short_long`, expected one of `long_short`",
        ),
    ] {
        let broken = text.replace(from, to);
        assert_ne!(broken, text, "{from}");
        let error = RunConfig::from_json(&broken).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = RunConfig::from_json(&format!("{text} more")).unwrap_err();
    assert!(error.to_string().contains("trailing"), "{error}");
}

#[test]
fn fields_are_set_by_path_or_by_bare_name() {
    let mut config = config();
    config.set("training.batch_size", "16").unwrap();
    config.set("learning_rate", "3e-4").unwrap();
    config.set("seed", "1234").unwrap();
    config.set("tied", "true").unwrap();
    config.set("pooling", "mean_real").unwrap();
    config.set("tokenizer", "legacy").unwrap();
    config.set("packed", "padded").unwrap();
    config.set("dir", "/tmp/5").unwrap();
    config.set("conv_kernel", "5").unwrap();
    config.set("preset", "7").unwrap(); // text that looks like a number
    assert_eq!(config.training.batch_size, 16);
    assert_eq!(config.training.learning_rate, 3e-4);
    assert_eq!(config.seed, 1234);
    assert!(config.model.encoder.tied);
    assert_eq!(config.model.encoder.pooling, Pooling::MeanReal);
    assert_eq!(config.data.tokenizer, Some(Tokenizer::Legacy));
    assert_eq!(config.data.packed, Packing::Padded);
    assert_eq!(config.data.dir, std::path::Path::new("/tmp/5"));
    assert_eq!(long_short(&config).conv_kernel, Some(5));
    assert_eq!(config.preset, "7");
    config.set("conv_kernel", "none").unwrap();
    config.set("tokenizer", "null").unwrap();
    assert_eq!(long_short(&config).conv_kernel, None);
    assert_eq!(config.data.tokenizer, None);
    config
        .set_all(["dropout=0.25", "attention_dropout = 0.5"])
        .unwrap();
    assert_eq!(
        (
            config.model.encoder.block.dropout,
            long_short(&config).attention_dropout
        ),
        (0.25, 0.5)
    );
}

/// As older versions wrote them: there was one kind of attention.
#[test]
fn files_that_name_no_attention_mean_long_short() {
    let config = config();
    let mut tree: serde_json::Value = serde_json::from_str(&config.to_json()).unwrap();
    let model = tree["model"].as_object_mut().unwrap();
    assert_eq!(model.remove("attention"), Some("long_short".into()));
    assert_eq!(RunConfig::from_json(&tree.to_string()).unwrap(), config);
}

#[test]
fn another_attention_keeps_what_both_have() {
    let mut config = config();
    config
        .set_all(["rotary=true", "attention_dropout=0.25", "attention=dense"])
        .unwrap();
    let dense = DenseAttentionConfig::new(16, 2)
        .with_rotary(true)
        .with_attention_dropout(0.25);
    assert_eq!(config.model.encoder.block.attention, dense.into());
    config.validate().unwrap();
    assert_eq!(RunConfig::from_json(&config.to_json()).unwrap(), config);
    let error = config.set("window", "8").unwrap_err().to_string();
    assert!(error.starts_with("there is no field `window`"), "{error}");
    // A field of another kind of attention is a mistake in a file.
    let text = config.to_json();
    let mixed = text.replace("\"heads\": 2,", "\"heads\": 2, \"window\": 8,");
    assert_ne!(text, mixed);
    let error = RunConfig::from_json(&mixed).unwrap_err().to_string();
    assert!(
        error.contains("`model.window`: unknown field `window`"),
        "{error}"
    );
    // And back: what dense attention lacks has the defaults.
    config.set("attention", "long_short").unwrap();
    let back = LongShortAttentionConfig::new(16, 2)
        .with_rotary(true)
        .with_attention_dropout(0.25);
    assert_eq!(*long_short(&config), back);
}

#[test]
fn options_of_training_are_set_and_absent_from_older_files() {
    let mut config = config();
    let off = config.training.clone();
    config
        .set_all([
            "schedule=cosine",
            "accumulate=2",
            "clip_norm=1",
            "label_smoothing=0.1",
            "ema=0.999",
        ])
        .unwrap();
    config.validate().unwrap();
    assert_eq!(config.training.schedule, ScheduleKind::Cosine);
    assert_eq!(config.training.accumulate, 2);
    assert_eq!(config.training.clip_norm, Some(1.0));
    assert_eq!(config.training.label_smoothing, 0.1);
    assert_eq!(config.training.ema, Some(0.999));
    // As a file that was written before there were such fields has it.
    let mut tree: serde_json::Value = serde_json::from_str(&config.to_json()).unwrap();
    let training = tree["training"].as_object_mut().unwrap();
    for field in [
        "schedule",
        "accumulate",
        "clip_norm",
        "label_smoothing",
        "ema",
    ] {
        assert!(training.remove(field).is_some(), "{field}");
    }
    let read = RunConfig::from_json(&tree.to_string()).unwrap();
    assert_eq!(read.training, off);
    config.set_all(["clip_norm=none", "ema=off"]).unwrap();
    assert_eq!(
        (config.training.clip_norm, config.training.ema),
        (None, None)
    );
}

#[test]
fn every_field_can_be_set_to_what_it_is() {
    let before = config();
    let tree: serde_json::Value = serde_json::from_str(&before.to_json()).unwrap();
    assert!(before.keys().len() > 25);
    for key in before.keys() {
        let value = &tree[key.as_str()];
        let value = match key.split_once('.') {
            Some((section, field)) => &tree[section][field],
            None => value,
        };
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut after = before.clone();
        after.set(&key, &text).unwrap();
        assert_eq!(after, before, "{key}={text}");
    }
}

#[test]
fn a_wrong_name_lists_the_right_ones() {
    let error = message("batchsize", "16");
    assert!(
        error.starts_with("there is no field `batchsize`"),
        "{error}"
    );
    for name in ["training.batch_size", "model.window", "data.dir", "seed"] {
        assert!(error.contains(name), "{error}");
    }
    for section in ["training", "model.", ""] {
        assert!(message(section, "1").starts_with("there is no field"));
    }
    let error = config().set_all(["batch_size"]).unwrap_err().to_string();
    assert!(error.contains("write `--set key=value`"), "{error}");
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    for (key, value, expected) in [
        ("batch_size", "many", "expected a whole number, 0 or more"),
        ("batch_size", "-3", "expected a whole number, 0 or more"),
        ("batch_size", "1.5", "expected a whole number, 0 or more"),
        ("seed", "x", "expected a whole number, 0 or more"),
        ("learning_rate", "fast", "expected a number"),
        ("tied", "1", "expected true or false"),
        ("conv_kernel", "wide", "expected a whole number, 0 or more"),
        ("pooling", "max", "mean_all"),
        ("packed", "no", "`auto`, `packed`, `padded`"),
        ("schedule", "linear", "`one_cycle`, `constant`, `cosine`"),
        ("ema", "yes", "expected a number"),
        ("tokenizer", "bytes", "brackets"),
        (
            "attention",
            "longshort",
            "expected one of `long_short`, `dense`, `local`",
        ),
    ] {
        let error = message(key, value);
        assert!(
            error.starts_with(&format!("`{value}` does not fit")),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn problems_have_a_sentence_each() {
    config().validate().unwrap();
    let mut wrong = config();
    wrong
        .set_all([
            "steps=10",
            "warmup=20",
            "learning_rate=0",
            "weight_decay=-1",
            "beta2=1",
            "batch_size=0",
            "evaluate_every=0",
            "vocab_size=10",
            "classes=3",
        ])
        .unwrap();
    let text = wrong.validate().unwrap_err().to_string();
    let expected = [
        "`model.vocab_size` must be at least 16 for the tokenizer brackets, and is 10.",
        "`model.classes` must be at least 10 for the task listops, and is 3.",
        "`training.batch_size` must be at least 1.",
        "`training.evaluate_every` must be at least 1.",
        "`training.warmup` is 20, which is more than `training.steps` (10).",
        "`training.learning_rate` must be above 0, and is 0.",
        "`training.weight_decay` must be 0 or more, and is -1.",
        "`training.beta2` must lie between 0 and 1, and is 1.",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);

    let mut wrong = config();
    wrong
        .set_all([
            "batch_size=4",
            "accumulate=8",
            "clip_norm=0",
            "label_smoothing=1",
            "ema=1",
        ])
        .unwrap();
    let text = wrong.validate().unwrap_err().to_string();
    let expected = [
        "`training.accumulate` is 8, and 4 samples (`training.batch_size`, those of a whole step) \
         cannot be cut into so many parts.",
        "`training.clip_norm` must be above 0 (or null), and is 0.",
        "`training.label_smoothing` must lie in [0, 1), and is 1.",
        "`training.ema` must lie between 0 and 1 (or be null), and is 1.",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    wrong.set_all(["accumulate=0"]).unwrap();
    let text = wrong.validate().unwrap_err().to_string();
    assert!(text.starts_with("`training.accumulate` must be at least 1.\n"));

    let mut wrong = config();
    wrong.set_all(["dropout=1.5", "tokenizer=none"]).unwrap();
    let text = wrong.validate_for_inference().unwrap_err().to_string();
    assert!(
        text.contains("`model.dropout` must lie in [0, 1)"),
        "{text}"
    );
    assert!(text.contains("`data.tokenizer` must be"), "{text}");
}
