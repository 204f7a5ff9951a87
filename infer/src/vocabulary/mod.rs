//! The order in which other people's ListOps weights number the words.
//!
//! The Long Range Arena's reader, and NVIDIA's release with it, numbers the words in the order of a
//! Python set, which differs from run to run, and a checkpoint does not say which it was. In another
//! order than its own a model answers worse than chance. A [`Vocabulary`] puts the rows of the
//! embedding into this crate's order; where the order was not written down, [`find`] finds it
//! from labelled samples.

mod find;

use std::fmt;

use burn::tensor::{Bytes, TensorData};
use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::listops::Tokenizer;
use transformer_ls_datasets::{Sample, TokenIds};

pub use find::{FindError, Found, Margin, Search, find};

/// The release's name of the table that has a row for every id.
const EMBEDDING: &str = "model.embeddings.word_embeddings.weight";

/// Why words are no vocabulary, or weights cannot be put into its order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// Words are missing.
    #[error(
        "the vocabulary lacks {}: list all {words} words of the tokenizer {tokenizer}, in the order \
         of their ids",
        missing.join(" ")
    )]
    Missing {
        /// The words that are missing.
        missing: Vec<String>,
        /// How many words there are.
        words: usize,
        /// The tokenizer whose words they are.
        tokenizer: Tokenizer,
    },
    /// Something else stands among the words.
    #[error(
        "{word:?}, word {place} of the vocabulary, is none of the tokenizer {tokenizer}: remove it, \
         or name the tokenizer that the weights were trained with; the words are {}",
        words(*tokenizer).join(" ")
    )]
    Unknown {
        /// What stands there.
        word: String,
        /// Where it stands, counted from 1.
        place: usize,
        /// The tokenizer.
        tokenizer: Tokenizer,
    },
    /// A word comes twice.
    #[error(
        "the vocabulary has {word} twice, as words {first} and {second}: a word has one id, so \
         remove one of them"
    )]
    Twice {
        /// The word.
        word: String,
        /// Where it stands first, counted from 1.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// The weights have no rows for the words.
    #[error(
        "the weights need a tensor {EMBEDDING} of at least {rows} rows for this vocabulary, and {}: \
         name the tokenizer that they were trained with, or leave the vocabulary out",
        match found {
            Some(shape) => format!("theirs is {shape:?}"),
            None => "have none".to_owned(),
        }
    )]
    Rows {
        /// The rows that are needed, padding included.
        rows: usize,
        /// The tensor's shape, if there is one.
        found: Option<Vec<usize>>,
    },
}

/// The words of a tokenizer in the order in which some weights number them, from id 1.
///
/// Written out, and read by [`parse`](Self::parse), it is the words with commas between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// The weights' id of each of this crate's ids; padding is 0 in both.
    theirs: Vec<u16>,
}

