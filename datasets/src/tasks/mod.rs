//! The tasks, a module each.
//!
//! What is said of all of them is in each one's [`Descriptor`]: this list is the only other place
//! of the crate that knows which there are.

pub mod image;
pub mod listops;
pub mod pathfinder;
pub mod retrieval;
pub mod text;

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use crate::Descriptor;
use pathfinder::Size;

/// A task of the Long Range Arena, whose fields and methods are its [`Descriptor`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Nested list operations.
    ListOps,
    /// Film reviews.
    Text,
    /// Pairs of papers.
    Retrieval,
    /// Grey CIFAR-10.
    Image,
    /// Connected markers, in images of a size.
    Pathfinder(Size),
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 8] = [
        Task::ListOps,
        Task::Text,
        Task::Retrieval,
        Task::Image,
        Task::Pathfinder(Size::N32),
        Task::Pathfinder(Size::N64),
        Task::Pathfinder(Size::N128),
        Task::Pathfinder(Size::N256),
    ];
}

impl Deref for Task {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        match self {
            Task::ListOps => &listops::DESCRIPTOR,
            Task::Text => &text::DESCRIPTOR,
            Task::Retrieval => &retrieval::DESCRIPTOR,
            Task::Image => &image::DESCRIPTOR,
            Task::Pathfinder(size) => pathfinder::descriptor(*size),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// The text names no [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no task {0:?}: use {names}", names = names())]
pub struct UnknownTask(pub String);

/// `listops, text, …, path-x or pathfinder256`.
fn names() -> String {
    let [first @ .., last] = Task::ALL.map(|task| task.name);
    format!("{} or {last}", first.join(", "))
}

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Task::ALL
            .into_iter()
            .find(|task| task.name == text || task.alias == Some(text))
            .ok_or_else(|| UnknownTask(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_parse_as_they_print() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse(), Ok(task));
        }
        assert_eq!("pathfinder128".parse(), Ok(Task::Pathfinder(Size::N128)));
        let error = "pathfinder".parse::<Task>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no task \"pathfinder\": use listops, text, retrieval, image, pathfinder32, \
             pathfinder64, path-x or pathfinder256"
        );
    }
}
