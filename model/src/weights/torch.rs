//! PyTorch checkpoints (`torch.save`).

use std::io::Write;

use burn_store::bridge;
use burn_store::pytorch::{PickleError, PytorchError, PytorchReader};

use super::{StateDict, WeightsError};

/// Under which keys training scripts save weights, the release's first.
const KEYS: [&str; 3] = ["model_state_dict", "state_dict", "model"];

impl StateDict {
    /// Reads the weights of a PyTorch checkpoint's bytes: under one of the usual keys
    /// (`model_state_dict`, `state_dict`, `model`), or at the top. What DataParallel and `torch.compile`
    /// put before names is left out.
    ///
    /// Burn's reader wants a file, so the bytes pass through a temporary one. It executes nothing.
    ///
    /// # Errors
    ///
    /// The bytes are no PyTorch checkpoint, are cut short, hold no weights, or hold objects besides that
    /// can't be read.
    pub fn from_torch(bytes: &[u8]) -> Result<Self, WeightsError> {
        let [contents, end] = without_zip64(bytes);
        let write = |mut file: tempfile::NamedTempFile| {
            file.write_all(contents)?;
            file.write_all(end)?;
            file.flush().map(|()| file)
        };
        let file = tempfile::NamedTempFile::new()
            .and_then(write)
            .map_err(|error| malformed(format!("no temporary file: {error}")))?;
        let under_a_key =
            KEYS.iter().find_map(
                |key| match PytorchReader::with_top_level_key(file.path(), key) {
                    Err(PytorchError::KeyNotFound(_) | PytorchError::InvalidFormat(_)) => None,
                    read => Some(read),
                },
            );
        let reader = under_a_key.unwrap_or_else(|| PytorchReader::new(file.path()));
        let tensors = reader.map_err(problem)?.into_tensors();
        let mut state = Self::default();
        for (name, tensor) in tensors {
            // A checkpoint without any model has the moments of one, perhaps.
            if name.starts_with("optimizer") {
                continue;
            }
            let data = bridge::into_data(bridge::from_pytorch(tensor))
                .map_err(|error| malformed(format!("{name}: {error}")))?;
            state.insert(&name, data)?;
        }
        match state.tensors.is_empty() {
            true => Err(WeightsError::None),
            false => Ok(state),
        }
    }
}

/// The bytes of an archive in two parts that leave out what only archives of 4 GiB and more need: the
/// records of ZIP64 between the directory and its end, which `torch.save` always writes.
///
/// The reader (zip 9.8) takes the directory to lie right before its end. Where the first name has 30
/// bytes, that of a checkpoint called by 21, an entry begins there, and it starts with the second.
fn without_zip64(bytes: &[u8]) -> [&[u8]; 2] {
    const END: usize = 22;
    const ZIP64: usize = 56 + 20;
    let field = |record: &[u8], at: usize| {
        let bytes = record.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let shorter = || {
        let end = bytes.len().checked_sub(END)?;
        let record = &bytes[end..];
        let directory_end = field(record, 16)?.checked_add(field(record, 12)?)?;
        let is_zip64 = record.starts_with(b"PK\x05\x06")
            && directory_end.checked_add(ZIP64)? == end
            && bytes[directory_end..].starts_with(b"PK\x06\x06");
        is_zip64.then(|| [&bytes[..directory_end], record])
    };
    shorter().unwrap_or([bytes, &[]])
}

fn malformed(problem: String) -> WeightsError {
    WeightsError::Malformed {
        format: "PyTorch",
        problem,
    }
}

fn problem(error: PytorchError) -> WeightsError {
    match error {
        PytorchError::Pickle(PickleError::UnsupportedType(kind)) => WeightsError::Mixed(kind),
        // Keys are text or whole numbers there.
        PytorchError::Pickle(PickleError::InvalidData(problem)) if problem.contains("key must") => {
            WeightsError::Mixed(problem)
        }
        // Where tensors lie is text in it, which PyTorch itself can't read back.
        PytorchError::Pickle(PickleError::InvalidData(problem))
            if problem.contains("persistent id") =>
        {
            WeightsError::ProtocolZero
        }
        error => malformed(error.to_string()),
    }
}
