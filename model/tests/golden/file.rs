//! A golden file, and how tensors are compared with it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use libtest_mimic::Failed;
use safetensors::{Dtype, SafeTensors};
use transformer_ls_burn::Boundaries;

pub struct Golden {
    metadata: HashMap<String, serde_json::Value>,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    pub fn read(path: &Path) -> Result<Self, Failed> {
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header
            .metadata()
            .as_ref()
            .ok_or("a golden file has metadata")?
            .iter()
            .map(|(key, value)| Ok((key.clone(), serde_json::from_str(value)?)))
            .collect::<Result<_, Failed>>()?;
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let data = view.data();
                let values: Vec<f64> = match view.dtype() {
                    Dtype::F32 => chunks(data).map(|b| f32::from_le_bytes(b).into()).collect(),
                    Dtype::I64 => chunks(data).map(|b| i64::from_le_bytes(b) as f64).collect(),
                    Dtype::I32 => chunks(data).map(|b| i32::from_le_bytes(b).into()).collect(),
                    Dtype::BOOL | Dtype::U8 => data.iter().map(|&b| b.into()).collect(),
                    other => return Err(Failed::from(format!("{name} is {other:?}"))),
                };
                Ok((name, (view.shape().to_vec(), values)))
            })
            .collect::<Result<_, Failed>>()?;
        Ok(Self { metadata, tensors })
    }

    pub fn text(&self, key: &str) -> Result<String, Failed> {
        let value = self.metadata.get(key).and_then(|value| value.as_str());
        Ok(value.ok_or(format!("metadata {key}"))?.to_owned())
    }

    pub fn json(&self, key: &str) -> Result<&serde_json::Value, Failed> {
        Ok(self.metadata.get(key).ok_or(format!("metadata {key}"))?)
    }

    pub fn number(&self, key: &str) -> Result<i64, Failed> {
        let value = self.metadata.get(key).and_then(|value| value.as_i64());
        Ok(value.ok_or(format!("metadata {key}"))?)
    }

    pub fn size(&self, key: &str) -> Result<usize, Failed> {
        Ok(usize::try_from(self.number(key)?)?)
    }

    pub fn flag(&self, key: &str) -> Result<bool, Failed> {
        let value = self.metadata.get(key).and_then(|value| value.as_bool());
        Ok(value.ok_or(format!("metadata {key}"))?)
    }

    /// The convolution's length; the release writes none as −1.
    pub fn conv_kernel(&self) -> Result<Option<usize>, Failed> {
        Ok(usize::try_from(self.number("conv_kernel_size")?).ok())
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn values(&self, name: &str) -> Result<&[f64], Failed> {
        let (_, values) = self.tensors.get(name).ok_or(format!("no tensor {name}"))?;
        Ok(values)
    }

    fn data(&self, name: &str) -> Result<TensorData, Failed> {
        let (shape, values) = self.tensors.get(name).ok_or(format!("no tensor {name}"))?;
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Ok(TensorData::new(values, shape.clone()))
    }

    pub fn float<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>, Failed> {
        Ok(Tensor::from_data(self.data(name)?, device))
    }

    pub fn int<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Tensor<D, Int>, Failed> {
        let (shape, values) = self.tensors.get(name).ok_or(format!("no tensor {name}"))?;
        let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        Ok(Tensor::from_data(
            TensorData::new(values, shape.clone()),
            device,
        ))
    }

    pub fn mask(&self, name: &str, device: &Device) -> Result<Tensor<2, Bool>, Failed> {
        let (shape, values) = self.tensors.get(name).ok_or(format!("no tensor {name}"))?;
        let values: Vec<bool> = values.iter().map(|&value| value != 0.0).collect();
        Ok(Tensor::from_data(
            TensorData::new(values, shape.clone()),
            device,
        ))
    }

    /// Rows that are real tokens, and their boundaries, if every document's padding is at its end.
    pub fn packed(&self, mask: &str) -> Result<Option<(Vec<i32>, Boundaries)>, Failed> {
        let n = self.size("n")?;
        let mut rows = Vec::new();
        let mut lengths = Vec::new();
        for (document, mask) in self.values(mask)?.chunks(n).enumerate() {
            let length = mask.iter().filter(|&&real| real != 0.0).count();
            if mask[..length].contains(&0.0) {
                return Ok(None);
            }
            rows.extend((0..length).map(|row| (document * n + row) as i32));
            lengths.push(length);
        }
        Ok(Some((rows, Boundaries::from_lengths(&lengths))))
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes
        .chunks_exact(N)
        .map(|chunk| chunk.try_into().unwrap_or([0; N]))
}

/// The largest error seen and where; fails at once above a tolerance.
#[derive(Default)]
pub struct Worst {
    error: f64,
    tensor: String,
}

impl Worst {
    /// max|a − b| / max|b| of one tensor.
    pub fn compare(
        &mut self,
        name: &str,
        ours: TensorData,
        golden: &[f64],
        tolerance: f64,
    ) -> Result<(), Failed> {
        let ours: Vec<f64> = ours
            .convert::<f64>()
            .try_to_vec()
            .map_err(|e| format!("{e:?}"))?;
        if ours.len() != golden.len() {
            return Err(format!("{name}: {} values, {} wanted", ours.len(), golden.len()).into());
        }
        let largest = golden.iter().fold(0.0_f64, |max, b| max.max(b.abs()));
        let scale = if largest == 0.0 { 1.0 } else { largest };
        let error = difference(&ours, golden) / scale;
        self.note(name, error, tolerance)
    }

    /// max|a| of a tensor that is 0 in exact arithmetic.
    pub fn vanishes(&mut self, name: &str, ours: TensorData, limit: f64) -> Result<(), Failed> {
        let ours: Vec<f64> = ours
            .convert::<f64>()
            .try_to_vec()
            .map_err(|e| format!("{e:?}"))?;
        let size = difference(&ours, &vec![0.0; ours.len()]);
        match size <= limit {
            true => Ok(()),
            false => Err(format!("{name}: {size:.1e} where at most {limit:.0e} is noise").into()),
        }
    }

    fn note(&mut self, name: &str, error: f64, tolerance: f64) -> Result<(), Failed> {
        if error.is_nan() || error > tolerance {
            return Err(format!("{name}: error {error:.2e} exceeds {tolerance:.0e}").into());
        }
        if error >= self.error {
            self.error = error;
            self.tensor = name.to_owned();
        }
        Ok(())
    }
}

/// max|a − b|; NaN if any value is.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |max: f64, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() || max.is_nan() {
            f64::NAN
        } else {
            max.max(difference)
        }
    })
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} in {}", self.error, self.tensor)
    }
}

pub const OUTPUT: f64 = 1e-5;
pub const GRADIENT: f64 = 1e-4;
/// Softmax is blind to the projection's bias: its gradient is 0, and the files hold the noise.
pub const PROJECTION_BIAS_NOISE: f64 = 5e-6;
/// The same noise reaches the projection's weights in the models' files.
pub const PROJECTION_WEIGHT: f64 = 1e-3;
