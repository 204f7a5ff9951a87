//! Random trees, drawn as the Long Range Arena draws them.

use std::ops::RangeInclusive;

use super::expression::Operator;
use crate::draws::Draws;

/// The depth at which every node is a digit; the root's is 1.
const MAX_DEPTH: usize = 10;
/// An operator has 2 to this many arguments.
const MAX_ARGUMENTS: usize = 10;
/// The share of operators among the nodes above [`MAX_DEPTH`]. The original calls it `VALUE_P`,
/// which says the opposite of what it does.
const OPERATOR_SHARE: f64 = 0.25;
/// The Long Range Arena's lengths in tokens: more than 500, less than 2000.
pub(super) const LENGTHS: RangeInclusive<usize> = 501..=1999;

/// A symbol in one byte: a digit as itself, `]`, or an operator with its number of arguments,
/// which its parentheses have to be counted from before they are seen.
const CLOSE: u8 = 0x10;
const OPEN: u8 = 0x80;

const fn open(operator: usize, arguments: usize) -> u8 {
    OPEN | (operator as u8) << 4 | arguments as u8
}

/// An expression and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree {
    symbols: Vec<u8>,
    value: u8,
}

impl Tree {
    /// Draws one candidate: `None` where its length isn't between 500 and 2000 tokens, bounds
    /// excluded. About one candidate in twelve is.
    ///
    /// Node by node, in this order: above depth 10 a real, which makes it an operator if it is at
    /// most 0.25; for an operator the number of its arguments less 2, out of 9, then the
    /// arguments, then which of `MIN MAX MED SM`; for a digit which one. As in the original
    /// generator, parentheses don't count towards the length.
    ///
    /// A candidate that can only grow too long is given up at once, with part of its draws unused.
    pub fn draw(draws: &mut impl Draws) -> Option<Tree> {
        let mut tree = Tree::default();
        tree.redraw(draws, &LENGTHS).then_some(tree)
    }

    /// [`Tree::draw`] in place, with other lengths in tokens; whether the candidate is accepted.
    pub(super) fn redraw(
        &mut self,
        draws: &mut impl Draws,
        lengths: &RangeInclusive<usize>,
    ) -> bool {
        self.grow(draws, lengths.end().saturating_add(1)) && lengths.contains(&self.symbols.len())
    }

    /// Draws a tree of any length below `limit`; whether there is one.
    fn grow(&mut self, draws: &mut impl Draws, limit: usize) -> bool {
        self.symbols.clear();
        let mut growth = Growth {
            draws,
            symbols: &mut self.symbols,
            least: 1,
            limit,
        };
        match growth.node(1) {
            Some(value) => {
                self.value = value;
                true
            }
            None => false,
        }
    }

    /// The number of tokens with brackets: digits, operators, and as many `]`.
    pub fn token_count(&self) -> usize {
        self.symbols.len()
    }

    /// The value of the expression.
    pub fn value(&self) -> u8 {
        self.value
    }

    /// The symbols, one byte each. Two trees are written alike exactly if these are equal.
    pub(super) fn symbols(&self) -> &[u8] {
        &self.symbols
    }

    /// Appends the expression as published, in which pairs nest to the left: the operator and its
    /// first argument are a pair, that pair and the second argument another, the last holds `]`.
    pub fn write(&self, text: &mut Vec<u8>) {
        const PAIRS: &[u8; 2 * (MAX_ARGUMENTS + 1)] = b"( ( ( ( ( ( ( ( ( ( ( ";
        let mut depth = 0usize;
        for &symbol in &self.symbols {
            if symbol & OPEN != 0 {
                if depth > 0 {
                    text.push(b' ');
                }
                depth += 1;
                let pairs = usize::from(symbol & 0x0F) + 1;
                text.extend_from_slice(&PAIRS[..2 * pairs]);
                let operator = Operator::ALL[usize::from(symbol >> 4 & 3)];
                text.extend_from_slice(operator.token().as_bytes());
            } else if symbol == CLOSE {
                depth -= 1;
                text.extend_from_slice(if depth > 0 { b" ] ) )" } else { b" ] )" });
            } else if depth > 0 {
                text.extend_from_slice(&[b' ', b'0' + symbol, b' ', b')']);
            } else {
                text.push(b'0' + symbol);
            }
        }
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.pad(&String::from_utf8_lossy(&text))
    }
}

struct Growth<'a, D> {
    draws: &'a mut D,
    symbols: &'a mut Vec<u8>,
    /// The length of the tree if every node yet to come is a digit.
    least: usize,
    limit: usize,
}

