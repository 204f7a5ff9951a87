//! The folder of a language model's run.

use std::collections::BTreeMap;

use transformer_ls_burn::weights::StateDict;

use super::LanguageConfig;
use crate::run::{Configuration, Folder, RunError};
use crate::weights_file::{self, CONFIG_KEY, DEV_BITS_KEY, STEP_KEY};

/// The folder of a language model's run.
pub type LanguageFolder = Folder<LanguageConfig>;

impl Folder<LanguageConfig> {
    /// Writes `model.safetensors`, with the configuration, the step and the bits per character on dev
    /// in its metadata, so that the file can stand alone.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn save_weights(
        &self,
        state: &StateDict,
        step: usize,
        dev_bits: f64,
    ) -> Result<(), RunError> {
        let metadata = BTreeMap::from([
            (CONFIG_KEY.to_string(), self.config().to_json()),
            (STEP_KEY.to_string(), step.to_string()),
            (DEV_BITS_KEY.to_string(), dev_bits.to_string()),
        ]);
        weights_file::save_state(&self.weights_path(), state, &metadata)?;
        Ok(())
    }
}
