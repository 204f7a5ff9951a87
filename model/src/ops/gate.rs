//! Operations with several differentiable outputs.
//!
//! An operation of Burn's autodiff has one. One with `N` is made of `1 + N` nodes: a gate, whose
//! rule is the operation's own, and for each output a node whose parent is the gate. An output's
//! rule leaves its gradient in memory that all share; when all outputs have been visited, the gate
//! is, and finds the gradients there. (Burn visits a node after all that came of it.) The gate's
//! own tensor is memory that nobody reads, and its gradient as well.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::OptionalTensor;
use super::autodiff::{register, retrieve};
use super::record::record_with;

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
        B::float_empty(Shape::new([1]), &output.device(), output.dtype().into())
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
        let (number, gate) = ops.state;
        let mut given = gate.given.lock().unwrap_or_else(PoisonError::into_inner);
        // A gradient calls the gate's rule; a second one would be added to the first.
        let is_first = given.iter().all(Option::is_none);
        if let Some(node) = parent.filter(|_| is_first) {
            grads.register::<B>(node.id, Gate::<B, N>::tensor(&d_output));
        }
        given[number] = Some(d_output);
    }
}

/// What an operation's backward pass makes of its outputs' gradients, its inputs and its setting: the
/// inputs' gradients.
type BackwardPass<B, S, const N: usize, const M: usize> =
    fn([OptionalTensor<B>; M], [FloatTensor<B>; N], S) -> [OptionalTensor<B>; N];

/// Records an operation with `M` outputs, whose backward pass wants its inputs again and nothing that
/// it has computed.
pub(super) fn record_outputs<B, C, S, const N: usize, const M: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    setting: S,
    run: impl FnOnce([FloatTensor<B>; N], S) -> [FloatTensor<B>; M],
    backward: BackwardPass<B, S, N, M>,
) -> [FloatTensor<Autodiff<B, C>>; M]
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Debug + Send + 'static,
{
    let gate = Gate::<B, M>::new();
    let run_with = setting.clone();
    let run = |inputs: [FloatTensor<B>; N], _| {
        let outputs = run(inputs, run_with);
        (Gate::<B, M>::tensor(&outputs[0]), outputs)
    };
    let saved = |inputs, _: &_, _: &_| Saved {
        inputs,
        setting,
        gate: gate.clone(),
        backward,
    };
    let rule = GateRule::<S, M>(PhantomData);
    let (node, outputs) = record_with::<B, C, _, _, N>(rule, inputs, run, saved);
    gate.outputs::<C>(&node, outputs)
}

/// The rule of [`record_outputs`].
#[derive(Debug)]
struct GateRule<S, const M: usize>(PhantomData<S>);

#[derive(Clone, Debug)]
struct Saved<B: Backend, S, const N: usize, const M: usize> {
    inputs: [NodeId; N],
    setting: S,
    gate: Gate<B, M>,
    backward: BackwardPass<B, S, N, M>,
}

impl<B: Backend, S: Clone + Debug + Send + 'static, const N: usize, const M: usize> Backward<B, N>
    for GateRule<S, M>
{
    type State = Saved<B, S, N, M>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let _ = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let inputs = retrieve::<B, N>(checkpointer, saved.inputs);
        let gradients = (saved.backward)(saved.gate.take(), inputs, saved.setting);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            let parent = parent.map(|node| node.id);
            register::<B, _>(grads, [parent], gradient.into_option());
        }
    }
}
