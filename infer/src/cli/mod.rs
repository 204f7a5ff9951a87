//! The command line of `ls-infer`, a subcommand a file.

mod attention;
mod classify;
mod evaluate;
mod export;
mod generate;
mod import;
mod live;
mod options;
mod score;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use transformer_ls_datasets::printable::printable;
use transformer_ls_infer::logging;

/// Asks a trained Long-Short Transformer for answers, and measures how good they are
///
/// `classify`, `attention` and `evaluate` ask classifiers: a small one for ListOps comes with the program, and
/// `ls-train` makes others, for every task of the Long Range Arena. `generate` and `score` ask language
/// models, which `ls-train lm` makes of any text.
#[derive(Debug, Parser)]
#[command(
    name = "ls-infer",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ls-infer classify '[MAX 2 9 [MIN 4 7] 0]'  Ask the model that comes with the program
  ls-infer classify runs/a '[SM 3 4 5]'      Ask the model of a run
  ls-infer attention '[SM 3 4 5]' -o map.png Draw what its heads attend to
  ls-infer evaluate runs/a --split test      Count its right answers
  ls-infer generate runs/b --prompt 'The '   Have a language model write
  ls-infer score runs/b story.txt            Find out how well it predicts a text";

#[derive(Debug, Subcommand)]
enum Command {
    Classify(classify::Classify),
    Attention(attention::Attention),
    Evaluate(evaluate::Evaluate),
    Generate(generate::Generate),
    Score(score::Score),
    Export(export::Export),
    Import(import::Import),
}

/// What a shell expects of a program that was interrupted (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Parses the command line, runs it, and turns an error into one sentence on standard error.
///
/// Exit codes: 0, 1 for an error, 2 for a wrong command line, 130 when interrupted.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logging::start(None);
    // Nothing is left half-done: files appear complete or not at all.
    if let Err(error) = ctrlc::set_handler(|| std::process::exit(INTERRUPTED)) {
        tracing::debug!("Ctrl-C ends the program without an exit code of its own: {error}");
    }
    let result = match cli.command {
        Command::Classify(command) => command.run(),
        Command::Attention(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Score(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Import(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        // The only such errors without a path are of what is printed.
        Err(error) if error.is::<io::Error>() => {
            report(format_args!(
                "cannot write to the standard output: {error}. If it goes to a file, free some space"
            ));
            ExitCode::FAILURE
        }
        Err(error) => {
            report(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong on standard error, which may be closed.
fn report(problem: std::fmt::Arguments<'_>) {
    note(format_args!("error: {problem}"));
}

/// Says something that is no result on standard error.
fn note(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
}

/// Whether the reader of the output has closed it (`| head`), which is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
