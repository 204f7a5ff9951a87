//! Recording an operation in the graph of Burn's autodiff.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

/// Runs an operation, and records `rule` for it if an input asks for gradients: `saved` gives what
/// the rule will want, from the inputs' nodes (by which [`retrieve`](super::autodiff::retrieve)
/// finds them) and the output. What `run` gives besides its output is passed through.
pub(super) fn record_with<B, C, R, T, const N: usize>(
    rule: R,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    run: impl FnOnce([FloatTensor<B>; N]) -> (FloatTensor<B>, T),
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
    let run =
        |inputs: [FloatTensor<Autodiff<B, C>>; N]| run(inputs.map(|input| input.into_primitive()));
    match prepared {
        OpsKind::Tracked(mut prepared) => {
            let nodes = inputs.each_ref().map(|input| prepared.checkpoint(input));
            let (output, besides) = run(inputs);
            let saved = saved(nodes, &output, &besides);
            (prepared.finish(saved, output), besides)
        }
        OpsKind::UnTracked(prepared) => {
            let (output, besides) = run(inputs);
            (prepared.finish(output), besides)
        }
    }
}

/// [`record_with`] for an operation with one output, whose rule wants its inputs alone.
pub(super) fn record<B, C, R, const N: usize>(
    rule: R,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    run: impl FnOnce([FloatTensor<B>; N]) -> FloatTensor<B>,
    saved: impl FnOnce([NodeId; N]) -> R::State,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    R: Backward<B, N>,
{
    let run = |inputs: [FloatTensor<B>; N]| (run(inputs), ());
    record_with::<B, C, _, _, _>(rule, inputs, run, |nodes, _, ()| saved(nodes)).0
}
