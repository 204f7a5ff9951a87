//! Model sizes by name: the published ones, and a strong one for each task.

use crate::attention::LongShortAttentionConfig;
use crate::block::BlockConfig;
use crate::classifier::ClassifierConfig;
use crate::embedding::{EmbeddingConfig, Input, Positions};
use crate::encoder::{EncoderConfig, Pooling};

/// A model size with its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// The Long Range Arena task it is for.
    pub task: &'static str,
    /// Whether it is the task's strong one, which has a training protocol of its own.
    pub is_strong: bool,
    /// The model.
    pub model: ClassifierConfig,
    /// Where sizes and figure come from.
    pub source: &'static str,
    /// Published test accuracy in percent, for the published protocol.
    pub published_accuracy: Option<f64>,
}

const PAPER: &str = "Zhu et al. 2021 (arXiv 2107.02192), table 1, and its release";
const NYSTROMFORMER: &str =
    "sizes of Xiong et al. 2021 (Nyströmformer) with long-short attention; no published figure";

const OWN: &str = "this project's, to work expressions out (docs/results.md)";

const STRONG: &str =
    "Amos et al. 2024 (Never Train from Scratch): sizes; with long-short attention, no figure";

/// Every preset, task by task, the default of a task first.
///
/// All but the strong ones and `listops-values` are the 2021 sizes: 2 layers of width 64, 2 heads,
/// feed-forward width 128. ListOps' 16 ids serve `legacy` tokens, which use 15 of them, and `brackets`.
pub fn all() -> Vec<Preset> {
    let sizes = |vocab_size, classes, max_length| {
        let mut model = ClassifierConfig::default();
        model.encoder.embedding.vocab_size = vocab_size;
        model.encoder.embedding.max_length = max_length;
        model.classes = classes;
        model
    };
    let listops = sizes(16, 10, 2048);
    let text = sizes(257, 2, 4096);
    let mut retrieval = ClassifierConfig {
        pair: true,
        ..text.clone()
    };
    retrieval.encoder.block = dropping(0.1);
    let mut image = sizes(256, 10, 1024);
    image.encoder.block = dropping(0.1);
    image.encoder.pooling = Pooling::MeanAll;
    let pathfinder = |side: usize| {
        let mut model = image.clone();
        model.encoder.embedding.max_length = side * side;
        model.classes = 2;
        model
    };
    // S4's normalisation of grey CIFAR-10; Pathfinder's is the default, Mega's.
    let mut s4_image = image.clone();
    s4_image.encoder.embedding.input_mean = 122.6 / 255.0;
    s4_image.encoder.embedding.input_deviation = 61.0 / 255.0;
    let sized = |model: &ClassifierConfig, window, rank| {
        let mut model = model.clone();
        let attention = attention(model.encoder.block.dropout);
        model.encoder.block.attention = attention.with_window(window).with_rank(rank).into();
        model
    };
    // Learns the values inside expressions: small, deep, and with tokens that know their depth.
    let values = {
        let mut model = listops.clone();
        model.encoder.embedding.vocab_size = 166;
        model.encoder.embedding.positions = Positions::None;
        let attention = LongShortAttentionConfig::new(64, 2)
            .with_window(64)
            .with_rank(16)
            .with_rotary(true);
        model.encoder.block.attention = attention.into();
        model.encoder.block.dropout = 0.0;
        model.encoder.layers = 8;
        model.encoder.pooling = Pooling::Last;
        model.d_head = 64;
        model
    };
    // A preset's name begins with its task's.
    let task = |name: &'static str| {
        let ends = ["-best", "-strong", "-values"];
        ends.iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name)
    };
    let preset = |name: &'static str, model, source, published_accuracy| Preset {
        name,
        task: task(name),
        is_strong: name.ends_with("-strong"),
        model,
        source,
        published_accuracy,
    };
    let paper = |name, model, accuracy| preset(name, model, PAPER, Some(accuracy));
    let plain = |name, model| preset(name, model, NYSTROMFORMER, None);
    let strong =
        |name, model: &ClassifierConfig, sizes| preset(name, at_sizes(model, sizes), STRONG, None);
    let papers = Sizes {
        layers: 4,
        width: 128,
        heads: 4,
        ..LARGE
    };
    let grey = Sizes {
        layers: 3,
        width: 64,
        heads: 4,
        ff: 2,
        input: Input::Floats,
        ..LARGE
    };
    vec![
        preset("listops-values", values, OWN, None),
        paper("listops", listops.clone(), 37.50),
        paper("listops-best", sized(&listops, 16, 2), 38.36),
        strong("listops-strong", &listops, LARGE),
        paper("text", text.clone(), 66.01),
        paper("text-best", sized(&text, 1, 1), 68.40),
        strong("text-strong", &text, LARGE),
        paper("retrieval", retrieval.clone(), 81.79),
        paper("retrieval-best", sized(&retrieval, 1, 254), 81.95),
        strong("retrieval-strong", &retrieval, papers),
        plain("image", image.clone()),
        strong("image-strong", &s4_image, grey),
        plain("pathfinder32", pathfinder(32)),
        strong("pathfinder32-strong", &pathfinder(32), contours(8, 64)),
        plain("pathfinder64", pathfinder(64)),
        strong("pathfinder64-strong", &pathfinder(64), contours(8, 128)),
        plain("path-x", pathfinder(128)),
        strong("path-x-strong", &pathfinder(128), contours(4, 512)),
        plain("pathfinder256", pathfinder(256)),
        strong("pathfinder256-strong", &pathfinder(256), contours(4, 512)),
    ]
}

