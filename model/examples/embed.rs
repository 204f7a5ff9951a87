//! Long-short attention inside a module of one's own, trained to find the largest of 500 numbers.
//!
//! `cargo run --release --example embed`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};
use transformer_ls_burn::attention::{
    AttentionInput, AttentionLayer, AttentionLayerConfig, LongShortAttentionConfig,
};

#[derive(Module, Debug)]
struct Largest {
    embed: Linear,
    attention: AttentionLayer,
    output: Linear,
}

impl Largest {
    fn forward(&self, numbers: Tensor<3>) -> Tensor<2> {
        let tokens = self.embed.forward(numbers);
        let attended = self.attention.forward(AttentionInput::new(tokens)).tokens;
        self.output.forward(attended.max_dim(1)).squeeze_dim(1)
    }
}

fn main() {
    let device = Device::flex().autodiff();
    let attention = LongShortAttentionConfig::new(32, 2).into();
    let mut model = Largest {
        embed: LinearConfig::new(1, 32).init(&device),
        attention: AttentionLayerConfig::new(attention).init(&device),
        output: LinearConfig::new(32, 1).init(&device),
    };
    let mut optimizer = AdamWConfig::new().init();
    for step in 0..60 {
        let numbers = Tensor::<3>::random([16, 500, 1], Distribution::Normal(0.0, 1.0), &device);
        let largest = numbers.clone().max_dim(1).squeeze_dim(1);
        let loss = (model.forward(numbers) - largest).powi_scalar(2).mean();
        if step % 10 == 0 {
            println!("step {step}: loss {:.3}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
}
