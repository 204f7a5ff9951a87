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
use super::record::record_with;
use super::{
    AttendArgs, AttendBackwardArgs, AttentionDropout, Documents, Landmarks, LongShortBackend,
    OptionalTensor, ProjectArgs, ProjectBackwardArgs, ProjectOutput, Visibility,
};

impl<B: LongShortBackend, C: CheckpointStrategy> LongShortBackend for Autodiff<B, C> {
    fn project(args: ProjectArgs<Self>) -> ProjectOutput<Self> {
        let documents = inner_documents::<B, C>(args.documents);
        let gate = Gate::<B, 3>::new();
        let (node, outputs) = record_with::<B, C, _, _, _>(
            ProjectRule,
            [args.scores, args.key, args.value],
            |[scores, key, value], _| {
                let output = B::project(ProjectArgs {
                    scores,
                    key,
                    value,
                    documents: documents.clone(),
                });
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

    fn attend(args: AttendArgs<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (tensors, setting) = Setting::<B>::of(args);
        let (output, log_sum_exp) = record_with::<B, C, _, _, _>(
            AttendRule,
            tensors,
            |tensors, _| B::attend(setting.clone().args(tensors)),
            |inputs, output, log_sum_exp| AttendSaved {
                inputs,
                output: output.clone(),
                log_sum_exp: log_sum_exp.clone(),
                setting: setting.clone(),
            },
        );
        (output, Self::from_inner(log_sum_exp))
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
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        let Some(d_landmarks) = d_landmarks.into_option() else {
            // Keys and values were handed on, the landmarks not read.
            let [_, key, value] = parents;
            for (parent, gradient) in [(key, d_key), (value, d_value)] {
                register::<B, _>(grads, [parent], gradient.into_option());
            }
            return;
        };
        let gradients = B::project_backward(ProjectBackwardArgs {
            inputs: ProjectArgs {
                scores,
                key,
                value,
                documents: saved.documents,
            },
            landmarks: saved.landmarks,
            d_landmarks,
            d_key,
            d_value,
        });
        let gradients = [gradients.scores, gradients.key, gradients.value];
        register::<B, _>(grads, parents, gradients);
    }
}

/// Tensors of attention's arguments that gradients may be wanted for: query, key, value, landmark
/// key and value, landmarks' bias, bias, relative keys. In the place of one that isn't given stands the query, so that there is one
/// rule for all.
const ATTEND_INPUTS: usize = 8;

/// Attention's arguments besides these tensors.
#[derive(Clone, Debug)]
struct Setting<B: Backend> {
    landmarks: bool,
    landmark_bias: bool,
    bias: bool,
    relative_keys: bool,
    documents: Documents<B>,
    visibility: Visibility,
    scale: f64,
    dropout: AttentionDropout,
}

impl<B: Backend> Setting<B> {
    fn of<C: CheckpointStrategy>(
        args: AttendArgs<Autodiff<B, C>>,
    ) -> ([FloatTensor<Autodiff<B, C>>; ATTEND_INPUTS], Self) {
        let query = args.query;
        let absent = || query.clone();
        let (has_landmarks, [landmark_key, landmark_value]) = match args.landmarks {
            Landmarks::None => (false, [absent(), absent()]),
            Landmarks::Rows { key, value } => (true, [key, value]),
        };
        let [landmark_bias, bias, relative_keys] =
            [args.landmark_bias, args.bias, args.relative_keys].map(OptionalTensor::into_option);
        let setting = Self {
            landmarks: has_landmarks,
            landmark_bias: landmark_bias.is_some(),
            bias: bias.is_some(),
            relative_keys: relative_keys.is_some(),
            documents: inner_documents::<B, C>(args.documents),
            visibility: args.visibility,
            scale: args.scale,
            dropout: args.dropout,
        };
        let [landmark_bias, bias, relative_keys] =
            [landmark_bias, bias, relative_keys].map(|table| table.unwrap_or_else(absent));
        let tensors = [
            query,
            args.key,
            args.value,
            landmark_key,
            landmark_value,
            landmark_bias,
            bias,
            relative_keys,
        ];
        (tensors, setting)
    }

    fn args(self, tensors: [FloatTensor<B>; ATTEND_INPUTS]) -> AttendArgs<B> {
        let [
            query,
            key,
            value,
            landmark_key,
            landmark_value,
            landmark_bias,
            bias,
            relative_keys,
        ] = tensors;
        AttendArgs {
            query,
            key,
            value,
            landmarks: match self.landmarks {
                true => Landmarks::Rows {
                    key: landmark_key,
                    value: landmark_value,
                },
                false => Landmarks::None,
            },
            landmark_bias: OptionalTensor::from_option(self.landmark_bias.then_some(landmark_bias)),
            bias: OptionalTensor::from_option(self.bias.then_some(bias)),
            relative_keys: OptionalTensor::from_option(self.relative_keys.then_some(relative_keys)),
            documents: self.documents,
            visibility: self.visibility,
            scale: self.scale,
            dropout: self.dropout,
        }
    }
}

#[derive(Debug)]
struct AttendRule;

#[derive(Clone, Debug)]
struct AttendSaved<B: Backend> {
    inputs: [NodeId; ATTEND_INPUTS],
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    setting: Setting<B>,
}

impl<B: LongShortBackend> Backward<B, ATTEND_INPUTS> for AttendRule {
    type State = AttendSaved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, ATTEND_INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let inputs = retrieve::<B, _>(checkpointer, saved.inputs);
        let gradients = B::attend_backward(AttendBackwardArgs {
            inputs: saved.setting.args(inputs),
            output: saved.output,
            log_sum_exp: saved.log_sum_exp,
            d_output,
        });
        let [
            query,
            key,
            value,
            landmark_key,
            landmark_value,
            landmark_bias,
            bias,
            relative_keys,
        ] = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(
            grads,
            [query, key, value],
            [gradients.query, gradients.key, gradients.value],
        );
        if let Landmarks::Rows { key, value } = gradients.landmarks {
            register::<B, _>(grads, [landmark_key, landmark_value], [key, value]);
        }
        for (parent, gradient) in [
            (landmark_bias, gradients.landmark_bias),
            (bias, gradients.bias),
            (relative_keys, gradients.relative_keys),
        ] {
            register::<B, _>(grads, [parent], gradient.into_option());
        }
    }
}
