//! Which tokens a model sees of an expression.

use super::expression::{Operator, Symbol, Symbols};
use crate::error::TokenError;
use crate::options::Tokenizer;
use crate::sample::ids;

/// The id of `0`; those of `1` to `9` follow.
const FIRST_DIGIT: u8 = 5;
const CLOSE: u8 = 15;

impl Tokenizer {
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
        let mut tokens = Vec::new();
        for symbol in Symbols::new(expression.as_bytes()) {
            tokens.extend(self.id(symbol?));
        }
        if tokens.is_empty() {
            return Err(TokenError::Empty);
        }
        tokens.truncate(self.truncation());
        Ok(ids(&tokens, 0))
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

    /// The symbol of an id, or `None` where it stands for none.
    pub(crate) fn symbol(self, id: u16) -> Option<Symbol> {
        let digits = (0..=9).map(Symbol::Digit);
        let all = Operator::ALL.map(Symbol::Open).into_iter().chain(digits);
        let mut all = all.chain([Symbol::Close]);
        all.find(|&symbol| self.id(symbol).map(u16::from) == Some(id))
    }
}
