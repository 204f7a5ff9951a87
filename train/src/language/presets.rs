//! Models and trainings by name.
//!
//! `base` and `large` are those of Zhu et al. 2021 (section 4.2, table 3) on enwik8 and text8, with the
//! numbers of the release's `autoregressive/launch`: three phases of ever longer segments. The release
//! takes 8 GPUs of 4 rows; here they are 8 parts of a step. It cuts the rows of the later phases of `large`
//! and of text8 (to 16 and 8) and, in phase 2 of `large`, adds up four segments; here all phases have
//! 32 rows. Each of its phases begins with a new optimizer; here one goes on.

use transformer_ls_burn::LanguageModelConfig;
use transformer_ls_datasets::corpus::{Shares, Vocabulary};
use transformer_ls_infer::language::{
    CorpusKind, LanguageConfig, LanguageTraining, Phase, TextConfig,
};
use transformer_ls_infer::run::{LANGUAGE, ScheduleKind};

/// The presets' names, each with what it is. The paper calls the release's base model small.
pub const ALL: [(&str, &str); 3] = [
    ("laptop", "two CPU cores, an hour"),
    ("base", "the paper's small one"),
    ("large", "the paper's large one"),
];

/// The preset that is taken where none is named.
pub const DEFAULT: &str = ALL[0].0;

/// What a language model remembers of the text before a segment, and how it attends to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Recurrence {
    /// A window, and landmarks of all chunks before (Zhu et al. 2021)
    LongShort,
    /// A window alone, which reaches into the memory (Dai et al. 2019)
    TransformerXl,
    /// All of a memory, and of a compressed one behind it (Rae et al. 2020)
    Compressive,
}

/// How many rows of a Compressive Transformer's memory become one: 3 and 4 are the paper's best.
const COMPRESSION: usize = 4;

impl Recurrence {
    /// Changes a preset, whose models are long-short. The compressed memory of a Compressive Transformer
    /// has as many rows as the memory proper of the first phase.
    pub fn choose(self, config: &mut LanguageConfig) {
        let model = &mut config.model;
        match self {
            Self::LongShort => {}
            Self::TransformerXl => model.rank = 0,
            Self::Compressive => {
                (model.rank, model.window) = (0, 0);
                model.chunk = COMPRESSION;
                let memory = config.training.phases.first().map(|phase| phase.memory);
                model.compressed = memory.unwrap_or(0);
            }
        }
    }
}

/// A preset for a text, of which only the kind is known: path, SHA-256 and vocabulary are to be filled in.
/// `small` is the paper's name of `base`.
pub fn find(name: &str, corpus: CorpusKind) -> Option<LanguageConfig> {
    let (name, model, training) = match name {
        "laptop" => ("laptop", laptop_model(), laptop_training()),
        "base" | "small" => (
            "base",
            LanguageModelConfig::default(),
            published(0.01, corpus),
        ),
        "large" => ("large", large_model(), published(0.1, corpus)),
        _ => return None,
    };
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let vocabulary = Vocabulary::of(&all);
    Some(LanguageConfig {
        task: LANGUAGE.to_owned(),
        preset: name.to_owned(),
        seed: 1234,
        device: "auto".to_owned(),
        model: LanguageModelConfig {
            vocab_size: vocabulary.len(),
            ..model
        },
        data: TextConfig {
            path: Default::default(),
            corpus,
            splits: Shares::default(),
            sha256: String::new(),
            vocabulary,
        },
        training,
    })
}

fn laptop_model() -> LanguageModelConfig {
    LanguageModelConfig {
        layers: 4,
        d_model: 256,
        heads: 4,
        d_ff: 1024,
        window: 128,
        dropout: 0.1,
        ..LanguageModelConfig::default()
    }
}

