//! Operations with several differentiable outputs.
//!
//! An operation of Burn's autodiff has one. One with `N` is made of `1 + N` nodes: a gate, whose
//! rule is the operation's own, and for each output a node whose parent is the gate. An output's
//! rule leaves its gradient in memory that all share; when all outputs have been visited, the gate
//! is, and finds the gradients there. (Burn visits a node after all that came of it.) The gate's
//! own tensor is a number that nobody reads.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::OptionalTensor;

/// The gradients of an operation's outputs, as far as they have been visited.
#[derive(Clone, Debug)]
pub(super) struct Gate<B: Backend, const N: usize> {
    given: Arc<Mutex<[Option<FloatTensor<B>>; N]>>,
}

impl<B: Backend, const N: usize> Gate<B, N> {
    pub(super) fn new() -> Self {
        Self {
            given: Arc::new(Mutex::new(std::array::from_fn(|_| None))),
        }
    }

    /// The gate's own tensor, on the device of an output.
    pub(super) fn tensor(output: &FloatTensor<B>) -> FloatTensor<B> {
        B::float_zeros(Shape::new([1]), &output.device(), output.dtype().into())
    }

    /// Makes the outputs' nodes, whose parent is the gate's.
    pub(super) fn outputs<C: CheckpointStrategy>(
        &self,
        gate: &FloatTensor<Autodiff<B, C>>,
        outputs: [FloatTensor<B>; N],
    ) -> [FloatTensor<Autodiff<B, C>>; N] {
        let mut number = 0;
        outputs.map(|output| {
            let prepared = OutputRule::<N>
                .prepare::<C>([gate.node()])
                .compute_bound()
                .stateful();
            let saved = (number, self.clone());
            number += 1;
            match prepared {
                OpsKind::Tracked(prepared) => prepared.finish(saved, output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            }
        })
    }

    /// The outputs' gradients, for the gate's rule.
    pub(super) fn take(&self) -> [OptionalTensor<B>; N] {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *given, std::array::from_fn(|_| None))
            .map(|gradient| gradient.map_or(OptionalTensor::None, OptionalTensor::Some))
    }
}

#[derive(Debug)]
struct OutputRule<const N: usize>;

impl<B: Backend, const N: usize> Backward<B, 1> for OutputRule<N> {
    type State = (usize, Gate<B, N>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_output = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, Gate::<B, N>::tensor(&d_output));
        }
        let (number, gate) = ops.state;
        let mut given = gate.given.lock().unwrap_or_else(PoisonError::into_inner);
        given[number] = Some(d_output);
    }
}
