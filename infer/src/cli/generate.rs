//! `ls-infer generate`

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use transformer_ls_datasets::corpus::Vocabulary;
use transformer_ls_infer::language::{Characters, Piece, Sampling, Writing, generate};
use transformer_ls_infer::typed;

use super::note;
use super::options::{DeviceOption, language_run};

/// Write text that goes on from a prompt
///
/// The model is that of a run of `ls-train lm` or of a file of its weights; with no run, the small
/// one that comes with the program. Characters appear as they are written, after the prompt. A model
/// knows the bytes of the text that it was trained on, and no others. Without a prompt it starts
/// after a line end, or after a space where it knows no line ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ls-infer generate --prompt 'The '
  ls-infer generate runs/lm-1 --prompt 'Once' --length 300 --temperature 0.7 --seed 1
  ls-infer generate runs/lm-1 --prompt - --greedy < beginning.txt")]
pub struct Generate {
    /// A run folder or a file of weights; without one, the language model that comes with the program
    #[arg(value_name = "RUN", value_parser = typed::path())]
    run: Option<PathBuf>,
    /// The text to go on from (- for standard input, without the line end at its end); may be given
    /// several times
    #[arg(long, value_name = "TEXT", value_parser = typed::prompt(), allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// Characters to write after each prompt
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = typed::positive)]
    length: usize,
    /// Texts to write after each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = typed::positive)]
    count: usize,
    /// Below 1 likely characters become likelier, above 1 all become more alike
    #[arg(long, value_name = "T", default_value_t = 0.8, value_parser = temperature)]
    temperature: f64,
    /// Choose among the K likeliest characters [default: all]
    #[arg(long, value_name = "K", value_parser = typed::positive)]
    top_k: Option<usize>,
    /// Choose among the fewest characters whose probabilities add up to P
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = top_p)]
    top_p: f64,
    /// Make characters less likely that came lately: 1 for no change, 1.2 for much
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = penalty)]
    repetition_penalty: f64,
    /// How many characters are lately
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = typed::positive)]
    repetition_window: usize,
    /// Always take the likeliest character
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "count"])]
    greedy: bool,
    /// The same seed writes the same text [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Texts that are written at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = typed::positive)]
    batch_size: usize,
    /// Write the model's bytes as they are, also what is no UTF-8 or what a terminal would obey
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    device: DeviceOption,
}

