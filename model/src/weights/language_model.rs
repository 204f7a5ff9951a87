//! Weights of language models: the release's names, which fairseq's checkpoints have behind a prefix.

use super::names::replace_prefix;
use super::{StateDict, WeightsError, collect, put};
use crate::language_model::LanguageModel;

/// Module path and release name outside layers, and inside.
const OUTSIDE_LAYERS: [(&str, &str); 2] =
    [("embedding", "in_emb"), ("output_bias", "out_emb.bias")];
const INSIDE_LAYERS: [(&str, &str); 15] = [
    ("attention_norm", "norm1"),
    ("ff_norm", "norm2"),
    ("ff_in", "ff.fc1"),
    ("ff_out", "ff.fc2"),
    ("attention.query", "attn.proj_query"),
    ("attention.key", "attn.proj_key"),
    ("attention.value", "attn.proj_val"),
    ("attention.output", "attn.proj_out"),
    ("attention.landmarks.projection", "attn.dconv_1"),
    ("attention.landmarks.window_norm", "attn.dual_ln_win"),
    ("attention.landmarks.norm", "attn.dual_ln_dproj"),
    ("attention.landmarks.relative", "attn.r_net_chunk"),
    ("attention.relative", "attn.r_net"),
    ("attention.content_bias", "attn.r_w_bias"),
    ("attention.position_bias", "attn.r_r_bias"),
];
const LAYERS: &str = "layers.";

/// What fairseq puts before the names.
const FAIRSEQ: &str = "decoder.model.";
/// What the release's checkpoints hold twice, or hold though it is no weight.
const TIED: &str = "out_emb.weight";
const BUFFERS: [&str; 2] = ["pos_emb.inv_freq", "decoder.version"];

fn renamed<'a>(
    name: &str,
    inside: impl Iterator<Item = (&'a str, &'a str)>,
    outside: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let in_layer = name.strip_prefix(LAYERS).and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        Some(format!("{LAYERS}{layer}.{}", replace_prefix(rest, inside)?))
    });
    in_layer
        .or_else(|| replace_prefix(name, outside))
        .unwrap_or_else(|| name.to_owned())
}

fn release_name(path: &str) -> String {
    renamed(path, INSIDE_LAYERS.into_iter(), OUTSIDE_LAYERS.into_iter())
}

fn module_path(name: &str) -> String {
    let turned = |&(path, name): &(&'static str, &'static str)| (name, path);
    renamed(
        name,
        INSIDE_LAYERS.iter().map(turned),
        OUTSIDE_LAYERS.iter().map(turned),
    )
}

/// A language model's weights by the release's names (without fairseq's prefix `decoder.model.`), in
/// PyTorch's orientation.
///
/// # Errors
///
/// A tensor can't be read from its device.
pub fn language_model_state_dict(model: &LanguageModel) -> Result<StateDict, WeightsError> {
    collect(model, release_name)
}

/// Puts weights into a language model of the same configuration: this project's, or those of a
/// checkpoint of the release.
///
/// # Errors
///
/// As [`load`](super::load); and [`WeightsError::OtherModel`] names `out_emb.weight` where it is there and
/// not the same as `in_emb.weight`, to which the release ties it.
pub fn load_language_model(
    model: LanguageModel,
    mut state: StateDict,
) -> Result<LanguageModel, WeightsError> {
    let tensors = std::mem::take(&mut state.tensors).into_iter();
    state.tensors = tensors
        .map(|(name, data)| match name.strip_prefix(FAIRSEQ) {
            Some(own) => (own.to_owned(), data),
            None => (name, data),
        })
        .filter(|(name, _)| !BUFFERS.contains(&name.as_str()))
        .collect();
    if state.tensors.get(TIED) == state.tensors.get("in_emb.weight") {
        state.tensors.remove(TIED);
    }
    put(model, state, release_name, module_path)
}
