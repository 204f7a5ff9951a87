//! What is typed on a command line, for both programs.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// A path. `config.json` keeps paths as text, so one that is no text is refused at once.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    text().map(PathBuf::from)
}

/// A text, such as an expression or the path of an image.
pub fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|typed| {
        typed.into_string().map_err(|_| {
            "it is not UTF-8 text: rename the file or folder, or name it through a link that is"
        })
    })
}

/// A text to go on from.
pub fn prompt() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|typed| {
        typed
            .into_string()
            .map_err(|_| "it is not UTF-8 text: give it through standard input (--prompt -)")
    })
}

/// A whole number, 1 or more.
///
/// # Errors
///
/// Says what is expected.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("has to be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("has to be a whole number".to_owned()),
    }
}
