//! The symbols of a ListOps expression, and how to find them in its text.

use std::fmt;

use super::TokenError;

/// An operator of a ListOps expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The least of the arguments.
    Min,
    /// The greatest of the arguments.
    Max,
    /// The median of the arguments, rounded down where it lies between two.
    Med,
    /// The sum of the arguments modulo 10.
    Sm,
}

impl Operator {
    /// All operators, in the order in which the generator draws them.
    pub const ALL: [Operator; 4] = [Operator::Min, Operator::Max, Operator::Med, Operator::Sm];

    /// The operator as it stands in an expression, with its opening bracket.
    pub const fn token(self) -> &'static str {
        match self {
            Operator::Min => "[MIN",
            Operator::Max => "[MAX",
            Operator::Med => "[MED",
            Operator::Sm => "[SM",
        }
    }

    /// The operator's value, or `None` where there are no arguments. Reorders `arguments`.
    pub(crate) fn apply(self, arguments: &mut [u8]) -> Option<u8> {
        match self {
            Operator::Min => arguments.iter().min().copied(),
            Operator::Max => arguments.iter().max().copied(),
            Operator::Med => {
                arguments.sort_unstable();
                let upper = arguments.get(arguments.len() / 2)?;
                let lower = arguments.get((arguments.len() - 1) / 2)?;
                Some((lower + upper) / 2)
            }
            Operator::Sm => {
                // Digits: no sum of fewer than 2^60 of them overflows.
                let sum: u64 = arguments.iter().map(|&value| u64::from(value)).sum();
                (!arguments.is_empty()).then_some((sum % 10) as u8)
            }
        }
    }
}

/// A symbol that carries meaning. Parentheses do not: they only repeat what the brackets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Digit(u8),
    Open(Operator),
    Close,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symbol::Digit(digit) => write!(f, "{digit}"),
            Symbol::Open(operator) => f.write_str(operator.token()),
            Symbol::Close => f.write_str("]"),
        }
    }
}

/// Walks over the symbols of an expression.
///
/// White space and parentheses are skipped, and neither brackets nor parentheses need white space
/// about them. `X`, which the Long Range Arena's own tokens have for it, is a closing bracket.
pub(crate) struct Symbols<'a> {
    text: &'a [u8],
    /// Where the symbol that was returned last starts, and where it ends.
    start: usize,
    end: usize,
}

impl<'a> Symbols<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            start: 0,
            end: 0,
        }
    }

    /// The column, counted from 1, of the symbol that was returned last.
    ///
    /// All that comes before a symbol is ASCII, so bytes are characters.
    pub(crate) fn column(&self) -> usize {
        self.start + 1
    }

    /// Refuses the word at `start`, and ends the walk.
    #[cold]
    fn unknown(&mut self, start: usize) -> TokenError {
        self.end = self.text.len();
        let rest = &self.text[start..];
        let ends = |b: &u8| b.is_ascii_whitespace() || b"()[]".contains(b);
        let length = 1 + rest[1..].iter().take_while(|b| !ends(b)).count();
        TokenError::Unknown {
            token: shorten(&rest[..length]),
            column: start + 1,
        }
    }
}

impl Iterator for Symbols<'_> {
    type Item = Result<Symbol, TokenError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let skipped = |b: u8| matches!(b, b' ' | b'(' | b')' | b'\t' | b'\n' | b'\r' | 0x0C);
        let mut start = self.end;
        while skipped(*self.text.get(start)?) {
            start += 1;
        }
        let (symbol, length) = match &self.text[start..] {
            [b']', ..] => (Symbol::Close, 1),
            [digit @ b'0'..=b'9', ..] => (Symbol::Digit(digit - b'0'), 1),
            [b'[', b'M', b'I', b'N', ..] => (Symbol::Open(Operator::Min), 4),
            [b'[', b'M', b'A', b'X', ..] => (Symbol::Open(Operator::Max), 4),
            [b'[', b'M', b'E', b'D', ..] => (Symbol::Open(Operator::Med), 4),
            [b'[', b'S', b'M', ..] => (Symbol::Open(Operator::Sm), 3),
            [b'X', ..] => (Symbol::Close, 1),
            _ => return Some(Err(self.unknown(start))),
        };
        let end = start + length;
        // `12`, `[MINI` and `Xs` are no symbols; `5]` and `[SM[MAX` are two each.
        let ends_here = self.text[end - 1] == b']'
            || self
                .text
                .get(end)
                .is_none_or(|&b| skipped(b) || b == b'[' || b == b']');
        if !ends_here {
            return Some(Err(self.unknown(start)));
        }
        (self.start, self.end) = (start, end);
        Some(Ok(symbol))
    }
}

/// At most 24 characters of `text`, for a message.
pub(crate) fn shorten(text: &[u8]) -> String {
    const LONGEST: usize = 24;
    // Four bytes a character at most, so that a line of megabytes is not converted.
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * LONGEST + 4)]);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
