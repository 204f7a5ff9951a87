//! Shaders: the files of `shaders/`, put together and filled with a variant's constants.

use transformer_ls_kernels::Window;

use crate::kernel::{Binding, Kernel, Kind};
use crate::tiles::{Cooperative, Tile};

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
pub struct RowFormat {
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
    /// Whether scores have a bias by offset.
    pub bias: bool,
    /// Whether queries meet keys by offset besides those of the window.
    pub relative_keys: bool,
    /// Whether tables by offset have entries for landmarks too.
    pub landmark_offsets: bool,
    /// Whether landmarks have a bias of their own.
    pub landmark_bias: bool,
    /// Whether probabilities are dropped.
    pub dropout: bool,
    /// The tensors with rows, in the order in which the kernel lists them.
    pub rows: Vec<RowFormat>,
    /// Element type of the tensor that a kernel reads or writes without rows.
    pub element: Element,
}

/// The products of a tile, and the same on cooperative matrices.
const TILE: &str = include_str!("../shaders/tile.wgsl");
const COOPERATIVE_TILE: &str = include_str!("../shaders/tile_cooperative.wgsl");

impl Shader {
    /// The WGSL text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let elements = self.rows.iter().map(|rows| rows.element);
        let cooperates = self.tile.cooperative.is_some();
        if cooperates || elements.chain([self.element]).any(|e| e == Element::F16) {
            text += "enable f16;\n";
        }
        if cooperates {
            text += "enable wgpu_cooperative_matrix;\n";
        }
        let entry = self.kernel.entry();
        for part in self.kernel.files(&self.tile) {
            text += match self.tile.cooperative {
                Some(_) if *part == TILE => COOPERATIVE_TILE,
                _ => part,
            };
            text += "\n";
        }
        if self.kernel.attends() {
            text += self.pattern.text();
        }
        // The context of a kernel without one is not used, and lies out of the others' way.
        let mut values = vec![
            ("info_binding".to_string(), entry.bindings.len().to_string()),
            ("context_binding".to_string(), "7".to_string()),
        ];
        let mut rows = self.rows.iter();
        for (place, binding) in entry.bindings.iter().enumerate() {
            match binding.kind.has_rows() {
                true => {
                    let rows = rows.next().expect("a tensor for each binding with rows");
                    text += &rows.render(*binding, place);
                }
                false => {
                    let name = format!("{}_binding", binding.name);
                    values.retain(|(known, _)| *known != name);
                    values.push((name, place.to_string()));
                }
            }
        }
        let own = self.kernel.own_values(&self.tile);
        let own = own
            .into_iter()
            .map(|(name, value)| (name.to_string(), value));
        text = fill(text, &own.collect::<Vec<_>>());
        let vectors = self.width.div_ceil(4);
        let row_vectors = self.kernel.row_vectors(vectors);
        let Tile {
            invocations, lanes, ..
        } = self.tile;
        // A tile's rows on either side, and the vectors of one: see `tile.wgsl`.
        let (left, right, stride) = (4 * invocations / lanes.max(1), 4 * lanes, lanes + 1);
        text = unroll(&load(&text), vectors.div_ceil(lanes.max(1)));
        let tables = self.bias || self.relative_keys;
        let bounded = !matches!(self.pattern, Pattern::Off | Pattern::All);
        let Cooperative { size, subgroup } = self.tile.cooperative.unwrap_or_default();
        let constants = [
            ("cooperative", size.to_string()),
            ("subgroup", subgroup.to_string()),
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
            ("left_vectors", (left * stride).to_string()),
            ("right_vectors", (right * stride).to_string()),
            ("weight_vectors", (right * (left / 4 + 1)).to_string()),
            ("task", self.task.to_string()),
            ("first_task_column", self.first_task_column.to_string()),
            ("padded", (self.layout == Layout::Padded).to_string()),
            ("packed", (self.layout == Layout::Packed).to_string()),
            ("landmarks", self.landmarks.to_string()),
            ("chunks", self.chunks.to_string()),
            ("window", (self.pattern != Pattern::Off).to_string()),
            ("rows", (self.pattern == Pattern::Grid).to_string()),
            ("bias", self.bias.to_string()),
            ("relative", self.relative_keys.to_string()),
            ("offsets", (tables && bounded).to_string()),
            (
                "landmark_offsets",
                (tables && self.landmark_offsets).to_string(),
            ),
            ("landmark_bias", self.landmark_bias.to_string()),
            (
                "landmark_part",
                (2 * vectors + usize::from(self.landmark_bias)).to_string(),
            ),
            ("dropout", self.dropout.to_string()),
            ("element", self.element.wgsl().to_string()),
        ];
        let constants = constants.into_iter();
        values.extend(constants.map(|(name, value)| (name.to_string(), value)));
        fill(text, &values)
    }
}

impl RowFormat {
    /// The functions by which a kernel reads or writes the tensor's rows.
    fn render(&self, binding: Binding, place: usize) -> String {
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
        let text = match binding.kind {
            Kind::Load => [rows, load].concat(),
            Kind::Store => [rows, store].concat(),
            _ => [rows, load, store].concat(),
        };
        let values = [
            ("name", binding.name.to_string()),
            ("binding", place.to_string()),
            ("element", self.element.wgsl().to_string()),
            ("channels", self.channels.to_string()),
        ];
        let values = values.map(|(name, value)| (name.to_string(), value));
        fill(text, &values)
    }
}

/// Replaces `{{ name }}` by each value.
fn fill(mut text: String, values: &[(String, String)]) -> String {
    for (name, value) in values {
        text = text.replace(&format!("{{{{ {name} }}}}"), value);
    }
    text
}

/// Puts functions that load rows of a tile in the place of the lines `//# load` with the rows' names,
/// which end with their side.
fn load(text: &str) -> String {
    let functions = |names: &str| -> String {
        let function = |name: &str| {
            let (side, count) = match name.ends_with("left") {
                true => ("left", "LEFT"),
                false => ("right", "RIGHT"),
            };
            let values = [("rows", name), ("side", side), ("count", count)];
            let values = values.map(|(name, value)| (name.to_string(), value.to_string()));
            fill(
                include_str!("../shaders/load_rows.wgsl").to_string(),
                &values,
            )
        };
        names.split(' ').map(function).collect()
    };
    let line = |line: &str| match line.strip_prefix("//# load ") {
        Some(names) => functions(names),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Repeats what stands between the lines `//# each chunk` and `//# end`, with the number of the chunk
/// in the place of `{{ chunk }}`: arrays with an index that a compiler does not know may lie in memory.
fn unroll(text: &str, chunks: usize) -> String {
    let mut pieces = text.split("//# each chunk\n");
    let mut unrolled = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (body, rest) = piece.split_once("//# end\n").expect("an end");
        for chunk in 0..chunks {
            unrolled += &body.replace("{{ chunk }}", &chunk.to_string());
        }
        unrolled += rest;
    }
    unrolled
}
