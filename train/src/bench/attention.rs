//! Attention alone, in the process that measures it.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use transformer_ls_burn::Layout;
use transformer_ls_burn::ops::{Attend, AttentionDropout, Window, attend, project};
use transformer_ls_infer::device;

use super::BenchError;
use super::cost::Shape;
use super::job::{Figures, Job, Pass, Path, Sizes};
use super::timing::{bytes_per_second, read, time};

/// Any number will do: figures do not depend on the values.
const SEED: u64 = 1;

/// Measures in this process.
///
/// # Errors
///
/// An unknown device, or what it reports of work that failed.
pub fn measure(job: &Job, sizes: &Sizes) -> Result<Figures, BenchError> {
    let chosen = device::resolve(&job.device)?;
    let device = match job.pass {
        Pass::Forward => chosen.device.clone(),
        Pass::ForwardBackward | Pass::TrainStep => chosen.device.clone().autodiff(),
    };
    chosen.device.seed(SEED);
    let inputs = Inputs::new(&job.shape(sizes), job.path, &device);
    let timing = time(
        &device,
        &job.budget,
        || inputs.run(job.path, job.pass),
        |result| inputs.check(result),
    )?;
    drop(inputs);
    // Last, for it takes memory.
    let bytes_per_second = bytes_per_second(&device, &job.budget)?;
    Ok(Figures {
        timing,
        bytes_per_second: Some(bytes_per_second),
        taken: Figures::taken(&chosen),
    })
}

/// What attention reads, as its module makes it: `[b, h, n, ·]` views of memory `[b, n, h, ·]`.
struct Inputs {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    /// `[b, h, r, n]`; none without landmarks.
    scores: Option<Tensor<4>>,
    /// The gradient of the output.
    weights: Tensor<4>,
    window: Window,
    scale: f64,
}

impl Inputs {
    fn new(shape: &Shape, path: Path, device: &Device) -> Self {
        let Shape { b, n, h, d, r, w } = *shape;
        let random = |width| {
            let normal = Distribution::Normal(0.0, 1.0);
            let memory = Tensor::<4>::random([b, n, h, width], normal, device);
            memory.swap_dims(1, 2)
        };
        let input = |width| {
            let view = random(width);
            match device.is_autodiff() {
                true => view.require_grad(),
                false => view,
            }
        };
        Self {
            query: input(d),
            key: input(d),
            value: input(d),
            scores: (r > 0 && path != Path::Dense).then(|| {
                let view = random(r).swap_dims(2, 3);
                match device.is_autodiff() {
                    true => view.require_grad(),
                    false => view,
                }
            }),
            weights: random(d),
            window: Window::segments(w),
            scale: (d as f64).powf(-0.5),
        }
    }

    fn run(&self, path: Path, pass: Pass) -> (Tensor<4>, Option<Gradients>) {
        let output = match path {
            Path::Fused | Path::Plain => self.long_short(),
            Path::Dense => self.dense(),
        };
        let gradients = match pass {
            Pass::Forward => None,
            Pass::ForwardBackward | Pass::TrainStep => {
                Some((output.clone() * self.weights.clone()).sum().backward())
            }
        };
        (output, gradients)
    }

    fn check(&self, (output, gradients): (Tensor<4>, Option<Gradients>)) -> Result<(), BenchError> {
        read(output.without_autodiff())?;
        let Some(gradients) = gradients else {
            return Ok(());
        };
        let [_, _, n, _] = self.query.dims();
        if n == 1 {
            // A softmax over one token has no gradient.
            return Ok(());
        }
        let inputs = [&self.query, &self.key, &self.value];
        for input in inputs.into_iter().chain(&self.scores) {
            match input.grad(&gradients) {
                Some(gradient) => read(gradient)?,
                None => return Err(BenchError::Nonsense(f64::NAN)),
            }
        }
        Ok(())
    }

    fn long_short(&self) -> Tensor<4> {
        let (mut key, mut value) = (self.key.clone(), self.value.clone());
        let landmarks = self.scores.clone().map(|scores| {
            let projected = project(scores, key.clone(), value.clone(), Layout::Full);
            key = projected.tokens_key;
            value = projected.tokens_value;
            (projected.key, projected.value)
        });
        let attended = attend(Attend {
            query: self.query.clone(),
            key,
            value,
            landmarks,
            bias: None,
            relative_keys: None,
            layout: Layout::Full,
            visibility: self.window.into(),
            scale: self.scale,
            dropout: AttentionDropout::OFF,
        });
        attended.output
    }

    fn dense(&self) -> Tensor<4> {
        let query = self.query.clone() * self.scale;
        let scores = query.matmul(self.key.clone().swap_dims(2, 3));
        softmax(scores, 3).matmul(self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the window covers the document and the projection picks single tokens, long-short
    /// attention counts every token twice under its softmax: the same output as dense attention.
    #[test]
    fn dense_and_long_short_attention_measure_the_same_mathematics() {
        let device = Device::flex();
        let shape = Shape {
            b: 2,
            n: 12,
            h: 3,
            d: 5,
            r: 12,
            w: 12,
        };
        let mut inputs = Inputs::new(&shape, Path::Fused, &device);
        let picks = Tensor::<2>::eye(12, &device) * 1000.0;
        inputs.scores = Some(picks.reshape([1, 1, 12, 12]).expand([2, 3, 12, 12]));
        let (long_short, _) = inputs.run(Path::Fused, Pass::Forward);
        let (dense, _) = inputs.run(Path::Dense, Pass::Forward);
        let apart: f32 = (long_short - dense).abs().max().into_scalar();
        assert!(apart < 1e-5, "{apart}");
    }
}
