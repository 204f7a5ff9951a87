//! `lra_model`: the classifier, loaded from the release's own checkpoint beside the file.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use libtest_mimic::Failed;
use transformer_ls_burn::attention::LongShortAttentionConfig;
use transformer_ls_burn::{
    Boundaries, Classifier, ClassifierConfig, Layout, Pooling, Tokens, weights,
};

use crate::file::{GRADIENT, Golden, OUTPUT, PROJECTION_BIAS_NOISE, PROJECTION_WEIGHT, Worst};

pub fn check(golden: &Golden, path: &Path, device: &Device) -> Result<Worst, Failed> {
    let device = device.clone().autodiff();
    let checkpoint = std::fs::read(path.with_extension("model"))?;
    let model = config(golden)?.init(&device)?;
    let model = weights::load_release(model, &checkpoint)?;
    let mut worst = Worst::default();
    check_layout(golden, &model, &device, false, &mut worst)?;
    check_layout(golden, &model, &device, true, &mut worst)?;
    Ok(worst)
}

fn config(golden: &Golden) -> Result<ClassifierConfig, Failed> {
    let pooling = if golden.flag("cls_token")? {
        Pooling::ClassEvery
    } else if golden.flag("cls_last_layer")? {
        Pooling::ClassLast
    } else {
        Pooling::MeanAll
    };
    let attention = LongShortAttentionConfig::new(golden.size("dim")?, golden.size("num_head")?)
        .with_rank(golden.size("rank")?)
        .with_window(golden.size("window")?)
        .with_conv_kernel(golden.conv_kernel()?);
    let mut config = ClassifierConfig::default();
    config.encoder.embedding.vocab_size = golden.size("vocab_size")?;
    config.encoder.embedding.max_length = golden.size("max_seq_len")?;
    config.encoder.block.attention = attention.into();
    config.encoder.block.d_ff = golden.size("hidden")?;
    config.encoder.layers = golden.size("num_layers")?;
    config.encoder.tied = golden.flag("tied_weights")?;
    config.encoder.pooling = pooling;
    config.classes = golden.size("num_classes")?;
    config.d_head = golden.size("hidden")?;
    config.pair = golden.flag("dual")?;
    Ok(config)
}

fn tokens(
    golden: &Golden,
    document: usize,
    packed: bool,
    device: &Device,
) -> Result<Option<Tokens>, Failed> {
    let ids: Tensor<2, Int> = golden.int(&format!("input_ids_{document}"), device)?;
    let mask = format!("mask_{document}");
    if !packed {
        let mask = golden.mask(&mask, device)?;
        return Ok(Some(Tokens::new(ids).layout(Layout::Padded(mask))));
    }
    let Some((rows, boundaries)): Option<(_, Boundaries)> = golden.packed(&mask)? else {
        return Ok(None);
    };
    let [b, n] = ids.dims();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [boundaries.total()]), device);
    let ids = ids.reshape([1, b * n]).select(1, rows);
    Ok(Some(Tokens::new(ids).layout(Layout::Packed(boundaries))))
}

fn check_layout(
    golden: &Golden,
    model: &Classifier,
    device: &Device,
    packed: bool,
    worst: &mut Worst,
) -> Result<(), Failed> {
    let Some(first) = tokens(golden, 0, packed, device)? else {
        return Ok(());
    };
    let logits = match golden.flag("dual")? {
        false => model.forward(first),
        true => {
            let second = tokens(golden, 1, packed, device)?.ok_or("both documents pack alike")?;
            model.forward_pair(first, second)
        }
    };
    worst.compare(
        "logits",
        logits.clone().into_data(),
        golden.values("logits")?,
        OUTPUT,
    )?;
    let labels: Tensor<1, Int> = golden.int("label", device)?;
    let loss = CrossEntropyLossConfig::new()
        .init(device)
        .forward(logits, labels);
    worst.compare(
        "loss",
        loss.clone().into_data(),
        golden.values("loss")?,
        OUTPUT,
    )?;

    let gradients = loss.backward();
    // A model whose parameters are the gradients has them under the release's names.
    let gradients = model.clone().map(&mut Differentiated(&gradients));
    let ours = weights::state_dict(&gradients)?;
    let mut compared = 0;
    for (name, gradient) in ours.tensors {
        let golden_name = format!("grad.param.{name}");
        if !golden.has(&golden_name) {
            continue;
        }
        compared += 1;
        if name.ends_with("dconv_fc.bias") {
            worst.vanishes(&golden_name, gradient, PROJECTION_BIAS_NOISE)?;
            continue;
        }
        let tolerance = match name.ends_with("dconv_fc.weight") {
            true => PROJECTION_WEIGHT,
            false => GRADIENT,
        };
        worst.compare(
            &golden_name,
            gradient,
            golden.values(&golden_name)?,
            tolerance,
        )?;
    }
    let wanted = golden
        .names()
        .filter(|name| name.starts_with("grad."))
        .count();
    match compared == wanted {
        true => Ok(()),
        false => Err(format!("compared {compared} of the file's {wanted} gradients").into()),
    }
}

/// Replaces each parameter by its gradient, or by zeros if it has none.
pub struct Differentiated<'a>(pub &'a Gradients);

impl ModuleMapper for Differentiated<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let gradient = match value.grad(self.0) {
            Some(gradient) => gradient,
            None => value.inner().zeros_like(),
        };
        Param::initialized(param.id, gradient)
    }
}
