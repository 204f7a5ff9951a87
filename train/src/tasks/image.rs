//! Image: grey CIFAR-10, 1024 pixels as ids, ten classes.
//!
//! The Transformer-LS release trains no image task. The protocol is Nyströmformer's
//! (`LRA/code/lra_config.py`), whose training the release shares: batches of 256, 35000 steps, the
//! rate's peak at step 175, no weight decay, dev every 175 steps, the Long Range Arena's split.

use transformer_ls_infer::run::TrainingConfig;

use super::{Protocol, strong};

/// Image as Nyströmformer trains it.
pub fn protocol() -> Protocol {
    Protocol {
        task: "image",
        preset: "image",
        strong: strong::of("image"),
        seed: 1234,
        training: TrainingConfig {
            steps: 35_000,
            warmup: 175,
            learning_rate: 1e-4,
            weight_decay: 0.0,
            beta2: 0.999,
            epsilon: 1e-6,
            batch_size: 256,
            evaluate_every: 175,
            checkpoint_every: 175,
            eval_batch_size: 256,
            ..TrainingConfig::default()
        },
        tokenizer: None,
        difficulty: None,
        about_data: "`ls-train fetch image` downloads it (170 MB). CIFAR-10's binary \
                     batches and their archive serve as they are."
            .to_owned(),
        generate: None,
    }
}
