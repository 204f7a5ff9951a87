//! One layer of a language model.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::attention::causal::{normal_linear, normal_norm};
use crate::attention::{CausalAttention, CausalAttentionConfig, CausalState, Distances};
use crate::error::{ConfigError, check_dropout, refuse_too_large, refuse_zero};
use crate::ops::fused::{AfterAttention, AfterAttentionLayers, Fused, linear_layer};
use crate::ops::layers::{exact_gelu, layer_norm, linear, linear_onto, norm_layer};
use crate::seed::{hash_dropout, mix};

/// Configuration of a [`LanguageModelLayer`].
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageModelLayerConfig {
    /// How the heads attend. Its width is the layer's.
    pub attention: CausalAttentionConfig,
    /// Whether rows that leave the memory are compressed, a chunk of the attention's to one.
    pub compresses: bool,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// LayerNorms in front of attention and feed-forward layers, else behind them.
    pub pre_norm: bool,
    /// The exact GELU between the feed-forward layers, else ReLU.
    pub gelu: bool,
    /// Dropout after attention and after both feed-forward layers.
    pub dropout: f64,
}

impl LanguageModelLayerConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_zero([("d_ff", self.d_ff)])?;
        refuse_too_large([("d_ff", self.d_ff)])?;
        check_dropout("dropout", self.dropout)?;
        self.attention.validate()
    }

    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the attention.
    pub fn init(&self, device: &Device) -> LanguageModelLayer {
        let d_model = self.attention.d_model;
        let norm = || normal_norm(d_model, device);
        let chunk = self.attention.chunk;
        LanguageModelLayer {
            attention: self.attention.init(device),
            compression: self
                .compresses
                .then(|| normal_linear(chunk * d_model, d_model, true, device)),
            attention_norm: norm(),
            ff_in: normal_linear(d_model, self.d_ff, true, device),
            ff_out: normal_linear(self.d_ff, d_model, true, device),
            ff_norm: norm(),
            dropout: DropoutConfig::new(self.dropout).init(),
            pre_norm: self.pre_norm,
            gelu: self.gelu,
        }
    }
}

/// Attention and feed-forward layers with residuals, as released.
///
/// Pre-norm the residuals run on normalised rows, the memory's too:
/// `H ← LN1(H)`, `H ← H + drop(C W_o)`, `H ← LN2(H)`, `H ← H + FFN(H)`; post-norm
/// `H ← LN1(H + drop(C W_o))`, `H ← LN2(H + FFN(H))`. Built by [`LanguageModelLayerConfig`].
#[derive(Module, Debug)]
pub struct LanguageModelLayer {
    /// Maps rows to contexts.
    pub attention: CausalAttention,
    /// The rows of a chunk, side by side → one row, where rows that leave the memory are compressed: a
    /// convolution as long as its stride (Rae et al. 2020, section 3.1).
    pub compression: Option<Linear>,
    /// `LN1`
    pub attention_norm: LayerNorm,
    /// `D` → `d_ff`
    pub ff_in: Linear,
    /// `d_ff` → `D`
    pub ff_out: Linear,
    /// `LN2`
    pub ff_norm: LayerNorm,
    /// Dropout after attention and after both feed-forward layers.
    pub dropout: Dropout,
    pub(crate) pre_norm: bool,
    gelu: bool,
}