fn laptop_training() -> LanguageTraining {
    LanguageTraining {
        batch_size: 16,
        accumulate: 1,
        phases: vec![Phase {
            segment: 256,
            memory: 256,
            learning_rate: 1e-3,
            warmup: 200,
            steps: 4000,
        }],
        schedule: ScheduleKind::Cosine,
        weight_decay: 0.01,
        beta2: 0.99,
        epsilon: 1e-8,
        clip_norm: Some(1.0),
        ema: None,
        evaluate_every: 250,
        checkpoint_every: 250,
        eval_batch_size: 16,
        test_segment: 256,
        test_memory: 256,
        sample: 240,
        rate_changes: Vec::new(),
    }
}

fn large_model() -> LanguageModelConfig {
    LanguageModelConfig {
        layers: 30,
        dropout: 0.4,
        ..LanguageModelConfig::default()
    }
}

fn published(weight_decay: f64, corpus: CorpusKind) -> LanguageTraining {
    let peak = match corpus {
        CorpusKind::Text8 => 5e-4,
        CorpusKind::Enwik8 | CorpusKind::Bytes => 2.5e-4,
    };
    let phase = |length, share, warmup, steps| Phase {
        segment: length,
        memory: length,
        learning_rate: peak * share,
        warmup,
        steps,
    };
    LanguageTraining {
        batch_size: 32,
        accumulate: 8,
        phases: vec![
            phase(2048, 1.0, 10_000, 430_000),
            phase(4096, 0.5, 5_000, 50_000),
            phase(8192, 0.25, 5_000, 50_000),
        ],
        schedule: ScheduleKind::Constant,
        weight_decay,
        beta2: 0.999,
        epsilon: 1e-8,
        clip_norm: None,
        ema: None,
        evaluate_every: 1000,
        checkpoint_every: 1000,
        eval_batch_size: 32,
        test_segment: 256,
        test_memory: 32_768,
        sample: 240,
        rate_changes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_small_is_base() {
        for (name, _) in ALL {
            for corpus in [CorpusKind::Bytes, CorpusKind::Enwik8, CorpusKind::Text8] {
                let preset = find(name, corpus).expect("a preset of this name");
                assert_eq!(preset.preset, name);
                preset.validate().expect("a preset that can be trained");
            }
        }
        let [small, base] = ["small", "base"].map(|name| find(name, CorpusKind::Enwik8));
        assert_eq!(small, base);
    }

    /// The release's `autoregressive/launch/*.sh`: layers, dropout, weight decay, and of each phase length,
    /// learning rate, warmup and steps.
    #[test]
    fn published_presets_have_the_release_s_numbers() {
        type Phases = [(usize, f64, usize, usize); 3];
        let enwik8: Phases = [
            (2048, 2.5e-4, 10_000, 430_000),
            (4096, 1.25e-4, 5_000, 50_000),
            (8192, 6.25e-5, 5_000, 50_000),
        ];
        let text8 = enwik8.map(|(n, rate, warmup, steps)| (n, 2.0 * rate, warmup, steps));
        for (name, corpus, layers, dropout, weight_decay, phases) in [
            ("base", CorpusKind::Enwik8, 12, 0.2, 0.01, enwik8),
            ("large", CorpusKind::Enwik8, 30, 0.4, 0.1, enwik8),
            ("base", CorpusKind::Text8, 12, 0.2, 0.01, text8),
        ] {
            let LanguageConfig {
                model, training, ..
            } = find(name, corpus).expect("a preset");
            let sizes = [model.d_model, model.heads, model.d_ff, model.window];
            assert_eq!(sizes, [512, 8, 2048, 512], "{name}");
            assert_eq!([model.layers, model.chunk, model.rank], [layers, 16, 1]);
            assert_eq!(
                (model.dropout, training.weight_decay),
                (dropout, weight_decay)
            );
            assert_eq!((training.test_segment, training.test_memory), (256, 32_768));
            assert_eq!(training.batch_size, 4 * 8);
            assert_eq!(training.phases.len(), phases.len());
            for (found, (n, rate, warmup, steps)) in training.phases.iter().zip(phases) {
                assert_eq!([found.segment, found.memory], [n, n], "{name}");
                assert_eq!(found.learning_rate, rate, "{name}");
                assert_eq!([found.warmup, found.steps], [warmup, steps], "{name}");
            }
        }
    }
}
