//! What a language model keeps of a text between segments.

use burn::tensor::{DType, Device, Tensor};

use crate::weights::{StateDict, WeightsError};

/// Every layer's inputs for the last rows of the text so far; zeros before there was any. A model
/// attends to them, and their gradients stop here.
///
/// A Compressive Transformer has compressed rows in front of them, of the text before.
#[derive(Clone, Debug)]
pub struct Memory {
    /// One a layer, `[b, L, D]`.
    layers: Vec<Tensor<3>>,
    /// One a layer, `[b, C, D]`; `C` may be 0.
    compressed: Vec<Tensor<3>>,
}

/// What the names of tensors begin with, of the rows and of the compressed ones; the layer's number
/// follows.
const NAMES: [&str; 2] = ["memory.", "compressed."];

impl Memory {
    pub(super) fn new(layers: usize, rows: Tensor<3>, compressed: Tensor<3>) -> Self {
        Self {
            layers: vec![rows; layers],
            compressed: vec![compressed; layers],
        }
    }

    /// Rows of each layer, `L`, without compressed ones.
    pub fn rows(&self) -> usize {
        self.layers[0].dims()[1]
    }

    /// Rows of each layer that are attended to, `C + L`.
    pub(crate) fn seen(&self) -> usize {
        self.compressed[0].dims()[1] + self.rows()
    }

    /// How many texts it is of, `b`.
    pub fn texts(&self) -> usize {
        self.layers[0].dims()[0]
    }

    /// What a layer attends to, `[b, C + L, D]`.
    pub(crate) fn layer(&self, number: usize) -> Tensor<3> {
        let rows = self.layers[number].clone();
        let compressed = self.compressed[number].clone();
        match compressed.dims()[1] {
            0 => rows,
            _ => Tensor::cat(vec![compressed, rows], 1),
        }
    }

    /// The rows `[b, n, D]` of a layer that are not kept once `n` new ones come in: the oldest of all.
    pub(crate) fn leaving(&self, number: usize, new: &Tensor<3>) -> Tensor<3> {
        let [_, n, _] = new.dims();
        let old = &self.layers[number];
        match old.dims()[1] {
            0 => new.clone(),
            rows if rows >= n => old.clone().narrow(1, 0, n),
            rows => Tensor::cat(
                vec![old.clone(), new.clone().detach().narrow(1, 0, n - rows)],
                1,
            ),
        }
    }

    /// The newest rows of `[this memory; inputs]`, as many as there are, and likewise of what is
    /// compressed, if anything; detached.
    pub(crate) fn followed_by(self, inputs: Vec<Tensor<3>>, compressed: Vec<Tensor<3>>) -> Self {
        let newest = |(old, new): (Tensor<3>, Tensor<3>)| {
            let ([_, rows, _], [_, n, _]) = (old.dims(), new.dims());
            if rows == 0 {
                return old;
            }
            let new = new.detach();
            match n {
                0 => old,
                _ if n >= rows => new.narrow(1, n - rows, rows),
                _ => Tensor::cat(vec![old.narrow(1, n, rows - n), new], 1),
            }
        };
        Self {
            layers: self.layers.into_iter().zip(inputs).map(newest).collect(),
            compressed: match compressed.is_empty() {
                true => self.compressed,
                false => self
                    .compressed
                    .into_iter()
                    .zip(compressed)
                    .map(newest)
                    .collect(),
            },
        }
    }

    /// The same memory of another length: the newest rows, or zeros in front of them. A text goes on
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
            compressed: self.compressed,
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
        let all = |rows: Vec<Tensor<3>>| rows.into_iter().map(&f).collect();
        Self {
            layers: all(self.layers),
            compressed: all(self.compressed),
        }
    }

    /// The memory by names, to save it: `memory.0`, `memory.1`, …, and `compressed.0`, … where rows are
    /// compressed.
    pub fn state_dict(&self) -> StateDict {
        let kinds = NAMES.into_iter().zip([&self.layers, &self.compressed]);
        let named = kinds.flat_map(|(name, layers)| {
            let layers = layers.iter().enumerate();
            let there = layers.filter(move |(_, rows)| name == NAMES[0] || rows.dims()[1] > 0);
            there.map(move |(number, rows)| (format!("{name}{number}"), rows.clone().into_data()))
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
        let mut names = state.tensors.keys();
        let is_compressed = names.any(|name| name.starts_with(NAMES[1]));
        let (mut missing, mut shapes) = (Vec::new(), Vec::new());
        let mut read = |prefix: &str| {
            let mut rows: Vec<Tensor<3>> = Vec::with_capacity(layers);
            let mut wanted: Option<Vec<usize>> = None;
            for number in 0..layers {
                let name = format!("{prefix}{number}");
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
            rows
        };
        let rows = read(NAMES[0]);
        let compressed = match is_compressed {
            true => read(NAMES[1]),
            false => {
                let none = |x: &Tensor<3>| {
                    let [b, _, d_model] = x.dims();
                    Tensor::zeros([b, 0, d_model], device)
                };
                rows.iter().map(none).collect()
            }
        };
        let unknown: Vec<String> = state.tensors.into_keys().collect();
        match missing.is_empty() && unknown.is_empty() && shapes.is_empty() {
            true => Ok(Self {
                layers: rows,
                compressed,
            }),
            false => Err(WeightsError::OtherModel {
                missing,
                unknown,
                shapes,
            }),
        }
    }

    /// # Panics
    ///
    /// Panics if the memory is another model's, or of other `[texts, compressed rows, width]`.
    pub(super) fn check(&self, layers: usize, shape: [usize; 3]) {
        assert_eq!(self.layers.len(), layers, "the memory's layers");
        for (layer, compressed) in self.layers.iter().zip(&self.compressed) {
            let [texts, rows, width] = layer.dims();
            assert_eq!(
                [texts, width],
                [shape[0], shape[2]],
                "the memory's texts and width"
            );
            assert_eq!(rows, self.rows(), "the memory's rows");
            let [_, rows, _] = compressed.dims();
            assert_eq!(rows, shape[1], "the memory's compressed rows");
        }
    }
}
