//! Image: grey CIFAR-10, 1024 pixels as ids, ten classes.
//!
//! The Transformer-LS release trains no image task. The protocol is Nyströmformer's
//! (`LRA/code/lra_config.py`), whose training the release shares: batches of 256, 35000 steps, the
//! rate's peak at step 175, no weight decay, dev every 175 steps, the Long Range Arena's split.

use transformer_ls_burn::Reconstruction;
use transformer_ls_datasets::Task;
use transformer_ls_infer::run::TrainingConfig;

use super::Protocol;
use super::strong::{Numbers, Strong};

/// Image as Nyströmformer trains it.
pub fn protocol() -> Protocol {
    Protocol {
        task: Task::Image,
        about: "Train and test on Image: grey CIFAR-10, a pixel a token".to_owned(),
        strong: Strong::of(Numbers {
            steps: 35_000,
            batch_size: 128,
            rates: [1e-3, 1e-3],
            mask: 0.5,
            compared_by: Reconstruction::L1,
            ..Numbers::default()
        }),
        seed: 1234,
        training: TrainingConfig {
            steps: 35_000,
            warmup: 175,
            learning_rate: 1e-4,
            batch_size: 256,
            evaluate_every: 175,
            checkpoint_every: 175,
            eval_batch_size: 256,
            ..TrainingConfig::default()
        },
        about_data: "`ls-train fetch image` downloads it (170 MB). CIFAR-10's binary \
                     batches and their archive serve as they are."
            .to_owned(),
        generate: None,
        own: None,
    }
}
