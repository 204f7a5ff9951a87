//! Tensors by name, and their safetensors form.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Bytes, DType, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::WeightsError;
use super::names::without_wrappers;

/// Weights by the release's names, in PyTorch's orientation.
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    /// Name → tensor.
    pub tensors: BTreeMap<String, TensorData>,
}

impl StateDict {
    /// The tensors of an encoder alone.
    pub fn encoder(mut self) -> Self {
        self.tensors.retain(|name, _| super::is_encoder(name));
        self
    }

    /// These tensors and `others`, which win where both have one.
    pub fn with(mut self, others: Self) -> Self {
        self.tensors.extend(others.tensors);
        self
    }

    /// Adds a tensor, by its name without what DataParallel and `torch.compile` put before it.
    pub(super) fn insert(&mut self, name: &str, data: TensorData) -> Result<(), WeightsError> {
        let name = without_wrappers(name);
        match self.tensors.insert(name.clone(), data) {
            Some(_) => Err(WeightsError::Twice(name)),
            None => Ok(()),
        }
    }

    /// Makes sure that all weights are finite numbers.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NotFinite`] names the first tensor that has others,
    /// [`WeightsError::TooLarge`] one whose doubles float32 has no room for.
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        for (name, data) in &self.tensors {
            let (name, of) = (name.clone(), data.num_elements());
            let count = |is_bad: fn(&f64) -> bool| data.iter::<f64>().filter(is_bad).count();
            let not_finite = count(|x| !x.is_finite());
            if not_finite > 0 {
                let count = not_finite;
                return Err(WeightsError::NotFinite { name, count, of });
            }
            // Every other type's finite numbers are float32's too.
            let too_large = match data.dtype() {
                DType::F64 => count(|x| !(*x as f32).is_finite()),
                _ => 0,
            };
            if too_large > 0 {
                let count = too_large;
                return Err(WeightsError::TooLarge { name, count, of });
            }
        }
        Ok(())
    }

    /// Reads a safetensors file's bytes. What DataParallel and `torch.compile` put before names is left
    /// out.
    ///
    /// # Errors
    ///
    /// The bytes are no safetensors file, are cut short, or hold a type other than floats of 16, 32
    /// or 64 bits and whole numbers.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, WeightsError> {
        let malformed = |problem: String| WeightsError::Malformed {
            format: "safetensors",
            problem,
        };
        let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
        let mut state = Self::default();
        for (name, view) in file.tensors() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                Dtype::U8 => DType::U8,
                other => return Err(malformed(format!("tensor {name} is of type {other:?}"))),
            };
            let bytes = Bytes::from_bytes_vec(view.data().to_vec());
            let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
            state.insert(&name, data)?;
        }
        Ok(state)
    }

    /// The bytes of a safetensors file with this metadata; the same weights give the same bytes.
    ///
    /// # Errors
    ///
    /// A tensor's type has no safetensors form.
    pub fn to_safetensors(
        &self,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, WeightsError> {
        let failed = |name: &str, problem: String| WeightsError::Tensor {
            name: name.to_owned(),
            problem,
        };
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, data) in &self.tensors {
            let dtype = match data.dtype() {
                DType::F32 => Dtype::F32,
                DType::F64 => Dtype::F64,
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::I64 => Dtype::I64,
                other => return Err(failed(name, format!("type {other:?}"))),
            };
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes())
                .map_err(|error| failed(name, error.to_string()))?;
            views.push((name.clone(), view));
        }
        // One entry alone: a map of several would be written in random order.
        let metadata = serde_json::to_string(metadata)
            .map_err(|error| failed("metadata", error.to_string()))?;
        let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
        safetensors::serialize(views, Some(metadata))
            .map_err(|error| failed("(all)", error.to_string()))
    }

    /// The metadata that [`to_safetensors`](Self::to_safetensors) wrote; empty for other files.
    ///
    /// # Errors
    ///
    /// The bytes are no safetensors file.
    pub fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, WeightsError> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| WeightsError::Malformed {
                format: "safetensors",
                problem: error.to_string(),
            })?;
        let own = header.metadata().as_ref().and_then(|map| map.get(METADATA));
        Ok(own
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default())
    }
}

/// Key of this project's metadata, a JSON object, in a safetensors header.
const METADATA: &str = "transformer_ls";
