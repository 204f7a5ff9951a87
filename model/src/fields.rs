//! The form of a model's configuration in files: one flat object, in which every part finds its own
//! fields. A name means the same to all parts that have it (`d_model`).

use std::fmt;

use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The fields of an object.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Map<String, Value>);

/// A field that can't be read: `` `heads`: invalid type … ``.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}{problem}", .field.as_ref().map_or(String::new(), |field| format!("`{field}`: ")))]
pub struct FieldError {
    field: Option<String>,
    problem: String,
}

impl FieldError {
    pub(crate) fn new(field: &str, problem: impl fmt::Display) -> Self {
        Self {
            field: Some(field.to_owned()),
            problem: problem.to_string(),
        }
    }

    fn missing(field: &str) -> Self {
        Self {
            field: None,
            problem: format!("missing field `{field}`"),
        }
    }
}

impl Fields {
    /// The fields that a configuration is written as.
    pub fn of(config: &impl Serialize) -> Self {
        match serde_json::to_value(config) {
            Ok(Value::Object(fields)) => Self(fields),
            _ => unreachable!("a configuration is an object of numbers and names"),
        }
    }

    /// A field that has to be there.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, FieldError> {
        let value = self.0.get(name).ok_or_else(|| FieldError::missing(name))?;
        T::deserialize(value).map_err(|error| FieldError::new(name, error))
    }

    /// A field that has a default.
    pub fn get_or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T, FieldError> {
        match self.0.contains_key(name) {
            true => self.get(name),
            false => Ok(default),
        }
    }

    /// A part that reads its fields by its own serde form, and passes over the others.
    pub fn part<T: DeserializeOwned>(&self) -> Result<T, FieldError> {
        serde_path_to_error::deserialize(Value::Object(self.0.clone())).map_err(|error| {
            let field = error.path().iter().next().map(ToString::to_string);
            FieldError {
                field,
                problem: error.inner().to_string(),
            }
        })
    }

    /// These fields, with the values of `others` where both have one of that name.
    pub fn overlaid(mut self, others: &Self) -> Self {
        for (name, value) in &mut self.0 {
            if let Some(other) = others.0.get(name) {
                value.clone_from(other);
            }
        }
        self
    }

    /// Adds or replaces a field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Refuses fields that `config`, which was read from these, does not have.
    pub fn refuse_unknown(&self, config: &impl Serialize) -> Result<(), FieldError> {
        let known = Self::of(config).0;
        match self.0.keys().find(|name| !known.contains_key(*name)) {
            None => Ok(()),
            Some(name) => {
                let known: Vec<String> = known.keys().map(|known| format!("`{known}`")).collect();
                let known = known.join(", ");
                let problem = format!("unknown field `{name}`, expected one of {known}");
                Err(FieldError::new(name, problem))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
