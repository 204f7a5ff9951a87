//! A float tensor of any backend with the few operations that the plain bodies are written in.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{DType, FloatDType, Shape, Slice, TensorData};

/// Far below every score, and far from overflowing when scores are subtracted from it.
const HIDDEN: f64 = -1.0e30;

/// A float tensor primitive in a precision that sums can be made in.
pub(super) struct Wide<B: Backend>(FloatTensor<B>);

impl<B: Backend> Clone for Wide<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> Wide<B> {
    /// Float64 stays, everything else becomes float32.
    pub fn widen(tensor: FloatTensor<B>) -> Self {
        match tensor.dtype() {
            DType::F32 | DType::F64 => Self(tensor),
            _ => Self(B::float_cast(tensor, FloatDType::F32)),
        }
    }

    /// Back to the precision that the caller came with.
    pub fn narrow_to(self, dtype: DType) -> FloatTensor<B> {
        if self.0.dtype() == dtype {
            self.0
        } else {
            B::float_cast(self.0, dtype.into())
        }
    }

    /// 1 where true, 0 where false, in the precision of `like`.
    pub fn indicator(mask: BoolTensor<B>, like: &Self) -> Self {
        Self(B::bool_into_float(mask, like.0.dtype().into()))
    }

    pub fn zeros_like_with(&self, shape: impl Into<Shape>) -> Self {
        Self(B::float_zeros(
            shape.into(),
            &self.0.device(),
            self.0.dtype().into(),
        ))
    }

    pub fn ones_like_with(&self, shape: impl Into<Shape>) -> Self {
        Self(B::float_ones(
            shape.into(),
            &self.0.device(),
            self.0.dtype().into(),
        ))
    }

    /// Host values on this tensor's device, in its precision.
    pub fn constant_like(&self, values: Vec<f32>, shape: impl Into<Shape>) -> Self {
        let data = TensorData::new(values, shape.into()).convert_dtype(self.0.dtype());
        Self(B::float_from_data(data, &self.0.device()))
    }

    pub fn dims<const D: usize>(&self) -> [usize; D] {
        self.0.shape().dims()
    }

    pub fn into_inner(self) -> FloatTensor<B> {
        self.0
    }

    pub fn add(self, other: Self) -> Self {
        Self(B::float_add(self.0, other.0))
    }

    pub fn sub(self, other: Self) -> Self {
        Self(B::float_sub(self.0, other.0))
    }

    pub fn mul(self, other: Self) -> Self {
        Self(B::float_mul(self.0, other.0))
    }

    pub fn div(self, other: Self) -> Self {
        Self(B::float_div(self.0, other.0))
    }

    pub fn scale(self, factor: f64) -> Self {
        Self(B::float_mul_scalar(self.0, Scalar::from(factor)))
    }

    pub fn exp(self) -> Self {
        Self(B::float_exp(self.0))
    }

    pub fn log(self) -> Self {
        Self(B::float_log(self.0))
    }

    /// The product of the last two dimensions. Products with a single row or column are sums of
    /// elementwise products: Burn's fused kernels for them can be wrong on GPUs (burn#5122).
    pub fn matmul(self, other: Self) -> Self {
        let (left, right) = (self.0.shape(), other.0.shape());
        let rank = left.num_dims();
        if right[rank - 1] == 1 {
            return self.mul(other.transpose()).sum_dim(rank - 1);
        }
        if left[rank - 2] == 1 {
            return self.transpose().mul(other).sum_dim(rank - 2);
        }
        Self(B::float_matmul(self.0, other.0))
    }

