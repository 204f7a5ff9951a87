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

/// No size is larger; the largest sequence is one of 16 million tokens.
const LARGEST_SIZE: usize = 1 << 24;

/// Refuses sizes that must not be 0.
pub(crate) fn refuse_zero<const N: usize>(
    sizes: [(&'static str, usize); N],
) -> Result<(), ConfigError> {
    match sizes.into_iter().find(|(_, size)| *size == 0) {
        Some((field, _)) => Err(ConfigError::new(field, "must be at least 1")),
        None => Ok(()),
    }
}

/// Refuses sizes that are a slip of the keyboard.
pub(crate) fn refuse_too_large<const N: usize>(
    sizes: [(&'static str, usize); N],
) -> Result<(), ConfigError> {
    match sizes.into_iter().find(|(_, size)| *size > LARGEST_SIZE) {
        Some((field, size)) => {
            let problem = format!("must be at most {LARGEST_SIZE}, {size} is not");
            Err(ConfigError::new(field, problem))
        }
        None => Ok(()),
    }
}

/// Refuses what is no probability of dropout.
pub(crate) fn check_dropout(field: &'static str, probability: f64) -> Result<(), ConfigError> {
    match (0.0..1.0).contains(&probability) {
        true => Ok(()),
        false => {
            let problem = format!("must lie in [0, 1), {probability} does not");
            Err(ConfigError::new(field, problem))
        }
    }
}
