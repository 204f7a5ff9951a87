//! Attention alone, in the process that measures it.

use anyhow::Context;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Distribution, Gradients, Tensor};
use transformer_ls_burn::Layout;
use transformer_ls_burn::attention::{AttentionConfig, AttentionInput};
use transformer_ls_burn::ops::{Attend, AttentionDropout, Window, attend, project};
use transformer_ls_infer::device;
use transformer_ls_infer::run::Precision;

use super::cost::cost;
use super::job::{Budget, Job, Line, Pass, Path, Sizes};
use super::timing::{bytes_per_second, kernels, read, time};

/// Any number will do: figures do not depend on the values.
const SEED: u64 = 1;

/// Measures in this process.
pub fn measure(job: Job, sizes: &Sizes, budget: &Budget) -> anyhow::Result<Line> {
    let device = device::resolve(&job.device)?.device;
    device.seed(SEED);
    let device = match job.pass {
        Pass::Forward => device,
        Pass::ForwardBackward | Pass::TrainStep => device.autodiff(),
    };
    let inputs = Inputs::new(&job, sizes, &device);
    let run = || inputs.run(job.path, job.pass);
    let timing = time(&device, budget, run, |result| inputs.check(result))?;
    let kernels = match job.profile {
        true => kernels(&device, run)?,
        false => Vec::new(),
    };
    drop(inputs);
    // Last, since it takes memory.
    let bytes_per_second = bytes_per_second(&device, budget)?;
    let cost = cost(&job, sizes);
    Ok(Line {
        bytes_per_second: job.profile.then_some(bytes_per_second),
        kernels,
        job,
        milliseconds: timing.seconds * 1e3,
        gflops: Some(cost.flops / timing.seconds / 1e9),
        tokens_per_second: None,
        peak_bytes: timing.peak_bytes,
        floor_milliseconds: Some(cost.bytes / bytes_per_second * 1e3),
    })
}

/// Measures an attention of any kind as a module, in this process.
pub fn measure_module(job: Job, module: AttentionConfig, budget: &Budget) -> anyhow::Result<Line> {
    let device = device::resolve(&job.device)?.device;
    device.seed(SEED);
    let backward = job.pass != Pass::Forward;
    let device = if backward { device.autodiff() } else { device };
    let heads = module.init(&device);
    let shape = [job.b, job.n, module.d_model()];
    let random = || Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let (tokens, weights) = (random(), random());
    let tokens = if backward {
        tokens.require_grad()
    } else {
        tokens
    };
    let run = || {
        let contexts = heads.contexts(AttentionInput::new(tokens.clone())).tokens;
        let gradients = backward.then(|| (contexts.clone() * weights.clone()).sum().backward());
        (contexts, gradients)
    };
    let check = |(contexts, gradients): (Tensor<3>, Option<Gradients>)| {
        read(contexts.without_autodiff())?;
        match gradients {
            Some(gradients) => read(
                tokens
                    .grad(&gradients)
                    .context("the tokens have no gradient")?,
            ),
            None => Ok(()),
        }
    };
    let timing = time(&device, budget, run, check)?;
    let kernels = match job.profile {
        true => kernels(&device, run)?,
        false => Vec::new(),
    };
    // Last, since it takes memory.
    let bytes_per_second = match job.profile {
        true => Some(bytes_per_second(&device, budget)?),
        false => None,
    };
    // A backward pass computes a gradient of both factors of each product.
    let passes = if backward { 3.0 } else { 1.0 };
    let flops = passes * job.b as f64 * module.flops(job.n);
    Ok(Line {
        bytes_per_second,
        kernels,
        milliseconds: timing.seconds * 1e3,
        gflops: Some(flops / timing.seconds / 1e9),
        tokens_per_second: None,
        peak_bytes: timing.peak_bytes,
        floor_milliseconds: None,
        job,
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
    fn new(job: &Job, sizes: &Sizes, device: &Device) -> Self {
        let Sizes { h, d, r, w } = *sizes;
        let random = |width| {
            let normal = Distribution::Normal(0.0, 1.0);
            let memory = Tensor::<4>::random([job.b, job.n, h, width], normal, device);
            let memory = memory.cast(match job.precision {
                Precision::F32 => DType::F32,
                Precision::F16 => DType::F16,
            });
            memory.swap_dims(1, 2)
        };
        let input = |view: Tensor<4>| match device.is_autodiff() {
            true => view.require_grad(),
            false => view,
        };
        Self {
            query: input(random(d)),
            key: input(random(d)),
            value: input(random(d)),
            scores: (r > 0 && job.path != Path::Dense).then(|| input(random(r).swap_dims(2, 3))),
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

    fn check(&self, (output, gradients): (Tensor<4>, Option<Gradients>)) -> anyhow::Result<()> {
        read(output.without_autodiff())?;
        let [_, _, n, _] = self.query.dims();
        // A softmax over one token has no gradient.
        let Some(gradients) = gradients.filter(|_| n > 1) else {
            return Ok(());
        };
        let inputs = [&self.query, &self.key, &self.value];
        for input in inputs.into_iter().chain(&self.scores) {
            read(input.grad(&gradients).context("an input has no gradient")?)?;
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
            landmark_bias: None,
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::super::job::Subject;
    use super::*;

    /// Where the window covers the document and the projection picks single tokens, long-short
    /// attention counts every token twice under its softmax: the same output as dense attention.
    #[test]
    fn dense_and_long_short_attention_measure_the_same_mathematics() {
        let device = Device::flex();
        let sizes = Sizes {
            h: 3,
            d: 5,
            r: 12,
            w: 12,
        };
        let job = Job {
            device: String::new(),
            adapter: String::new(),
            path: Path::Fused,
            pass: Pass::Forward,
            b: 2,
            n: 12,
            precision: Precision::F32,
            profile: false,
            subject: Subject::Attention(sizes),
        };
        let mut inputs = Inputs::new(&job, &sizes, &device);
        let picks = Tensor::<2>::eye(12, &device) * 1000.0;
        inputs.scores = Some(picks.reshape([1, 1, 12, 12]).expand([2, 3, 12, 12]));
        let (long_short, _) = inputs.run(Path::Fused, Pass::Forward);
        let (dense, _) = inputs.run(Path::Dense, Pass::Forward);
        let apart: f32 = (long_short - dense).abs().max().into_scalar();
        assert!(apart < 1e-5, "{apart}");
    }
}
