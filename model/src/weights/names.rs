//! The release's names for this crate's module paths, by prefix.

/// Module path and release name of what does not depend on the layer. `pixel` and `axes` are this
/// project's own.
const OUTSIDE_BLOCKS: [(&str, &str); 8] = [
    (
        "encoder.embedding.token",
        "model.embeddings.word_embeddings",
    ),
    (
        "encoder.embedding.position",
        "model.embeddings.position_embeddings",
    ),
    (
        "encoder.embedding.pixel",
        "model.embeddings.pixel_embeddings",
    ),
    ("encoder.embedding.axes", "model.embeddings.axes"),
    ("encoder.class_embedding", "model.cls_embed"),
    ("encoder.norm", "model.norm"),
    ("head.hidden", "seq_classifer.mlpblock.0"),
    ("head.output", "seq_classifer.mlpblock.2"),
];

/// Module path and release name inside a block. `offset_bias` is this project's own.
const INSIDE_BLOCKS: [(&str, &str); 13] = [
    ("attention_norm", "norm1"),
    ("attention.query", "mha.W_q"),
    ("attention.key", "mha.W_k"),
    ("attention.value", "mha.W_v"),
    ("attention.projection", "mha.dconv_fc"),
    ("attention.window_norm", "mha.dual_ln_l"),
    ("attention.landmark_norm", "mha.dual_ln_s"),
    ("attention.conv", "mha.conv.weight"),
    ("attention.offset_bias", "mha.offset_bias"),
    ("output", "mha.W_o"),
    ("ff_norm", "norm2"),
    ("ff_in", "mlpblock.0"),
    ("ff_out", "mlpblock.3"),
];

/// What the release's name of every tensor of an encoder begins with.
pub(super) const ENCODER: &str = "model.";

const BLOCKS: &str = "encoder.blocks.";
const RELEASE_BLOCK: &str = "model.transformer";

/// A tensor's name without what wrappers of PyTorch put before it: `module.` (DataParallel) at its start,
/// `_orig_mod.` (`torch.compile`) anywhere.
pub(super) fn without_wrappers(name: &str) -> String {
    let is_wrapper = |part: &&str| *part == "_orig_mod" || *part == "module";
    let parts = name.split('.').skip_while(is_wrapper);
    let parts: Vec<&str> = parts.filter(|part| *part != "_orig_mod").collect();
    parts.join(".")
}

/// `path` with the first prefix of `pairs` that it begins with replaced.
pub(super) fn replace_prefix<'a>(
    path: &str,
    mut pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    pairs.find_map(|(from, to)| {
        let rest = path.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
    })
}

/// The release's name of a module path; tied models have one block without a number.
pub(super) fn release_name(path: &str, tied: bool) -> String {
    let inside = path.strip_prefix(BLOCKS).and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        let name = replace_prefix(rest, INSIDE_BLOCKS.into_iter())?;
        Some(match tied {
            true => format!("{RELEASE_BLOCK}.{name}"),
            false => format!("{RELEASE_BLOCK}_{layer}.{name}"),
        })
    });
    inside
        .or_else(|| replace_prefix(path, OUTSIDE_BLOCKS.into_iter()))
        .unwrap_or_else(|| path.to_owned())
}

/// The module path of a release's name: undoes [`release_name`].
pub(super) fn module_path(name: &str) -> String {
    let turned = |pairs: &'static [(&str, &str)]| pairs.iter().map(|&(path, name)| (name, path));
    let inside = name.strip_prefix(RELEASE_BLOCK).and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        let layer = match layer {
            "" => "0",
            layer => layer.strip_prefix('_')?,
        };
        let path = replace_prefix(rest, turned(&INSIDE_BLOCKS))?;
        Some(format!("{BLOCKS}{layer}.{path}"))
    });
    inside
        .or_else(|| replace_prefix(name, turned(&OUTSIDE_BLOCKS)))
        .unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as they stand in a checkpoint of the release.
    const PAIRS: [(&str, &str, bool); 8] = [
        (
            "encoder.blocks.1.output.weight",
            "model.transformer_1.mha.W_o.weight",
            false,
        ),
        (
            "encoder.blocks.1.attention.window_norm.weight",
            "model.transformer_1.mha.dual_ln_l.weight",
            false,
        ),
        (
            "encoder.blocks.0.attention.projection.bias",
            "model.transformer.mha.dconv_fc.bias",
            true,
        ),
        (
            "encoder.blocks.0.attention.conv",
            "model.transformer.mha.conv.weight",
            true,
        ),
        (
            "encoder.blocks.0.ff_out.weight",
            "model.transformer_0.mlpblock.3.weight",
            false,
        ),
        ("encoder.class_embedding", "model.cls_embed", false),
        ("encoder.norm.bias", "model.norm.bias", false),
        (
            "head.output.weight",
            "seq_classifer.mlpblock.2.weight",
            false,
        ),
    ];

    #[test]
    fn names_map_both_ways() {
        for (path, name, tied) in PAIRS {
            assert_eq!(release_name(path, tied), name);
            assert_eq!(module_path(name), path);
        }
    }

    #[test]
    fn wrappers_are_left_out() {
        for name in [
            "model.norm.weight",
            "module.model.norm.weight",
            "_orig_mod.model.norm.weight",
            "module._orig_mod.model.norm.weight",
            "_orig_mod.module.model._orig_mod.norm.weight",
        ] {
            assert_eq!(without_wrappers(name), "model.norm.weight");
        }
    }

    #[test]
    fn unknown_names_stay() {
        assert_eq!(module_path("model.other.weight"), "model.other.weight");
        assert_eq!(release_name("encoder.normal", false), "encoder.normal");
    }
}
