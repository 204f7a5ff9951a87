//! `ls-infer score`

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::ColorChoice;
use serde::Serialize;
use transformer_ls_datasets::atomic::Unfinished;
use transformer_ls_datasets::corpus::Vocabulary;
use transformer_ls_datasets::foreign;
use transformer_ls_datasets::printable::printable;
use transformer_ls_infer::language::{Cost, LEVELS, Page, Piece, Span, Spans, costs, html};
use transformer_ls_infer::typed;

use super::live::LiveLine;
use super::options::{DeviceOption, check_out, language_run};

/// Find out how well a language model predicts a text
///
/// The result is in bits per character: the mean of −log₂ p over every byte of the text but the
/// first, which nothing comes before. (A character outside ASCII is several bytes, which count one by
/// one.) The model reads the text from start to end, with its memory carried over.
///
/// On a terminal the text is shown with what its characters cost, from pale to red; --html writes
/// that to a file, with the model's best guesses.
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "Examples:
  ls-infer score runs/lm-1 story.txt
  ls-infer score runs/lm-1 story.txt --html story.html
  ls-infer score runs/lm-1 story.txt --json > costs.jsonl"
)]
pub struct Score {
    /// A run folder or a file of weights; without one, the language model that comes with the program
    #[arg(value_name = "RUN", value_parser = typed::path())]
    run: Option<PathBuf>,
    /// The text (- for standard input)
    #[arg(value_name = "FILE", value_parser = typed::path())]
    file: PathBuf,
    /// Write the coloured text to a file, as a page that needs no other
    #[arg(long, value_name = "OUT.html", value_parser = typed::path())]
    html: Option<PathBuf>,
    /// Replace the page if it exists
    #[arg(long, requires = "html")]
    force: bool,
    /// Write a JSON object a byte (what it costs, the model's best guesses), and one for the text
    #[arg(long)]
    json: bool,
    /// Whether to show the text in colours: auto does on a terminal where NO_COLOR is not set, for
    /// texts of up to 100 000 bytes
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    #[command(flatten)]
    device: DeviceOption,
}

/// A terminal keeps no more than some thousand lines.
const SHOWN_BYTES: usize = 100_000;

/// The colour of each level among a terminal's 256, as in a page.
const COLOURS: [u8; LEVELS.len()] = [230, 229, 222, 215, 209, 203, 197];

/// A byte in `--json`.
#[derive(Serialize)]
struct ByteLine {
    /// Its place in the text, counted from 0.
    at: usize,
    byte: u8,
    /// The character, if it is one by itself.
    text: Option<char>,
    bits: f64,
    guesses: Vec<Guess>,
}

#[derive(Serialize)]
struct Guess {
    byte: u8,
    text: Option<char>,
    probability: f64,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    run: &'a str,
    file: &'a str,
    bits_per_character: f64,
    bits: f64,
    scored: usize,
    bytes: usize,
    seconds: f64,
    device: &'a str,
    adapter: &'a str,
}

impl Score {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // What cannot be read or written is said before a model is loaded.
        let text = read(&self.file)?;
        if let Some(out) = &self.html {
            check_out(out, self.force)?;
        }
        let device = self.device.resolve()?;
        let advice = "the text comes last: ls-infer score RUN FILE";
        let run = language_run(self.run.as_deref(), &device, advice)?;
        let model = match &self.run {
            Some(run) => printable(&run.display().to_string()),
            None => "the shipped model".to_owned(),
        };
        let file = match is_stdin(&self.file) {
            true => "standard input".to_owned(),
            false => printable(&self.file.display().to_string()),
        };
        let ids = run
            .vocabulary
            .encode(&text)
            .map_err(|unknown| anyhow::anyhow!("{file}: {unknown}"))?;

