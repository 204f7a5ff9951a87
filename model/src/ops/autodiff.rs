//! The rule that ties the operations to Burn's autodiff: what is kept for the backward pass, and
//! which backward operation turns an output's gradient into its inputs'.
//!
//! Inputs are kept by node, not by value, so that gradient checkpointing may recompute them.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend};

use super::gate::Gate;
use super::record::{record, record_with};
use super::{
    AttendGradients, AttentionDropout, Documents, Gradient, Landmarks, LongShortBackend,
    OffsetBias, ProjectOutput, Window,
};

impl<B: LongShortBackend, C: CheckpointStrategy> LongShortBackend for Autodiff<B, C> {
    fn project(
        scores: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> ProjectOutput<Self> {
        let documents = inner_documents::<B, C>(documents);
        let gate = Gate::<B, 3>::new();
        let (node, outputs) = record_with::<B, C, _, _, _>(
            ProjectRule,
            [scores, key, value],
            |[scores, key, value]| {
                let output = B::project(scores, key, value, documents.clone());
                let outputs = [output.landmarks, output.key, output.value];
                (Gate::<B, 3>::tensor(&outputs[0]), outputs)
            },
            |inputs, _, [landmarks, _, _]| ProjectSaved {
                inputs,
                landmarks: landmarks.clone(),
                documents: documents.clone(),
                gate: gate.clone(),
            },
        );
        let [landmarks, key, value] = gate.outputs::<C>(&node, outputs);
        ProjectOutput {
            landmarks,
            key,
            value,
        }
    }

    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        landmarks: Landmarks<Self>,
        bias: OffsetBias<Self>,
        documents: Documents<Self>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let setting = Setting {
            documents: inner_documents::<B, C>(documents),
            window,
            scale,
            dropout,
        };
        match (landmarks, bias) {
            (Landmarks::None, OffsetBias::None) => attend::<B, C, 3>([query, key, value], setting),
            (Landmarks::None, OffsetBias::Table(table)) => {
                attend::<B, C, 4>([query, key, value, table], setting)
            }
            (Landmarks::Rows { key: lk, value: lv }, OffsetBias::None) => {
                attend::<B, C, 5>([query, key, value, lk, lv], setting)
            }
            (Landmarks::Rows { key: lk, value: lv }, OffsetBias::Table(table)) => {
                attend::<B, C, 6>([query, key, value, lk, lv, table], setting)
            }
        }
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let run = |[x]: [FloatTensor<B>; 1]| B::exact_gelu(x);
        record::<B, C, _, _>(GeluRule, [x], run, |[x]| x)
    }

    // The backward operations of `Autodiff<B>` are the default bodies: plain operations, which are
    // differentiable themselves.
}

/// Int and bool primitives of `Autodiff<B>` are those of `B`.
pub(super) fn inner_documents<B: Backend, C: CheckpointStrategy>(
    documents: Documents<Autodiff<B, C>>,
) -> Documents<B> {
    match documents {
        Documents::Full => Documents::Full,
        Documents::Padded(mask) => Documents::Padded(mask),
        Documents::Packed(boundaries) => Documents::Packed(boundaries),
    }
}

/// An operation's inputs, which are kept by node.
pub(super) fn retrieve<B: Backend, const N: usize>(
    checkpointer: &mut Checkpointer,
    nodes: [NodeId; N],
) -> [FloatTensor<B>; N] {
    nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node))
}

/// Hands its gradient to each parent that is tracked.
pub(super) fn register<B: Backend, const N: usize>(
    grads: &mut Gradients,
    parents: [Option<NodeId>; N],
    gradients: impl IntoIterator<Item = FloatTensor<B>>,
) {
    for (parent, gradient) in parents.into_iter().zip(gradients) {
        if let Some(node) = parent {
            grads.register::<B>(node, gradient);
        }
    }
}

#[derive(Debug)]
struct GeluRule;

impl<B: LongShortBackend> Backward<B, 1> for GeluRule {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::exact_gelu_backward(d_output, x));
        }
    }
}

#[derive(Debug)]
struct ProjectRule;

#[derive(Clone, Debug)]
struct ProjectSaved<B: Backend> {
    inputs: [NodeId; 3],
    landmarks: FloatTensor<B>,
    documents: Documents<B>,
    gate: Gate<B, 3>,
}

