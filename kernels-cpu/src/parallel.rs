//! Loops over tasks: rayon's, and in a browser, where there are no threads, plain ones by the same
//! names.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use rayon::prelude::*;

#[cfg(target_arch = "wasm32")]
pub(crate) use one_after_another::*;

/// Runs tasks on all threads, each of which brings memory of its own; a single task where it is, for waking
/// a thread takes longer than some.
pub(crate) fn each_mut<T: Send, M>(
    tasks: &mut [T],
    memory: impl Fn() -> M + Send + Sync,
    run: impl Fn(&mut M, &mut T) + Send + Sync,
) {
    match tasks {
        [only] => run(&mut memory(), only),
        _ => tasks.par_iter_mut().for_each_init(memory, run),
    }
}

#[cfg(target_arch = "wasm32")]
mod one_after_another {
    pub(crate) trait Slice<T> {
        fn par_iter(&self) -> std::slice::Iter<'_, T>;
        fn par_iter_mut(&mut self) -> std::slice::IterMut<'_, T>;
        fn par_chunks_mut(&mut self, size: usize) -> std::slice::ChunksMut<'_, T>;
        fn par_chunks_exact_mut(&mut self, size: usize) -> std::slice::ChunksExactMut<'_, T>;
    }

    impl<T> Slice<T> for [T] {
        fn par_iter(&self) -> std::slice::Iter<'_, T> {
            self.iter()
        }

        fn par_iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
            self.iter_mut()
        }

        fn par_chunks_mut(&mut self, size: usize) -> std::slice::ChunksMut<'_, T> {
            self.chunks_mut(size)
        }

        fn par_chunks_exact_mut(&mut self, size: usize) -> std::slice::ChunksExactMut<'_, T> {
            self.chunks_exact_mut(size)
        }
    }

    pub(crate) trait Tasks: IntoIterator + Sized {
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }

        fn for_each_init<M>(self, memory: impl Fn() -> M, run: impl Fn(&mut M, Self::Item)) {
            let mut memory = memory();
            self.into_iter().for_each(|task| run(&mut memory, task));
        }
    }

    impl<I: IntoIterator> Tasks for I {}
}
