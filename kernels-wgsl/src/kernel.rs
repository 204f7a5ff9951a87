//! The kernels, in one table: the files that a kernel is put together from, and what it binds.

use strum::IntoStaticStr;

use crate::tiles::Tile;

/// A kernel of `shaders/`; its name is its file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kernel {
    /// `pack_landmarks.wgsl`
    PackLandmarks,
    /// `pack_bias.wgsl`
    PackBias,
    /// `pack_relative_keys.wgsl`
    PackRelativeKeys,
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
    /// `sum_landmark_bias.wgsl`
    SumLandmarkBias,
    /// `attend_dtables.wgsl`
    AttendDtables,
    /// `sum_bias.wgsl`
    SumBias,
    /// `sum_relative_keys.wgsl`
    SumRelativeKeys,
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
    /// `class_row.wgsl`
    ClassRow,
    /// `class_row_merge.wgsl`
    ClassRowMerge,
    /// `class_row_backward.wgsl`
    ClassRowBackward,
    /// `class_row_sum.wgsl`
    ClassRowSum,
    /// `layer_norm.wgsl`
    LayerNorm,
    /// `layer_norm_backward.wgsl`
    LayerNormBackward {
        /// Whether the gradient is added to another.
        adds: bool,
    },
    /// `sum_layer_norm.wgsl`
    SumLayerNorm,
    /// `gelu.wgsl`
    Gelu,
    /// `gelu_backward.wgsl`
    GeluBackward,
    /// `embed.wgsl`
    Embed,
    /// `sort_count.wgsl`
    SortCount,
    /// `sort_scan.wgsl`
    SortScan,
    /// `sort_scatter.wgsl`
    SortScatter,
    /// `sum_runs.wgsl`
    SumRuns,
    /// `merge_runs.wgsl`
    MergeRuns,
    /// `sum_positions.wgsl`
    SumPositions,
    /// `linear.wgsl`
    Linear {
        /// Whether the output is added to other rows.
        adds: bool,
        /// Whether the layer has a bias.
        bias: bool,
    },
    /// `linear_dx.wgsl`
    LinearDx {
        /// Whether the gradient is added to another.
        adds: bool,
    },
    /// `linear_backward.wgsl`
    LinearBackward,
    /// `sum_linear.wgsl`
    SumLinear,
    /// `adamw.wgsl`
    #[strum(serialize = "adamw")]
    AdamW {
        /// How many parameters it updates, 1 to [`MAX_PARAMETERS`].
        parameters: u8,
    },
}

/// The most parameters that a launch of [`Kernel::AdamW`] updates.
pub const MAX_PARAMETERS: usize = 8;

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

/// A buffer of a kernel; its place among the others is its binding, and the slot of its strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub name: &'static str,
    pub kind: Kind,
}

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads the rows of a tensor of any strides and type.
    Load,
    /// Writes them.
    Store,
    /// Reads and writes them.
    LoadStore,
    /// Reads or writes a tensor without rows, of the shader's own element type.
    Typed,
    /// Reads or writes memory of a type that the kernel's text says.
    Plain,
    /// The context.
    Context,
}

impl Kind {
    /// Whether the tensor has rows.
    pub fn has_rows(self) -> bool {
        matches!(self, Self::Load | Self::Store | Self::LoadStore)
    }
}

/// What is said of a kernel.
pub(crate) struct Entry {
    /// Its text: what it shares with others, then its own.
    pub files: &'static [&'static str],
    /// What it binds. The info block comes after the last.
    pub bindings: &'static [Binding],
}

macro_rules! entry {
    ([$($file:literal),+]; $($kind:ident $name:ident),+) => {
        Entry {
            files: &[
                include_str!("../shaders/common.wgsl"),
                $(include_str!(concat!("../shaders/", $file))),+
            ],
            bindings: &[$(Binding { name: stringify!($name), kind: Kind::$kind }),+],
        }
    };
}

