//! PyTorch checkpoints (`torch.save`).

use std::io::Write;

use burn_store::bridge;
use burn_store::pytorch::PytorchReader;

use super::{StateDict, WeightsError};

impl StateDict {
    /// Reads the tensors under one key of a PyTorch checkpoint's bytes.
    ///
    /// Burn's reader wants a file, so the bytes pass through a temporary one.
    ///
    /// # Errors
    ///
    /// The bytes are no PyTorch checkpoint, are cut short, or have no such key.
    pub fn from_torch(bytes: &[u8], top_level_key: &str) -> Result<Self, WeightsError> {
        let malformed = |problem: String| WeightsError::Malformed {
            format: "PyTorch",
            problem,
        };
        let file = tempfile::NamedTempFile::new()
            .and_then(|mut file| file.write_all(bytes).and(file.flush()).map(|()| file))
            .map_err(|error| malformed(format!("no temporary file: {error}")))?;
        let reader = PytorchReader::with_top_level_key(file.path(), top_level_key)
            .map_err(|error| malformed(error.to_string()))?;
        let mut state = Self::default();
        for (name, tensor) in reader.into_tensors() {
            let data = bridge::into_data(bridge::from_pytorch(tensor))
                .map_err(|error| malformed(format!("{name}: {error}")))?;
            state.tensors.insert(name, data);
        }
        Ok(state)
    }
}
