//! Setting a field by name: through JSON, so that no field has to be listed here.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::field_of_model;
use super::{ConfigError, RunConfig};

impl RunConfig {
    /// Sets one field from text, as `--set key=value` does. `key` is a field's dotted path
    /// (`training.batch_size`), or its bare name where only one field has it.
    ///
    /// `task` and `preset` are names alone: setting them changes no other field.
    ///
    /// # Errors
    ///
    /// An unknown name (the sentence lists the right ones), one that several fields have, or a
    /// value of another type (the sentence says which is expected).
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let (key, value) = (key.trim(), value.trim());
        let path = find(&self.keys(), key)?;
        *self = match path == ATTENTION {
            true => with_attention(self, path, value)?,
            false => set(self, key, value)?,
        };
        Ok(())
    }

    /// Sets several fields, each given as `key=value`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and text without `=`.
    pub fn set_all<S: AsRef<str>>(
        &mut self,
        assignments: impl IntoIterator<Item = S>,
    ) -> Result<(), ConfigError> {
        set_all(assignments, |key, value| self.set(key, value))
    }

    /// The dotted path of every field.
    pub fn keys(&self) -> Vec<String> {
        self.fields().into_iter().map(|(path, _)| path).collect()
    }

    /// The dotted path of every field, and what it holds.
    pub fn fields(&self) -> Vec<(String, Value)> {
        fields(self)
    }
}

/// Takes assignments `key=value` apart.
pub(crate) fn set_all<S: AsRef<str>>(
    assignments: impl IntoIterator<Item = S>,
    mut set: impl FnMut(&str, &str) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    for assignment in assignments {
        let assignment = assignment.as_ref();
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| ConfigError::NoAssignment(assignment.to_string()))?;
        set(key, value)?;
    }
    Ok(())
}

/// The dotted path of every field of a configuration, and what it holds. Phases
/// are numbered from 0, as in `phases.0.steps`.
pub(crate) fn fields(config: &impl Serialize) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    collect(tree(config), "", &mut fields);
    fields
}

/// The configuration with one field changed.
pub(crate) fn set<C: Serialize + DeserializeOwned>(
    config: &C,
    key: &str,
    value: &str,
) -> Result<C, ConfigError> {
    let (key, value) = (key.trim(), value.trim());
    let keys: Vec<String> = fields(config).into_iter().map(|(path, _)| path).collect();
    let path = find(&keys, key)?;
    let mut problem = String::new();
    for candidate in readings(value) {
        let as_text = candidate.is_string();
        let mut changed = tree(config);
        if let Some(place) = changed.pointer_mut(&format!("/{}", path.replace('.', "/"))) {
            *place = candidate;
        }
        match serde_path_to_error::deserialize::<_, C>(changed) {
            Ok(config) => return Ok(config),
            // What a field says to text tells its type best.
            Err(error) if as_text => {
                let error = error.inner().to_string();
                let inner = field_of_model(&error).map_or(&*error, |(_, inner)| inner);
                problem = expectation(inner);
            }
            Err(_) => {}
        }
    }
    Err(ConfigError::WrongValue {
        key: path,
        value: value.to_string(),
        problem,
    })
}

/// The list whose items are set by number.
const PHASES: &str = "phases";

/// The field that says which other fields there are.
const ATTENTION: &str = "model.attention";

/// The configuration with an attention of another kind, whose fields are that kind's.
fn with_attention(config: &RunConfig, key: String, kind: &str) -> Result<RunConfig, ConfigError> {
    let mut changed = config.clone();
    let attention = &mut changed.model.encoder.block.attention;
    *attention = attention.to_kind(kind).map_err(|error| {
        let error = error.to_string();
        let problem = field_of_model(&error).map_or(&*error, |(_, problem)| problem);
        ConfigError::WrongValue {
            key,
            value: kind.to_string(),
            problem: problem.to_string(),
        }
    })?;
    Ok(changed)
}

/// A structure of strings and numbers cannot fail to become JSON; one of paths that are no Unicode could,
/// and those are refused when they are typed.
fn tree(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn collect(value: Value, prefix: &str, found: &mut Vec<(String, Value)>) {
    let below = |name: String| match prefix {
        "" => name,
        _ => format!("{prefix}.{name}"),
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(value, &below(name), found);
            }
        }
        // Another list, that of the rate's changes, is what happened, and nothing to set.
        Value::Array(items) if prefix.ends_with(PHASES) => {
            for (number, item) in items.into_iter().enumerate() {
                collect(item, &below(number.to_string()), found);
            }
        }
        leaf => found.push((prefix.to_string(), leaf)),
    }
}

/// The full path that a key stands for.
fn find(keys: &[String], key: &str) -> Result<String, ConfigError> {
    if keys.iter().any(|path| path == key) {
        return Ok(key.to_string());
    }
    let bare = |path: &str| path.rsplit('.').next() == Some(key);
    let found: Vec<&String> = keys.iter().filter(|path| bare(path)).collect();
    match found.as_slice() {
        [path] => Ok((*path).clone()),
        [] => Err(ConfigError::UnknownField {
            key: key.to_string(),
            known: keys.join(", "),
        }),
        several => Err(ConfigError::AmbiguousField {
            key: key.to_string(),
            candidates: several
                .iter()
                .map(|path| format!("`{path}`"))
                .collect::<Vec<_>>()
                .join(" or "),
        }),
    }
}

/// What a value may mean, the likeliest first: JSON (numbers, true, null), the text itself, and
/// `none` or `off` for a field that may be absent.
fn readings(value: &str) -> Vec<Value> {
    let mut readings = Vec::new();
    if let Ok(json) = serde_json::from_str(value) {
        readings.push(json);
    }
    readings.push(Value::String(value.to_string()));
    if matches!(value, "none" | "off") {
        readings.push(Value::Null);
    }
    readings
}

/// Serde's sentence about a wrong type in words that need no Rust.
fn expectation(error: &str) -> String {
    for (rust, plain) in [
        ("usize", "a whole number, 0 or more"),
        ("u64", "a whole number, 0 or more"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
        ("a string", "text"),
    ] {
        if error.ends_with(&format!("expected {rust}")) {
            return format!("expected {plain}");
        }
    }
    error.to_string()
}