macro_rules! by_rows {
    [$($file:literal),+] => {
        &[
            include_str!("../shaders/common.wgsl"),
            $(include_str!(concat!("../shaders/", $file, ".wgsl"))),+
        ]
    };
}

impl Kernel {
    /// The table.
    pub(crate) fn entry(self) -> Entry {
        match self {
            Self::PackLandmarks => {
                entry!(["pack_landmarks.wgsl"]; Load key, Load value, Context context)
            }
            Self::PackBias => entry!(["pack_bias.wgsl"]; Typed bias, Context context),
            Self::PackRelativeKeys => {
                entry!(["pack_relative_keys.wgsl"]; Load relative_key, Context context)
            }
            Self::PackWords => entry!(["pack_words.wgsl"]; Plain words, Context context),
            Self::Attend => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "query_major.wgsl", "attend.wgsl"];
                Load query, Load key, Load value, Context context, Store output, Plain log_sum_exp
            ),
            Self::AttendDelta => entry!(
                ["attention.wgsl", "attend_delta.wgsl"];
                Load d_output, Load output, Plain log_sum_exp, Context context, Plain stats
            ),
            Self::AttendDq => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "attend_gradients.wgsl", "query_major.wgsl", "attend_dq.wgsl"];
                Load d_output, Load query, Load key, Load value, Context context, Plain stats,
                Store d_query
            ),
            Self::AttendDkv(Gradients::Both) => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "attend_gradients.wgsl", "key_major.wgsl", "attend_dkv.wgsl"];
                Load d_output, Load query, Load key, Load value, Context context, Plain stats,
                Store d_key, Store d_value
            ),
            Self::AttendDkv(Gradients::Keys) => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "attend_gradients.wgsl", "key_major.wgsl", "attend_dkv.wgsl"];
                Load d_output, Load query, Load key, Load value, Context context, Plain stats,
                Store d_key
            ),
            Self::AttendDkv(Gradients::Values) => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "attend_gradients.wgsl", "key_major.wgsl", "attend_dkv.wgsl"];
                Load d_output, Load query, Load key, Context context, Plain stats, Store d_value
            ),
            Self::AttendDlandmarks => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_scores.wgsl", "attend_gradients.wgsl", "key_major.wgsl", "attend_dlandmarks.wgsl"];
                Load d_output, Load query, Context context, Plain stats, Plain parts
            ),
            Self::SumParts => entry!(
                ["tasks_of.wgsl", "sum_parts.wgsl"];
                Plain parts, Context context, Store d_key, Store d_value
            ),
            Self::SumLandmarkBias => entry!(
                ["tasks_of.wgsl", "sum_landmark_bias.wgsl"];
                Plain parts, Context context, Typed d_bias
            ),
            Self::AttendDtables => entry!(
                ["attention.wgsl", "tile.wgsl", "uniform_place.wgsl", "attend_dtables.wgsl"];
                Load d_output, Load query, Load key, Load value, Context context, Plain stats,
                Plain parts
            ),
            Self::SumBias => entry!(["sum_bias.wgsl"]; Plain parts, Typed d_bias),
            Self::SumRelativeKeys => {
                entry!(["sum_relative_keys.wgsl"]; Plain parts, Store d_relative_key)
            }
            Self::Project => entry!(
                ["tile.wgsl", "uniform_place.wgsl", "project.wgsl"];
                Typed scores, Load key, Load value, Context context, Plain parts
            ),
            Self::ProjectMerge => entry!(
                ["tasks_of.wgsl", "project_merge.wgsl"];
                Plain parts, Context context, Typed output
            ),
            Self::ProjectDelta => {
                entry!(["project_delta.wgsl"]; Typed d_output, Typed output, Context context)
            }
            // Gradients of keys and values are loaded only where these are added to.
            Self::ProjectBackward { .. } => entry!(
                ["tile.wgsl", "uniform_place.wgsl", "project_backward.wgsl"];
                Load scores, Load key, Load value, Context context, Store d_scores,
                LoadStore d_key, LoadStore d_value
            ),
            Self::ClassRow => entry!(
                ["uniform_place.wgsl", "class_row_tokens.wgsl", "class_row.wgsl"];
                Load query, Load tokens, Context context, Plain parts
            ),
            Self::ClassRowMerge => entry!(
                ["tasks_of.wgsl", "class_row_merge.wgsl"];
                Load query, Load key, Load value, Context context, Plain parts, Store output,
                Plain readings
            ),
            Self::ClassRowBackward => entry!(
                ["uniform_place.wgsl", "class_row_tokens.wgsl", "class_row_backward.wgsl"];
                Load d_output, Load tokens, Context context, Plain readings, Store d_tokens, Plain parts
            ),
            Self::ClassRowSum => entry!(
                ["tasks_of.wgsl", "class_row_sum.wgsl"];
                Load d_output, Context context, Plain readings, Plain parts, Store d_query, Store d_key,
                Store d_value
            ),
            Self::LayerNorm => entry!(
                ["layer_norm_rows.wgsl", "layer_norm.wgsl"];
                Load x, Typed gamma, Typed beta, Store y
            ),
            Self::LayerNormBackward { adds: false } => entry!(
                ["layer_norm_rows.wgsl", "layer_norm_backward.wgsl"];
                Load d_y, Load x, Typed gamma, Store d_x, Plain parts
            ),
            Self::LayerNormBackward { adds: true } => entry!(
                ["layer_norm_rows.wgsl", "layer_norm_backward.wgsl"];
                Load d_y, Load x, Typed gamma, Store d_x, Plain parts, Load added
            ),
            Self::SumLayerNorm => entry!(
                ["sum_layer_norm.wgsl"];
                Plain parts, Typed d_gamma, Typed d_beta
            ),
            Self::Gelu => entry!(["gaussian.wgsl", "gelu.wgsl"]; Load x, Store y),
            Self::GeluBackward => {
                entry!(["gaussian.wgsl", "gelu_backward.wgsl"]; Load d_y, Load x, Store d_x)
            }
            Self::Embed => entry!(
                ["embed.wgsl"];
                Load token, Load position, Plain ids, Plain starts, Store y
            ),
            Self::SortCount => {
                entry!(["sort.wgsl", "sort_count.wgsl"]; Plain ids, Plain pairs, Plain counts)
            }
            Self::SortScan => entry!(["sort_scan.wgsl"]; Plain counts),
            Self::SortScatter => entry!(
                ["sort.wgsl", "sort_scatter.wgsl"];
                Plain ids, Plain pairs, Plain counts, Plain sorted
            ),
            Self::SumRuns => entry!(
                ["sum_runs.wgsl"];
                Load d_output, Plain sorted, Plain parts, Store d_table
            ),
            Self::MergeRuns => entry!(
                ["slots.wgsl", "merge_runs.wgsl"];
                Plain sorted, Plain parts, Store d_table
            ),
            Self::SumPositions => {
                entry!(["sum_positions.wgsl"]; Load d_output, Plain starts, Store d_table)
            }
            Self::Linear { adds, bias } => match (bias, adds) {
                (true, false) => entry!(
                    ["linear_tile.wgsl", "linear.wgsl"];
                    Load x, Load weight, Load bias, Store y
                ),
                (true, true) => entry!(
                    ["linear_tile.wgsl", "linear.wgsl"];
                    Load x, Load weight, Load bias, Store y, Load added
                ),
                (false, false) => entry!(
                    ["linear_tile.wgsl", "linear.wgsl"];
                    Load x, Load weight, Store y
                ),
                (false, true) => entry!(
                    ["linear_tile.wgsl", "linear.wgsl"];
                    Load x, Load weight, Store y, Load added
                ),
            },
            Self::LinearDx { adds: false } => entry!(
                ["linear_tile.wgsl", "linear_dx.wgsl"];
                Load x, Load weight, Store y
            ),
            Self::LinearDx { adds: true } => entry!(
                ["linear_tile.wgsl", "linear_dx.wgsl"];
                Load x, Load weight, Store y, Load added
            ),
            Self::LinearBackward => {
                entry!(["linear_backward.wgsl"]; Load x, Load d_y, Plain parts)
            }
            Self::SumLinear => entry!(
                ["slots.wgsl", "sum_linear.wgsl"];
                Plain parts, Store d_weight, Store d_bias
            ),
            Self::AdamW { parameters } => {
                let Entry { files, bindings } = entry!(
                    ["adamw.wgsl"];
                    Plain updated,
                    Plain parameter_0, Plain gradient_0, Plain first_0, Plain second_0,
                    Plain parameter_1, Plain gradient_1, Plain first_1, Plain second_1,
                    Plain parameter_2, Plain gradient_2, Plain first_2, Plain second_2,
                    Plain parameter_3, Plain gradient_3, Plain first_3, Plain second_3,
                    Plain parameter_4, Plain gradient_4, Plain first_4, Plain second_4,
                    Plain parameter_5, Plain gradient_5, Plain first_5, Plain second_5,
                    Plain parameter_6, Plain gradient_6, Plain first_6, Plain second_6,
                    Plain parameter_7, Plain gradient_7, Plain first_7, Plain second_7
                );
                Entry {
                    files,
                    bindings: &bindings[..1 + 4 * usize::from(parameters)],
                }
            }
        }
    }

    /// What it binds, by name.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.entry().bindings.iter().map(|binding| binding.name)
    }

    /// The kernel's files where a processor plays the GPU, if those are others; what they bind is the
    /// same.
    fn files_by_rows(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Self::Attend => by_rows!["attention", "by_rows/stage", "by_rows/attend"],
            Self::AttendDq => by_rows!["attention", "by_rows/stage", "by_rows/attend_dq"],
            Self::AttendDkv(_) => by_rows!["attention", "by_rows/attend_dkv"],
            Self::AttendDlandmarks => by_rows!["attention", "by_rows/attend_dlandmarks"],
            Self::AttendDtables => by_rows!["attention", "by_rows/attend_dtables"],
            Self::Project => by_rows!["by_rows/project"],
            Self::ProjectBackward { .. } => by_rows!["by_rows/stage", "by_rows/project_backward"],
            Self::Linear { .. } => by_rows!["by_rows/linear_tile", "by_rows/linear"],
            Self::LinearDx { .. } => by_rows!["by_rows/linear_tile", "by_rows/linear_dx"],
            Self::LinearBackward => by_rows!["by_rows/linear_backward"],
            _ => return None,
        })
    }

    /// The kernel's files, with a tile.
    pub(crate) fn files(self, tile: &Tile) -> &'static [&'static str] {
        let by_rows = tile.owns_rows().then(|| self.files_by_rows()).flatten();
        by_rows.unwrap_or(self.entry().files)
    }

    /// How many storage buffers the kernel binds.
    pub fn storage_buffers(self) -> usize {
        self.entry().bindings.len()
    }

    /// How many tensors with rows it has.
    pub fn row_tensors(self) -> usize {
        let bindings = self.entry().bindings.iter();
        bindings.filter(|binding| binding.kind.has_rows()).count()
    }

    /// Whether it goes by who sees whom.
    pub(crate) fn attends(self) -> bool {
        matches!(
            self,
            Self::Attend
                | Self::AttendDelta
                | Self::AttendDq
                | Self::AttendDkv(_)
                | Self::AttendDlandmarks
                | Self::AttendDtables
        )
    }

    /// Vectors of a staged row.
    pub(crate) fn row_vectors(self, vectors: usize) -> usize {
        match self {
            Self::ProjectBackward { .. } => 2 * vectors + 1,
            _ => 2 * vectors,
        }
    }

    /// [`own_values`](Self::own_values) of the kernels for processors.
    fn own_values_by_rows(self) -> Vec<(&'static str, String)> {
        let gradients = match self {
            Self::AttendDkv(gradients) => gradients,
            Self::ProjectBackward { adds } => return vec![("adds", adds.to_string())],
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
        vec![
            ("d_key", keys.to_string()),
            ("d_value", values.to_string()),
            ("store", store.trim_end().to_string()),
            ("load_values", load_values.to_string()),
        ]
    }

    /// Values of the placeholders that only this kernel has; they may hold others.
    pub(crate) fn own_values(self, tile: &Tile) -> Vec<(&'static str, String)> {
        match self {
            Self::Linear { adds, .. }
            | Self::LinearDx { adds }
            | Self::LayerNormBackward { adds } => {
                let or_nothing = |given: bool, vector: &str| match given {
                    true => vector.to_string(),
                    false => "vec4<f32>(0.0)".to_string(),
                };
                let has_bias = matches!(self, Self::Linear { bias: true, .. });
                vec![
                    (
                        "added",
                        or_nothing(adds, "added_at(added_row(0u, 0u, row), c)"),
                    ),
                    (
                        "linear_bias",
                        or_nothing(has_bias, "bias_at(bias_row(0u, 0u, 0u), c)"),
                    ),
                ]
            }
            Self::AdamW { parameters } => parameters_of_adamw(parameters),
            _ if tile.owns_rows() => self.own_values_by_rows(),
            Self::ProjectBackward { adds } => vec![("adds", adds.to_string())],
            Self::AttendDq => gradients(true, false, false),
            Self::AttendDlandmarks => gradients(true, true, true),
            Self::AttendDkv(of) => {
                let keys = of != Gradients::Values;
                let values = of != Gradients::Keys;
                let mut texts = gradients(keys, values, false);
                let (mut rows, mut store) = (String::new(), String::new());
                for (wanted, name, sums) in [
                    (keys, "d_key", "score_sums_{{ chunk }}[k] * score_scale()"),
                    (values, "d_value", "value_sums_{{ chunk }}[k]"),
                ] {
                    if wanted {
                        rows += &format!(
                            "let {name}_to = {name}_row(place.row, head, place.start + key);\n"
                        );
                        store += &format!("{name}_put({name}_to, c_{{{{ chunk }}}}, {sums});\n");
                    }
                }
                let value_left = match keys {
                    true => {
                        "return value_at(value_row(place.row, head, place.start + min(key, place.keys - 1u)), c);"
                    }
                    false => "return vec4<f32>(0.0);",
                };
                texts.extend([
                    ("store_rows", rows),
                    ("store", store),
                    ("value_left", value_left.to_string()),
                ]);
                texts
            }
            _ => Vec::new(),
        }
    }
}

