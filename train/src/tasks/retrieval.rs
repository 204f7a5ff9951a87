//! Retrieval: does one paper cite the other? Two documents of up to 4000 bytes, two classes.
//!
//! The protocol is the one of the Transformer-LS release (`lra/`): batches of 32, 30000 steps, the
//! rate's peak at step 8000, weight decay 0.01, dev every 300 steps, seed 4096.

use transformer_ls_datasets::Task;
use transformer_ls_infer::run::TrainingConfig;

use super::Protocol;
use super::strong::{Numbers, Strong};

/// Retrieval as the Transformer-LS release trains it.
pub fn protocol() -> Protocol {
    Protocol {
        task: Task::Retrieval,
        about: "Train and test on Retrieval: does one paper cite the other?".to_owned(),
        strong: Strong::of(Numbers {
            rates: [5e-4, 5e-3],
            mask: 0.15,
            ..Numbers::default()
        }),
        seed: 4096,
        training: TrainingConfig {
            steps: 30_000,
            warmup: 8000,
            learning_rate: 1e-4,
            weight_decay: 0.01,
            evaluate_every: 300,
            checkpoint_every: 300,
            ..TrainingConfig::default()
        },
        about_data: "It is part of the Long Range Arena's archive: `ls-train fetch retrieval` \
                     downloads it (8 GB) while its address lasts. The archive, the folder tsv_data \
                     and one with lra_release in it serve as they are."
            .to_owned(),
        generate: None,
        own: None,
    }
}
