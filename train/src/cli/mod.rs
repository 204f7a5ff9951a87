//! The command line of `ls-train`, one subcommand a file.

mod args;
mod bench;
mod check_data;
mod compare;
mod completions;
mod counted;
mod describe;
mod devices;
mod fetch;
mod generate;
mod goal;
mod language;
mod plot;
mod presets;
mod settings;
mod table;
mod task;
mod train;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};

use crate::trainer::interrupt;
use crate::trainer::progress::say_aside;
use goal::Goal;
use task::TaskCommand;

/// Makes the data of a Long Range Arena task, trains a Long-Short Transformer on it, and tests it
///
/// `ls-infer` asks a trained model.
#[derive(Debug, Parser)]
#[command(name = "ls-train", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ls-train listops                                Make the data, train, test; all of it in runs/
  ls-train listops --out runs/a --stop-after 200  Stop early, saved
  ls-train listops --out runs/a --resume          Go on with it
  ls-train plot runs/a --out a.svg                Draw its learning curve
  ls-train pretrain listops --out runs/p          Teach an encoder to fill in tokens
  ls-train listops --init runs/p                  Start from that encoder
  ls-train lm --data book.txt                     Train a language model on a text";

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Train(TaskCommand),
    /// Teach a model to fill in hidden tokens of a task's inputs, for --init to start from
    ///
    /// Some of the tokens of the training inputs are hidden, and a layer that is dropped afterwards
    /// tells from the encoder's rows what stood there; labels are not looked at. `ls-train TASK --init
    /// RUN` then starts from that encoder.
    #[command(subcommand)]
    Pretrain(TaskCommand),
    /// Train with several attentions under one protocol, in turn, and write a report
    ///
    /// Each is a run folder of its own in the folder of the comparison, which gets a table as Markdown
    /// and JSON and a picture of the learning curves. Runs that are finished are not trained again when
    /// the comparison is resumed.
    #[command(subcommand)]
    Compare(compare::CompareCommand),
    /// Train a language model over bytes on a text, and test it
    ///
    /// The text is any file, or enwik8 or text8 as published. Its first 90 % are learned from, the next
    /// 5 % choose the best model, and the last 5 % judge it once. Bits per character are over every byte of
    /// a split but the first. `ls-infer generate` and `ls-infer score` ask the model.
    Lm(language::LanguageArgs),
    /// Make a task's data, without training
    Generate(generate::GenerateArgs),
    /// Download a task's published data, or a published text
    Fetch(fetch::FetchArgs),
    /// Say what is missing or wrong in a task's data
    CheckData(check_data::CheckDataArgs),
    /// List the presets: models, their sizes and published accuracies
    Presets(presets::PresetsArgs),
    /// List this machine's devices, and how each would compute attention
    Devices(devices::DevicesArgs),
    /// Draw the learning curves of runs, side by side
    Plot(plot::PlotArgs),
    /// Measure time and memory of attention, or of a training step
    Bench(bench::BenchArgs),
    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),
}

/// How a command ended when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// All was done.
    Completely,
    /// The user stopped it.
    Interrupted,
}

/// Runs the command line of this process.
///
/// The status is 0 if all went well, 1 if something went wrong (one sentence on the standard
/// error says what, and what to do), 2 for a wrong command line, 130 after Ctrl-C, 143 after SIGTERM,
/// 129 after SIGHUP.
pub fn run() -> ExitCode {
    let matches = describe::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    interrupt::listen();
    let done = match cli.command {
        Command::Train(task) => train::run(&task, Goal::Classify),
        Command::Pretrain(task) => train::run(&task, Goal::FillIn),
        Command::Compare(command) => compare::run(&command),
        Command::Lm(args) => language::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::CheckData(args) => check_data::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    match done {
        Ok(Done::Completely) => ExitCode::SUCCESS,
        Ok(Done::Interrupted) => ExitCode::from(interrupt::status()),
        Err(error) => {
            say_aside(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes `text` to the standard output; a reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<Done> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow::anyhow!(
            "cannot write to the standard output: {error}. If it goes to a file, free some space"
        )),
        _ => Ok(Done::Completely),
    }
}
