//! Lines of text files, however they were saved: with LF, CRLF or lone CR, with a mark before them.

use memchr::memchr2;

/// The byte that ends the lines of a text: CR where the first line ends with a lone one, else LF.
///
/// A file that mixes the two has lines with too many fields, which its reader refuses.
pub(crate) fn line_end(text: &[u8]) -> u8 {
    match memchr2(b'\n', b'\r', text) {
        Some(at) if text[at] == b'\r' && text.get(at + 1) != Some(&b'\n') => b'\r',
        _ => b'\n',
    }
}

/// The text behind a byte-order mark of UTF-8, which some editors write at its start.
pub(crate) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A line without its end.
pub(crate) fn without_end(line: &[u8], end: u8) -> &[u8] {
    let line = line.strip_suffix(&[end]).unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_how_lines_end() {
        for (text, end) in [
            (&b"a\nb\r"[..], b'\n'),
            (b"a\r\nb\n", b'\n'),
            (b"a\rb\n", b'\r'),
            (b"a\r", b'\r'),
            (b"a", b'\n'),
            (b"", b'\n'),
        ] {
            assert_eq!(line_end(text), end, "{text:?}");
        }
        assert_eq!(without_end(b"a\r\n", b'\n'), b"a");
        assert_eq!(without_end(b"a\r", b'\r'), b"a");
        assert_eq!(unmarked(b"\xef\xbb\xbfa"), b"a");
    }
}
