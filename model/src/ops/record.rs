//! Recording an operation in the graph of Burn's autodiff.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::autodiff::{register, retrieve};

/// Runs an operation, and records `rule` for it if an input asks for gradients: `saved` gives what
/// the rule will want, from the inputs' nodes (by which [`retrieve`](super::autodiff::retrieve)
/// finds them) and the output. `run` is told whether it is recorded; what it gives besides its output is
/// passed through.
pub(super) fn record_with<B, C, R, T, const N: usize>(
    rule: R,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    run: impl FnOnce([FloatTensor<B>; N], bool) -> (FloatTensor<B>, T),
    saved: impl FnOnce([NodeId; N], &FloatTensor<B>, &T) -> R::State,
) -> (FloatTensor<Autodiff<B, C>>, T)
where
    B: Backend,
    C: CheckpointStrategy,
    R: Backward<B, N>,
{
    let prepared = rule
        .prepare::<C>(inputs.each_ref().map(|input| input.node()))
        .compute_bound()
        .stateful();
    let run = |inputs: [FloatTensor<Autodiff<B, C>>; N], recorded| {
        run(inputs.map(|input| input.into_primitive()), recorded)
    };
    match prepared {
        OpsKind::Tracked(mut prepared) => {
            let nodes = inputs.each_ref().map(|input| prepared.checkpoint(input));
            let (output, besides) = run(inputs, true);
            let saved = saved(nodes, &output, &besides);
            (prepared.finish(saved, output), besides)
        }
        OpsKind::UnTracked(prepared) => {
            let (output, besides) = run(inputs, false);
            (prepared.finish(output), besides)
        }
    }
}

/// What an operation's backward pass makes of its output's gradient, its inputs and what else was saved:
/// the inputs' gradients.
type BackwardPass<B, S, const N: usize> =
    fn(FloatTensor<B>, [FloatTensor<B>; N], S) -> [FloatTensor<B>; N];

/// Records an operation with one output, whose backward pass wants its inputs again and nothing that
/// it has computed.
pub(super) fn record<B, C, S, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    setting: S,
    run: impl FnOnce([FloatTensor<B>; N], S) -> FloatTensor<B>,
    backward: BackwardPass<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Debug + Send + 'static,
{
    let run = |inputs: [FloatTensor<B>; N], _| (run(inputs, setting.clone()), setting);
    record_kept::<B, C, S, N>(inputs, run, backward)
}

/// Records an operation with one output. `run` gives it and what the backward pass wants besides the
/// inputs, such as some of what was computed; it is told whether there may be a backward pass.
pub(super) fn record_kept<B, C, S, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    run: impl FnOnce([FloatTensor<B>; N], bool) -> (FloatTensor<B>, S),
    backward: BackwardPass<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Debug + Send + 'static,
{
    let rule = InputsRule(PhantomData);
    let saved = |inputs, _: &_, kept: &S| Saved {
        inputs,
        kept: kept.clone(),
        backward,
    };
    record_with::<B, C, _, _, N>(rule, inputs, run, saved).0
}

/// The rule of [`record_kept`].
#[derive(Debug)]
struct InputsRule<S>(PhantomData<S>);

#[derive(Clone, Debug)]
struct Saved<B: Backend, S, const N: usize> {
    inputs: [NodeId; N],
    kept: S,
    backward: BackwardPass<B, S, N>,
}

impl<B: Backend, S: Clone + Debug + Send + 'static, const N: usize> Backward<B, N>
    for InputsRule<S>
{
    type State = Saved<B, S, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let inputs = retrieve::<B, N>(checkpointer, saved.inputs);
        let gradients = (saved.backward)(d_output, inputs, saved.kept);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, N>(grads, parents, gradients);
    }
}
