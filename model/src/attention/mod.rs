//! Attention as a part: modules that map tokens to contexts, one a file, behind one enum.
//!
//! A context is what the heads read for a row, side by side. What follows belongs to others: a
//! [`Block`](crate::Block) has `W_o`, the residuals and the feed-forward layers, an
//! [`AttentionLayer`] has `W_o` alone.

mod batch;
pub(crate) mod causal;
mod dense;
mod heads;
mod layer;
mod long_short;
mod rotary;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::fields::{FieldError, Fields};

pub use batch::BatchLayout;
pub use causal::{CausalAttention, CausalAttentionConfig, CausalState, Distances};
pub use dense::{DenseAttention, DenseAttentionConfig};
pub use heads::{AttentionInput, Contexts};
pub use layer::{AttentionLayer, AttentionLayerConfig, AttentionOutput};
pub use long_short::{LongShortAttention, LongShortAttentionConfig};

/// Configuration of an [`Attention`]: its kind and that module's own configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "attention", rename_all = "snake_case")]
pub enum AttentionConfig {
    /// A sliding window joined with a dynamic projection.
    LongShort(LongShortAttentionConfig),
    /// Every token sees every token of its document.
    Dense(DenseAttentionConfig),
}

/// An attention of any kind.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a module has few; boxes would be in everyone's way"
)]
pub enum Attention {
    /// A sliding window joined with a dynamic projection.
    LongShort(LongShortAttention),
    /// Every token sees every token of its document.
    Dense(DenseAttention),
}

/// What there is to know of a kind besides its variants.
struct Kind {
    /// As files and `--set attention=…` call it: the variant's name.
    name: &'static str,
    /// Its defaults for a width and a number of heads.
    default: fn(usize, usize) -> AttentionConfig,
    read: fn(&Fields) -> Result<AttentionConfig, FieldError>,
}

static KINDS: [Kind; 2] = [
    Kind {
        name: "long_short",
        default: |d_model, heads| LongShortAttentionConfig::new(d_model, heads).into(),
        read: |fields| fields.part().map(AttentionConfig::LongShort),
    },
    Kind {
        name: "dense",
        default: |d_model, heads| DenseAttentionConfig::new(d_model, heads).into(),
        read: |fields| fields.part().map(AttentionConfig::Dense),
    },
];

/// The same of every variant.
macro_rules! each {
    ($self:ident, $part:ident => $value:expr) => {
        match $self {
            Self::LongShort($part) => $value,
            Self::Dense($part) => $value,
        }
    };
}

impl AttentionConfig {
    /// Width `D` of the tokens.
    pub fn d_model(&self) -> usize {
        each!(self, config => config.d_model)
    }

    /// Heads `h`.
    pub fn heads(&self) -> usize {
        each!(self, config => config.heads)
    }

    /// Width of the window in tokens, of a kind that has one; 0 = off.
    pub fn window(&self) -> Option<usize> {
        match self {
            Self::LongShort(config) => Some(config.window),
            Self::Dense(_) => None,
        }
    }

    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        each!(self, config => config.validate())
    }

    /// Builds the module.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> Attention {
        each!(self, config => config.init(device).into())
    }

    /// About how many parameters the module has: its large matrices'.
    pub(crate) fn parameters(&self) -> u128 {
        each!(self, config => config.parameters())
    }

    /// An attention of another kind. It keeps the fields that both kinds have; the others are the
    /// kind's defaults.
    ///
    /// # Errors
    ///
    /// There is no kind of this name; the sentence lists those that there are.
    pub fn to_kind(&self, name: &str) -> Result<Self, FieldError> {
        let default = Fields::of(&(kind(name)?.default)(self.d_model(), self.heads()));
        Self::read(&default.overlaid(&Fields::of(self)).with(KIND, name))
    }

    /// The attention of a model's fields. Older files name no kind, for there was one.
    pub(crate) fn read(fields: &Fields) -> Result<Self, FieldError> {
        let name = fields.get_or(KIND, KINDS[0].name.to_owned())?;
        (kind(&name)?.read)(fields)
    }
}

/// The field with the kind's name.
const KIND: &str = "attention";

fn kind(name: &str) -> Result<&'static Kind, FieldError> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let known: Vec<String> = KINDS
            .iter()
            .map(|kind| format!("`{}`", kind.name))
            .collect();
        let known = known.join(", ");
        FieldError::new(
            KIND,
            format!("unknown variant `{name}`, expected one of {known}"),
        )
    })
}

impl Default for AttentionConfig {
    /// The attention that all 2021 presets share.
    fn default() -> Self {
        LongShortAttentionConfig::new(64, 2).into()
    }
}

impl Attention {
    /// What the heads read of the sequence.
    ///
    /// # Shapes
    ///
    /// - tokens: `[b, n, D]`, any `n ≥ 1`; class row: `[documents, 1, D]`
    /// - output: as the rows given
    ///
    /// A padded row gives zeros (behind a convolution, what its kernel reaches), as do all rows of a
    /// document without a real token.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other.
    pub fn contexts(&self, input: AttentionInput) -> Contexts {
        each!(self, module => module.contexts(input))
    }
}

impl From<LongShortAttentionConfig> for AttentionConfig {
    fn from(config: LongShortAttentionConfig) -> Self {
        Self::LongShort(config)
    }
}

impl From<LongShortAttention> for Attention {
    fn from(module: LongShortAttention) -> Self {
        Self::LongShort(module)
    }
}

impl From<DenseAttentionConfig> for AttentionConfig {
    fn from(config: DenseAttentionConfig) -> Self {
        Self::Dense(config)
    }
}

impl From<DenseAttention> for Attention {
    fn from(module: DenseAttention) -> Self {
        Self::Dense(module)
    }
}