/// What an `attend_gradients` makes: sums of rows by scores' gradients, by weights, and of scores'
/// gradients alone where landmarks have a bias.
fn gradients(of_scores: bool, of_values: bool, of_biases: bool) -> Vec<(&'static str, String)> {
    vec![
        ("of_scores", of_scores.to_string()),
        ("of_values", of_values.to_string()),
        ("of_biases", of_biases.to_string()),
    ]
}

/// What `adamw` declares for so many parameters, and where it finds an entry of theirs.
fn parameters_of_adamw(parameters: u8) -> Vec<(&'static str, String)> {
    let (mut declarations, mut found) = (String::new(), String::new());
    for i in 0..parameters {
        for name in ["parameter", "gradient", "first", "second"] {
            declarations += &format!(
                "@group(0) @binding({{{{ {name}_{i}_binding }}}}) var<storage, read_write> {name}_{i}: array<f32>;\n"
            );
        }
        found += &format!(
            "  if (i < info.strides[{i}].y) {{\n    \
             let at = i - info.strides[{i}].x;\n    \
             return Entry(parameter_{i}[at], gradient_{i}[at], first_{i}[at], second_{i}[at], \
             info.strides[{i}].z + at, info.strides[{i}].w);\n  }}\n"
        );
    }
    vec![("declarations", declarations), ("parameters", found)]
}
