//! Shaders: the files of `shaders/`, put together and filled with a variant's constants.

use transformer_ls_kernels::Window;

use crate::tiles::Tile;

/// A kernel of `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// `pack_landmarks.wgsl`
    PackLandmarks,
    /// `pack_bias.wgsl`
    PackBias,
    /// `pack_words.wgsl`
    PackWords,
    /// `attend.wgsl`
    Attend,
    /// `attend_delta.wgsl`
    AttendDelta,
    /// `attend_dq.wgsl`
    AttendDq,
    /// `attend_dkv.wgsl`
    AttendDkv(Gradients),
    /// `attend_dlandmarks.wgsl`
    AttendDlandmarks,
    /// `sum_parts.wgsl`
    SumParts,
    /// `attend_dbias.wgsl`
    AttendDbias,
    /// `sum_bias.wgsl`
    SumBias,
    /// `project.wgsl`
    Project,
    /// `project_merge.wgsl`
    ProjectMerge,
    /// `project_delta.wgsl`
    ProjectDelta,
    /// `project_backward.wgsl`
    ProjectBackward {
        /// Whether the gradients of keys and values are added to what is there.
        adds: bool,
    },
    /// `layer_norm.wgsl`
    LayerNorm,
    /// `layer_norm_backward.wgsl`
    LayerNormBackward,
    /// `sum_layer_norm.wgsl`
    SumLayerNorm,
    /// `gelu.wgsl`
    Gelu,
    /// `gelu_backward.wgsl`
    GeluBackward,
}

/// Which gradients a launch of `attend_dkv` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gradients {
    /// Those of keys and values.
    Both,
    /// Those of keys.
    Keys,
    /// Those of values.
    Values,
}

/// Element type of a tensor in storage; all arithmetic is in float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// float32
    F32,
    /// float16
    F16,
}

impl Element {
    fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// How the rows of a tensor are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Element type in storage.
    pub element: Element,
    /// Whether a row's channels lie side by side in whole vectors of four.
    pub vectors: bool,
    /// Channels of a row.
    pub channels: usize,
}

/// How documents lie in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One a row, every token real.
    Full,
    /// One a row, with a mask.
    Padded,
    /// End to end in one row.
    Packed,
}

/// Which keys queries see, apart from sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// None.
    Off,
    /// All.
    All,
    /// Those around their segment.
    Segments,
    /// Those before them.
    Causal,
    /// Those around their tile of a grid.
    Grid,
}

impl Pattern {
    pub(crate) fn of(window: Window) -> Self {
        match window {
            Window::Off => Self::Off,
            Window::All => Self::All,
            Window::Segments { .. } => Self::Segments,
            Window::Causal { .. } => Self::Causal,
            Window::Grid(_) => Self::Grid,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Off | Self::All => include_str!("../shaders/seen_all.wgsl"),
            Self::Segments => include_str!("../shaders/seen_segments.wgsl"),
            Self::Causal => include_str!("../shaders/seen_causal.wgsl"),
            Self::Grid => include_str!("../shaders/seen_grid.wgsl"),
        }
    }
}

/// All that a kernel's text depends on, and so what its pipeline is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Which kernel.
    pub kernel: Kernel,
    /// How it is tiled.
    pub tile: Tile,
    /// Tokens of a task.
    pub task: usize,
    /// Where a document's first task stands in its entry of the packed documents' table.
    pub first_task_column: usize,
    /// Channels of a head.
    pub width: usize,
    /// How documents lie in the batch.
    pub layout: Layout,
    /// Whether queries see landmarks.
    pub landmarks: bool,
    /// Whether queries see landmarks up to a count of their own.
    pub chunks: bool,
    /// Which keys queries see.
    pub pattern: Pattern,
    /// Whether window scores have a bias by offset.
    pub bias: bool,
    /// Whether probabilities are dropped.
    pub dropout: bool,
    /// The tensors with rows, in the order in which the kernel lists them.
    pub rows: Vec<Rows>,
    /// Element type of the tensor that a kernel reads or writes without rows.
    pub element: Element,
}

