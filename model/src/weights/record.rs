//! Burn's records of models, which name tensors by the paths of modules.

use burn::tensor::Bytes;
use burn_store::burn_pack::{Error, Reader, Writer};

use super::WeightsError;

/// The bytes of a model's record from before attention was a part, with the names that modules have
/// now: `W_o` lay in the attention, and there was one kind of it.
///
/// # Errors
///
/// The bytes are no record, or are cut short.
pub fn renamed_record(bytes: Bytes) -> Result<Bytes, WeightsError> {
    let renamed = |bytes| -> Result<Bytes, Error> {
        let mut tensors = Reader::from_bytes(bytes)?.into_tensors()?;
        for tensor in &mut tensors {
            tensor.name = present_path(&tensor.name);
        }
        Writer::new(tensors).into_bytes()
    };
    renamed(bytes).map_err(|error| WeightsError::Malformed {
        format: "Burn",
        problem: error.to_string(),
    })
}

fn present_path(path: &str) -> String {
    match path.split_once(".attention.") {
        None => path.to_owned(),
        Some((block, rest)) if rest.starts_with("output.") => format!("{block}.{rest}"),
        Some((block, rest)) => format!("{block}.attention.LongShort.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_present_ones() {
        for (before, now) in [
            (
                "classifier.encoder.blocks.1.attention.output.weight",
                "classifier.encoder.blocks.1.output.weight",
            ),
            (
                "classifier.encoder.blocks.0.attention.conv",
                "classifier.encoder.blocks.0.attention.LongShort.conv",
            ),
            (
                "classifier.encoder.blocks.0.attention_norm.gamma",
                "classifier.encoder.blocks.0.attention_norm.gamma",
            ),
        ] {
            assert_eq!(present_path(before), now);
        }
    }
}
