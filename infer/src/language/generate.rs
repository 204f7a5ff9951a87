//! Texts that a language model writes.

use transformer_ls_burn::LanguageModel;

use burn::tensor::{Int, Tensor, TensorData};

use super::LanguageRun;
use super::sample::{Sampler, Sampling, SamplingError};
use crate::evaluate::{EvaluateError, read_values};

/// Why a text could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The characters can't be chosen like that.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The device failed, or the model's scores are no numbers.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// What to write.
#[derive(Clone, Debug)]
pub struct Writing {
    /// How each character is chosen.
    pub sampling: Sampling,
    /// Where chance comes from.
    pub seed: u64,
    /// Characters to write after each prompt.
    pub length: usize,
}

/// Continues prompts, side by side, a character at a time.
///
/// `prompts` are ids of the run's vocabulary, none of them empty; the first is the text of number
/// `first`, which chooses its draws (see [`Sampler::new`]). So what is written after a prompt does not
/// depend on the others, nor on how many are written at once. `each` is told every new character: the
/// prompt's place in the list, and the id.
///
/// All texts stand at the same character at a time: while the longest prompt is still being read,
/// shorter ones are continued already.
///
/// # Errors
///
/// What makes no sense in the sampling, a device that fails, scores that are no numbers, and what
/// `each` says.
///
/// # Panics
///
/// Panics for a prompt without characters, and for an id that the model has not.
pub fn generate<E: From<GenerateError>>(
    run: &LanguageRun,
    writing: &Writing,
    first: u64,
    prompts: &[Vec<u16>],
    mut each: impl FnMut(usize, u16) -> Result<(), E>,
) -> Result<(), E> {
    let mut texts = Vec::with_capacity(prompts.len());
    for (prompt, number) in prompts.iter().zip(first..) {
        let sampler = Sampler::new(writing.sampling.clone(), writing.seed, number)
            .map_err(GenerateError::from)?;
        texts.push(Text {
            prompt,
            sampler,
            written: 0,
        });
    }
    let Some(shortest) = prompts.iter().map(Vec::len).min() else {
        return Ok(());
    };
    assert!(shortest > 0, "a prompt has no characters");
    if writing.length == 0 {
        return Ok(());
    }

    let memory = run.model.memory(prompts.len(), run.memory);
    let mut decoding = run.model.decoding(memory, run.segment);
    // What all prompts have is read some characters at a time.
    let mut read = 0;
    let mut logits = None;
    while read < shortest {
        let end = shortest.min(read + run.segment);
        let ids: Vec<u16> = prompts
            .iter()
            .flat_map(|p| &p[read..end])
            .copied()
            .collect();
        logits = Some(
            run.model
                .decode(&mut decoding, tokens(&run.model, &ids, prompts.len())),
        );
        for text in &mut texts {
            text.prompt[read..end]
                .iter()
                .for_each(|&id| text.sampler.read(id));
        }
        read = end;
    }
    while let Some(scores) = logits.take() {
        let scores = read_values(scores).map_err(GenerateError::from)?;
        let rows = scores.chunks_exact(run.model.vocabulary());
        let mut ids = Vec::with_capacity(texts.len());
        for (index, (text, row)) in texts.iter_mut().zip(rows).enumerate() {
            let id = match text.prompt.get(read) {
                Some(&id) => {
                    text.sampler.read(id);
                    id
                }
                // A text that is done waits for the others.
                None if text.written == writing.length => 0,
                None => {
                    let chosen = text.sampler.choose(row);
                    let id = chosen.ok_or(GenerateError::from(EvaluateError::NotANumber))?;
                    text.written += 1;
                    each(index, id)?;
                    id
                }
            };
            ids.push(id);
        }
        read += 1;
        if texts.iter().any(|text| text.written < writing.length) {
            logits = Some(
                run.model
                    .decode(&mut decoding, tokens(&run.model, &ids, texts.len())),
            );
        }
    }
    Ok(())
}

struct Text<'a> {
    prompt: &'a [u16],
    sampler: Sampler,
    written: usize,
}

/// Ids `[texts, n]`, a text after the other.
pub(super) fn tokens(model: &LanguageModel, ids: &[u16], texts: usize) -> Tensor<2, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| i32::from(id)).collect();
    let shape = [texts, ids.len() / texts];
    Tensor::from_data(TensorData::new(ids, shape), &model.device())
}