/// A tensor with rows of a kernel: its name, its binding, the slot of its strides, and what is done
/// with it.
type Listed = (&'static str, usize, usize, Access);

/// What a kernel does with a tensor's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Load,
    Store,
    LoadStore,
}

impl Kernel {
    /// The text of the kernel's own file, and what it shares.
    fn parts(self) -> &'static [&'static str] {
        macro_rules! parts {
            ($($file:literal),+) => {
                &[
                    include_str!("../shaders/common.wgsl"),
                    $(include_str!(concat!("../shaders/", $file))),+
                ]
            };
        }
        match self {
            Self::PackLandmarks => parts!["pack_landmarks.wgsl"],
            Self::PackBias => parts!["pack_bias.wgsl"],
            Self::PackWords => parts!["pack_words.wgsl"],
            Self::Attend => parts!["attention.wgsl", "stage.wgsl", "attend.wgsl"],
            Self::AttendDelta => parts!["attention.wgsl", "attend_delta.wgsl"],
            Self::AttendDq => parts!["attention.wgsl", "stage.wgsl", "attend_dq.wgsl"],
            Self::AttendDkv(_) => parts!["attention.wgsl", "attend_dkv.wgsl"],
            Self::AttendDlandmarks => parts!["attention.wgsl", "attend_dlandmarks.wgsl"],
            Self::SumParts => parts!["tasks_of.wgsl", "sum_parts.wgsl"],
            Self::AttendDbias => parts!["attention.wgsl", "attend_dbias.wgsl"],
            Self::SumBias => parts!["sum_bias.wgsl"],
            Self::Project => parts!["project.wgsl"],
            Self::ProjectMerge => parts!["tasks_of.wgsl", "project_merge.wgsl"],
            Self::ProjectDelta => parts!["project_delta.wgsl"],
            Self::ProjectBackward { .. } => parts!["stage.wgsl", "project_backward.wgsl"],
            Self::LayerNorm => parts!["layer_norm_rows.wgsl", "layer_norm.wgsl"],
            Self::LayerNormBackward => parts!["layer_norm_rows.wgsl", "layer_norm_backward.wgsl"],
            Self::SumLayerNorm => parts!["sum_layer_norm.wgsl"],
            Self::Gelu => parts!["gaussian.wgsl", "gelu.wgsl"],
            Self::GeluBackward => parts!["gaussian.wgsl", "gelu_backward.wgsl"],
        }
    }

    /// Whether it goes by who sees whom.
    fn attends(self) -> bool {
        matches!(
            self,
            Self::Attend
                | Self::AttendDelta
                | Self::AttendDq
                | Self::AttendDkv(_)
                | Self::AttendDlandmarks
                | Self::AttendDbias
        )
    }

    /// The tensors with rows.
    fn rows(self) -> &'static [Listed] {
        use Access::{Load, LoadStore, Store};
        match self {
            Self::PackLandmarks => &[("key", 0, 0, Load), ("value", 1, 1, Load)],
            Self::Attend => &[
                ("query", 0, 0, Load),
                ("key", 1, 1, Load),
                ("value", 2, 2, Load),
                ("output", 4, 3, Store),
            ],
            Self::AttendDelta => &[("d_output", 0, 0, Load), ("output", 1, 1, Load)],
            Self::AttendDq => &[
                ("d_output", 0, 0, Load),
                ("query", 1, 1, Load),
                ("key", 2, 2, Load),
                ("value", 3, 3, Load),
                ("d_query", 6, 4, Store),
            ],
            Self::AttendDkv(Gradients::Both) => &[
                ("d_output", 0, 0, Load),
                ("query", 1, 1, Load),
                ("key", 2, 2, Load),
                ("value", 3, 3, Load),
                ("d_key", 6, 4, Store),
                ("d_value", 7, 5, Store),
            ],
            Self::AttendDkv(Gradients::Keys) => &[
                ("d_output", 0, 0, Load),
                ("query", 1, 1, Load),
                ("key", 2, 2, Load),
                ("value", 3, 3, Load),
                ("d_key", 6, 4, Store),
            ],
            Self::AttendDkv(Gradients::Values) => &[
                ("d_output", 0, 0, Load),
                ("query", 1, 1, Load),
                ("key", 2, 2, Load),
                ("d_value", 5, 3, Store),
            ],
            Self::AttendDlandmarks => &[("d_output", 0, 0, Load), ("query", 1, 1, Load)],
            Self::SumParts => &[("d_key", 2, 0, Store), ("d_value", 3, 1, Store)],
            Self::AttendDbias => &[
                ("d_output", 0, 0, Load),
                ("query", 1, 1, Load),
                ("key", 2, 2, Load),
                ("value", 3, 3, Load),
            ],
            Self::Project => &[("key", 1, 1, Load), ("value", 2, 2, Load)],
            // Keys and values are loaded only where gradients are added to what is there.
            Self::ProjectBackward { .. } => &[
                ("scores", 0, 0, Load),
                ("key", 1, 1, Load),
                ("value", 2, 2, Load),
                ("d_scores", 4, 3, Store),
                ("d_key", 5, 4, LoadStore),
                ("d_value", 6, 5, LoadStore),
            ],
            Self::LayerNorm => &[("x", 0, 0, Load), ("y", 3, 1, Store)],
            Self::LayerNormBackward => {
                &[("d_y", 0, 0, Load), ("x", 1, 1, Load), ("d_x", 3, 2, Store)]
            }
            Self::Gelu => &[("x", 0, 0, Load), ("y", 1, 1, Store)],
            Self::GeluBackward => &[("d_y", 0, 0, Load), ("x", 1, 1, Load), ("d_x", 2, 2, Store)],
            Self::PackBias
            | Self::PackWords
            | Self::SumBias
            | Self::SumLayerNorm
            | Self::ProjectMerge
            | Self::ProjectDelta => &[],
        }
    }

    /// Bindings of the context and of the info block, which comes last.
    fn bindings(self) -> (usize, usize) {
        match self {
            Self::PackLandmarks => (2, 3),
            Self::PackBias | Self::PackWords => (1, 2),
            Self::Attend => (3, 6),
            Self::AttendDelta => (3, 5),
            Self::AttendDq => (4, 7),
            Self::AttendDkv(Gradients::Both) => (4, 8),
            Self::AttendDkv(Gradients::Keys) => (4, 7),
            Self::AttendDkv(Gradients::Values) => (3, 6),
            Self::AttendDlandmarks => (2, 5),
            Self::SumParts => (1, 4),
            Self::AttendDbias => (4, 7),
            // These have no use for a context.
            Self::SumBias | Self::Gelu => (7, 2),
            Self::SumLayerNorm | Self::GeluBackward => (7, 3),
            Self::LayerNorm => (7, 4),
            Self::LayerNormBackward => (7, 5),
            Self::Project => (3, 5),
            Self::ProjectMerge => (1, 3),
            Self::ProjectDelta => (2, 3),
            Self::ProjectBackward { .. } => (3, 7),
        }
    }

    /// How many storage buffers the kernel binds.
    pub fn storage_buffers(self) -> usize {
        self.bindings().1
    }

    /// How many tensors with rows it has.
    pub fn row_tensors(self) -> usize {
        self.rows().len()
    }

    /// Vectors of a staged row.
    fn row_vectors(self, vectors: usize) -> usize {
        match self {
            Self::ProjectBackward { .. } => 2 * vectors + 1,
            _ => 2 * vectors,
        }
    }

    /// Values of the placeholders that only this kernel has.
    fn own_values(self) -> Vec<(&'static str, String)> {
        let gradients = match self {
            Self::AttendDkv(gradients) => gradients,
            Self::ProjectBackward { adds } => {
                let added = |text: &str| if adds { text.to_owned() } else { String::new() };
                return vec![
                    ("added_key", added(" + d_key_at(dk_row, c)")),
                    ("added_value", added(" + d_value_at(dv_row, c)")),
                ];
            }
            Self::LayerNorm | Self::LayerNormBackward => {
                return vec![("gain_binding", (self.rows().len() - 1).to_string())];
            }
            _ => return Vec::new(),
        };
        let (keys, values) = match gradients {
            Gradients::Both => (true, true),
            Gradients::Keys => (true, false),
            Gradients::Values => (false, true),
        };
        let mut store = String::new();
        for (wanted, name, factor) in [(keys, "d_key", " * score_scale()"), (values, "d_value", "")]
        {
            if wanted {
                store += &format!(
                    "let {name}_at = {name}_row(place.row, head, place.start + key);\n      \
                     for (var c = 0u; c < D4; c++) {{ {name}_put({name}_at, c, {name}s[g][c]{factor}); }}\n      "
                );
            }
        }
        let load_values = match keys {
            true => {
                "let v_row = value_row(place.row, head, token);\n    \
                 for (var c = 0u; c < D4; c++) { values[g][c] = value_at(v_row, c); }"
            }
            false => "",
        };
        let stats = if keys { "5" } else { "4" };
        vec![
            ("d_key", keys.to_string()),
            ("d_value", values.to_string()),
            ("store", store.trim_end().to_string()),
            ("load_values", load_values.to_string()),
            ("stats_binding", stats.to_string()),
        ]
    }
}

