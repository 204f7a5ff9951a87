//! What the mathematics of attention asks for, in float32: the least that any implementation
//! computes and moves.
//!
//! Long-short attention is two operations ([`transformer_ls_burn::ops`]). Each reads its inputs and
//! writes its outputs once; the backward passes recompute the probabilities, and add to the
//! gradients of keys and values where the other operation has left them.

use super::job::{Pass, Path};

/// The sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Batch rows.
    pub b: usize,
    /// Tokens a row.
    pub n: usize,
    /// Heads.
    pub h: usize,
    /// Head width.
    pub d: usize,
    /// Landmarks a head.
    pub r: usize,
    /// Window.
    pub w: usize,
}

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Multiplications and additions.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
        }
    }
}

const FLOAT: f64 = 4.0;

impl Shape {
    /// Rows of queries in all heads.
    pub(super) fn rows(&self) -> f64 {
        self.b as f64 * self.h as f64 * self.n as f64
    }

    /// `floats` is a row's share.
    fn cost(&self, flops: f64, floats: f64) -> Cost {
        Cost {
            flops: self.rows() * flops,
            bytes: FLOAT * self.rows() * floats,
        }
    }

    fn sizes(&self) -> (f64, f64, f64) {
        (self.d as f64, self.r as f64, 2.0 * self.w as f64)
    }

    /// `project`: `P·K` and `P·V`; K, V and the scores are read.
    pub fn project(&self) -> Cost {
        let (d, r, _) = self.sizes();
        match self.r {
            0 => Cost::default(),
            _ => self.cost(4.0 * d * r, 2.0 * d + r),
        }
    }

    /// `attend`: scores and sums over `[landmarks | window]`; Q, K, V are read, the output and a
    /// log-sum-exp are written.
    pub fn attend(&self) -> Cost {
        let (d, r, window) = self.sizes();
        self.cost(4.0 * d * (window + r), 4.0 * d + 1.0)
    }

    /// The backward pass of `attend`: five products where the forward pass has two; Q, K, V,
    /// output and its gradient are read, dQ, dK, dV written, the log-sum-exp and D read.
    pub fn attend_backward(&self) -> Cost {
        let (d, r, window) = self.sizes();
        self.cost(10.0 * d * (window + r), 8.0 * d + 2.0)
    }

    /// The backward pass of `project`: K, V, the scores and dK, dV are read, dK, dV and the
    /// gradient of the scores written.
    pub fn project_backward(&self) -> Cost {
        let (d, r, _) = self.sizes();
        match self.r {
            0 => Cost::default(),
            _ => self.cost(8.0 * d * r, 6.0 * d + 2.0 * r),
        }
    }

    /// Dense softmax attention: Q, K, V read, the output written, nothing of size `n²` stored.
    pub fn dense(&self) -> Cost {
        let (d, ..) = self.sizes();
        self.cost(4.0 * self.n as f64 * d, 4.0 * d)
    }

    /// Its backward pass, five products where the forward pass has two.
    pub fn dense_backward(&self) -> Cost {
        let (d, ..) = self.sizes();
        self.cost(10.0 * self.n as f64 * d, 8.0 * d)
    }
}

/// The cost of a pass.
pub fn cost(path: Path, pass: Pass, shape: &Shape) -> Cost {
    let (forward, backward) = match path {
        Path::Fused | Path::Plain => (
            shape.project() + shape.attend(),
            shape.attend_backward() + shape.project_backward(),
        ),
        Path::Dense => (shape.dense(), shape.dense_backward()),
    };
    match pass {
        Pass::Forward => forward,
        Pass::ForwardBackward | Pass::TrainStep => forward + backward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LRA_TEXT: Shape = Shape {
        b: 32,
        n: 4096,
        h: 2,
        d: 32,
        r: 32,
        w: 8,
    };

    /// Worked out by hand for the Long Range Arena's Text: GFLOP to two places, MB to one.
    #[test]
    fn costs_of_long_range_arena_text() {
        for (name, cost, gflop, megabytes) in [
            ("project", LRA_TEXT.project(), 1.07, 101.0),
            ("attend", LRA_TEXT.attend(), 1.61, 135.0),
            ("attend backward", LRA_TEXT.attend_backward(), 4.03, 271.0),
            ("project backward", LRA_TEXT.project_backward(), 2.15, 268.0),
        ] {
            assert!((cost.flops / 1e9 - gflop).abs() < 0.005, "{name} {cost:?}");
            assert!(
                (cost.bytes / 1e6 - megabytes).abs() < 0.6,
                "{name} {cost:?}"
            );
        }
        assert_eq!((LRA_TEXT.dense().flops / 1e9).round(), 137.0);
    }

    /// The sums in closed form.
    #[test]
    fn passes_add_up() {
        let shape = LRA_TEXT;
        let (rows, d, r, w) = (32.0 * 2.0 * 4096.0, 32.0, 32.0, 8.0);
        let forward = cost(Path::Fused, Pass::Forward, &shape);
        assert_eq!(
            forward.flops,
            4.0 * rows * d * (2.0 * w + r) + 4.0 * rows * d * r
        );
        assert_eq!(forward.bytes, 4.0 * (6.0 * rows * d + rows * r + rows));
        let both = cost(Path::Plain, Pass::ForwardBackward, &shape);
        assert_eq!(
            both.flops - forward.flops,
            10.0 * rows * d * (2.0 * w + r) + 8.0 * rows * d * r
        );
        assert_eq!(
            both.bytes - forward.bytes,
            4.0 * (14.0 * rows * d + 2.0 * rows * r + 2.0 * rows)
        );
        let dense = cost(Path::Dense, Pass::ForwardBackward, &shape);
        assert_eq!(dense.flops, 3.5 * 4.0 * rows * 4096.0 * d);
    }

    #[test]
    fn without_landmarks_there_is_no_projection() {
        let shape = Shape { r: 0, ..LRA_TEXT };
        assert_eq!(shape.project() + shape.project_backward(), Cost::default());
    }
}
