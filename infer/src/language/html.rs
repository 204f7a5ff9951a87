//! A scored text as a page to look at.

use std::io::{self, Write};

use transformer_ls_datasets::corpus::Vocabulary;
use transformer_ls_datasets::printable::printable;

use super::characters::Piece;
use super::costs::Cost;
use super::spans::{LEVELS, Span, Spans};

/// A scored text.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What the text is called.
    pub name: &'a str,
    /// What the model is called.
    pub model: &'a str,
    /// The bytes that the model knows.
    pub vocabulary: &'a Vocabulary,
    /// The text.
    pub text: &'a [u8],
    /// What its characters cost, all but the first.
    pub costs: &'a [Cost],
}

/// The background of each level, from pale to strong; black letters are readable on all of them.
const COLOURS: [&str; LEVELS.len()] = [
    "#fff8d6", "#ffefab", "#fedc7e", "#febb58", "#fd9a4b", "#fb7d4e", "#f2645a",
];

/// What is pointed at is explained in a line at the window's bottom, so that no text is hidden.
const STYLE: &str = "\
:root{color-scheme:light}
body{margin:0 auto;max-width:72rem;padding:1rem 1rem 4rem;background:#fff;color:#111;font:16px/1.6 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}
p{margin:.3rem 0}
i{font-style:normal}
main{margin-top:1rem;font:15px/1.7 ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
.n{color:#888}
i[data-t]:hover{outline:1px solid #111}
i[data-t]:hover::after{content:attr(data-t);position:fixed;left:0;right:0;bottom:0;padding:.6rem 1rem;background:#111;color:#fff;white-space:pre-wrap}
";

/// Writes the page: one file that needs no other, no network and no script. A character is some 100
/// bytes of it.
///
/// # Errors
///
/// The system's.
pub fn write(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let scored = page.costs.len();
    let bits: f64 = page.costs.iter().map(|cost| cost.bits).sum();
    let mean = bits / scored.max(1) as f64;
    let (name, model) = (
        escaped(&printable(page.name)),
        escaped(&printable(page.model)),
    );
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{name}: {mean:.3} bits per character</title>\n<style>\n{STYLE}"
    )?;
    for (level, colour) in (1..).zip(COLOURS) {
        writeln!(out, ".c{level}{{background:{colour}}}")?;
    }
    write!(
        out,
        "</style>\n<header>\n<h1>{mean:.3} bits per character</h1>\n\
         <p>{name}: {scored} of {} bytes scored by {model}</p>\n<p>bits:",
        page.text.len()
    )?;
    for (level, from) in (1..).zip(LEVELS) {
        write!(out, " <i class=\"c{level}\">&nbsp;{from}&nbsp;</i>")?;
    }
    out.write_all(
        b" and more. Point at a character to see its cost, and what the model thought likelier.</p>\n\
          </header>\n<main lang=\"\">",
    )?;
    let mut spans = Spans::default();
    let costs = std::iter::once(None).chain(page.costs.iter().copied().map(Some));
    for (&byte, cost) in page.text.iter().zip(costs) {
        for span in spans.push(byte, cost) {
            write_span(out, &span, page.vocabulary)?;
        }
    }
    for span in spans.finish() {
        write_span(out, &span, page.vocabulary)?;
    }
    out.write_all(b"</main>\n</html>\n")
}

fn write_span(out: &mut impl Write, span: &Span, vocabulary: &Vocabulary) -> io::Result<()> {
    // A line end has no width of its own to colour.
    let (text, end) = match span.piece {
        Piece::Character('\n') => ("↵".to_owned(), "\n"),
        piece => (escaped(&piece.printable()), ""),
    };
    let class = match (span.level(), span.piece) {
        (0, Piece::Character('\n')) => "n".to_owned(),
        (0, _) => String::new(),
        (level, _) => format!("c{level}"),
    };
    let explained = escaped(&explain(span, vocabulary));
    match class.is_empty() {
        true => write!(out, "<i data-t=\"{explained}\">{text}</i>{end}"),
        false => write!(
            out,
            "<i class={class} data-t=\"{explained}\">{text}</i>{end}"
        ),
    }
}

fn explain(span: &Span, vocabulary: &Vocabulary) -> String {
    let own = match span.piece {
        Piece::Character(c) if c.is_ascii() => shown(c as u8),
        piece => piece.printable(),
    };
    let (Some(bits), Some(guesses)) = (span.bits, span.guesses) else {
        return format!("{own}   not scored: nothing comes before it");
    };
    let guesses: Vec<String> = guesses
        .into_iter()
        .filter(|&(_, probability)| probability > 0.0)
        .filter_map(|(id, probability)| {
            let byte = vocabulary.byte(id)?;
            Some(format!("{} {:.1} %", shown(byte), 100.0 * probability))
        })
        .collect();
    format!("{own}   {bits:.2} bits   guesses: {}", guesses.join(", "))
}

/// A byte with something to see.
pub fn shown(byte: u8) -> String {
    match byte {
        b' ' => "␣".to_owned(),
        b'\n' => "↵".to_owned(),
        b'\t' => "⇥".to_owned(),
        byte if byte.is_ascii_graphic() => char::from(byte).to_string(),
        byte => Piece::Byte(byte).printable(),
    }
}

/// Text as HTML, also between quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::costs::GUESSES;

    fn page(text: &[u8], bits: f64) -> String {
        let vocabulary = Vocabulary::of(text);
        let costs: Vec<Cost> = text[1..]
            .iter()
            .map(|&byte| Cost {
                id: vocabulary.id(byte).unwrap(),
                bits,
                guesses: [(0, 0.5), (0, 0.25), (0, 0.0)],
            })
            .collect();
        assert_eq!(GUESSES, 3);
        let page = Page {
            name: "a <b>.txt",
            model: "runs/\"x\"",
            vocabulary: &vocabulary,
            text,
            costs: &costs,
        };
        let mut out = Vec::new();
        write(&mut out, &page).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_is_whole_and_says_what_each_character_costs() {
        let page = page(b"ab\n\xff", 2.5);
        assert!(page.starts_with("<!doctype html>"));
        assert!(page.contains("<title>a &lt;b&gt;.txt: 2.500 bits per character</title>"));
        assert!(page.contains("3 of 4 bytes scored by runs/&quot;x&quot;"));
        assert!(page.contains("not scored: nothing comes before it\">a</i>"));
        let b = "<i class=c3 data-t=\"b   2.50 bits   guesses: ↵ 50.0 %, ↵ 25.0 %\">b</i>";
        assert!(page.contains(b), "{page}");
        assert!(page.contains(">↵</i>\n<i class=c3"), "{page}");
        assert!(page.contains(">\\xff</i></main>\n</html>\n"), "{page}");
        // It needs nothing else.
        for word in ["http", "src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        let page = page(b"<script>\"&\x1b[31m</main>", 0.1);
        let body = page.split("<main lang=\"\">").nth(1).unwrap();
        assert!(!body.contains("<script"), "{body}");
        assert_eq!(body.matches("</main>").count(), 1, "{body}");
        assert!(
            body.contains(">&amp;</i>") && body.contains(">&quot;</i>"),
            "{body}"
        );
        assert!(!body.contains('\x1b') && body.contains("\\u{1b}"), "{body}");
    }
}