impl Generate {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // What cannot be read is said before a model is loaded.
        let prompts = self.prompts()?;
        let device = self.device.resolve()?;
        let run = language_run(
            self.run.as_deref(),
            &device,
            "a prompt is given with --prompt",
        )?;
        let mut texts = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let name = match prompts.len() {
                1 => "the prompt".to_owned(),
                _ => format!("prompt {}", index + 1),
            };
            let ids = encode(&run.vocabulary, prompt, &name)?;
            texts.extend((0..self.count).map(|_| (prompt.as_slice(), ids.clone())));
        }
        let writing = Writing {
            sampling: self.sampling(),
            // The standard library's own source of chance.
            seed: self
                .seed
                .unwrap_or_else(|| RandomState::new().hash_one(0) >> 32),
            length: self.length,
        };
        let begin = Instant::now();
        let mut out = io::stdout().lock();
        let mut number = 0;
        for batch in texts.chunks(self.batch_size) {
            let shown = batch.iter().zip(number..).map(|((prompt, _), number)| {
                let header = (texts.len() > 1).then(|| match number {
                    0 => format!("==> 1 of {} <==\n", texts.len()),
                    _ => format!("\n==> {} of {} <==\n", number + 1, texts.len()),
                });
                Shown::new(header, prompt, self.length)
            });
            let mut page = InTurn {
                out: &mut out,
                raw: self.raw,
                // One text alone, as it is, is nothing but its bytes.
                line_ends: !(self.raw && texts.len() == 1),
                texts: shown.collect(),
                current: 0,
            };
            page.begin()?;
            let ids: Vec<Vec<u16>> = batch.iter().map(|(_, ids)| ids.clone()).collect();
            generate(&run, &writing, number as u64, &ids, |index, id| {
                // Every id of the model's is one of the vocabulary's: the configuration was checked.
                let byte = run.vocabulary.byte(id).unwrap_or_default();
                page.take(index, byte).map_err(anyhow::Error::from)
            })?;
            number += batch.len();
        }
        if io::stderr().is_terminal() {
            let written = texts.len() * self.length;
            let seconds = begin.elapsed().as_secs_f64();
            let seed = match self.greedy {
                true => String::new(),
                false => format!(", seed {}", writing.seed),
            };
            note(format_args!(
                "{written} characters in {seconds:.1} s ({:.0} characters/s) on {}{seed}",
                written as f64 / seconds.max(1e-9),
                device.name
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn sampling(&self) -> Sampling {
        Sampling {
            repetition_penalty: self.repetition_penalty,
            repetition_window: self.repetition_window,
            temperature: if self.greedy { 0.0 } else { self.temperature },
            top_k: self.top_k,
            top_p: self.top_p,
        }
    }

    /// The prompts as bytes; one that is empty, if there are none.
    fn prompts(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let typed: Vec<&str> = self.prompt.iter().map(String::as_str).collect();
        if typed.iter().filter(|&&prompt| prompt == "-").count() > 1 {
            anyhow::bail!("standard input can be read once: give `--prompt -` a single time");
        }
        let typed = match typed.is_empty() {
            true => vec![""],
            false => typed,
        };
        typed.into_iter().map(read_prompt).collect()
    }
}

fn read_prompt(typed: &str) -> anyhow::Result<Vec<u8>> {
    if typed != "-" {
        return Ok(typed.as_bytes().to_vec());
    }
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        note(format_args!("Type the prompt; Ctrl-D ends."));
    }
    let mut bytes = Vec::new();
    stdin
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow::anyhow!("could not read standard input: {error}"))?;
    // That of `echo`, and of an editor.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// The ids of a prompt; of an empty one, the id that a text starts after.
fn encode(vocabulary: &Vocabulary, prompt: &[u8], name: &str) -> anyhow::Result<Vec<u16>> {
    if prompt.is_empty() {
        let known = |&byte: &u8| vocabulary.id(byte);
        let start = [b'\n', b' '].iter().find_map(known);
        // The lowest byte is as good as any other.
        return Ok(vec![start.unwrap_or(0)]);
    }
    vocabulary.encode(prompt).map_err(|_| {
        let unseen = unseen(vocabulary, prompt);
        anyhow::anyhow!(
            "{name} has {unseen}, which the model has never seen: leave that out, or name a run that \
             was trained on text with it"
        )
    })
}

/// The characters of a text whose bytes a model doesn't know, and where each stands first.
fn unseen(vocabulary: &Vocabulary, text: &[u8]) -> String {
    const NAMED: usize = 5;
    let mut characters = Characters::default();
    let mut pieces: Vec<Piece> = text.iter().flat_map(|&b| characters.push(b)).collect();
    pieces.extend(characters.finish());
    let (mut at, mut found) = (0, HashSet::new());
    let mut words = Vec::new();
    for (place, &piece) in (1..).zip(&pieces) {
        let bytes = &text[at..][..piece.bytes()];
        at += bytes.len();
        let is_known = bytes.iter().all(|&byte| vocabulary.id(byte).is_some());
        if !is_known && found.insert(piece) && words.len() < NAMED {
            words.push(match piece {
                Piece::Character(c) => format!("{c:?} (character {place})"),
                byte => format!("the byte {} (character {place})", byte.printable()),
            });
        }
    }
    if found.len() > words.len() {
        words.push(format!("{} more", found.len() - words.len()));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// A text on its way to the reader.
struct Shown {
    header: Option<String>,
    /// What the reader has not got yet: of texts after the current one, all.
    bytes: Vec<u8>,
    characters: Characters,
    /// Bytes that are still to come.
    missing: usize,
}

impl Shown {
    fn new(header: Option<String>, prompt: &[u8], length: usize) -> Self {
        Self {
            header,
            bytes: prompt.to_vec(),
            characters: Characters::default(),
            missing: length,
        }
    }
}

/// Shows texts one after the other that are written side by side: the first as it comes, the others
/// when it is their turn.
struct InTurn<W: Write> {
    out: W,
    raw: bool,
    /// Whether each text is followed by a line end.
    line_ends: bool,
    texts: Vec<Shown>,
    current: usize,
}

impl<W: Write> InTurn<W> {
    /// Shows the first prompt.
    fn begin(&mut self) -> io::Result<()> {
        self.show()
    }

    /// The next byte of a text.
    fn take(&mut self, index: usize, byte: u8) -> io::Result<()> {
        let text = &mut self.texts[index];
        text.bytes.push(byte);
        text.missing -= 1;
        match index == self.current {
            true => self.show(),
            false => Ok(()),
        }
    }

    /// What can be shown by now.
    fn show(&mut self) -> io::Result<()> {
        while let Some(text) = self.texts.get_mut(self.current) {
            let mut ready = text.header.take().unwrap_or_default().into_bytes();
            let bytes = std::mem::take(&mut text.bytes);
            let is_done = text.missing == 0;
            if self.raw {
                ready.extend(bytes);
            } else {
                let mut pieces: Vec<Piece> = Vec::new();
                for byte in bytes {
                    pieces.extend(text.characters.push(byte));
                }
                if is_done {
                    pieces.extend(text.characters.finish());
                }
                ready.extend(pieces.into_iter().flat_map(|p| p.printable().into_bytes()));
            }
            if is_done && self.line_ends {
                ready.push(b'\n');
            }
            self.out.write_all(&ready)?;
            self.out.flush()?;
            if !is_done {
                break;
            }
            self.current += 1;
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "has to be a number".to_owned())
}

fn temperature(text: &str) -> Result<f64, String> {
    match number(text)? {
        0.0 => Err("has to be above 0: for the likeliest character always, use --greedy".into()),
        number if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("has to be a number above 0".into()),
    }
}

fn top_p(text: &str) -> Result<f64, String> {
    match number(text)? {
        number if number > 0.0 && number <= 1.0 => Ok(number),
        _ => Err("has to be above 0 and at most 1 (1: all characters)".into()),
    }
}

fn penalty(text: &str) -> Result<f64, String> {
    match number(text)? {
        number if number >= 1.0 && number.is_finite() => Ok(number),
        _ => Err("has to be a number from 1 (1: no penalty)".into()),
    }
}
