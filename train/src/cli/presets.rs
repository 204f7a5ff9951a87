//! `ls-train presets`

use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use serde_json::json;
use transformer_ls_burn::presets::{self, Preset};

use super::table::{Side, table};
use super::{Done, print};
use crate::trainer::progress::count;

#[derive(Debug, Args)]
pub(super) struct PresetsArgs {
    /// Print JSON, with each preset's whole configuration
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PresetsArgs) -> anyhow::Result<Done> {
    let presets = presets::all();
    if args.json {
        let list: Result<Vec<_>, _> = presets.iter().map(as_json).collect();
        return print(&(serde_json::to_string_pretty(&list?)? + "\n"));
    }
    let columns = [
        ("preset", Side::Left),
        ("parameters", Side::Right),
        ("layers", Side::Right),
        ("width", Side::Right),
        ("heads", Side::Right),
        ("w", Side::Right),
        ("r", Side::Right),
        ("length", Side::Right),
        ("published", Side::Right),
        ("source", Side::Left),
    ];
    // A source is a sentence: the column has its number, and the list below the words.
    let mut sources: Vec<&str> = Vec::new();
    let mut number = |source| match sources.iter().position(|known| *known == source) {
        Some(index) => index + 1,
        None => {
            sources.push(source);
            sources.len()
        }
    };
    let rows: Result<Vec<_>, anyhow::Error> = presets
        .iter()
        .map(|preset| {
            let encoder = &preset.model.encoder;
            let attention = serde_json::to_value(&encoder.block.attention)?;
            // Of a kind of attention that has such a field.
            let field = |name: &str| {
                let value = attention.get(name);
                value.map_or("-".to_owned(), ToString::to_string)
            };
            Ok(vec![
                preset.name.to_string(),
                count(parameters(preset)?),
                encoder.layers.to_string(),
                encoder.d_model().to_string(),
                field("heads"),
                field("window"),
                field("rank"),
                encoder.embedding.max_length.to_string(),
                preset
                    .published_accuracy
                    .map_or("-".to_owned(), |accuracy| format!("{accuracy:.2} %")),
                format!("[{}]", number(preset.source)),
            ])
        })
        .collect();
    let mut text = table(&columns, &rows?) + "\n";
    for (index, source) in sources.iter().enumerate() {
        text += &format!("[{}] {source}\n", index + 1);
    }
    text += LEGEND;
    print(&text)
}

/// What the columns mean.
const LEGEND: &str = "
preset     its name begins with its task's
w          window: a token attends to its segment of w tokens and w/2 on either side (model.window)
r          rank: and to the whole document, summarised as r rows (model.rank)
length     the longest document, in tokens (model.max_length)
published  test accuracy, in percent of the answers

`ls-train TASK --preset PRESET` trains one.
";

fn as_json(preset: &Preset) -> anyhow::Result<serde_json::Value> {
    Ok(json!({
        "name": preset.name,
        "task": preset.task,
        "parameters": parameters(preset)?,
        "model": preset.model,
        "source": preset.source,
        "published_accuracy": preset.published_accuracy,
    }))
}

/// Parameters are made when they are first used: counting them makes none, and opens no device.
fn parameters(preset: &Preset) -> anyhow::Result<usize> {
    Ok(preset.model.init(&Device::default())?.num_params())
}
