//! The Python version's batches: pickled dictionaries with a list of labels and a NumPy array.
//!
//! Only what such a batch is made of is understood, in the protocols 2 to 5 that Python writes (the
//! published batches are in protocol 2).

use super::pickle_machine::{Machine, Value};
use super::records::{Records, join};
use crate::problem::FileProblem;

/// Reads a batch of the Python version.
///
/// # Errors
/// [`FileProblem::Pickle`] for anything else, [`FileProblem::Label`].
pub fn parse_pickle(bytes: &[u8]) -> Result<Records, FileProblem> {
    let problem = |cause: &str| FileProblem::Pickle {
        cause: cause.to_owned(),
    };
    let mut machine = Machine::new(bytes);
    let value = machine.run().map_err(|cause| problem(&cause))?;
    let Value::Dict(pairs) = value else {
        return Err(problem("no dictionary"));
    };
    let find = |name: &[u8]| {
        let is_it = |key: &Value| matches!(key, Value::Bytes(key) if key == name);
        pairs.iter().find(|(key, _)| is_it(key)).map(|pair| &pair.1)
    };
    let Some(Value::List(labels)) = find(b"labels") else {
        return Err(problem("no list of labels"));
    };
    let labels = labels.iter().map(|label| match label {
        Value::Int(label) => Some(*label),
        _ => None,
    });
    let labels: Option<Vec<i64>> = labels.collect();
    let labels = labels.ok_or_else(|| problem("labels that are no integers"))?;
    let data = find(b"data").ok_or_else(|| problem("no pixels"))?;
    let (is_by_columns, planes) = array(data).ok_or_else(|| problem("pixels without bytes"))?;
    if is_by_columns {
        return Err(problem("an array that is stored by columns"));
    }
    join(&labels, planes)
}

/// The bytes of a NumPy array, and whether they go down columns.
///
/// They are in the state that a call of `_reconstruct` is completed with, `(version, shape, type,
/// by columns, bytes)`, or among the arguments of `_frombuffer`, `(bytes, type, shape, order)`.
fn array(value: &Value) -> Option<(bool, &[u8])> {
    let Value::Object(parts) = value else {
        return None;
    };
    let Some(Value::Tuple(state)) = parts.last() else {
        return None;
    };
    match state.as_slice() {
        [_, _, _, Value::Int(by_columns), Value::Bytes(bytes)] => Some((*by_columns != 0, bytes)),
        [Value::Bytes(bytes), _, _, Value::Bytes(order)] => Some((order == b"F", bytes)),
        _ => None,
    }
}
