//! What the two kinds of training are for, which share all else.

use transformer_ls_infer::run::RunConfig;

/// What a model learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To classify.
    Classify,
    /// To fill in hidden tokens.
    FillIn,
}

impl Goal {
    /// What a run's model learns.
    pub(super) fn of(config: &RunConfig) -> Self {
        match config.pretraining {
            None => Self::Classify,
            Some(_) => Self::FillIn,
        }
    }

    /// What stands before the task on the command line.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Classify => "",
            Self::FillIn => "pretrain ",
        }
    }
}
