//! `ls-infer classify`

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use transformer_ls_datasets::Sample;
use transformer_ls_infer::evaluate::{EvaluateError, best_class};
use transformer_ls_infer::predict::Predictor;
use transformer_ls_infer::typed;

use super::options::{DeviceOption, predictor, take_run};
use super::{note, report};

/// Find the class of expressions, texts or images
///
/// Inputs are taken from the command line, from a file, or from standard input, one a line: for a
/// ListOps model an expression, for Text a text, for Retrieval two texts with a tab between them,
/// for Image and Pathfinder the path of a grey PNG. The model is that of a run folder; with no run,
/// the small ListOps model that comes with the program. It reads the first 2000 tokens of an
/// expression, the first 4000 bytes of a text.
///
/// An answer is a line: the class, then each class with its probability.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ls-infer classify '[MAX 2 9 [MIN 4 7] 0]'
  ls-infer classify runs/listops-1 --file expressions.txt --json
  ls-infer classify runs/text-1 'A film of rare beauty.'")]
pub struct Classify {
    /// A run folder (optional), then inputs such as '[MAX 2 9 [MIN 4 7] 0]'
    ///
    /// A folder that exists is taken for the run, if it comes first and there is no --run.
    #[arg(value_name = "RUN | INPUT", value_parser = typed::text())]
    inputs: Vec<String>,
    /// The run folder, where the first argument is not to be taken for one
    #[arg(long, value_name = "DIR", value_parser = typed::path())]
    run: Option<PathBuf>,
    /// A file with an input a line (- for standard input)
    #[arg(long, value_name = "FILE", value_parser = typed::path())]
    file: Option<PathBuf>,
    /// Write a JSON object a line: input, label, probabilities
    #[arg(long)]
    json: bool,
    /// Inputs that are computed at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = typed::positive)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceOption,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    input: &'a str,
    label: usize,
    probabilities: &'a [f32],
}

impl Classify {
    pub fn run(mut self) -> anyhow::Result<ExitCode> {
        let run = take_run(self.run.take(), &mut self.inputs);
        // What cannot be read is said before a model is loaded.
        let mut reader = self.reader()?;
        let device = self.device.resolve()?;
        let (predictor, _) = predictor(run.as_deref(), &device)?;
        let predictor = predictor.at_once(self.batch_size);
        let mut session = Session {
            predictor,
            json: self.json,
            waiting: Vec::new(),
            answered: 0,
            refused: 0,
            out: BufWriter::new(io::stdout().lock()),
        };
        for (index, input) in self.inputs.iter().enumerate() {
            let place = format!("input {}", index + 1);
            session.add(place, Ok(input.clone()), self.batch_size)?;
        }
        if let Some(reader) = &mut reader {
            let at_once = match reader.interactive {
                true => 1,
                false => self.batch_size,
            };
            while let Some((place, line)) = reader.next_line()? {
                session.add(place, line, at_once)?;
            }
        }
        session.answer()?;
        Ok(session.finish())
    }

    /// The lines to read, unless the command line has all expressions.
    fn reader(&self) -> anyhow::Result<Option<Reader>> {
        match &self.file {
            Some(path) if path != Path::new("-") => {
                let file = File::open(path).map_err(|error| {
                    anyhow::anyhow!("could not read {}: {error}", path.display())
                })?;
                let name = path.display().to_string();
                Ok(Some(Reader::new(Box::new(BufReader::new(file)), name)))
            }
            None if !self.inputs.is_empty() => Ok(None),
            _ => {
                let stdin = io::stdin();
                let interactive = stdin.is_terminal();
                if interactive {
                    note(format_args!(
                        "Type an input a line, for ListOps such as [MAX 2 9 [MIN 4 7] 0]; Ctrl-D ends."
                    ));
                }
                let mut reader = Reader::new(Box::new(stdin.lock()), "standard input".into());
                reader.interactive = interactive;
                Ok(Some(reader))
            }
        }
    }
}

