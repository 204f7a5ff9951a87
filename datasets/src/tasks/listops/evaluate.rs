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

/// A value inside an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerValue {
    /// The place of its token.
    pub place: usize,
    /// The number of operations around the one whose value it is.
    pub depth: usize,
    /// At a closing bracket what the operation comes to, at a digit what the operation around it would
    /// come to if it were closed there.
    pub value: u8,
}

/// The values inside an expression, in the order of their places.
///
/// `ids` are those of the tokenizer; [`Tokenizer::Legacy`] has no closing brackets. A bracket that
/// closes nothing has no value, nor has an operator without arguments, or a digit outside of all
/// operations.
///
/// ```
/// use transformer_ls_datasets::listops::{Tokenizer, values};
/// let ids = Tokenizer::Brackets.encode("[MAX 2 [MIN 4 7 ] 0 ]").unwrap();
/// let found = values(Tokenizer::Brackets, &ids);
/// let found: Vec<_> = found.iter().map(|it| (it.place, it.depth, it.value)).collect();
/// assert_eq!(found, [(1, 0, 2), (3, 1, 4), (4, 1, 4), (5, 1, 4), (6, 0, 4), (7, 0, 4)]);
/// ```
pub fn values(tokenizer: Tokenizer, ids: &[u16]) -> Vec<InnerValue> {
    let mut found = Vec::new();
    let mut values = Vec::new();
    let mut open: Vec<(Operator, usize)> = Vec::new();
    for (place, &id) in ids.iter().enumerate() {
        match tokenizer.symbol(id) {
            Some(Symbol::Digit(value)) => {
                values.push(value);
                let Some((operator, first)) = open.last() else {
                    continue;
                };
                // A copy, which may be put in order.
                let value = operator.apply(&mut values[*first..].to_vec());
                let depth = open.len() - 1;
                found.extend(value.map(|value| InnerValue {
                    place,
                    depth,
                    value,
                }));
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
                    let depth = open.len();
                    found.push(InnerValue {
                        place,
                        depth,
                        value,
                    });
                }
            }
            None => {}
        }
    }
    found
}

/// At most `most` values of each depth, evenly spread over the expression.
///
/// A long expression has hundreds of values at its deepest and a handful outside, where all of it
/// counts: among all of them the outer ones would hardly be learned.
pub fn spread(mut values: Vec<InnerValue>, most: usize) -> Vec<InnerValue> {
    let depths = values.iter().map(|it| it.depth + 1).max().unwrap_or(0);
    let mut count = vec![0; depths];
    for value in &values {
        count[value.depth] += 1;
    }
    let mut seen = vec![0; depths];
    values.retain(|value| {
        let (count, seen) = (count[value.depth], &mut seen[value.depth]);
        *seen += 1;
        count <= most || *seen * most / count > (*seen - 1) * most / count
    });
    values
}
