//! What a task needs of a model.

use transformer_ls_burn::{Input, Reconstruction};
use transformer_ls_datasets::check::Task;
use transformer_ls_datasets::{image, listops, pathfinder, retrieval, text};

use super::RunConfig;

/// A sentence for each thing that the configuration's task needs and its model or data lack.
pub(super) fn problems(config: &RunConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let (task, model) = (&config.task, &config.model);
    let embedding = &model.encoder.embedding;
    // A task of a newer version is refused where its data is opened.
    let known: Option<Task> = task.parse().ok();
    let (ids, whose) = match (known, config.data.tokenizer) {
        (Some(Task::ListOps), None) => {
            problems.push(
                "`data.tokenizer` must be \"legacy\" or \"brackets\" for the task listops.".into(),
            );
            (0, String::new())
        }
        (Some(Task::ListOps) | None, Some(tokenizer)) => {
            (tokenizer.vocab_size(), format!("tokenizer {tokenizer}"))
        }
        (Some(other), tokenizer) => {
            if tokenizer.is_some() {
                problems.push(format!(
                    "`data.tokenizer` must be null for the task {task}."
                ));
            }
            (vocab_size(other), format!("task {task}"))
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
    if model.classes < classes(known) {
        problems.push(format!(
            "`model.classes` must be at least {} for the task {task}, and is {}.",
            classes(known),
            model.classes
        ));
    }
    let pair = known == Task::Retrieval;
    if model.pair != pair {
        problems.push(format!("`model.pair` must be {pair} for the task {task}."));
    }
    if !matches!(known, Task::Image | Task::Pathfinder(_)) {
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
    if config.data.difficulty.is_some() && !matches!(known, Task::Pathfinder(_)) {
        problems.push(format!(
            "`data.difficulty` must be null for the task {task}."
        ));
    }
    if config.data.splits.is_some() && known != Task::Image {
        problems.push(format!("`data.splits` must be null for the task {task}."));
    }
    problems
}

/// The number of token ids; ListOps' depends on its tokenizer.
fn vocab_size(task: Task) -> usize {
    match task {
        Task::ListOps => 0,
        Task::Text => text::VOCAB_SIZE,
        Task::Retrieval => retrieval::VOCAB_SIZE,
        Task::Image => image::VOCAB_SIZE,
        Task::Pathfinder(_) => pathfinder::VOCAB_SIZE,
    }
}

fn classes(task: Task) -> usize {
    match task {
        Task::ListOps => listops::CLASSES,
        Task::Text => text::CLASSES,
        Task::Retrieval => retrieval::CLASSES,
        Task::Image => image::CLASSES,
        Task::Pathfinder(_) => pathfinder::CLASSES,
    }
}
