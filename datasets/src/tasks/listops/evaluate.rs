//! The value of an expression.

use super::expression::{Operator, Symbol, Symbols};
use super::{TokenError, Tokenizer};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// The text is empty, or holds something that is no symbol of ListOps.
    #[error(transparent)]
    Token(#[from] TokenError),

    /// Operators are left open at the end.
    #[error("the expression ends too early: add {0} closing bracket(s) `]`")]
    Unclosed(usize),

    /// A bracket closes nothing.
    #[error("the `]` in column {0} closes nothing: remove it, or open an operator before it")]
    Unopened(usize),

    /// An operator has nothing to work on.
    #[error("the operator that ends in column {0} has no arguments: give it at least one")]
    NoArguments(usize),

    /// There is a second expression after the first.
    #[error(
        "the expression is complete before column {0}: put one expression on a line, with \
         one operator around it all"
    )]
    Trailing(usize),
}

/// Works an expression out.
///
/// It may be written as published, `( ( ( [MIN 5 ) 0 ) ] )`, or without parentheses, with or
/// without white space about brackets: `[MIN 5 0]`. Operators take any positive number of
/// arguments, at any depth.
///
/// # Errors
/// Says what is wrong and in which column where `expression` is not one complete expression.
///
/// ```
/// use transformer_ls_datasets::listops::evaluate;
/// assert_eq!(evaluate("[MAX 2 9 [MIN 4 7 ] 0 ]"), Ok(9));
/// ```
pub fn evaluate(expression: &str) -> Result<u8, ExpressionError> {
    // The arguments so far of all open operators, end to end, and for each open operator where
    // its own begin: no recursion, so that no depth overflows the stack.
    let mut values = Vec::new();
    let mut open = Vec::new();
    let mut symbols = Symbols::new(expression.as_bytes());
    while let Some(symbol) = symbols.next() {
        let symbol = symbol?;
        let column = symbols.column();
        if open.is_empty() && symbol != Symbol::Close && !values.is_empty() {
            return Err(ExpressionError::Trailing(column));
        }
        match symbol {
            Symbol::Digit(value) => values.push(value),
            Symbol::Open(operator) => open.push((operator, values.len())),
            Symbol::Close => {
                let (operator, first) = open.pop().ok_or(ExpressionError::Unopened(column))?;
                let value = operator
                    .apply(&mut values[first..])
                    .ok_or(ExpressionError::NoArguments(column))?;
                values.truncate(first);
                values.push(value);
            }
        }
    }
    match (open.len(), values.pop()) {
        (0, Some(value)) => Ok(value),
        (0, None) => Err(TokenError::Empty.into()),
        (missing, _) => Err(ExpressionError::Unclosed(missing)),
    }
}

/// The values inside an expression, each with its place: at a closing bracket what the operation comes
/// to, at a digit what the operation around it would come to if it were closed there.
///
/// `ids` are those of [`Tokenizer::Brackets`]. A bracket that closes nothing has no value, nor has an
/// operator without arguments, or a digit outside of all operations.
///
/// ```
/// use transformer_ls_datasets::listops::{Tokenizer, values};
/// let ids = Tokenizer::Brackets.encode("[MAX 2 [MIN 4 7 ] 0 ]").unwrap();
/// assert_eq!(values(&ids), [(1, 2), (3, 4), (4, 4), (5, 4), (6, 4), (7, 4)]);
/// ```
pub fn values(ids: &[u16]) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    let mut values = Vec::new();
    let mut open: Vec<(Operator, usize)> = Vec::new();
    for (place, &id) in ids.iter().enumerate() {
        match Tokenizer::Brackets.symbol(id) {
            Some(Symbol::Digit(value)) => {
                values.push(value);
                if let Some((operator, first)) = open.last() {
                    // A copy, which may be put in order.
                    let value = operator.apply(&mut values[*first..].to_vec());
                    found.extend(value.map(|value| (place, value)));
                }
            }
            Some(Symbol::Open(operator)) => open.push((operator, values.len())),
            Some(Symbol::Close) => {
                let Some((operator, first)) = open.pop() else {
                    continue;
                };
                let value = operator.apply(&mut values[first..]);
                values.truncate(first);
                if let Some(value) = value {
                    values.push(value);
                    found.push((place, value));
                }
            }
            None => {}
        }
    }
    found
}
