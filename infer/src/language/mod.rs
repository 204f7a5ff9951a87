//! Language models over bytes: a run's configuration and folder, the model in it, and how well it
//! predicts a text.

mod config;
mod folder;
mod records;
mod run;
mod score;

pub use config::{CorpusKind, LanguageConfig, LanguageTraining, Phase, TextConfig};
pub use folder::LanguageFolder;
pub use records::{LanguageLine, LanguageSummary};
pub use run::{LanguageRun, LanguageRunError};
pub use score::{Score, ScoreError, Scored, ids, score};
