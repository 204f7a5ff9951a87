//! What a task needs of a model: it follows from what the task's data is.

use transformer_ls_burn::{Input, Pooling, Reconstruction};
use transformer_ls_datasets::Ids;
use transformer_ls_datasets::listops::Tokenizer;

use super::RunConfig;

/// A sentence for each thing that the configuration's task needs and its model or data lack.
pub(super) fn problems(config: &RunConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let (task, model, data) = (&config.task, &config.model, &config.data);
    let embedding = &model.encoder.embedding;
    // A task of a newer version is refused where its data is opened.
    let known = config.known_task();
    let (ids, whose) = match (known.map(|known| known.ids), data.tokenizer) {
        (Some(Ids::OfTokenizer), None) => {
            problems.push(format!(
                "`data.tokenizer` must be \"legacy\", \"brackets\" or \"depths\" for the task {task}."
            ));
            (0, String::new())
        }
        (Some(Ids::OfTokenizer) | None, Some(tokenizer)) => {
            (tokenizer.vocab_size(), format!("tokenizer {tokenizer}"))
        }
        (Some(Ids::Count(ids)), tokenizer) => {
            if tokenizer.is_some() {
                problems.push(format!(
                    "`data.tokenizer` must be null for the task {task}."
                ));
            }
            (ids, format!("task {task}"))
        }
        (None, None) => (0, String::new()),
    };
    if embedding.vocab_size < ids {
        problems.push(format!(
            "`model.vocab_size` must be at least {ids} for the {whose}, and is {}.",
            embedding.vocab_size
        ));
    }
    let Some(known) = known else {
        return problems;
    };
    let (classes, pair) = (known.classes, known.pair);
    if model.classes < classes {
        problems.push(format!(
            "`model.classes` must be at least {classes} for the task {task}, and is {}.",
            model.classes
        ));
    }
    if model.pair != pair {
        problems.push(format!("`model.pair` must be {pair} for the task {task}."));
    }
    if !known.pixels {
        if embedding.input == Input::Floats {
            problems.push(format!(
                "`model.input` must be \"ids\" for the task {task}, which has no pixels."
            ));
        }
        let compared = config.pretraining.as_ref().map(|it| it.compared_by);
        if compared == Some(Reconstruction::L1) {
            problems.push(format!(
                "`pretraining.compared_by` must be \"cross_entropy\" for the task {task}, which has \
                 no pixels."
            ));
        }
    }
    if config.training.inner_values {
        if !matches!(
            data.tokenizer,
            Some(Tokenizer::Brackets | Tokenizer::Depths)
        ) {
            problems.push(
                "`training.inner_values` must be false but for the task listops with `brackets` or `depths`: other \
                 tokens have no operations inside."
                    .to_owned(),
            );
        } else if config.pretraining.is_some() {
            problems.push(
                "`training.inner_values` must be false where tokens are filled in.".to_owned(),
            );
        } else if model.encoder.pooling != Pooling::Last {
            problems.push(
                "`training.inner_values` needs `model.pooling` \"last\", so that each closing bracket is \
                 read as the last one is."
                    .to_owned(),
            );
        }
    }
    if data.difficulty.is_some() && !known.has_difficulty {
        problems.push(format!(
            "`data.difficulty` must be null for the task {task}."
        ));
    }
    if data.splits.is_some() && !known.has_splits {
        problems.push(format!("`data.splits` must be null for the task {task}."));
    }
    problems
}
