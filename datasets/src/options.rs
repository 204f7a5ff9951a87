//! What tasks leave open of how samples are made of their files.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::{Missing, UnknownName};

/// What a task may leave open of how samples are made of its files. `None` stands for the task's
/// default, and for a task that leaves no such choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How expressions become tokens.
    pub tokenizer: Option<Tokenizer>,
    /// How long contours are.
    pub difficulty: Option<Difficulty>,
    /// Who drew the line between training and dev.
    pub splits: Option<Protocol>,
    /// What to do about samples whose files are empty or not there.
    pub missing: Missing,
}

/// The way an expression becomes token ids. Id 0 is padding.
///
/// | id | 1 | 2 | 3 | 4 | 5 … 14 | 15 |
/// |---|---|---|---|---|---|---|
/// | `legacy` | `MIN` | `MAX` | `MED` | `SM` | `0` … `9` | – |
/// | `brackets` | `[MIN` | `[MAX` | `[MED` | `[SM` | `0` … `9` | `]` |
/// | `depths` | as `brackets`, + 15 for each operation around the token | | | | | |
///
/// `brackets` is the default but for the preset `listops-values`: its tokens hold the whole tree, so
/// that the task can be solved, and the Long Range Arena's own reader has made them since March 2021,
/// as have S4's and Mega's.
/// `legacy` loses where an operator ends and with that the tree, so about 38 % is its ceiling. It
/// is what the 2021 papers trained on, Transformer-LS included: take it to compare with their
/// rows, and never compare across the three.
///
/// `depths` says of each token how deeply it is nested, too: a reader counts brackets from the start of
/// a line, which a model has to learn with `brackets`. No published row has them.
///
/// Parentheses are dropped by all. The ids are this crate's own: the published vocabularies were
/// numbered in the order of a Python set, which differs from run to run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown_tokenizer)]
pub enum Tokenizer {
    /// Operators and digits, without brackets: 14 tokens. The protocol of the published rows.
    Legacy,
    /// Operators with their opening brackets, digits, and closing brackets: 15 tokens.
    #[default]
    Brackets,
    /// The tokens of `brackets`, each of 11 depths of nesting: 165 tokens.
    Depths,
}

impl Tokenizer {
    /// All tokenisations.
    pub const ALL: [Tokenizer; 3] = [Tokenizer::Legacy, Tokenizer::Brackets, Tokenizer::Depths];
}

/// The text names no [`Tokenizer`].
fn unknown_tokenizer(text: &str) -> UnknownName {
    UnknownName::new("tokenizer", text, "brackets, depths or legacy")
}

/// How long the target contours are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown_difficulty)]
pub enum Difficulty {
    /// 6 paddles (`curv_baseline`).
    Easy,
    /// 9 paddles (`curv_contour_length_9`).
    Medium,
    /// 14 paddles (`curv_contour_length_14`): the Long Range Arena's.
    #[default]
    Hard,
}

impl Difficulty {
    /// All difficulties.
    pub const ALL: [Difficulty; 3] = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard];

    /// The number of paddles in a target contour.
    pub const fn contour_length(self) -> usize {
        match self {
            Difficulty::Easy => 6,
            Difficulty::Medium => 9,
            Difficulty::Hard => 14,
        }
    }

    /// The name of the published folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Difficulty::Easy => "curv_baseline",
            Difficulty::Medium => "curv_contour_length_9",
            Difficulty::Hard => "curv_contour_length_14",
        }
    }
}

/// The text names no [`Difficulty`].
fn unknown_difficulty(text: &str) -> UnknownName {
    UnknownName::new("difficulty", text, "easy, medium or hard")
}

/// Who drew the line between training and dev. The test split is the publisher's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown_protocol)]
pub enum Protocol {
    /// The Long Range Arena's, and with it Nyströmformer's: TensorFlow Datasets' order.
    #[default]
    Tfds,
    /// S4's and Mega's: PyTorch's permutation with seed 42.
    S4,
}

/// The text names no [`Protocol`].
fn unknown_protocol(text: &str) -> UnknownName {
    UnknownName::new("split protocol", text, "tfds or s4")
}
