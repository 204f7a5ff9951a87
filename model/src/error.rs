//! Errors of configurations.

use thiserror::Error;

/// A configuration that can't be built: which field, and what it must be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field} {problem}")]
pub struct ConfigError {
    /// The field's name, as in JSON.
    pub field: &'static str,
    /// What is wrong with it, as the second half of a sentence that begins with the name.
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
        }
    }
}