        let begin = Instant::now();
        let mut out = BufWriter::new(io::stdout().lock());
        let mut lines = match (self.json, self.shows_text(text.len())) {
            (true, _) => Lines::Json,
            (_, true) => Lines::Coloured(Spans::default()),
            _ => Lines::Nothing,
        };
        // What is printed on the same terminal says well enough how far it is.
        let quiet = matches!(lines, Lines::Nothing) || !io::stdout().is_terminal();
        let live = quiet.then(LiveLine::new);
        let (mut bits, mut done, mut kept) = (0.0, 0, Vec::new());
        lines.first(&mut out, text[0])?;
        costs(&run, &ids, |costs| {
            for cost in costs {
                done += 1;
                bits += cost.bits;
                lines.next(&mut out, done, text[done], cost, &run.vocabulary)?;
            }
            out.flush()?;
            if self.html.is_some() {
                kept.extend_from_slice(costs);
            }
            if let Some(live) = &live {
                live.scoring(done, ids.len() - 1, begin.elapsed(), bits / done as f64);
            }
            anyhow::Ok(())
        })?;
        drop(live);
        lines.end(&mut out)?;
        let seconds = begin.elapsed().as_secs_f64();
        let mean = bits / done as f64;
        if let Some(path) = &self.html {
            let page = Page {
                name: &file,
                model: &model,
                vocabulary: &run.vocabulary,
                text: &text,
                costs: &kept,
            };
            write_page(path, &page)
                .map_err(|error| anyhow::anyhow!("could not write {}: {error}", path.display()))?;
        }
        if self.json {
            let summary = Summary {
                run: &model,
                file: &file,
                bits_per_character: mean,
                bits,
                scored: done,
                bytes: text.len(),
                seconds,
                device: &device.name,
                adapter: &device.adapter,
            };
            let line = serde_json::to_string(&summary)?;
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{file}: {mean:.4} bits per character ({done} of {} bytes scored by {model}), \
                 {seconds:.1} s on {} ({})",
                text.len(),
                device.name,
                device.adapter
            )?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn shows_text(&self, bytes: usize) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                // https://no-color.org: set, and not empty.
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
                io::stdout().is_terminal() && !unwanted && bytes <= SHOWN_BYTES
            }
        }
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The bytes of a text that is one, and has something to score.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let name = file.display();
    let (text, name) = match is_stdin(file) {
        true => {
            let mut bytes = Vec::new();
            let read = io::stdin().read_to_end(&mut bytes);
            (read.map(|_| bytes), "standard input".to_owned())
        }
        false if file.is_dir() => {
            anyhow::bail!(
                "{name} is a folder: name the file with the text, after the run (ls-infer score RUN FILE)"
            )
        }
        false => (fs::read(file), name.to_string()),
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("there is no file {name}: check the path"),
        _ => anyhow::anyhow!("could not read {name}: {error}"),
    })?;
    if let Some(kind) = foreign::binary(&text) {
        anyhow::bail!("{name} is {kind}, not text: name a file with text in it");
    }
    match text.len() {
        0 => anyhow::bail!("{name} is empty: name a file with text in it"),
        1 => anyhow::bail!(
            "{name} has 1 byte, and the first is not scored, since nothing comes before it: name a \
             file with more text"
        ),
        _ => Ok(text),
    }
}

/// The page appears complete or not at all.
fn write_page(path: &Path, page: &Page<'_>) -> io::Result<()> {
    let mut file = Unfinished::new(path)?;
    let mut out = BufWriter::new(file.file());
    html::write(&mut out, page)?;
    out.flush()?;
    drop(out);
    file.finish(path)
}

/// What is printed of each byte.
enum Lines {
    Nothing,
    Json,
    Coloured(Spans),
}

impl Lines {
    /// The first byte, which isn't scored.
    fn first(&mut self, out: &mut impl Write, byte: u8) -> io::Result<()> {
        match self {
            Self::Coloured(spans) => print(out, &spans.push(byte, None)),
            _ => Ok(()),
        }
    }

    fn next(
        &mut self,
        out: &mut impl Write,
        at: usize,
        byte: u8,
        cost: &Cost,
        vocabulary: &Vocabulary,
    ) -> anyhow::Result<()> {
        match self {
            Self::Nothing => {}
            Self::Coloured(spans) => print(out, &spans.push(byte, Some(*cost)))?,
            Self::Json => {
                let text = |byte: u8| byte.is_ascii().then(|| char::from(byte));
                let guess = |(id, probability)| {
                    let byte = vocabulary.byte(id)?;
                    (probability > 0.0).then(|| Guess {
                        byte,
                        text: text(byte),
                        probability,
                    })
                };
                let line = ByteLine {
                    at,
                    byte,
                    text: text(byte),
                    bits: cost.bits,
                    guesses: cost.guesses.into_iter().filter_map(guess).collect(),
                };
                // Into memory first, so that a closed pipe stays an error of the pipe.
                let line = serde_json::to_string(&line)?;
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// What is left of a character, and what the colours mean.
    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Self::Coloured(spans) = self else {
            return Ok(());
        };
        print(out, &spans.finish())?;
        write!(out, "\n\nbits:")?;
        for (level, from) in (1..).zip(LEVELS) {
            write!(out, " {}", coloured(level, &format!(" {from} ")))?;
        }
        writeln!(out, " and more")
    }
}

fn print(out: &mut impl Write, spans: &[Span]) -> io::Result<()> {
    for span in spans {
        let text = span.piece.printable();
        let shown = match (span.level(), span.piece) {
            (0, _) => text,
            // A line end has no width of its own to colour.
            (level, Piece::Character('\n')) => format!("{}\n", coloured(level, "↵")),
            (level, _) => coloured(level, &text),
        };
        out.write_all(shown.as_bytes())?;
    }
    Ok(())
}

/// Black on the colour of a level above 0. Whatever ends the program, the colour has ended before.
fn coloured(level: usize, text: &str) -> String {
    format!("\x1b[38;5;16;48;5;{}m{text}\x1b[0m", COLOURS[level - 1])
}
