//! Text: is a film review positive? Bytes of up to 4000, two classes.
//!
//! The protocol is the one of the Transformer-LS release (`lra/`): batches of 32, 20000 steps, the
//! rate's peak at step 8000, weight decay 0.01, dev every 500 steps. There is no dev split: as in
//! every published protocol the test split chooses the model, too.

use transformer_ls_datasets::Task;
use transformer_ls_infer::run::TrainingConfig;

use super::Protocol;
use super::strong::{Numbers, Strong};

/// Text as the Transformer-LS release trains it.
pub fn protocol() -> Protocol {
    Protocol {
        task: Task::Text,
        about: "Train and test on Text: is a film review positive?".to_owned(),
        strong: Strong::of(Numbers {
            steps: 20_000,
            rates: [5e-4, 5e-4],
            mask: 0.15,
            ..Numbers::default()
        }),
        seed: 1234,
        training: TrainingConfig {
            steps: 20_000,
            warmup: 8000,
            learning_rate: 1e-4,
            weight_decay: 0.01,
            evaluate_every: 500,
            checkpoint_every: 500,
            ..TrainingConfig::default()
        },
        about_data:
            "`ls-train fetch text` downloads it (84 MB). The folder aclImdb and its archive \
                     serve as they are."
                .to_owned(),
        generate: None,
        own: None,
    }
}
