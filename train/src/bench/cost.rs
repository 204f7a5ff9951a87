//! What the mathematics of attention asks for, in float32: the least that any implementation
//! computes and moves.
//!
//! Long-short attention is two operations ([`transformer_ls_burn::ops`]). Each reads its inputs and
//! writes its outputs once; the backward passes recompute the probabilities, and add to the
//! gradients of keys and values where the other operation has left them.

use transformer_ls_infer::run::Precision;

use super::job::{Job, Pass, Path, Sizes};

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Multiplications and additions.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

/// The cost of a pass.
pub fn cost(job: &Job, sizes: &Sizes) -> Cost {
    let (n, d, r) = (job.n as f64, sizes.d as f64, sizes.r as f64);
    let seen = 2.0 * sizes.w as f64 + r;
    // Without landmarks there is no projection.
    let projection = if sizes.r > 0 { 1.0 } else { 0.0 };
    // A query's share: the arithmetic, and the numbers that are moved, forward and backward. The
    // backward pass of a softmax has five products where the forward pass has two.
    let (forward, backward) = match job.path {
        Path::Fused | Path::Plain => (
            (
                // `attend`: scores and sums over `[landmarks | window]`; `project`: P·K and P·V.
                4.0 * d * seen + 4.0 * d * r,
                // Q, K, V, the output and a log-sum-exp; K, V and the scores of P.
                4.0 * d + 1.0 + projection * (2.0 * d + r),
            ),
            (
                10.0 * d * seen + 8.0 * d * r,
                // Q, K, V, output and its gradient are read, dQ, dK, dV written, the log-sum-exp
                // and D read; K, V, the scores, dK, dV read, dK, dV and the scores' gradient written.
                8.0 * d + 2.0 + projection * (6.0 * d + 2.0 * r),
            ),
        ),
        // Nothing of size n² is stored.
        Path::Dense => ((4.0 * n * d, 4.0 * d), (10.0 * n * d, 8.0 * d)),
    };
    let (flops, floats) = match job.pass {
        Pass::Forward => forward,
        Pass::ForwardBackward | Pass::TrainStep => (forward.0 + backward.0, forward.1 + backward.1),
    };
    let queries = (job.b * sizes.h) as f64 * n;
    let bytes_a_float = match job.precision {
        Precision::F32 => 4.0,
        Precision::F16 => 2.0,
    };
    Cost {
        flops: queries * flops,
        bytes: queries * floats * bytes_a_float,
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Subject;
    use super::*;

    fn of(path: Path, pass: Pass, r: usize) -> Cost {
        let sizes = Sizes {
            h: 2,
            d: 32,
            r,
            w: 8,
        };
        let job = Job {
            device: String::new(),
            adapter: String::new(),
            path,
            pass,
            b: 32,
            n: 4096,
            precision: Precision::F32,
            profile: false,
            subject: Subject::Attention(sizes),
        };
        cost(&job, &sizes)
    }

    /// Worked out by hand for the Long Range Arena's Text: GFLOP, MB. `project` has 1.07 and 101,
    /// `attend` 1.61 and 135, their backward passes 2.15 and 268, 4.03 and 271.
    #[test]
    fn costs_of_long_range_arena_text() {
        for (path, pass, r, gflop, megabytes) in [
            (Path::Fused, Pass::Forward, 32, 2.68, 236.0),
            (Path::Plain, Pass::ForwardBackward, 32, 8.86, 775.0),
            (Path::Fused, Pass::Forward, 0, 0.54, 135.0),
            (Path::Fused, Pass::ForwardBackward, 0, 1.88, 406.0),
            (Path::Dense, Pass::Forward, 32, 137.44, 134.0),
            (Path::Dense, Pass::ForwardBackward, 32, 481.04, 403.0),
        ] {
            let cost = of(path, pass, r);
            assert!((cost.flops / 1e9 - gflop).abs() < 0.01, "{path} {cost:?}");
            assert!(
                (cost.bytes / 1e6 - megabytes).abs() < 1.0,
                "{path} {cost:?}"
            );
        }
    }
}
