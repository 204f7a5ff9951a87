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
mod linear;
mod linformer;
mod local;
mod long_short;
mod longformer;
mod maps;
mod nystrom;
mod performer;
mod reformer;
mod rotary;
mod rows;
mod sparse;

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
pub use linear::{LinearAttention, LinearAttentionConfig};
pub use linformer::{LinformerAttention, LinformerAttentionConfig};
pub use local::{LocalAttention, LocalAttentionConfig};
pub use long_short::{LongShortAttention, LongShortAttentionConfig};
pub use longformer::{LongformerAttention, LongformerAttentionConfig};
pub use maps::{AttentionMaps, NoMaps};
pub use nystrom::{NystromAttention, NystromAttentionConfig};
pub use performer::{PerformerAttention, PerformerAttentionConfig};
pub use reformer::{ReformerAttention, ReformerAttentionConfig};
pub use sparse::{SparseAttention, SparseAttentionConfig, SparsePattern};

/// Everything that there is of every kind, for one list of them.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident($module:ident, $config:ident) = $name:literal;)+) => {
        /// Configuration of an [`Attention`]: its kind and that module's own configuration.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "attention")]
        pub enum AttentionConfig {
            $($(#[$doc])+ #[serde(rename = $name)] $kind($config),)+
        }

        /// An attention of any kind.
        #[derive(Module, Debug)]
        #[allow(
            clippy::large_enum_variant,
            reason = "a module has few; boxes would be in everyone's way"
        )]
        pub enum Attention {
            $($(#[$doc])+ $kind($module),)+
        }

        static KINDS: &[Kind] = &[$(Kind {
            name: $name,
            default: |d_model, heads| $config::new(d_model, heads).into(),
            read: |fields| fields.part().map(AttentionConfig::$kind),
        },)+];

        /// The same of every variant.
        macro_rules! each {
            ($self:ident, $part:ident => $value:expr) => {
                match $self {
                    $(Self::$kind($part) => $value,)+
                }
            };
        }

        /// The name of a variant, of a configuration or a module.
        macro_rules! named {
            ($self:ident) => {
                match $self {
                    $(Self::$kind(_) => $name,)+
                }
            };
        }

        $(
            impl From<$config> for AttentionConfig {
                fn from(config: $config) -> Self {
                    Self::$kind(config)
                }
            }

            impl From<$module> for Attention {
                fn from(module: $module) -> Self {
                    Self::$kind(module)
                }
            }
        )+
    };
}

kinds! {
    /// A sliding window joined with a dynamic projection.
    LongShort(LongShortAttention, LongShortAttentionConfig) = "long_short";
    /// Every token sees every token of its document.
    Dense(DenseAttention, DenseAttentionConfig) = "dense";
    /// A window alone.
    Local(LocalAttention, LocalAttentionConfig) = "local";
    /// Sparse Transformer: strided or fixed patterns.
    Sparse(SparseAttention, SparseAttentionConfig) = "sparse";
    /// Linformer: a learned projection of keys and values.
    Linformer(LinformerAttention, LinformerAttentionConfig) = "linformer";
    /// Reformer: alike rows, found by hashing.
    Reformer(ReformerAttention, ReformerAttentionConfig) = "reformer";
    /// A kernel of features.
    Linear(LinearAttention, LinearAttentionConfig) = "linear";
    /// Performer: softmax by random features.
    Performer(PerformerAttention, PerformerAttentionConfig) = "performer";
    /// Nyströmformer: softmax by landmarks and a pseudo-inverse.
    Nystrom(NystromAttention, NystromAttentionConfig) = "nystrom";
    /// Longformer: a window and global tokens.
    Longformer(LongformerAttention, LongformerAttentionConfig) = "longformer";
}

/// What there is to know of a kind besides its variants.
struct Kind {
    /// As files and `--set attention=…` call it.
    name: &'static str,
    /// Its defaults for a width and a number of heads.
    default: fn(usize, usize) -> AttentionConfig,
    read: fn(&Fields) -> Result<AttentionConfig, FieldError>,
}

impl AttentionConfig {
    /// The name of its kind, as files and `--set attention=…` call it.
    pub fn kind(&self) -> &'static str {
        named!(self)
    }

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
            Self::Local(config) => Some(config.window),
            Self::Longformer(config) => Some(config.window),
            _ => None,
        }
    }

    /// The longest document that it can read, in tokens, of a kind that has such a bound.
    pub fn longest(&self) -> Option<usize> {
        match self {
            Self::Linformer(config) => Some(config.projected_length),
            _ => None,
        }
    }

    /// The same for documents of up to so many tokens, of a kind that has a bound.
    pub fn with_longest(mut self, tokens: usize) -> Self {
        if let Self::Linformer(config) = &mut self {
            config.projected_length = tokens;
        }
        self
    }

    /// The names of all kinds, as files and `--set attention=…` call them.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|kind| kind.name)
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

    /// Multiplications and additions for a document of `n` tokens, forward: the layers of queries, keys
    /// and values and what the heads compute, as the formulas say. What is computed alike for every
    /// number (norms, exponentials, sorting) does not count.
    pub fn flops(&self, n: usize) -> f64 {
        each!(self, config => config.flops(n as f64))
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

    /// What the heads attend to in one document: [`LongShortAttention::maps`].
    ///
    /// # Errors
    ///
    /// The attention is of another kind.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other, or if it isn't one document.
    pub fn maps(&self, input: AttentionInput) -> Result<AttentionMaps, NoMaps> {
        match self {
            Self::LongShort(module) => Ok(module.maps(input)),
            _ => Err(NoMaps(named!(self))),
        }
    }
}