    /// The last two dimensions swapped.
    pub fn transpose(self) -> Self {
        let rank = self.0.shape().num_dims();
        Self(B::float_swap_dims(self.0, rank - 2, rank - 1))
    }

    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        Self(B::float_reshape(self.0, shape.into()))
    }

    pub fn detach(self) -> Self {
        Self(B::float_detach(self.0))
    }

    pub fn max_dim(self, dim: usize) -> Self {
        Self(B::float_max_dim(self.0, dim))
    }

    pub fn sum_dim(self, dim: usize) -> Self {
        Self(B::float_sum_dim(self.0, dim))
    }

    /// Rows `start..start + length` of one dimension.
    pub fn narrow(self, dim: usize, start: usize, length: usize) -> Self {
        let shape = self.0.shape();
        if start == 0 && length == shape[dim] {
            return self;
        }
        let slices: Vec<Slice> = (0..shape.num_dims())
            .map(|axis| match axis == dim {
                true => (start..start + length).into(),
                false => (0..shape[axis]).into(),
            })
            .collect();
        Self(B::float_slice(self.0, &slices))
    }

    /// Host indices on this tensor's device.
    pub fn indices(&self, values: Vec<i32>, shape: impl Into<Shape>) -> IntTensor<B> {
        let device = self.0.device();
        let dtype = get_or_init_device_settings::<B>(&device).int_dtype;
        let data = TensorData::new(values, shape.into()).convert_dtype(dtype.into());
        B::int_from_data(data, &device)
    }

    /// The entries of one dimension that these indices name.
    pub fn gather(self, dim: usize, indices: IntTensor<B>) -> Self {
        Self(B::float_gather(dim, self.0, indices))
    }

    /// Concatenation along `dim`; parts without rows are left out.
    pub fn cat(parts: Vec<Self>, dim: usize) -> Self {
        let mut parts: Vec<_> = parts
            .into_iter()
            .map(|part| part.0)
            .filter(|part| part.shape()[dim] > 0)
            .collect();
        match parts.len() {
            1 => Self(parts.remove(0)),
            _ => Self(B::float_cat(parts, dim)),
        }
    }

    /// `before` rows of zeros in front of a dimension and `after` behind it.
    pub fn pad(self, dim: usize, before: usize, after: usize) -> Self {
        let mut shape = self.0.shape();
        let mut rows = |count: usize| {
            shape[dim] = count;
            self.zeros_like_with(shape.clone())
        };
        let (front, back) = (rows(before), rows(after));
        Self::cat(vec![front, self, back], dim)
    }

    /// The larger of two tensors, entry by entry (constants only: no gradient is wanted).
    pub fn max_pair(self, other: Self) -> Self {
        let bool_dtype = get_or_init_device_settings::<B>(&self.0.device()).bool_dtype;
        let smaller = B::float_lower(self.0.clone(), other.0.clone(), bool_dtype);
        Self(B::float_mask_where(self.0, smaller, other.0))
    }

    /// At least half of [`HIDDEN`], so that `exp(HIDDEN − max)` is 0 where every score is hidden.
    pub fn clamp_hidden(self) -> Self {
        Self(B::float_clamp_min(self.0, Scalar::from(HIDDEN / 2.0)))
    }

    /// An additive term for scores: 0 where this indicator is 1, [`HIDDEN`] where it is 0.
    pub fn hide_zeros(self) -> Self {
        let minus_one = B::float_add_scalar(self.0, Scalar::from(-1.0));
        Self(B::float_mul_scalar(minus_one, Scalar::from(-HIDDEN)))
    }

    /// The sum of exponentials made safe to divide by and to take the logarithm of. It is 0
    /// where nothing is visible and at least 1 elsewhere, since the largest term is exp(0).
    pub fn at_least_half(self) -> Self {
        Self(B::float_clamp_min(self.0, Scalar::from(0.5)))
    }

    /// 0 wherever `sum` is 0.
    pub fn zero_where_empty(self, sum: &Self) -> Self {
        let bool_dtype = get_or_init_device_settings::<B>(&self.0.device()).bool_dtype;
        let empty = B::float_lower_elem(sum.0.clone(), Scalar::from(0.5), bool_dtype);
        Self(B::float_mask_fill(self.0, empty, Scalar::from(0.0)))
    }
}