impl<B: LongShortBackend> Backward<B, 3> for ProjectRule {
    type State = ProjectSaved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let _ = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let [scores, key, value] = retrieve::<B, _>(checkpointer, saved.inputs);
        let [d_landmarks, d_key, d_value] = saved.gate.take();
        let [scores_node, key_node, value_node] =
            ops.parents.map(|parent| parent.map(|node| node.id));
        let Gradient::Some(d_landmarks) = d_landmarks else {
            // Keys and values were handed on, the landmarks not read.
            for (node, gradient) in [(key_node, d_key), (value_node, d_value)] {
                if let (Some(node), Gradient::Some(gradient)) = (node, gradient) {
                    grads.register::<B>(node, gradient);
                }
            }
            return;
        };
        let gradients = B::project_backward(
            d_landmarks,
            d_key,
            d_value,
            scores,
            key,
            value,
            saved.landmarks,
            saved.documents,
        );
        let parents = [scores_node, key_node, value_node];
        let gradients = [gradients.scores, gradients.key, gradients.value];
        register::<B, _>(grads, parents, gradients);
    }
}

/// What attention takes besides differentiable tensors.
#[derive(Clone, Debug)]
struct Setting<B: Backend> {
    documents: Documents<B>,
    window: Window,
    scale: f64,
    dropout: AttentionDropout,
}

/// Attention with `N` differentiable inputs, in this order: query, key, value; key and value of
/// the landmarks if `N ≥ 5`; the bias table if `N` is even.
#[derive(Debug)]
struct AttendRule<const N: usize>;

impl<const N: usize> AttendRule<N> {
    const LANDMARKS: bool = N >= 5;
    const BIAS: bool = N.is_multiple_of(2);

    fn inputs<B: Backend>(tensors: [FloatTensor<B>; N]) -> AttendInputs<B> {
        let mut tensors = tensors.into_iter();
        let mut next = || tensors.next().expect("N inputs of this order");
        let (query, key, value) = (next(), next(), next());
        let landmarks = match Self::LANDMARKS {
            true => Landmarks::Rows {
                key: next(),
                value: next(),
            },
            false => Landmarks::None,
        };
        let bias = match Self::BIAS {
            true => OffsetBias::Table(next()),
            false => OffsetBias::None,
        };
        AttendInputs {
            query,
            key,
            value,
            landmarks,
            bias,
        }
    }

    fn gradients<B: Backend>(gradients: AttendGradients<B>) -> Vec<FloatTensor<B>> {
        let mut all = vec![gradients.query, gradients.key, gradients.value];
        if let Landmarks::Rows { key, value } = gradients.landmarks {
            all.extend([key, value]);
        }
        if let OffsetBias::Table(table) = gradients.bias {
            all.push(table);
        }
        all
    }
}

struct AttendInputs<B: Backend> {
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    landmarks: Landmarks<B>,
    bias: OffsetBias<B>,
}

#[derive(Clone, Debug)]
struct AttendSaved<B: Backend, const N: usize> {
    inputs: [NodeId; N],
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    setting: Setting<B>,
}

impl<B: LongShortBackend, const N: usize> Backward<B, N> for AttendRule<N> {
    type State = AttendSaved<B, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let inputs = Self::inputs::<B>(retrieve::<B, _>(checkpointer, saved.inputs));
        let gradients = B::attend_backward(
            d_output,
            inputs.query,
            inputs.key,
            inputs.value,
            inputs.landmarks,
            inputs.bias,
            saved.output,
            saved.log_sum_exp,
            saved.setting.documents,
            saved.setting.window,
            saved.setting.scale,
            saved.setting.dropout,
        );
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, Self::gradients(gradients));
    }
}

/// Output and log-sum-exp.
type Attended<B, C> = (FloatTensor<Autodiff<B, C>>, FloatTensor<Autodiff<B, C>>);

fn attend<B: LongShortBackend, C: CheckpointStrategy, const N: usize>(
    tensors: [FloatTensor<Autodiff<B, C>>; N],
    setting: Setting<B>,
) -> Attended<B, C> {
    let (output, log_sum_exp) = record_with::<B, C, _, _, _>(
        AttendRule::<N>,
        tensors,
        |tensors| {
            let inputs = AttendRule::<N>::inputs::<B>(tensors);
            let setting = setting.clone();
            B::attend(
                inputs.query,
                inputs.key,
                inputs.value,
                inputs.landmarks,
                inputs.bias,
                setting.documents,
                setting.window,
                setting.scale,
                setting.dropout,
            )
        },
        |inputs, output, log_sum_exp| AttendSaved {
            inputs,
            output: output.clone(),
            log_sum_exp: log_sum_exp.clone(),
            setting: setting.clone(),
        },
    );
    (output, Autodiff::<B, C>::from_inner(log_sum_exp))
}
