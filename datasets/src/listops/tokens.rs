//! Which tokens a model sees of an expression.

use serde::{Deserialize, Serialize};

use super::expression::{Operator, Symbol, Symbols};
use crate::UnknownName;

/// The way an expression becomes token ids. Id 0 is padding.
///
/// | id | 1 | 2 | 3 | 4 | 5 … 14 | 15 |
/// |---|---|---|---|---|---|---|
/// | `legacy` | `MIN` | `MAX` | `MED` | `SM` | `0` … `9` | – |
/// | `brackets` | `[MIN` | `[MAX` | `[MED` | `[SM` | `0` … `9` | `]` |
///
/// `brackets` is the default: its tokens hold the whole tree, so that the task can be solved, and
/// the Long Range Arena's own reader has made them since March 2021, as have S4's and Mega's.
/// `legacy` loses where an operator ends and with that the tree, so about 38 % is its ceiling. It
/// is what the 2021 papers trained on, Transformer-LS included: take it to compare with their
/// rows, and never compare across the two.
///
/// Parentheses are dropped by both. The ids are this crate's own: the published vocabularies were
/// numbered in the order of a Python set, which differs from run to run.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Tokenizer {
    /// Operators and digits, without brackets: 14 tokens. The protocol of the published rows.
    Legacy,
    /// Operators with their opening brackets, digits, and closing brackets: 15 tokens.
    #[default]
    Brackets,
}

/// The id of `0`; those of `1` to `9` follow.
const FIRST_DIGIT: u8 = 5;
const CLOSE: u8 = 15;

impl Tokenizer {
    /// Both tokenisations.
    pub const ALL: [Tokenizer; 2] = [Tokenizer::Legacy, Tokenizer::Brackets];

    /// The number of ids, padding (0) included: the rows that an embedding needs.
    pub const fn vocab_size(self) -> usize {
        match self {
            Tokenizer::Legacy => CLOSE as usize,
            Tokenizer::Brackets => CLOSE as usize + 1,
        }
    }

    /// The number of tokens after which an expression is cut off, in every published protocol.
    ///
    /// Generated and published expressions are shorter.
    pub const fn truncation(self) -> usize {
        2000
    }

    /// The token ids of an expression: at most [`truncation`](Self::truncation), the rest is
    /// dropped.
    ///
    /// Takes what [`evaluate`](super::evaluate) takes; whether the brackets match isn't checked.
    ///
    /// # Errors
    /// Names what is no symbol of ListOps, also after the cut, and refuses an expression without
    /// tokens.
    ///
    /// ```
    /// use transformer_ls_datasets::listops::Tokenizer;
    /// let ids = Tokenizer::Brackets.encode("( ( ( [MIN 5 ) 0 ) ] )");
    /// assert_eq!(ids, Ok(vec![1, 10, 5, 15]));
    /// ```
    pub fn encode(self, expression: &str) -> Result<Vec<u16>, TokenError> {
        let mut ids = Vec::new();
        for symbol in Symbols::new(expression.as_bytes()) {
            ids.extend(self.id(symbol?).map(u16::from));
        }
        if ids.is_empty() {
            return Err(TokenError::Empty);
        }
        ids.truncate(self.truncation());
        Ok(ids)
    }

    /// What the ids stand for, in order from 0: `<pad>`, `[MIN`, …
    pub fn vocabulary(self) -> Vec<String> {
        let operators = Operator::ALL.map(|operator| match self {
            Tokenizer::Legacy => operator.token().trim_start_matches('[').to_owned(),
            Tokenizer::Brackets => operator.token().to_owned(),
        });
        let digits = (0..=9).map(|digit| digit.to_string());
        let close = (self == Tokenizer::Brackets).then(|| "]".to_owned());
        std::iter::once("<pad>".to_owned())
            .chain(operators)
            .chain(digits)
            .chain(close)
            .collect()
    }

    /// The id of a symbol, or `None` where this tokenisation drops it.
    #[inline]
    pub(crate) fn id(self, symbol: Symbol) -> Option<u8> {
        match symbol {
            Symbol::Open(Operator::Min) => Some(1),
            Symbol::Open(Operator::Max) => Some(2),
            Symbol::Open(Operator::Med) => Some(3),
            Symbol::Open(Operator::Sm) => Some(4),
            Symbol::Digit(digit) => Some(FIRST_DIGIT + digit),
            Symbol::Close => (self == Tokenizer::Brackets).then_some(CLOSE),
        }
    }
}

/// The text names no [`Tokenizer`].
fn unknown(text: &str) -> UnknownName {
    UnknownName::new("tokenizer", text, "brackets or legacy")
}

/// Why an expression has no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Something that is no symbol of ListOps.
    #[error(
        "unknown token {token:?} in column {column}: an expression is made of [MIN [MAX [MED [SM, \
         the digits 0 to 9, ] and parentheses"
    )]
    Unknown {
        /// What stands there, shortened.
        token: String,
        /// Where it stands, counted from 1.
        column: usize,
    },

    /// No symbols at all.
    #[error("the expression is empty: write one such as [MAX 2 9 [MIN 4 7 ] 0 ]")]
    Empty,
}