impl Shader {
    /// The WGSL text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let elements = self.rows.iter().map(|rows| rows.element);
        if elements.chain([self.element]).any(|e| e == Element::F16) {
            text += "enable f16;\n";
        }
        for part in self.kernel.parts() {
            text += part;
            text += "\n";
        }
        if self.kernel.attends() {
            text += self.pattern.text();
        }
        for (rows, listed) in self.rows.iter().zip(self.kernel.rows()) {
            text += &rows.render(*listed);
        }
        let vectors = self.width.div_ceil(4);
        let row_vectors = self.kernel.row_vectors(vectors);
        let (context, info) = self.kernel.bindings();
        let mut values = vec![
            ("d4", vectors.to_string()),
            ("d", self.width.to_string()),
            ("group", self.tile.group.to_string()),
            ("invocations", self.tile.invocations.to_string()),
            ("lanes", self.tile.lanes.to_string()),
            ("staged", self.tile.staged.to_string()),
            (
                "staged_vectors",
                (self.tile.staged * row_vectors).to_string(),
            ),
            ("row_vectors", row_vectors.to_string()),
            ("task", self.task.to_string()),
            ("first_task_column", self.first_task_column.to_string()),
            ("padded", (self.layout == Layout::Padded).to_string()),
            ("packed", (self.layout == Layout::Packed).to_string()),
            ("landmarks", self.landmarks.to_string()),
            ("chunks", self.chunks.to_string()),
            ("window", (self.pattern != Pattern::Off).to_string()),
            ("rows", (self.pattern == Pattern::Grid).to_string()),
            ("bias", self.bias.to_string()),
            ("dropout", self.dropout.to_string()),
            ("element", self.element.wgsl().to_string()),
            ("context_binding", context.to_string()),
            ("info_binding", info.to_string()),
        ];
        values.extend(self.kernel.own_values());
        fill(text, &values)
    }
}

