//! Which tokens a model sees of an expression.

use super::expression::{Operator, Symbol, Symbols};
use crate::error::TokenError;
use crate::options::Tokenizer;
use crate::sample::ids;

/// The id of `0`; those of `1` to `9` follow.
const FIRST_DIGIT: u8 = 5;
const CLOSE: u8 = 15;
/// The depths that have tokens of their own: the generator's trees have no more. What is deeper is as
/// the deepest.
const DEPTHS: u8 = 11;

impl Tokenizer {
    /// The number of ids, padding (0) included: the rows that an embedding needs.
    pub const fn vocab_size(self) -> usize {
        match self {
            Tokenizer::Legacy => CLOSE as usize,
            Tokenizer::Brackets => CLOSE as usize + 1,
            Tokenizer::Depths => CLOSE as usize * DEPTHS as usize + 1,
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
        let mut encoder = Encoder::new(self);
        for symbol in Symbols::new(expression.as_bytes()) {
            tokens.extend(encoder.id(symbol?));
        }
        if tokens.is_empty() {
            return Err(TokenError::Empty);
        }
        tokens.truncate(self.truncation());
        Ok(ids(&tokens, 0))
    }

    /// What the ids stand for, in order from 0: `<pad>`, `[MIN`, … A token of a depth is followed by
    /// it: `[MIN.2`.
    pub fn vocabulary(self) -> Vec<String> {
        let word = |id: usize| match (self, self.symbol(id as u16)) {
            (_, None) => "<pad>".to_owned(),
            (Tokenizer::Legacy, Some(symbol)) => symbol.to_string().replace('[', ""),
            (Tokenizer::Brackets, Some(symbol)) => symbol.to_string(),
            (Tokenizer::Depths, Some(symbol)) => format!("{symbol}.{}", (id - 1) / CLOSE as usize),
        };
        (0..self.vocab_size()).map(word).collect()
    }

    /// The symbol of an id, or `None` where it stands for none.
    pub(crate) fn symbol(self, id: u16) -> Option<Symbol> {
        if usize::from(id) >= self.vocab_size() {
            return None;
        }
        Some(match id.checked_sub(1)? as u8 % CLOSE + 1 {
            CLOSE => Symbol::Close,
            digit @ FIRST_DIGIT.. => Symbol::Digit(digit - FIRST_DIGIT),
            operator => Symbol::Open(Operator::ALL[usize::from(operator) - 1]),
        })
    }
}

/// Gives the symbols of one expression, in their order, the ids of a tokenisation.
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    /// The number of operations that are open.
    open: u8,
}

impl Encoder {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, open: 0 }
    }

    /// The id of the next symbol, or `None` where the tokenisation drops it.
    #[inline]
    pub(crate) fn id(&mut self, symbol: Symbol) -> Option<u8> {
        let id = match symbol {
            Symbol::Open(Operator::Min) => 1,
            Symbol::Open(Operator::Max) => 2,
            Symbol::Open(Operator::Med) => 3,
            Symbol::Open(Operator::Sm) => 4,
            Symbol::Digit(digit) => FIRST_DIGIT + digit,
            Symbol::Close => CLOSE,
        };
        match self.tokenizer {
            Tokenizer::Legacy => (symbol != Symbol::Close).then_some(id),
            Tokenizer::Brackets => Some(id),
            Tokenizer::Depths => {
                // Both brackets of an operation are as deep as its siblings.
                self.open -= u8::from(symbol == Symbol::Close && self.open > 0);
                let depth = self.open.min(DEPTHS - 1);
                self.open = self
                    .open
                    .saturating_add(u8::from(matches!(symbol, Symbol::Open(_))));
                Some(id + CLOSE * depth)
            }
        }
    }
}
