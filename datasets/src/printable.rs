//! Text from files that is safe to print: what a terminal would obey is written out.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The text with control characters, and those that turn the direction of writing, as `\u{1b}`;
/// line ends stay.
///
/// Names in an archive, fields of a file and the words of a decoder about either may hold anything.
///
/// ```
/// use transformer_ls_datasets::printable::printable;
/// assert_eq!(printable("a\x1b[31mb\n"), "a\\u{1b}[31mb\n");
/// ```
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push(c),
            // Tabs stand in no name of ours, and do no harm.
            '\t' => safe.push(c),
            c if c.is_control() || is_directional(c) => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "{}", c.escape_unicode());
            }
            c => safe.push(c),
        }
    }
    safe
}

/// The same on one line.
pub(crate) fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// A path, for messages.
pub(crate) fn shown(path: &Path) -> String {
    on_one_line(&path.display().to_string())
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Marks, embeddings, overrides and isolates of writing direction; line and paragraph separators.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(printable("naïve – 名前\n"), "naïve – 名前\n");
        assert_eq!(printable("\u{9b}31m\r\u{7}"), "\\u{9b}31m\\u{d}\\u{7}");
        assert_eq!(printable("a\u{202e}gnp.exe"), "a\\u{202e}gnp.exe");
        assert_eq!(on_one_line("a\nb\u{1b}"), "a\\nb\\u{1b}");
    }
}
