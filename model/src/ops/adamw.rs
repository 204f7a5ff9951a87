//! Updates of AdamW, of several parameters in one pass, on devices where a shader computes them.
//!
//! Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101). A training step of
//! a small model on a GPU has as many launches for its parameters as for its layers, if each parameter is
//! updated by itself.

#![cfg_attr(
    not(feature = "cube"),
    allow(
        dead_code,
        unused_variables,
        reason = "no backend is there to take the arguments"
    )
)]
#![allow(
    clippy::large_enum_variant,
    reason = "an extension's arguments have no boxes, and a step has a handful of groups"
)]

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{DType, Tensor};

use super::layers::shader_layers;

/// The numbers of an update, with `t` the number of updates, this one included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWUpdate {
    /// What a parameter is multiplied by: `1 - lr λ`.
    pub decay: f64,
    /// `β₁`
    pub beta1: f64,
    /// `β₂`
    pub beta2: f64,
    /// `lr / (1 - β₁ᵗ)`
    pub step_size: f64,
    /// `√(1 - β₂ᵗ)`
    pub root_correction: f64,
    /// ε
    pub epsilon: f64,
}

/// A parameter with what its update reads, all of one shape.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum AdamWParameter<B: Backend> {
    /// None.
    Empty,
    /// One.
    Filled {
        /// The parameter.
        parameter: FloatTensor<B>,
        /// Its gradient.
        gradient: FloatTensor<B>,
        /// The running mean of its gradients.
        first: FloatTensor<B>,
        /// The running mean of their squares.
        second: FloatTensor<B>,
    },
}

/// What an update makes of an [`AdamWParameter`].
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum UpdatedParameter<B: Backend> {
    /// None.
    Empty,
    /// One.
    Filled {
        /// The parameter.
        parameter: FloatTensor<B>,
        /// The running mean of its gradients.
        first: FloatTensor<B>,
        /// The running mean of their squares.
        second: FloatTensor<B>,
    },
}

macro_rules! eight {
    ($name:ident of $of:ident: $($place:ident),+) => {
        #[doc = concat!("Up to eight [`", stringify!($of), "`]s, of which the first is filled. (Arguments of an extension are no lists.)")]
        #[derive(ExtensionType, Clone, Debug)]
        #[cfg_attr(feature = "fusion", extension_type(fusion))]
        pub struct $name<B: Backend> {
            $(
                #[doc = "One."]
                #[extension_type]
                pub $place: $of<B>,
            )+
        }

        impl<B: Backend> $name<B> {
            /// From the filled ones, eight at most.
            fn new(filled: impl IntoIterator<Item = $of<B>>) -> Self {
                let mut filled = filled.into_iter();
                Self {
                    $($place: filled.next().unwrap_or($of::Empty),)+
                }
            }

            fn into_array(self) -> [$of<B>; GROUP] {
                [$(self.$place),+]
            }
        }
    };
}

/// How many parameters an operation takes.
const GROUP: usize = 8;

eight!(AdamWGroup of AdamWParameter: a, b, c, d, e, f, g, h);
eight!(UpdatedGroup of UpdatedParameter: a, b, c, d, e, f, g, h);

/// AdamW on backends with a kernel for it.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait AdamWBackend: Backend {
    /// ```text
    /// m ← m + (g − m)(1 − β₁)
    /// v ← v β₂ + g² (1 − β₂)
    /// θ ← θ decay − step_size · m / (√v / root_correction + ε)
    /// ```
    #[fusion(meta = updated)]
    fn adamw(#[extension_type] group: AdamWGroup<Self>, update: AdamWUpdate) -> UpdatedGroup<Self>;
}

/// Shapes and types of outputs, which Fusion needs before it runs an operation.
#[cfg(feature = "fusion")]
fn updated(group: &AdamWGroupMetadata, _update: &AdamWUpdate) -> UpdatedGroupMetadata {
    let slot = |slot: &AdamWParameterMetadata| match slot.clone() {
        AdamWParameterMetadata::Empty => UpdatedParameterMetadata::Empty,
        AdamWParameterMetadata::Filled {
            parameter,
            first,
            second,
            ..
        } => UpdatedParameterMetadata::Filled {
            parameter,
            first,
            second,
        },
    };
    UpdatedGroupMetadata {
        a: slot(&group.a),
        b: slot(&group.b),
        c: slot(&group.c),
        d: slot(&group.d),
        e: slot(&group.e),
        f: slot(&group.f),
        g: slot(&group.g),
        h: slot(&group.h),
    }
}

#[cfg(feature = "cube")]
impl AdamWBackend for burn_cubecl::CubeBackend {
    fn adamw(group: AdamWGroup<Self>, update: AdamWUpdate) -> UpdatedGroup<Self> {
        use transformer_ls_kernels_wgsl as wgsl;

        let group = group.into_array();
        let filled = group.iter().filter_map(|slot| match slot {
            AdamWParameter::Empty => None,
            AdamWParameter::Filled {
                parameter,
                gradient,
                first,
                second,
            } => Some(wgsl::Parameter {
                parameter,
                gradient,
                first,
                second,
            }),
        });
        let update = wgsl::Update {
            decay: update.decay as f32,
            added_first: (1.0 - update.beta1) as f32,
            kept_second: update.beta2 as f32,
            added_second: (1.0 - update.beta2) as f32,
            step_size: update.step_size as f32,
            root_correction: update.root_correction as f32,
            epsilon: update.epsilon as f32,
        };
        let updated = wgsl::adamw(&filled.collect::<Vec<_>>(), &update);
        let updated =
            updated
                .into_iter()
                .map(|[parameter, first, second]| UpdatedParameter::Filled {
                    parameter,
                    first,
                    second,
                });
        UpdatedGroup::new(updated)
    }
}

/// Whether [`adamw`] takes a parameter: a float32 one, on a device whose layers are shaders.
pub fn takes<const D: usize>(parameter: &Tensor<D>) -> bool {
    parameter.dtype() == DType::F32
        && parameter.dims().iter().all(|&d| d > 0)
        && shader_layers(parameter)
}

/// Updates parameters that [`takes`] takes, of one device and outside of autodiff, in groups.
///
/// Returns of each the parameter and its two running means.
pub fn adamw(
    parameters: Vec<AdamWParameter<Dispatch>>,
    update: &AdamWUpdate,
) -> Vec<[FloatTensor<Dispatch>; 3]> {
    let mut parameters = parameters.into_iter().peekable();
    let mut all = Vec::with_capacity(parameters.len());
    while parameters.peek().is_some() {
        let group = AdamWGroup::new(parameters.by_ref().take(GROUP));
        let updated = <Dispatch as AdamWBackend>::adamw(group, *update).into_array();
        all.extend(updated.into_iter().filter_map(|slot| match slot {
            UpdatedParameter::Empty => None,
            UpdatedParameter::Filled {
                parameter,
                first,
                second,
            } => Some([parameter, first, second]),
        }));
    }
    all
}