/// The attention of all 2021 presets.
fn attention(dropout: f64) -> LongShortAttentionConfig {
    LongShortAttentionConfig::new(64, 2).with_attention_dropout(dropout)
}

/// The block of all 2021 presets.
fn dropping(dropout: f64) -> BlockConfig {
    BlockConfig {
        attention: attention(dropout).into(),
        dropout,
        ..BlockConfig::default()
    }
}

/// What a strong preset has of its own.
#[derive(Clone, Copy)]
struct Sizes {
    layers: usize,
    width: usize,
    heads: usize,
    /// Width of the feed-forward layers, in widths.
    ff: usize,
    window: usize,
    input: Input,
    positions: Positions,
    pooling: Pooling,
}

/// ListOps' and Text's.
const LARGE: Sizes = Sizes {
    layers: 6,
    width: 512,
    heads: 8,
    ff: 4,
    window: 64,
    input: Input::Ids,
    positions: Positions::None,
    pooling: Pooling::MeanReal,
};

/// Pathfinder's. Markers are small and have to be told by their place, hence axial positions besides,
/// and the largest value in the place of the mean, in which they drown (`docs/results.md`).
fn contours(heads: usize, window: usize) -> Sizes {
    Sizes {
        layers: 4,
        width: 128,
        heads,
        ff: 1,
        window,
        input: Input::Floats,
        positions: Positions::Axial,
        pooling: Pooling::MaxReal,
    }
}

/// A task's model at these sizes: rotary positions in the place of learned ones, no dropout, and
/// pixels as numbers.
///
/// The window covers rows of an image (the smallest two, so that a pixel sees two on either side);
/// the rank is ours. So are Pathfinder's positions and pooling.
fn at_sizes(model: &ClassifierConfig, sizes: Sizes) -> ClassifierConfig {
    let attention = LongShortAttentionConfig::new(sizes.width, sizes.heads)
        .with_window(sizes.window)
        .with_rank(64)
        .with_rotary(true);
    ClassifierConfig {
        encoder: EncoderConfig {
            embedding: EmbeddingConfig {
                positions: sizes.positions,
                input: sizes.input,
                ..model.encoder.embedding.clone()
            },
            block: BlockConfig {
                attention: attention.into(),
                d_ff: sizes.ff * sizes.width,
                dropout: 0.0,
            },
            layers: sizes.layers,
            pooling: sizes.pooling,
            ..model.encoder.clone()
        },
        d_head: sizes.width,
        ..model.clone()
    }
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}
