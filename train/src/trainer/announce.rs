//! What a run says before its first step: what is trained, on what, and what is not seen of the data.

use burn::module::Module;
use transformer_ls_datasets::Split;
use transformer_ls_infer::device::ChosenDevice;
use transformer_ls_infer::run::{RunConfig, RunFolder};

use super::Splits;
use super::checkpoint::State;
use super::error::TrainError;
use super::model::TrainingModel;
use super::progress::{self, duration, say};

/// Says what is about to be trained, on what, and why there.
pub(super) fn announce(
    folder: &RunFolder,
    chosen: &ChosenDevice,
    splits: &Splits,
    model: &TrainingModel,
    state: &State,
) -> Result<(), TrainError> {
    let config = folder.config();
    let path = transformer_ls_burn::ops::attention_path(&chosen.device);
    say(&format!(
        "{} (preset {}): {} parameters; {} train, {} dev, {} test samples",
        config.task,
        config.preset,
        progress::count(model.num_params()),
        progress::count(splits.train.len()),
        progress::count(splits.dev.len()),
        progress::count(splits.test.len()),
    ));
    for line in of_samples(config, splits)? {
        say(&line);
    }
    say(&format!(
        "device {} ({}): {}; attention path {}: {}",
        chosen.name, chosen.adapter, chosen.reason, path.kind, path.reason
    ));
    if let Some(pretraining) = &config.pretraining {
        say(&format!(
            "learning to fill in tokens, of which {:.0} % are hidden; loss and accuracy are theirs",
            100.0 * pretraining.mask
        ));
    }
    if config.training.inner_values {
        say(
            "learning the values inside expressions: training's loss and accuracy are theirs, dev's are \
             those of whole expressions",
        );
    }
    if let Some(init) = &config.init {
        say(&format!(
            "started from the encoder of {}",
            init.run.display()
        ));
    }
    let training = &config.training;
    let position = match state.step {
        0 => String::new(),
        step => format!(
            ", going on from step {step} after {}",
            duration(state.seconds)
        ),
    };
    if let Some(change) = training.rate_changes.last() {
        say(&format!(
            "the learning rate's peak is {:e} from step {} on",
            change.learning_rate,
            progress::count(change.step),
        ));
    }
    let samples = training.batch_size.min(splits.train.len());
    say(&format!(
        "run {}: {} steps of {} samples, dev every {}, seed {}{position}",
        folder.path().display(),
        progress::count(training.steps),
        progress::count(samples),
        training.evaluate_every,
        config.seed,
    ));
    Ok(())
}

/// What is not seen of the samples: those that are left out, what of them is cut off; and what is known
/// to be wrong with them.
fn of_samples(config: &RunConfig, splits: &Splits) -> Result<Vec<String>, TrainError> {
    let mut lines = Vec::new();
    let task = config.known_task();
    let each = [&splits.train, &splits.dev, &splits.test];
    let in_words = |[train, dev, test]: [usize; 3]| {
        let [train, dev, test] = [train, dev, test].map(progress::count);
        format!("{train} train, {dev} dev and {test} test samples")
    };
    let left_out = each.map(|samples| samples.left_out());
    if left_out != [0; 3] {
        lines.push(match task.is_some_and(|task| task.is_cut) {
            // Each split says all of them.
            true => format!(
                "{} images are empty or missing, and left out",
                progress::count(left_out[0])
            ),
            false => format!("{} are empty, and left out", in_words(left_out)),
        });
    }
    let max_length = config.model.encoder.embedding.max_length;
    let longest = task.map_or(0, |task| task.longest);
    if max_length < longest {
        let mut longer = [0; 3];
        for (longer, (samples, split)) in longer.iter_mut().zip(each.iter().zip(Split::ALL)) {
            *longer = samples
                .longer_than(max_length)
                .map_err(|error| TrainError::Data {
                    split,
                    cause: error.to_string(),
                })?;
        }
        if longer != [0; 3] {
            lines.push(format!(
                "model.max_length is {}: {} are longer, and cut off there",
                progress::count(max_length),
                in_words(longer)
            ));
        }
    }
    let warning = task.and_then(|task| task.warning(&config.data.dir, &config.data.options()));
    lines.extend(warning.map(|warning| format!("warning: {warning}")));
    Ok(lines)
}
