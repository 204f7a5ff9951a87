//! What kernels give next to what the plain bodies give.

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Results by name.
pub type Results = Vec<(&'static str, Vec<f64>)>;

#[derive(Clone, Copy, PartialEq)]
pub enum Body {
    Plain,
    Kernels,
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data()
        .convert::<f64>()
        .try_into_vec()
        .expect("float64")
}

/// One of other results, of the type and on the device of one's own, with these axes in memory.
pub fn as_given<const D: usize>(
    results: &Results,
    name: &str,
    own: Float,
    memory: [usize; D],
) -> Float {
    let own = Tensor::<D>::from_dispatch(own);
    let (_, values) = results.iter().find(|(of, _)| *of == name).expect(name);
    let data = TensorData::new(values.clone(), own.dims()).convert_dtype(own.dtype());
    in_memory(data, memory, (&own.device(), own.dtype())).into_dispatch()
}

/// A tensor whose axes lie in memory in this order. It is turned on the host: an operation of the device
/// would keep the order of its input.
pub fn in_memory<const D: usize>(
    data: TensorData,
    memory: [usize; D],
    place: (&Device, DType),
) -> Tensor<D> {
    let host = Tensor::<D>::from_data(data, (&Device::flex(), place.1));
    let turned = Tensor::<D>::from_data(host.permute(memory).into_data(), place);
    let mut back = [0; D];
    for (at, &axis) in memory.iter().enumerate() {
        back[axis] = at;
    }
    turned.permute(back)
}

pub type Float = burn::backend::tensor::FloatTensor<Dispatch>;

pub fn float<const D: usize>(x: Float) -> Vec<f64> {
    host(Tensor::<D>::from_dispatch(x))
}

/// All results of a body on a device, given those of forward passes that backward passes want.
type Run<'a> = &'a dyn Fn(&Device, DType, Body, Option<&Results>) -> Results;

/// Compares what the kernels on `device` give with the plain bodies in float64, which may be off
/// by a few times what the plain bodies are in the same type. What a backward pass wants of the forward
/// pass are the exact results, so that each kernel is alone with its errors.
pub fn compare(device: &Device, dtype: DType, run: Run, what: &str) {
    let flex = Device::flex();
    let exact = run(&flex, DType::F64, Body::Plain, None);
    let plain = run(&flex, dtype, Body::Plain, Some(&exact));
    let ours = run(device, dtype, Body::Kernels, Some(&exact));
    assert_eq!(ours.len(), exact.len());
    for (((name, ours), (_, exact)), (_, plain)) in ours.iter().zip(&exact).zip(&plain) {
        let scale = exact.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        let largest = |values: &[f64]| {
            assert_eq!(values.len(), exact.len());
            values.iter().zip(exact).fold(0.0_f64, |max, (a, b)| {
                // `max` passes over NaN.
                assert!(a.is_finite(), "{name}: {a} where {b} is right; {what}");
                max.max((a - b).abs())
            })
        };
        let (own, allowed) = (largest(ours), largest(plain));
        // Float16 has nothing between 0 and 6e-8: where 0 is right, its sums may be a few of these off.
        let (unit, least) = match dtype {
            DType::F16 => (1e-3, 2.4e-7),
            _ => (2.4e-7, 0.0),
        };
        let factor = if name.starts_with("d ") { 3.0 } else { 2.0 };
        let allowed = (factor * allowed).max(4.0 * unit * scale).max(least);
        assert!(
            own <= allowed,
            "{name}: off by {own:.2e} of {scale:.2e}, {allowed:.2e} is allowed; {what}"
        );
    }
}

/// Integers from −8 to 8.
pub fn integers(count: usize, seed: usize) -> Vec<f64> {
    let value = |i: usize| ((i * 7919 + i / 17 + seed * 104_729) % 2003 % 17) as f64 - 8.0;
    (0..count).map(value).collect()
}

/// That numbers which a type has exactly, or once rounded to it, are what is expected.
pub fn assert_exact(found: &[f64], expected: &[f64], dtype: DType, what: &str) {
    let rounded = TensorData::new(expected.to_vec(), [expected.len()]).convert_dtype(dtype);
    let rounded = rounded.convert::<f64>().try_into_vec::<f64>();
    let rounded = rounded.expect("float64");
    assert_eq!(found.len(), rounded.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(&rounded).enumerate() {
        assert!(found == expected, "{what}: {found}, not {expected}, at {i}");
    }
}
