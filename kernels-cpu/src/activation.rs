//! The exact GELU of a batch's entries as an operation of its own.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::parallel::*;
use crate::real::{Lanes, Real, load, store};

/// Entries of a task.
const TASK: usize = 1 << 14;

/// `x Φ(x)` of each entry; all of `to` is written.
///
/// # Panics
///
/// Panics if the lengths differ.
pub fn gelu<T: Real>(x: &[T], to: &mut [T]) {
    assert_eq!(x.len(), to.len(), "as many entries");
    let level = Level::new();
    let mut tasks: Vec<_> = x.chunks(TASK).zip(to.chunks_mut(TASK)).collect();
    each_mut(
        &mut tasks,
        || (),
        |(), (x, to)| dispatch!(level, simd => of_entries(simd, x, None, to)),
    );
}

/// Gradient of [`gelu`] for its input, given that of its output; all of `d_x` is written.
///
/// # Panics
///
/// Panics if the lengths differ.
pub fn gelu_backward<T: Real>(d_output: &[T], x: &[T], d_x: &mut [T]) {
    assert_eq!([d_output.len(), x.len()], [d_x.len(); 2], "as many entries");
    let level = Level::new();
    let given = x.chunks(TASK).zip(d_output.chunks(TASK));
    let mut tasks: Vec<_> = given.zip(d_x.chunks_mut(TASK)).collect();
    each_mut(
        &mut tasks,
        || (),
        |(), ((x, d_output), d_x)| {
            dispatch!(level, simd => of_entries(simd, x, Some(*d_output), d_x));
        },
    );
}

/// The GELU, or its gradient given that of the output.
#[inline(always)]
fn of_entries<S: Simd, T: Real>(simd: S, x: &[T], d_output: Option<&[T]>, to: &mut [T]) {
    let lanes = Lanes::<S, T>::LEN;
    simd.vectorize(
        #[inline(always)]
        || {
            let whole = x.len() - x.len() % lanes;
            for at in (0..whole).step_by(lanes) {
                let (y, slope) = crate::gelu::gelu::<S, T>(simd, load::<S, T>(simd, &x[at..]));
                let result = match d_output {
                    None => y,
                    Some(d_output) => load::<S, T>(simd, &d_output[at..]) * slope,
                };
                store::<S, T>(result, &mut to[at..]);
            }
            // The rest fills a vector with zeros.
            let rest = x.len() - whole;
            if rest > 0 {
                let padded = |values: &[T]| {
                    let mut padded = [T::ZERO; 16];
                    padded[..rest].copy_from_slice(&values[whole..]);
                    padded
                };
                let (y, slope) = crate::gelu::gelu::<S, T>(simd, load::<S, T>(simd, &padded(x)));
                let result = match d_output {
                    None => y,
                    Some(d_output) => load::<S, T>(simd, &padded(d_output)) * slope,
                };
                let mut own = [T::ZERO; 16];
                store::<S, T>(result, &mut own);
                to[whole..].copy_from_slice(&own[..rest]);
            }
        },
    );
}
