//! `lm_model`: the language model, loaded from the release's own checkpoint beside the file, over
//! several segments with the memory carried along.

use std::path::Path;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use libtest_mimic::Failed;
use transformer_ls_burn::weights::{self, StateDict};
use transformer_ls_burn::{LanguageModelConfig, Segment};

use crate::file::{GRADIENT, Golden, OUTPUT, PROJECTION_BIAS_NOISE, Worst};
use crate::model::Differentiated;

pub fn check(golden: &Golden, path: &Path, device: &Device) -> Result<Worst, Failed> {
    let device = device.clone().autodiff();
    let checkpoint = std::fs::read(path.with_extension("pt"))?;
    let model = config(golden)?.init(&device)?;
    let model = weights::load_language_model(model, StateDict::from_torch(&checkpoint)?)?;
    let mut worst = Worst::default();
    let tokens: Tensor<2, Int> = golden.int("tokens", &device)?;
    let (length, segments) = (golden.size("segment_length")?, golden.size("segments")?);
    let b = golden.size("batch")?;
    let mut memory = model.memory(b, golden.size("mem_len")?);
    for segment in 0..segments {
        let part = |from: usize| tokens.clone().narrow(1, segment * length + from, length);
        let taken = Segment {
            tokens: part(0),
            memory: memory.clone(),
            dropout_seed: None,
        };
        let predictions = model.forward(taken.clone());
        worst.compare(
            &format!("log_probs.{segment}"),
            log_softmax(predictions.logits, 2).into_data(),
            golden.values(&format!("log_probs.{segment}"))?,
            OUTPUT,
        )?;
        let (losses, next) = model.loss(taken, part(1));
        let mut loss = losses.tokens.mean();
        let name = format!("loss.{segment}");
        let data = loss.clone().into_data();
        worst.compare(&name, data, golden.values(&name)?, OUTPUT)?;
        let name = format!("reconstruction.{segment}");
        match losses.reconstruction {
            Some(lost) if golden.has(&name) => {
                let data = lost.clone().into_data();
                worst.compare(&name, data, golden.values(&name)?, OUTPUT)?;
                loss = loss + lost;
            }
            lost => assert_eq!(lost.is_some(), golden.has(&name), "{name}"),
        }
        memory = next;
        if segment + 1 < segments {
            continue;
        }
        let gradients = loss.backward();
        // A model whose parameters are the gradients has them under the release's names.
        let gradients = model.clone().map(&mut Differentiated(&gradients));
        let ours = weights::language_model_state_dict(&gradients)?;
        for (name, gradient) in ours.tensors {
            let golden_name = format!("grad.param.{name}");
            let values = golden.values(&golden_name)?;
            match name.ends_with("dconv_1.bias") {
                true => worst.vanishes(&golden_name, gradient, PROJECTION_BIAS_NOISE)?,
                false => worst.compare(&golden_name, gradient, values, GRADIENT)?,
            }
        }
    }
    Ok(worst)
}

fn config(golden: &Golden) -> Result<LanguageModelConfig, Failed> {
    let clamp = |key: &str| -> Result<usize, Failed> {
        Ok(usize::try_from(golden.number(key)?).unwrap_or(0))
    };
    Ok(LanguageModelConfig {
        vocab_size: golden.size("vocab_size")?,
        layers: golden.size("n_layer")?,
        d_model: golden.size("d_model")?,
        heads: golden.size("n_head")?,
        d_ff: golden.size("d_inner")?,
        window: golden.size("window_len")?,
        chunk: golden.size("chunk_size")?,
        rank: golden.size("chunk_rank")?,
        compressed: golden.size("compressed").unwrap_or(0),
        pre_norm: golden.flag("pre_ln")?,
        gelu: golden.flag("use_gelu")?,
        bias: golden.flag("use_bias")?,
        dropout: 0.0,
        attention_dropout: 0.0,
        clamp: clamp("clamp_len")?,
        landmark_clamp: clamp("cpos_clamp_len")?,
    })
}
