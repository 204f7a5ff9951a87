//! From bytes that come one by one to characters, and how either is shown.

use transformer_ls_datasets::printable::printable;

/// A character, or a byte that is part of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// A character.
    Character(char),
    /// A byte that is no UTF-8 where it stands.
    Byte(u8),
}

impl Piece {
    /// How many bytes it is made of.
    pub fn bytes(self) -> usize {
        match self {
            Self::Character(c) => c.len_utf8(),
            Self::Byte(_) => 1,
        }
    }

    /// What is safe to print: line ends and tabs as they are, what a terminal would obey as `\u{1b}`,
    /// a byte as `\xff`.
    pub fn printable(self) -> String {
        match self {
            Self::Character(c) => printable(c.encode_utf8(&mut [0; 4])),
            Self::Byte(byte) => format!("\\x{byte:02x}"),
        }
    }
}

/// Joins bytes to characters (UTF-8) as they come.
///
/// ```
/// use transformer_ls_infer::language::{Characters, Piece};
/// let mut characters = Characters::default();
/// assert_eq!(characters.push(b'a'), [Piece::Character('a')]);
/// assert!(characters.push(0xc3).is_empty());
/// assert_eq!(characters.push(0xa9), [Piece::Character('é')]);
/// assert_eq!(characters.push(0xff), [Piece::Byte(0xff)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Characters {
    /// The beginning of a character.
    pending: Vec<u8>,
}

impl Characters {
    /// Takes a byte: what is complete with it.
    pub fn push(&mut self, byte: u8) -> Vec<Piece> {
        self.pending.push(byte);
        self.take(false)
    }

    /// There are no more bytes: what is left.
    pub fn finish(&mut self) -> Vec<Piece> {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            pieces.extend(chunk.valid().chars().map(Piece::Character));
            taken += chunk.valid().len();
            let rest = chunk.invalid();
            // At the end bytes may be missing instead of wrong.
            let is_last = taken + rest.len() == self.pending.len();
            let is_begun = std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
            if !(is_last && is_begun) || all {
                pieces.extend(rest.iter().copied().map(Piece::Byte));
                taken += rest.len();
            }
        }
        self.pending.drain(..taken);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<Piece> {
        let mut characters = Characters::default();
        let mut pieces: Vec<Piece> = bytes.iter().flat_map(|&b| characters.push(b)).collect();
        pieces.extend(characters.finish());
        assert!(characters.finish().is_empty());
        pieces
    }

    #[test]
    fn text_stays_what_it_is() {
        let text = "a é – 名 🙂\n";
        let characters: Vec<Piece> = text.chars().map(Piece::Character).collect();
        assert_eq!(pieces(text.as_bytes()), characters);
    }

    #[test]
    fn every_byte_is_in_one_piece_in_order() {
        use Piece::{Byte, Character};
        // A lone continuation, a beginning that another one cuts off, and one at the end.
        assert_eq!(
            pieces(b"\x80a\xe2\x82b\xf0\x9f\xc3\xa9\xe2"),
            [
                Byte(0x80),
                Character('a'),
                Byte(0xe2),
                Byte(0x82),
                Character('b'),
                Byte(0xf0),
                Byte(0x9f),
                Character('é'),
                Byte(0xe2)
            ]
        );
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let length: usize = pieces(&all).into_iter().map(Piece::bytes).sum();
        assert_eq!(length, all.len());
    }

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        let shown = |piece: Piece| piece.printable();
        assert_eq!(shown(Piece::Character('é')), "é");
        assert_eq!(shown(Piece::Character('\n')), "\n");
        assert_eq!(shown(Piece::Character('\x1b')), "\\u{1b}");
        assert_eq!(shown(Piece::Byte(0x80)), "\\x80");
    }
}
