//! The keys and values that a text is read on with, token by token.

use burn::tensor::Tensor;

/// The last rows of a text, in memory for twice as many as are looked at: a row more is written behind
/// the others, and only where the memory ends are they moved.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// Keys and values, `[b, 2·w, h, d]`, of which `rows` lie behind `start`.
    memory: Vec<Tensor<4>>,
    start: usize,
    rows: usize,
    /// `w`
    most: usize,
}

impl Recent {
    /// With rows `[b, n, D]` to begin with, `n < w`; `like` has the texts and the width.
    pub fn new(most: usize, heads: usize, rows: Option<[Tensor<3>; 2]>, like: &Tensor<3>) -> Self {
        let [b, _, d_model] = like.dims();
        let count = rows.as_ref().map_or(0, |[key, _]| key.dims()[1]);
        let place = (&like.device(), like.dtype());
        let room = || Tensor::zeros([b, 2 * most - count, d_model], place);
        let memory = match rows {
            None => [room(), room()],
            Some(rows) => rows.map(|rows| Tensor::cat(vec![rows, room()], 1)),
        };
        let by_head = |x: Tensor<3>| x.reshape([b, 2 * most, heads, d_model / heads]);
        Self {
            memory: memory.map(by_head).into(),
            start: 0,
            rows: count,
            most,
        }
    }

    /// `w`
    pub fn most(&self) -> usize {
        self.most
    }

    /// The last rows with one more, `[b, 1, D]`: `[b, h, n, d]`, `n ≤ w`.
    pub fn with(&mut self, row: [Tensor<3>; 2]) -> [Tensor<4>; 2] {
        let kept = self.rows.min(self.most - 1);
        let first = self.start + self.rows - kept;
        let moves = first + kept == 2 * self.most;
        self.start = if moves { 0 } else { first };
        self.rows = kept + 1;
        let at = self.start + kept;
        // Taken out, so that it can be written where it is.
        let memory = std::mem::take(&mut self.memory);
        let written = memory.into_iter().zip(row).map(|(mut own, row)| {
            let [b, room, h, d] = own.dims();
            if moves && kept > 0 {
                let place = (&own.device(), own.dtype());
                let free = Tensor::zeros([b, room - kept, h, d], place);
                own = Tensor::cat(vec![own.narrow(1, first, kept), free], 1);
            }
            let row = row.reshape([b, 1, h, d]);
            own.slice_assign([0..b, at..at + 1, 0..h, 0..d], row)
        });
        self.memory = written.collect();
        std::array::from_fn(|side| {
            let all = self.memory[side].clone();
            all.narrow(1, self.start, self.rows).swap_dims(1, 2)
        })
    }
}
