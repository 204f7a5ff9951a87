//! Language models over bytes: a run's configuration and folder, the model in it, what it writes, and
//! how well it predicts a text.

mod characters;
mod config;
mod costs;
mod folder;
mod generate;
pub mod html;
mod records;
mod run;
mod sample;
mod score;
mod spans;

pub use characters::{Characters, Piece};

pub use config::{CorpusKind, LanguageConfig, LanguageTraining, Phase, TextConfig};
pub use costs::{Cost, GUESSES, costs};
pub use folder::LanguageFolder;
pub use generate::{GenerateError, Writing, generate};
pub use html::Page;
pub use records::{LanguageLine, LanguageSummary};
pub use run::{LanguageRun, LanguageRunError};
pub use sample::{Sampler, Sampling, SamplingError};
pub use score::{Score, ScoreError, Scored, ids, score};
pub use spans::{LEVELS, Span, Spans};
