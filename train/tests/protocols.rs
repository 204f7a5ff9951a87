//! The protocols against the published ones, and what each command's help says of them.

mod common;

use common::{Workplace, stdout};
use transformer_ls_burn::attention::AttentionConfig;
use transformer_ls_burn::{Pooling, Positions, presets};
use transformer_ls_infer::run::ScheduleKind;
use transformer_ls_train::tasks;

type Row = (&'static str, usize, usize, usize, f64, usize, Option<u64>);

/// Task, batch, steps, warmup, weight decay, dev every, seed. ListOps, Text and Retrieval: the
/// configurations of the Transformer-LS release (`lra/`). Image and Pathfinder: Nyströmformer's
/// (`LRA/code/lra_config.py`), which has no seed.
const PUBLISHED: &[Row] = &[
    ("listops", 32, 5_000, 1_000, 0.0, 50, Some(1234)),
    ("text", 32, 20_000, 8_000, 0.01, 500, Some(1234)),
    ("retrieval", 32, 30_000, 8_000, 0.01, 300, Some(4096)),
    ("image", 256, 35_000, 175, 0.0, 175, None),
    ("pathfinder32", 256, 62_400, 312, 0.0, 312, None),
];

#[test]
fn protocols_are_the_published_ones() {
    for &(task, batch, steps, warmup, decay, every, seed) in PUBLISHED {
        let protocol = tasks::of(task.parse().expect(task));
        let training = &protocol.training;
        assert_eq!(training.batch_size, batch, "{task}");
        assert_eq!(training.steps, steps, "{task}");
        assert_eq!(training.warmup, warmup, "{task}");
        assert_eq!(training.weight_decay, decay, "{task}");
        assert_eq!(training.evaluate_every, every, "{task}");
        assert!(seed.is_none_or(|seed| seed == protocol.seed), "{task}");
        let rates = (training.learning_rate, training.beta2, training.epsilon);
        assert_eq!(rates, (1e-4, 0.999, 1e-6), "{task}");
    }
}

#[test]
fn every_task_says_its_own_defaults() {
    let place = Workplace::empty();
    let all = tasks::all();
    assert_eq!(all.len(), 8);
    for protocol in all {
        let task = protocol.task.name;
        let preset = presets::find(protocol.preset()).expect(task);
        assert_eq!(preset.task, task);
        let training = protocol.training(&preset);
        let help = place.run(&[task, "--help"]);
        assert!(help.status.success());
        let words: Vec<String> = stdout(&help)
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let text = words.join(" ");
        for expected in [
            format!("[default: {}]", protocol.preset()),
            format!("[default: {}]", protocol.folder(preset.name).display()),
            format!("[default: runs/{task}-TIME]"),
            format!("[default: {}]", training.steps),
            format!("every {} steps", training.evaluate_every),
            format!("`ls-train {task} --out DIR --resume`"),
        ] {
            assert!(
                text.contains(&expected),
                "{task}: {expected:?} is not there"
            );
        }
        // Options of other tasks are not offered.
        assert_eq!(text.contains("--tokenizer"), task == "listops");
        assert_eq!(text.contains("--difficulty"), task.starts_with("path"));
        // The larger images take as many tokens a step.
        if task.starts_with("path") {
            let tokens = protocol.training.batch_size * preset.model.encoder.embedding.max_length;
            assert_eq!(tokens, 256 * 1024, "{task}");
        }
    }
}

/// Task, probability of a mask, rates to classify and to fill in, and what of the model: layers,
/// width, heads, feed-forward width. Amos et al. 2024, "Never Train from Scratch", with rotary
/// positions.
type Strong = (&'static str, f64, [f64; 2], [usize; 4]);
const STRONG: &[Strong] = &[
    ("listops", 0.1, [1e-4, 1e-3], [6, 512, 8, 2048]),
    ("text", 0.15, [5e-4, 5e-4], [6, 512, 8, 2048]),
    ("retrieval", 0.15, [5e-4, 5e-3], [4, 128, 4, 512]),
    ("image", 0.5, [1e-3, 1e-3], [3, 64, 4, 128]),
    ("pathfinder32", 0.5, [5e-4, 1e-3], [4, 128, 8, 128]),
    ("path-x", 0.5, [5e-4, 1e-3], [4, 128, 4, 128]),
];

#[test]
fn strong_protocols_have_the_published_rates_and_sizes() {
    for &(task, mask, [classify, fill_in], sizes) in STRONG {
        let protocol = tasks::of(task.parse().expect(task));
        let preset = presets::find(&format!("{task}-strong")).expect(task);
        let model = preset.model.encoder.clone();
        let AttentionConfig::LongShort(attention) = model.block.attention else {
            panic!("{task}: {model:?}");
        };
        assert_eq!(
            [
                model.layers,
                attention.d_model,
                attention.heads,
                model.block.d_ff
            ],
            sizes
        );
        assert!(attention.rotary);
        assert_eq!(
            (model.block.dropout, attention.attention_dropout),
            (0.0, 0.0)
        );
        let markers =
            model.embedding.positions == Positions::Axial && model.pooling == Pooling::MaxReal;
        assert_eq!(markers, task.starts_with("path"), "{task}");
        let plain = presets::find(task).expect(task);
        let training = protocol.training(&preset);
        assert_eq!(training.learning_rate, classify);
        assert_eq!(training.schedule, ScheduleKind::Constant);
        assert!((2000..=5000).contains(&training.warmup));
        assert!([8, 32, 128].contains(&training.batch_size));
        assert_eq!(protocol.pretraining(&preset).learning_rate, fill_in);
        let default = presets::find(protocol.preset()).expect(task);
        assert!(!protocol.pretraining(&default).inner_values);
        assert_eq!(protocol.strong.pretraining.mask, mask);
        let l1 = protocol.strong.pretraining.compared_by == transformer_ls_burn::Reconstruction::L1;
        assert_eq!(l1, task == "image");
        assert_eq!(*protocol.training(&plain), protocol.training);
    }
}
