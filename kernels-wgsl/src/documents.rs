//! How documents lie in a batch.

use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::Boundaries;

use crate::tiles::Tiles;

/// How documents lie in a batch `[b, h, n, d]`.
#[derive(Clone, Debug)]
pub enum Documents<'a> {
    /// One document a row, every token real.
    Full,
    /// One document a row; a mask `[b, n]` of 32-bit words, not 0 = a real token.
    Padded(&'a CubeTensor),
    /// All documents end to end in the one row.
    Packed(&'a Boundaries),
}

/// Which of a document's two divisions into tasks a kernel goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Division {
    /// [`Tiles::block`] tokens a task.
    Blocks,
    /// [`Tiles::split`] tokens a task.
    Splits,
}

impl Division {
    /// Tokens of a task.
    pub fn task(self, tiles: &Tiles) -> usize {
        match self {
            Self::Blocks => tiles.block,
            Self::Splits => tiles.split,
        }
    }

    /// Where a document's first task stands in its entry of the table.
    pub fn column(self) -> usize {
        match self {
            Self::Blocks => 2,
            Self::Splits => 3,
        }
    }
}

/// The tables of packed documents, as kernels read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Four words a document (its first token, its length, its first block, its first split),
    /// then a word a block and a word a split: its document.
    pub words: Vec<u32>,
    /// First word of the blocks.
    pub blocks_at: usize,
    /// First word of the splits.
    pub splits_at: usize,
}

impl Tables {
    pub fn new(boundaries: &Boundaries, tiles: &Tiles) -> Self {
        let mut words = Vec::new();
        let (mut blocks, mut splits) = (Vec::new(), Vec::new());
        for (document, tokens) in boundaries.ranges().enumerate() {
            let length = tokens.len();
            words
                .extend([tokens.start, length, blocks.len(), splits.len()].map(|word| word as u32));
            let document = document as u32;
            blocks.extend(std::iter::repeat_n(document, length.div_ceil(tiles.block)));
            splits.extend(std::iter::repeat_n(document, length.div_ceil(tiles.split)));
        }
        let blocks_at = words.len();
        words.extend(&blocks);
        let splits_at = words.len();
        words.extend(&splits);
        Self {
            words,
            blocks_at,
            splits_at,
        }
    }

    /// How many tasks there are.
    pub fn count(&self, division: Division) -> usize {
        match division {
            Division::Blocks => self.splits_at - self.blocks_at,
            Division::Splits => self.words.len() - self.splits_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_list_the_tasks_of_every_document() {
        let tiles = Tiles {
            block: 4,
            split: 8,
            ..Tiles::default()
        };
        let tables = Tables::new(&Boundaries::from_lengths(&[9, 0, 3]), &tiles);
        let documents = [0, 9, 0, 0, 9, 0, 3, 2, 9, 3, 3, 2];
        let blocks = [0, 0, 0, 2];
        let splits = [0, 0, 2];
        assert_eq!(tables.words[..12], documents);
        assert_eq!(tables.words[tables.blocks_at..tables.splits_at], blocks);
        assert_eq!(tables.words[tables.splits_at..], splits);
        assert_eq!(tables.count(Division::Blocks), 4);
        assert_eq!(tables.count(Division::Splits), 3);
    }
}