/// What some editors put in front of text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Expressions a line; blank lines are passed over.
struct Reader {
    lines: Box<dyn BufRead>,
    name: String,
    number: usize,
    interactive: bool,
}

impl Reader {
    fn new(lines: Box<dyn BufRead>, name: String) -> Self {
        Self {
            lines,
            name,
            number: 0,
            interactive: false,
        }
    }

    /// The next line and where it is, or what is wrong with it.
    fn next_line(&mut self) -> anyhow::Result<Option<(String, Result<String, String>)>> {
        loop {
            let mut bytes = Vec::new();
            let read = self
                .lines
                .read_until(b'\n', &mut bytes)
                .map_err(|error| anyhow::anyhow!("could not read {}: {error}", self.name))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("{}, line {}", self.name, self.number);
            let line = String::from_utf8(bytes)
                .map(|line| line.trim().to_string())
                .map_err(|_| "the line is not UTF-8 text".to_string());
            return Ok(Some((place, line)));
        }
    }
}

/// Collects expressions into batches, and answers them in order.
struct Session<W: Write> {
    predictor: Predictor,
    json: bool,
    waiting: Vec<(String, Sample)>,
    answered: usize,
    refused: usize,
    out: W,
}

impl<W: Write> Session<W> {
    /// Takes an expression in, and answers once enough are waiting.
    fn add(
        &mut self,
        place: String,
        line: Result<String, String>,
        at_once: usize,
    ) -> anyhow::Result<()> {
        let encoded = line.and_then(|line| match self.predictor.encode(&line) {
            Ok(sample) => Ok((line, sample)),
            Err(error) => Err(format!("{error}{}", hint(&line))),
        });
        match encoded {
            Ok(pair) => self.waiting.push(pair),
            Err(problem) => {
                self.refused += 1;
                report(format_args!("{place}: {problem}"));
            }
        }
        match self.waiting.len() >= at_once {
            true => self.answer(),
            false => Ok(()),
        }
    }

    /// Answers whatever is waiting.
    fn answer(&mut self) -> anyhow::Result<()> {
        let (inputs, samples): (Vec<String>, Vec<Sample>) = self.waiting.drain(..).unzip();
        let answers = self.predictor.probabilities(&samples)?;
        for (input, probabilities) in inputs.iter().zip(&answers) {
            let label = best_class(probabilities).ok_or(EvaluateError::NotANumber)?;
            self.write(input, label, probabilities)?;
            self.answered += 1;
        }
        self.out.flush()?;
        Ok(())
    }

    fn write(&mut self, input: &str, label: usize, probabilities: &[f32]) -> anyhow::Result<()> {
        if self.json {
            let answer = Answer {
                input,
                label,
                probabilities,
            };
            // Into memory first, so that a closed pipe stays an error of the pipe.
            let line = serde_json::to_string(&answer)?;
            writeln!(self.out, "{line}")?;
        } else {
            let all: Vec<String> = probabilities
                .iter()
                .enumerate()
                .map(|(class, probability)| format!("{class}={probability:.3}"))
                .collect();
            writeln!(self.out, "{label}  probabilities {}", all.join(" "))?;
        }
        Ok(())
    }

    fn finish(self) -> ExitCode {
        let total = self.answered + self.refused;
        if self.refused > 0 {
            if total > 1 {
                report(format_args!(
                    "{} of {total} expressions could not be answered",
                    self.refused
                ));
            }
            return ExitCode::FAILURE;
        }
        if total == 0 {
            note(format_args!("There was no expression to answer."));
        }
        ExitCode::SUCCESS
    }
}

/// A mistyped run folder ends up among the expressions.
fn hint(input: &str) -> &'static str {
    let looks_like_a_path = !Path::new(input).exists()
        && !input.contains(['[', ' '])
        && input.contains(['/', '\\', '-', '_', '.']);
    match looks_like_a_path {
        true => " (if this was meant to be a run folder: there is none at that path)",
        false => "",
    }
}