impl Vocabulary {
    /// The order of this crate's own ids.
    pub fn own(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            theirs: (0..tokenizer.vocab_size() as u16).collect(),
        }
    }

    /// Reads the words, with commas or white space between them, or as Python or JSON writes a list
    /// or a set.
    ///
    /// `<pad>` may come first. Operators are known in either case, with or without their bracket,
    /// and `]` by the Long Range Arena's name for it, `X`, too.
    ///
    /// # Errors
    ///
    /// Words that are missing, that come twice, or that the tokenizer does not have.
    ///
    /// ```
    /// use transformer_ls_datasets::listops::Tokenizer;
    /// use transformer_ls_infer::vocabulary::Vocabulary;
    /// let text = "['SM', '3', '0', 'MED', '9', '1', 'MIN', '8', '2', '4', 'MAX', '5', '7', '6']";
    /// let vocabulary = Vocabulary::parse(Tokenizer::Legacy, text)?;
    /// assert_eq!(vocabulary.to_string(), "SM,3,0,MED,9,1,MIN,8,2,4,MAX,5,7,6");
    /// # Ok::<(), transformer_ls_infer::vocabulary::VocabularyError>(())
    /// ```
    pub fn parse(tokenizer: Tokenizer, text: &str) -> Result<Self, VocabularyError> {
        let text = text.trim();
        let inside = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let Some(inside) = inside else {
            return Self::of(tokenizer, pieces(text));
        };
        // The outer brackets are a list's own, or those of the first and the last word.
        let mut readings = [inside, text];
        if inside.starts_with(char::is_alphabetic) {
            readings.reverse();
        }
        let [likely, other] = readings.map(|reading| Self::of(tokenizer, pieces(reading)));
        likely.or_else(|error| other.map_err(|_| error))
    }

    fn of(tokenizer: Tokenizer, given: Vec<&str>) -> Result<Self, VocabularyError> {
        let known = words(tokenizer);
        // Where each of our words stands among the ones given.
        let mut places = vec![None; known.len()];
        for (index, given) in given.into_iter().enumerate() {
            let place = index + 1;
            let ours = find_word(&known, given).ok_or_else(|| VocabularyError::Unknown {
                word: given.to_owned(),
                place,
                tokenizer,
            })?;
            if let Some(first) = places[ours].replace(place) {
                return Err(VocabularyError::Twice {
                    word: known[ours].clone(),
                    first,
                    second: place,
                });
            }
        }
        let missing: Vec<String> = known
            .iter()
            .zip(&places)
            .filter(|(_, place)| place.is_none())
            .map(|(word, _)| word.clone())
            .collect();
        if !missing.is_empty() {
            return Err(VocabularyError::Missing {
                missing,
                words: known.len(),
                tokenizer,
            });
        }
        // Each of so few words stands there once, so that its place is its id.
        let places = places.into_iter().flatten().map(|place| place as u16);
        Ok(Self {
            tokenizer,
            theirs: std::iter::once(0).chain(places).collect(),
        })
    }

    /// The tokenizer whose words they are.
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer
    }

    /// The words in the order of the weights' ids, from 1.
    pub fn words(&self) -> Vec<String> {
        let own = words(self.tokenizer);
        let mut words = vec![String::new(); own.len()];
        for (word, &id) in own.into_iter().zip(&self.theirs[1..]) {
            words[usize::from(id) - 1] = word;
        }
        words
    }

    /// Puts the embedding's rows into the order of this crate's ids. The row of the padding, and
    /// rows beyond the words, stay where they are.
    ///
    /// # Shapes
    ///
    /// - `model.embeddings.word_embeddings.weight`: `[vocab, D]`, with a row for every word
    ///
    /// # Errors
    ///
    /// [`VocabularyError::Rows`]: weights without that tensor, or with too few rows.
    pub fn apply(&self, mut state: StateDict) -> Result<StateDict, VocabularyError> {
        let rows = self.theirs.len();
        let missing = |found| VocabularyError::Rows { rows, found };
        let table = state.tensors.get_mut(EMBEDDING);
        let table = table.ok_or_else(|| missing(None))?;
        let shape = table.shape().to_vec();
        let count = match shape[..] {
            [count, _] if count >= rows => count,
            _ => return Err(missing(Some(shape))),
        };
        let old = table.as_bytes();
        let row = old.len() / count;
        let mut new = old.to_vec();
        for (ours, &theirs) in self.theirs.iter().enumerate() {
            let from = usize::from(theirs) * row;
            new[ours * row..][..row].copy_from_slice(&old[from..][..row]);
        }
        *table = TensorData::from_bytes(Bytes::from_bytes_vec(new), shape, table.dtype());
        Ok(state)
    }

    /// A sample of this crate's ids in the weights' own ids, for a model whose rows have not been
    /// moved.
    pub fn translate(&self, sample: &Sample) -> Sample {
        let mut sample = sample.clone();
        if let TokenIds::One(ids) = &mut sample.documents {
            for id in ids {
                // What is no word has no other id.
                *id = self.theirs.get(usize::from(*id)).copied().unwrap_or(*id);
            }
        }
        sample
    }
}

impl fmt::Display for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words().join(","))
    }
}

/// This crate's words, in the order of its ids from 1.
fn words(tokenizer: Tokenizer) -> Vec<String> {
    tokenizer.vocabulary().split_off(1)
}

/// Which of the words is meant.
fn find_word(known: &[String], given: &str) -> Option<usize> {
    let bare = |word: &str| match word.trim_matches(['[', ']']) {
        "" => "X".to_owned(),
        word => word.to_ascii_uppercase(),
    };
    let given = bare(given);
    known.iter().position(|word| bare(word) == given)
}

/// The words that a text is made of, without quotes, and without a `<pad>` in front.
fn pieces(text: &str) -> Vec<&str> {
    let pieces = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .map(|piece| piece.trim_matches(['\'', '"', '{', '}', '(', ')']))
        .filter(|piece| !piece.is_empty());
    let is_padding = |piece: &&str| ["<pad>", "pad"].contains(&&*piece.to_ascii_lowercase());
    let mut pieces = pieces.peekable();
    pieces.next_if(is_padding);
    pieces.collect()
}
