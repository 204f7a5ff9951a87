//! A scored text as its reader sees it: characters, each with what its bytes cost.

use super::characters::{Characters, Piece};
use super::costs::{Cost, GUESSES};

/// A character of a scored text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The character, or a byte that is part of none.
    pub piece: Piece,
    /// What its bytes cost together; `None` for the first of a text.
    pub bits: Option<f64>,
    /// What the model would have put in the place of its first byte that was scored.
    pub guesses: Option<[(u16, f64); GUESSES]>,
}

impl Span {
    /// How much it stands out, from 0 to as many as there are [`LEVELS`].
    pub fn level(&self) -> usize {
        let bits = self.bits.unwrap_or(0.0);
        LEVELS.iter().filter(|&&from| bits >= from).count()
    }
}

/// The bits from which a character stands out more. A model that knew nothing of a text in English
/// letters would give each about 5.
pub const LEVELS: [f64; 7] = [0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0];

/// Joins bytes and their costs to characters as they come.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    characters: Characters,
    /// The costs of bytes whose character is not complete.
    waiting: Vec<Option<Cost>>,
}

impl Spans {
    /// Takes a byte and what it costs, if it was scored: what is complete with it.
    pub fn push(&mut self, byte: u8, cost: Option<Cost>) -> Vec<Span> {
        self.waiting.push(cost);
        let pieces = self.characters.push(byte);
        self.spans(pieces)
    }

    /// There are no more bytes: what is left.
    pub fn finish(&mut self) -> Vec<Span> {
        let pieces = self.characters.finish();
        self.spans(pieces)
    }

    fn spans(&mut self, pieces: Vec<Piece>) -> Vec<Span> {
        let span = |piece: Piece| {
            let mut costs = self.waiting.drain(..piece.bytes()).flatten();
            let first = costs.next();
            let rest: f64 = costs.map(|cost| cost.bits).sum();
            Span {
                piece,
                bits: first.map(|cost| cost.bits + rest),
                guesses: first.map(|cost| cost.guesses),
            }
        };
        pieces.into_iter().map(span).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_costs_what_its_bytes_cost() {
        let cost = |bits| {
            Some(Cost {
                id: 0,
                bits,
                guesses: [(bits as u16, 0.5); GUESSES],
            })
        };
        let mut spans = Spans::default();
        let mut all = spans.push(b'a', None);
        for (byte, bits) in [(0xc3, 1.0), (0xa9, 2.0), (b'b', 3.5), (0xe2, 4.0)] {
            all.extend(spans.push(byte, cost(bits)));
        }
        assert_eq!(all.len(), 3);
        all.extend(spans.finish());
        let found: Vec<_> = all
            .iter()
            .map(|span| {
                (
                    span.piece,
                    span.bits,
                    span.guesses.map(|g| g[0].0),
                    span.level(),
                )
            })
            .collect();
        use Piece::{Byte, Character};
        assert_eq!(
            found,
            [
                (Character('a'), None, None, 0),
                (Character('é'), Some(3.0), Some(1), 4),
                (Character('b'), Some(3.5), Some(3), 4),
                (Byte(0xe2), Some(4.0), Some(4), 5),
            ]
        );
    }
}
