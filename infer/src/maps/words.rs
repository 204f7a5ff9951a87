//! What the ids of a document stand for.

use crate::language::html::shown;
use crate::run::RunConfig;

/// Whether the task's tokens are pixels.
pub fn is_pixels(config: &RunConfig) -> bool {
    config.known_task().is_some_and(|task| task.pixels)
}

/// A word for each id: a symbol of ListOps, the brightness of a pixel, or a byte of a text.
pub fn words(config: &RunConfig, ids: &[u16]) -> Vec<String> {
    let vocabulary = config.tokenizer().map(|tokenizer| tokenizer.vocabulary());
    let word = |&id: &u16| match &vocabulary {
        Some(vocabulary) => {
            // How deep a token lies is to be seen beside it.
            let word = vocabulary.get(usize::from(id))?.split('.').next();
            word.map(str::to_owned)
        }
        None if is_pixels(config) => None,
        // 0 is padding.
        None => u8::try_from(id.wrapping_sub(1)).ok().map(shown),
    };
    ids.iter()
        .map(|id| word(id).unwrap_or_else(|| id.to_string()))
        .collect()
}