impl LanguageModelLayer {
    /// The layer's outputs for a segment.
    ///
    /// # Shapes
    ///
    /// - hidden and output: `[b, M, D]`
    /// - memory: `[b, L, D]`, this layer's inputs for the rows before
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit the module or each other.
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        memory: Tensor<3>,
        distances: &Distances,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let [hidden, memory] = [hidden, memory].map(|rows| self.before_attention(rows));
        let (contexts, hidden) =
            self.attention
                .contexts_through(hidden, memory, distances, dropout_seed);
        self.after_attention(hidden, contexts, dropout_seed)
    }

    /// Compresses rows that leave the memory, and says how much attention loses by it. `None` where
    /// nothing is compressed.
    ///
    /// The loss is the mean square of what heads read in the rows less what they read in the compressed
    /// ones, by content alone (Rae et al. 2020, section 3.2 and algorithm 2). It is there where gradients
    /// are computed, and only the compression has one: queries and keys could make it 0 by meeting nothing.
    ///
    /// # Shapes
    ///
    /// - hidden: `[b, M, D]`, this layer's inputs of the segment that the rows make room for
    /// - leaving: `[b, n, D]`, its inputs for the rows; the oldest that fill no chunk are left out
    /// - output: `[b, n / c, D]`
    pub(crate) fn compress(
        &self,
        hidden: &Tensor<3>,
        leaving: Tensor<3>,
    ) -> Option<(Tensor<3>, Option<Tensor<1>>)> {
        let weights = self.compression.as_ref()?;
        let [b, n, d_model] = leaving.dims();
        let chunk = self.attention.chunk;
        let chunks = n / chunk;
        if chunks == 0 {
            let none = Tensor::zeros([b, 0, d_model], (&leaving.device(), leaving.dtype()));
            return Some((none, None));
        }
        let old = leaving.narrow(1, n % chunk, chunks * chunk).detach();
        let new = linear(old.clone().reshape([b, chunks, chunk * d_model]), weights);
        let loss = weights.weight.val().is_autodiff().then(|| {
            let fixed = self.clone().no_grad();
            let queries = fixed.before_attention(hidden.clone().detach());
            let [all, fewer] = [old, new.clone()].map(|rows| {
                let rows = fixed.before_attention(rows);
                fixed.attention.by_content(queries.clone(), rows)
            });
            (all.detach() - fewer).square().mean()
        });
        Some((new, loss))
    }

    /// What decoding keeps of the memory `[b, L, D]` and of a segment's first rows `[b, n, D]`.
    pub(crate) fn state(
        &self,
        memory: Tensor<3>,
        rows: Option<Tensor<3>>,
        distances: &Distances,
    ) -> CausalState {
        let rows = rows.map(|rows| self.before_attention(rows));
        let memory = self.before_attention(memory);
        self.attention.state(memory, rows, distances)
    }

    /// The layer's output for one more row of each text, `[b, 1, D]`.
    pub(crate) fn step(&self, hidden: Tensor<3>, state: &mut CausalState) -> Tensor<3> {
        let hidden = self.before_attention(hidden);
        let contexts = self.attention.step(hidden.clone(), state);
        self.after_attention(hidden, contexts, None)
    }

    fn before_attention(&self, rows: Tensor<3>) -> Tensor<3> {
        match self.pre_norm {
            true => layer_norm(rows, &self.attention_norm),
            false => rows,
        }
    }

    /// What follows attention: given its inputs, normalised where that comes first, and what the heads
    /// read.
    fn after_attention(
        &self,
        hidden: Tensor<3>,
        contexts: Tensor<3>,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        let suits = self.pre_norm && self.gelu;
        if let Some(fused) = Fused::of_many(&hidden).filter(|_| suits) {
            let layers = AfterAttentionLayers {
                output: linear_layer(&self.attention.output),
                norm: norm_layer(&self.ff_norm),
                ff_in: linear_layer(&self.ff_in),
                ff_out: linear_layer(&self.ff_out),
            };
            // Attention's own dropout has the seed itself.
            let seed = dropout_seed.map(|seed| mix(seed ^ 1));
            let setting = AfterAttention {
                adds_norm: true,
                dropout: hash_dropout(&self.dropout, &hidden.device(), seed),
            };
            return fused.after_attention(contexts, hidden, layers, setting);
        }
        let hidden = linear_onto(hidden, contexts, &self.attention.output, &self.dropout);
        let norm = match self.pre_norm {
            true => &self.ff_norm,
            false => &self.attention_norm,
        };
        let hidden = layer_norm(hidden, norm);
        let inside = linear(hidden.clone(), &self.ff_in);
        let inside = match self.gelu {
            true => exact_gelu(inside),
            false => relu(inside),
        };
        let inside = self.dropout.forward(inside);
        let output = linear_onto(hidden, inside, &self.ff_out, &self.dropout);
        match self.pre_norm {
            true => output,
            false => layer_norm(output, &self.ff_norm),
        }
    }
}