impl<D: Draws> Growth<'_, D> {
    /// Draws a node and all below it: its value, or `None` where the tree can't stay below the
    /// limit.
    fn node(&mut self, depth: usize) -> Option<u8> {
        let is_digit = depth >= MAX_DEPTH || self.draws.unit() > OPERATOR_SHARE;
        if is_digit {
            let digit = self.draws.below(10) as u8;
            self.symbols.push(digit);
            return Some(digit);
        }
        let count = 2 + self.draws.below(MAX_ARGUMENTS as u32 - 1) as usize;
        // This node counted as one digit; now it is an operator, a bracket and the arguments.
        self.least += 1 + count;
        if self.least >= self.limit {
            return None;
        }
        let place = self.symbols.len();
        self.symbols.push(OPEN);
        let mut arguments = [0; MAX_ARGUMENTS];
        for argument in &mut arguments[..count] {
            *argument = self.node(depth + 1)?;
        }
        let operator = self.draws.below(Operator::ALL.len() as u32) as usize;
        self.symbols[place] = open(operator, count);
        self.symbols.push(CLOSE);
        Operator::ALL[operator].apply(&mut arguments[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws that were written down beforehand: (bound, value), with bound 0 for a real.
    struct Replay<'a>(std::slice::Iter<'a, (u32, f64)>);

    impl Draws for Replay<'_> {
        fn below(&mut self, bound: u32) -> u32 {
            let &(expected, value) = self.0.next().expect("no draw is left");
            assert_eq!(bound, expected);
            value as u32
        }

        fn unit(&mut self) -> f64 {
            let &(expected, value) = self.0.next().expect("no draw is left");
            assert_eq!(expected, 0);
            value
        }
    }

    /// The tree of the draws, and how many draws it left.
    fn grow(draws: &[(u32, f64)], limit: usize) -> (Option<Tree>, usize) {
        let mut replay = Replay(draws.iter());
        let mut tree = Tree::default();
        let grown = tree.grow(&mut replay, limit);
        (grown.then_some(tree), replay.0.len())
    }

    #[test]
    fn a_node_is_drawn_in_the_original_order() {
        // [SM 7 [MED 1 4 2 8 ] 9 ]: the share, the count, the arguments, the operator at last.
        let draws = [
            (0, 0.25), // an operator: only more than 0.25 makes a digit
            (9, 1.0),  // of 2 + 1 arguments
            (0, 0.251),
            (10, 7.0),
            (0, 0.0), // the second is an operator
            (9, 2.0), // of 2 + 2 arguments
            (0, 0.9),
            (10, 1.0),
            (0, 0.9),
            (10, 4.0),
            (0, 0.9),
            (10, 2.0),
            (0, 0.9),
            (10, 8.0),
            (4, 2.0), // MED
            (0, 0.9),
            (10, 9.0),
            (4, 3.0), // SM
        ];
        let (tree, left) = grow(&draws, 100);
        let tree = tree.expect("is short enough");
        assert_eq!(left, 0);
        assert_eq!(
            tree.to_string(),
            "( ( ( ( [SM 7 ) ( ( ( ( ( [MED 1 ) 4 ) 2 ) 8 ) ] ) ) 9 ) ] )"
        );
        // MED of 1 2 4 8 is 3, and 7 + 3 + 9 = 19.
        assert_eq!(tree.value(), 9);
        // Two operators, seven digits less the inner tree: 2 + 6 + 2.
        assert_eq!(tree.token_count(), 10);
    }

    #[test]
    fn a_digit_may_be_all() {
        let (tree, _) = grow(&[(0, 0.7), (10, 3.0)], 2);
        let tree = tree.expect("is short enough");
        assert_eq!((tree.to_string().as_str(), tree.value()), ("3", 3));
    }

    #[test]
    fn nodes_at_the_greatest_depth_are_digits_without_a_draw() {
        // Nine operators of two arguments one below the other; each closes after a digit beside.
        let mut draws = Vec::new();
        for _ in 0..9 {
            draws.extend([(0, 0.1), (9, 0.0)]);
        }
        // Depth 10: both arguments cost one draw each, then the operator.
        draws.extend([(10, 1.0), (10, 2.0), (4, 3.0)]);
        for _ in 0..8 {
            draws.extend([(0, 0.8), (10, 1.0), (4, 3.0)]);
        }
        let (tree, left) = grow(&draws, 100);
        let tree = tree.expect("is short enough");
        assert_eq!(left, 0);
        // Sums: 1 + 2, then eight times 1 more: 11.
        assert_eq!((tree.value(), tree.token_count()), (1, 9 * 2 + 10));
    }

    #[test]
    fn a_tree_is_given_up_exactly_when_it_must_reach_the_limit() {
        // [MIN 5 0 ] has four tokens.
        let draws = [
            (0, 0.1),
            (9, 0.0),
            (0, 0.9),
            (10, 5.0),
            (0, 0.9),
            (10, 0.0),
            (4, 0.0),
        ];
        let (tree, _) = grow(&draws, 5);
        assert_eq!(
            tree.map(|tree| tree.to_string()).as_deref(),
            Some("( ( ( [MIN 5 ) 0 ) ] )")
        );
        let (tree, left) = grow(&draws, 4);
        assert_eq!(tree, None);
        assert_eq!(left, draws.len() - 2, "given up once the count is known");
    }

    #[test]
    fn giving_up_early_changes_no_verdict() {
        // The same draws without a limit: the same trees of the right length.
        use crate::draws::PcgDraws;
        let mut accepted = 0;
        for candidate in 0..20_000 {
            let mut whole = Tree::default();
            assert!(whole.grow(&mut PcgDraws::new(5, candidate), usize::MAX));
            let fits = whole.token_count() > 500 && whole.token_count() < 2000;
            let drawn = Tree::draw(&mut PcgDraws::new(5, candidate));
            accepted += usize::from(fits);
            assert_eq!(drawn, fits.then_some(whole));
        }
        assert!(accepted > 1000);
    }
}
