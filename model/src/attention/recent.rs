//! The keys and values that a text is read on with, token by token.

use burn::tensor::Tensor;

/// The last rows of a text, in memory for twice as many as are looked at: a row more is written behind
/// the others, and only where the memory ends are they moved.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// Keys and values, `[b, 2·w, D]`, of which `rows` lie behind `start`.
    memory: [Tensor<3>; 2],
    start: usize,
    rows: usize,
    /// `w`
    most: usize,
}

impl Recent {
    /// With rows `[b, n, D]` to begin with, `n < w`; `like` has the texts and the width.
    pub fn new(most: usize, rows: Option<[Tensor<3>; 2]>, like: &Tensor<3>) -> Self {
        let [b, _, d_model] = like.dims();
        let count = rows.as_ref().map_or(0, |[key, _]| key.dims()[1]);
        let place = (&like.device(), like.dtype());
        let room = || Tensor::zeros([b, 2 * most - count, d_model], place);
        Self {
            memory: match rows {
                None => [room(), room()],
                Some(rows) => rows.map(|rows| Tensor::cat(vec![rows, room()], 1)),
            },
            start: 0,
            rows: count,
            most,
        }
    }

    /// `w`
    pub fn most(&self) -> usize {
        self.most
    }

    /// The last rows with one more, `[b, n, D]`, `n ≤ w`.
    pub fn with(&mut self, row: [Tensor<3>; 2]) -> [Tensor<3>; 2] {
        let kept = self.rows.min(self.most - 1);
        let first = self.start + self.rows - kept;
        let moves = first + kept == 2 * self.most;
        self.start = if moves { 0 } else { first };
        self.rows = kept + 1;
        let at = self.start + kept;
        for (memory, row) in self.memory.iter_mut().zip(row) {
            let [b, rows, d_model] = memory.dims();
            // Taken out, so that it can be written where it is.
            let nothing = Tensor::empty([1, 1, 1], &memory.device());
            let mut own = std::mem::replace(memory, nothing);
            if moves && kept > 0 {
                let room = Tensor::zeros([b, rows - kept, d_model], (&own.device(), own.dtype()));
                own = Tensor::cat(vec![own.narrow(1, first, kept), room], 1);
            }
            *memory = own.slice_assign([0..b, at..at + 1, 0..d_model], row);
        }
        let (start, rows) = (self.start, self.rows);
        self.memory
            .each_ref()
            .map(|x| x.clone().narrow(1, start, rows))
    }
}
