//! What a language model keeps of a text between segments.

use burn::tensor::{DType, Device, Tensor};

use crate::weights::{StateDict, WeightsError};

/// Every layer's inputs for the last rows of the text so far; zeros before there was any. A model
/// attends to them, and their gradients stop here.
#[derive(Clone, Debug)]
pub struct Memory {
    /// One a layer, `[b, L, D]`.
    layers: Vec<Tensor<3>>,
}

/// What the name of a tensor of a memory begins with; the layer's number follows.
const NAME: &str = "memory.";

impl Memory {
    pub(super) fn zeros(layers: usize, shape: [usize; 3], device: &Device) -> Self {
        Self {
            layers: (0..layers).map(|_| Tensor::zeros(shape, device)).collect(),
        }
    }

    /// Rows of each layer, `L`.
    pub fn rows(&self) -> usize {
        self.layers[0].dims()[1]
    }

    /// How many texts it is of, `b`.
    pub fn texts(&self) -> usize {
        self.layers[0].dims()[0]
    }

    pub(crate) fn layer(&self, number: usize) -> Tensor<3> {
        self.layers[number].clone()
    }

    /// The newest rows of `[this memory; inputs]`, as many as there are, detached.
    pub(crate) fn followed_by(self, inputs: Vec<Tensor<3>>) -> Self {
        let rows = self.rows();
        if rows == 0 {
            return self;
        }
        let newest = |(old, new): (Tensor<3>, Tensor<3>)| {
            let [_, n, _] = new.dims();
            let new = new.detach();
            match n >= rows {
                true => new.narrow(1, n - rows, rows),
                false => Tensor::cat(vec![old.narrow(1, n, rows - n), new], 1),
            }
        };
        Self {
            layers: self.layers.into_iter().zip(inputs).map(newest).collect(),
        }
    }

    /// The same memory of another length: the newest rows, or zeros in front of all. A text goes on
    /// with it where the schedule of a training run, or its reader, takes another length.
    pub fn resized(self, rows: usize) -> Self {
        let resize = |old: Tensor<3>| {
            let [b, n, d_model] = old.dims();
            if rows == 0 {
                return Tensor::zeros([b, 0, d_model], (&old.device(), old.dtype()));
            }
            match n >= rows {
                true => old.narrow(1, n - rows, rows),
                false => {
                    let zeros = Tensor::zeros([b, rows - n, d_model], (&old.device(), old.dtype()));
                    Tensor::cat(vec![zeros, old], 1)
                }
            }
        };
        Self {
            layers: self.layers.into_iter().map(resize).collect(),
        }
    }

    /// Cuts the memory off the graph of autodiff. What a model gives out is cut off already.
    pub fn detach(self) -> Self {
        self.map(Tensor::detach)
    }

    /// The memory on another device.
    pub fn to_device(self, device: &Device) -> Self {
        self.map(|x| x.to_device(device))
    }

    /// The memory of these texts alone, in this order; a text may be taken several times.
    ///
    /// # Panics
    ///
    /// Panics if there is no such text.
    pub fn select(self, texts: &[usize]) -> Self {
        let rows = |x: Tensor<3>| {
            let rows = texts.iter().map(|&text| x.clone().narrow(0, text, 1));
            Tensor::cat(rows.collect(), 0)
        };
        self.map(rows)
    }

    fn map(self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        Self {
            layers: self.layers.into_iter().map(f).collect(),
        }
    }

    /// The memory by names, to save it: `memory.0`, `memory.1`, …
    pub fn state_dict(&self) -> StateDict {
        let named = self.layers.iter().enumerate().map(|(number, rows)| {
            let data = rows.clone().into_data();
            (format!("{NAME}{number}"), data)
        });
        StateDict {
            tensors: named.collect(),
        }
    }

    /// Undoes [`state_dict`](Self::state_dict).
    ///
    /// # Errors
    ///
    /// [`WeightsError::OtherModel`] names what is missing, unknown or of another shape than the
    /// first layer's, [`WeightsError::NotFinite`] a tensor with values that are no numbers.
    pub fn from_state_dict(
        mut state: StateDict,
        layers: usize,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        state.check_finite()?;
        let mut rows = Vec::with_capacity(layers);
        let (mut missing, mut shapes) = (Vec::new(), Vec::new());
        let mut wanted: Option<Vec<usize>> = None;
        for number in 0..layers {
            let name = format!("{NAME}{number}");
            let Some(data) = state.tensors.remove(&name) else {
                missing.push(name);
                continue;
            };
            let shape = data.shape().to_vec();
            let first = wanted.get_or_insert_with(|| shape.clone());
            if shape.len() != 3 || *first != shape {
                shapes.push((name, first.clone(), shape));
                continue;
            }
            rows.push(Tensor::from_data(data.convert_dtype(DType::F32), device));
        }
        let unknown: Vec<String> = state.tensors.into_keys().collect();
        match missing.is_empty() && unknown.is_empty() && shapes.is_empty() {
            true => Ok(Self { layers: rows }),
            false => Err(WeightsError::OtherModel {
                missing,
                unknown,
                shapes,
            }),
        }
    }

    /// # Panics
    ///
    /// Panics if the memory is another model's, or of another number of texts.
    pub(super) fn check(&self, layers: usize, b: usize, d_model: usize) {
        assert_eq!(self.layers.len(), layers, "the memory's layers");
        for layer in &self.layers {
            let [texts, rows, width] = layer.dims();
            assert_eq!([texts, width], [b, d_model], "the memory's texts and width");
            assert_eq!(rows, self.rows(), "the memory's rows");
        }
    }
}