impl Rows {
    /// The functions by which a kernel reads or writes the tensor's rows.
    fn render(&self, (name, binding, slot, access): Listed) -> String {
        macro_rules! parts {
            ($rows:literal) => {
                (
                    include_str!(concat!("../shaders/rows_", $rows, ".wgsl")),
                    include_str!(concat!("../shaders/rows_", $rows, "_load.wgsl")),
                    include_str!(concat!("../shaders/rows_", $rows, "_store.wgsl")),
                )
            };
        }
        let (rows, load, store) = match self.vectors {
            true => parts!("vector"),
            false => parts!("scalar"),
        };
        let text = match access {
            Access::Load => [rows, load].concat(),
            Access::Store => [rows, store].concat(),
            Access::LoadStore => [rows, load, store].concat(),
        };
        let values = [
            ("name", name.to_string()),
            ("binding", binding.to_string()),
            ("slot", slot.to_string()),
            ("element", self.element.wgsl().to_string()),
            ("channels", self.channels.to_string()),
        ];
        fill(text, &values)
    }
}

/// Replaces `{{ name }}` by each value.
fn fill(mut text: String, values: &[(&'static str, String)]) -> String {
    for (name, value) in values {
        text = text.replace(&format!("{{{{ {name} }}}}"), value);
    }
    text
}
