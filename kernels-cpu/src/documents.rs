//! How documents lie in a batch.

use std::ops::Range;

use transformer_ls_kernels::Boundaries;

/// How documents lie in a batch `[b, h, n, d]`.
#[derive(Clone, Copy, Debug)]
pub enum Documents<'a> {
    /// One document a row.
    Rows {
        /// `[b, n]`: not 0 = a real token; without a mask all are. Real tokens may lie anywhere.
        /// What padded rows hold has no influence, but must be finite.
        mask: Option<&'a [u8]>,
    },
    /// All documents end to end in the one row of the batch (`b = 1`).
    Packed(&'a Boundaries),
}

/// One document of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    /// Its number in the batch.
    pub number: usize,
    /// The row of the batch that it lies in.
    pub batch: usize,
    /// The place in that row of its first token.
    pub start: usize,
    /// Tokens, padded ones included.
    pub len: usize,
    /// Keys that its queries may see: its tokens, but where queries and keys differ in number.
    pub keys: usize,
    mask: Option<&'a [u8]>,
}

impl<'a> Documents<'a> {
    /// How many documents a batch of `batch` rows has.
    pub fn count(&self, batch: usize) -> usize {
        match self {
            Self::Rows { .. } => batch,
            Self::Packed(boundaries) => boundaries.count(),
        }
    }

    /// # Panics
    ///
    /// Panics if the mask or the offsets do not fit a batch of this shape.
    pub(crate) fn assert_fit(&self, batch: usize, tokens: usize) {
        match self {
            Self::Rows { mask: None } => {}
            Self::Rows { mask: Some(mask) } => assert_eq!(
                mask.len(),
                batch * tokens,
                "the mask's length for {batch} rows of {tokens} tokens"
            ),
            Self::Packed(boundaries) => boundaries.check(batch, tokens),
        }
    }

    /// All documents of a batch whose rows have this many tokens.
    pub(crate) fn list(&self, batch: usize, tokens: usize) -> Vec<Document<'a>> {
        match *self {
            Self::Rows { mask } => (0..batch)
                .map(|row| Document {
                    number: row,
                    batch: row,
                    start: 0,
                    len: tokens,
                    keys: tokens,
                    mask: mask.map(|mask| &mask[row * tokens..][..tokens]),
                })
                .collect(),
            Self::Packed(boundaries) => boundaries
                .ranges()
                .enumerate()
                .map(|(number, tokens)| Document {
                    number,
                    batch: 0,
                    start: tokens.start,
                    len: tokens.len(),
                    keys: tokens.len(),
                    mask: None,
                })
                .collect(),
        }
    }
}

impl Document<'_> {
    /// Whether a token, counted from the document's start, is real.
    #[inline(always)]
    pub fn is_real(&self, token: usize) -> bool {
        self.mask.is_none_or(|mask| mask[token] != 0)
    }

    pub fn has_real(&self, mut tokens: Range<usize>) -> bool {
        tokens.any(|token| self.is_real(token))
    }
}

/// A part of one document under some heads, as one thread's work.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    pub document: Document<'a>,
    pub heads: Range<usize>,
    /// Counted from the document's start.
    pub tokens: Range<usize>,
}

/// Some tokens of a task under one of its heads.
#[derive(Clone, Debug)]
pub(crate) struct Strip<'a> {
    pub document: Document<'a>,
    pub head: usize,
    /// The head's number in the task.
    pub number: usize,
    /// Counted from the document's start.
    pub tokens: Range<usize>,
}

/// How a batch is cut into tasks: by the batch alone, not by the number of threads, so that sums
/// over tasks do not depend on it either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    heads: usize,
    /// Heads of a task.
    pub group: usize,
    /// Tokens of a task, except of a document's last.
    pub part: usize,
}

impl Cut {
    /// `row` is the length in bytes of a token's features under one head.
    ///
    /// Heads usually lie side by side in memory. A task that took one of them would fetch
    /// neighbours' cache lines for nothing, so it takes as many as make up half a kilobyte.
    pub fn new(heads: usize, row: usize, part: usize) -> Self {
        let most = (512 / row.max(1)).clamp(1, heads.max(1));
        let group = (1..=most).rev().find(|&group| heads.is_multiple_of(group));
        Self {
            heads,
            group: group.unwrap_or(1),
            part,
        }
    }

    /// All tasks, by document, then by heads, then by part.
    pub fn tasks<'a>(&self, documents: &[Document<'a>]) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for &document in documents {
            for head in (0..self.heads).step_by(self.group) {
                for start in (0..document.len).step_by(self.part) {
                    tasks.push(Task {
                        document,
                        heads: head..head + self.group,
                        tokens: start..(start + self.part).min(document.len),
                    });
                }
            }
        }
        tasks
    }

    /// Of each document under each head, what its parts have among `results`: `len` elements for
    /// each head of each task, in the order of [`tasks`](Self::tasks).
    pub fn by_head<'d, 'r, T>(
        &self,
        documents: &'d [Document<'d>],
        results: &'r [T],
        len: usize,
    ) -> Vec<(&'d Document<'d>, usize, Vec<&'r [T]>)> {
        let mut all = Vec::with_capacity(documents.len() * self.heads);
        let mut first_task = 0;
        for document in documents {
            let parts = document.len.div_ceil(self.part);
            for head in 0..self.heads {
                let task = first_task + head / self.group * parts;
                let own = (0..parts).map(|part| {
                    let place = (task + part) * self.group + head % self.group;
                    &results[place * len..][..len]
                });
                all.push((document, head, own.collect()));
            }
            first_task += self.heads / self.group * parts;
        }
        all
    }
}

impl<'a> Task<'a> {
    /// The task in strips of `length` tokens, each under all heads before the next, so that a
    /// strip is fetched from memory once.
    pub fn strips(&self, length: usize) -> impl Iterator<Item = Strip<'a>> + use<'a> {
        let Task {
            document,
            heads,
            tokens,
        } = self.clone();
        tokens.clone().step_by(length).flat_map(move |start| {
            let end = (start + length).min(tokens.end);
            heads.clone().enumerate().map(move |(number, head)| Strip {
                document,
                head,
                number,
                tokens: start..end,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_by_head() {
        let boundaries = Boundaries::from_lengths(&[5, 0, 2]);
        let documents = Documents::Packed(&boundaries).list(1, 7);
        let cut = Cut {
            heads: 4,
            group: 2,
            part: 2,
        };
        let mut results = Vec::new();
        for task in cut.tasks(&documents) {
            for head in task.heads {
                results.push([task.document.number, head, task.tokens.start]);
            }
        }
        for (document, head, own) in cut.by_head(&documents, &results, 1) {
            let starts = (0..document.len).step_by(2);
            let expected: Vec<_> = starts.map(|start| [document.number, head, start]).collect();
            assert_eq!(own.concat(), expected);
        }
        assert_eq!(Cut::new(6, 128, 1).group, 3);
        assert_eq!(Cut::new(7, 128, 1).group, 1);
        assert_eq!(Cut::new(0, 128, 1).group, 1);
    }
}
