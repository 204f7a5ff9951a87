//! The renderer handed to `burn-train`. On a terminal it is `burn-train`'s own dashboard, which gets
//! the progress of the whole run instead of epochs. Elsewhere it is silent: `burn-train`'s own prints
//! its progress at every step and never a metric. The loop prints lines there (`progress.rs`).

use std::error::Error;
use std::sync::{Arc, Mutex};

use burn::train::logger::{EvaluationProgressLogger, MetricLogger, TrainingProgressLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn::train::{Interrupter, LearnerSummary};

use super::lock;
use super::progress::Display;

/// The title above the dashboard's figures, which the loop keeps up to date.
pub type Title = Arc<Mutex<String>>;

/// The renderer for `display`; `step` is the number of steps already behind.
pub fn renderer(
    display: Display,
    interrupter: &Interrupter,
    step: usize,
    title: Title,
) -> Box<dyn MetricsRenderer> {
    let inner = (display == Display::Dashboard).then(|| {
        let resumed = (step > 0).then_some(step);
        TuiMetricsRendererWrapper::new(interrupter.clone(), resumed)
    });
    Box::new(Dashboard { inner, title })
}

/// `burn-train`'s dashboard, whose items are the steps of the whole run; `None` renders nothing.
struct Dashboard {
    inner: Option<TuiMetricsRendererWrapper>,
    title: Title,
}

impl Dashboard {
    fn tell(&mut self, tell: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        if let Some(inner) = &mut self.inner {
            tell(inner);
        }
    }
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, state: MetricState) {
        self.tell(|inner| inner.update_train(state));
    }
    fn update_valid(&mut self, state: MetricState) {
        self.tell(|inner| inner.update_valid(state));
    }
    fn on_train_end(&mut self, summary: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        match &mut self.inner {
            Some(inner) => inner.on_train_end(summary),
            None => Ok(()),
        }
    }
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, name: EvaluationName, state: MetricState) {
        self.tell(|inner| inner.update_test(name, state));
    }
}

impl TrainingProgressLogger for Dashboard {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, split: &str, total_items: usize) {
        self.tell(|inner| inner.start_split(split, total_items));
    }
    fn update_split(&mut self, items_processed: usize) {
        let title = lock(&self.title).clone();
        self.tell(|inner| {
            // A title is only taken at a start; without epochs its progress is that of the items.
            inner.start(0, 0, None, Some(title.as_str()));
            inner.update_split(items_processed);
        });
    }
    fn end_split(&mut self) {
        self.tell(|inner| inner.end_split());
    }
    fn end(&mut self) {
        self.tell(|inner| inner.end());
    }
    fn log_event_training(&mut self, event: String) {
        self.tell(|inner| inner.log_event_training(event));
    }
}

impl EvaluationProgressLogger for Dashboard {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {
        self.tell(|inner| inner.manual_close());
    }
    fn register_metric(&mut self, definition: MetricDefinition) {
        self.tell(|inner| inner.register_metric(definition));
    }
}

/// Keeps `burn-train` from writing its text files, a folder an epoch: a run's figures are
/// in `metrics.jsonl`, which a resume can cut to where its checkpoint was.
pub struct NoTextFiles;

impl MetricLogger for NoTextFiles {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}
    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}
