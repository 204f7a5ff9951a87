//! Published model sizes by name.

use crate::classifier::ClassifierConfig;
use crate::encoder::Pooling;

/// A model size with its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// The Long Range Arena task it is for.
    pub task: &'static str,
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

/// Every preset, task by task, the default of a task first.
///
/// All are the 2021 sizes: 2 layers of width 64, 2 heads, feed-forward width 128. ListOps' 16 ids
/// serve both tokenisations: `legacy` uses 15 of them, `brackets` all.
pub fn all() -> Vec<Preset> {
    let listops = ClassifierConfig {
        vocab_size: 16,
        classes: 10,
        max_length: 2048,
        ..Default::default()
    };
    let text = ClassifierConfig {
        vocab_size: 257,
        ..Default::default()
    };
    let retrieval = ClassifierConfig {
        pair: true,
        dropout: 0.1,
        attention_dropout: 0.1,
        ..text.clone()
    };
    let image = ClassifierConfig {
        vocab_size: 256,
        classes: 10,
        max_length: 1024,
        dropout: 0.1,
        attention_dropout: 0.1,
        pooling: Pooling::MeanAll,
        ..Default::default()
    };
    let pathfinder = |side: usize| ClassifierConfig {
        classes: 2,
        max_length: side * side,
        ..image.clone()
    };
    let sized = |model: &ClassifierConfig, window, rank| ClassifierConfig {
        window,
        rank,
        ..model.clone()
    };
    let preset = |name, task, model, source, published_accuracy| Preset {
        name,
        task,
        model,
        source,
        published_accuracy,
    };
    vec![
        preset("listops", "listops", listops.clone(), PAPER, Some(37.50)),
        preset(
            "listops-best",
            "listops",
            sized(&listops, 16, 2),
            PAPER,
            Some(38.36),
        ),
        preset("text", "text", text.clone(), PAPER, Some(66.01)),
        preset("text-best", "text", sized(&text, 1, 1), PAPER, Some(68.40)),
        preset(
            "retrieval",
            "retrieval",
            retrieval.clone(),
            PAPER,
            Some(81.79),
        ),
        preset(
            "retrieval-best",
            "retrieval",
            sized(&retrieval, 1, 254),
            PAPER,
            Some(81.95),
        ),
        preset("image", "image", image.clone(), NYSTROMFORMER, None),
        preset(
            "pathfinder32",
            "pathfinder32",
            pathfinder(32),
            NYSTROMFORMER,
            None,
        ),
        preset(
            "pathfinder64",
            "pathfinder64",
            pathfinder(64),
            NYSTROMFORMER,
            None,
        ),
        preset("path-x", "path-x", pathfinder(128), NYSTROMFORMER, None),
        preset(
            "pathfinder256",
            "pathfinder256",
            pathfinder(256),
            NYSTROMFORMER,
            None,
        ),
    ]
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}
