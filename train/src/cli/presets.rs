//! `ls-train presets`

use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use serde_json::json;
use transformer_ls_burn::presets::{self, Preset};
use transformer_ls_infer::language::{CorpusKind, LanguageConfig};

use super::table::{Side, table};
use super::{Done, print};
use crate::language;
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
        let language = of_language();
        let language = language.iter().map(|(_, preset)| language_as_json(preset));
        let list: Result<Vec<_>, _> = presets.iter().map(as_json).chain(language).collect();
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
    text += &language_table()?;
    print(&text)
}

/// The presets of language models, each with what it is.
fn of_language() -> Vec<(&'static str, LanguageConfig)> {
    let of_name = |(name, about)| Some((about, language::presets::find(name, CorpusKind::Enwik8)?));
    let presets = language::presets::ALL.into_iter();
    presets.filter_map(of_name).collect()
}

fn language_table() -> anyhow::Result<String> {
    let columns = [
        ("preset", Side::Left),
        ("parameters", Side::Right),
        ("layers", Side::Right),
        ("width", Side::Right),
        ("heads", Side::Right),
        ("w", Side::Right),
        ("chunk", Side::Right),
        ("segments", Side::Left),
        ("", Side::Left),
    ];
    let rows: Result<Vec<_>, anyhow::Error> = of_language()
        .iter()
        .map(|(about, preset)| {
            let (model, training) = (&preset.model, &preset.training);
            let sizes = [
                model.layers,
                model.d_model,
                model.heads,
                model.window,
                model.chunk,
            ];
            let phases = training.phases.iter();
            let segments: Vec<String> = phases.map(|phase| phase.segment.to_string()).collect();
            let parameters = count(language_parameters(preset)?);
            let row = [preset.preset.clone(), parameters].into_iter();
            let row = row.chain(sizes.map(|size| size.to_string()));
            Ok(row
                .chain([segments.join(", "), (*about).to_owned()])
                .collect())
        })
        .collect();
    Ok(format!("\n{}\n{LANGUAGE_LEGEND}", table(&columns, &rows?)))
}

/// What the columns mean.
const LANGUAGE_LEGEND: &str = "
w          window: a byte attends to itself and the w - 1 before it (model.window)
chunk      and to each finished chunk, summarised as one row (model.chunk)
segments   what a step reads of each row, phase by phase, with as much before it

`ls-train lm --data FILE --preset PRESET` trains one on a text.
";

fn language_as_json(preset: &LanguageConfig) -> anyhow::Result<serde_json::Value> {
    Ok(json!({
        "name": preset.preset,
        "task": preset.task,
        "parameters": language_parameters(preset)?,
        "model": preset.model,
        "training": preset.training,
    }))
}

fn language_parameters(preset: &LanguageConfig) -> anyhow::Result<usize> {
    Ok(preset.model.init(&Device::default())?.num_params())
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
