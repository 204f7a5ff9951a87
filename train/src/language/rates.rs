//! The learning rate as a function of the step, over all phases.

use transformer_ls_infer::language::LanguageTraining;
use transformer_ls_infer::run::ScheduleKind;

use crate::optim::{After, OptimError, Warmup};

/// The learning rate of the step taken after `step` others: each phase has a warmup of its own, and the
/// rate that a resume asked for holds until its phase ends.
///
/// # Errors
///
/// A phase without steps, with more warmup than steps, or without a rate.
pub fn learning_rate(training: &LanguageTraining, step: usize) -> Result<f64, OptimError> {
    let (number, before) = training.phase(step);
    let phase = training.phases[number];
    let after = match training.schedule {
        ScheduleKind::Cosine => After::Cosine,
        _ => After::Constant,
    };
    let rate = Warmup::new(phase.steps, phase.warmup, phase.learning_rate, after)?;
    let rate = rate.learning_rate(step - before);
    let changes = training.rate_changes.iter().rev();
    let mut begun = changes.filter(|change| (before..=step).contains(&change.step));
    Ok(match begun.next() {
        Some(change) => rate * (change.learning_rate / phase.learning_rate),
        None => rate,
    })
}

#[cfg(test)]
mod tests {
    use transformer_ls_infer::language::{CorpusKind, Phase};

    use super::*;
    use crate::language::presets;

    #[test]
    fn each_phase_has_its_warmup_and_a_change_ends_with_its_phase() {
        let preset = presets::find("laptop", CorpusKind::Bytes).expect("a preset");
        let phase = |learning_rate, warmup, steps| Phase {
            segment: 16,
            memory: 16,
            learning_rate,
            warmup,
            steps,
        };
        let mut training = LanguageTraining {
            phases: vec![phase(1.0, 4, 10), phase(0.5, 0, 4), phase(0.25, 2, 4)],
            schedule: ScheduleKind::Constant,
            ..preset.training
        };
        let rates = |training: &LanguageTraining| -> Vec<f64> {
            let rate = |step| learning_rate(training, step).expect("valid phases");
            (0..training.steps()).map(rate).collect()
        };
        let first = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let rest = [0.5, 0.5, 0.5, 0.5, 0.125, 0.25, 0.25, 0.25];
        assert_eq!(rates(&training), [&first[..], &rest].concat());
        training.change_rate(8, 0.1);
        let changed = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1];
        assert_eq!(rates(&training), [&changed[..], &rest].concat());
        assert_eq!(training.present_rate(0), 0.1);
        assert_eq!(training.present_rate(1), 0.5);
        let places = [0, 9, 10, 13, 14, 17, 18].map(|step| training.phase(step));
        let wanted = [(0, 0), (0, 0), (1, 10), (1, 10), (2, 14), (2, 14), (2, 14)];
        assert_eq!(places, wanted);
    }
}
