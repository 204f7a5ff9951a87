//! Learning curves: loss and accuracy over steps, several runs side by side.

use std::path::PathBuf;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use transformer_ls_datasets::Split;
use transformer_ls_infer::run::MetricLine;

use crate::drawing::{self, Area, COLOURS, DrawingError, Drawn, FONT, GRID, INK};

/// Width of the picture, in points.
const WIDTH: u32 = 1100;
/// Height of the two panels.
const PANELS: u32 = 440;
/// Height of a line of the legend below them.
const LINE: u32 = 22;
/// Space below the legend.
const FOOT: u32 = 14;

/// Why there are no curves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// No run was named.
    #[error("name at least one run folder to plot")]
    NoRuns,
    /// A run has not evaluated yet.
    #[error("{} has no evaluations to plot yet: let the run go on first", .0.display())]
    Empty(PathBuf),
    /// The picture failed.
    #[error(transparent)]
    Drawing(#[from] DrawingError),
}

/// One run's curves.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its evaluations.
    pub lines: Vec<MetricLine>,
    /// Whether it learned to fill in tokens: its best model is that of the lowest loss on dev.
    pub is_pretraining: bool,
}

impl Curve {
    fn points(&self, split: Split, value: fn(&MetricLine) -> f64) -> Vec<(f64, f64)> {
        self.lines
            .iter()
            .filter(|line| line.split == split)
            .map(|line| (line.step as f64, value(line)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    }

    /// Its name, the best evaluation on dev, and the accuracy of the test.
    fn summary(&self) -> String {
        let dev = self.lines.iter().filter(|line| line.split == Split::Dev);
        // The first of equals, as training keeps it.
        let best = match self.is_pretraining {
            true => dev
                .filter(|line| line.loss.is_finite())
                .min_by(|a, b| a.loss.total_cmp(&b.loss))
                .map(|line| format!("best dev loss {:.4} at step {}", line.loss, line.step)),
            false => dev
                .filter(|line| line.accuracy.is_finite())
                .rev()
                .max_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
                .map(|line| format!("best dev {:.2} % at step {}", percent(line), line.step)),
        };
        let mut tests = self.lines.iter().filter(|line| line.split == Split::Test);
        let test = tests
            .next_back()
            .map(|line| format!("test {:.2} %", percent(line)));
        let figures: Vec<_> = best.into_iter().chain(test).collect();
        match figures.as_slice() {
            [] => self.name.clone(),
            _ => format!("{}: {}", self.name, figures.join(", ")),
        }
    }
}

fn loss(line: &MetricLine) -> f64 {
    line.loss
}

fn percent(line: &MetricLine) -> f64 {
    100.0 * line.accuracy
}

/// An SVG of the runs' loss (left) and accuracy (right): thin lines for training, thick ones for
/// dev, a dot for the test. A line for each run below says its best accuracy on dev and that of
/// the test; of a run that learned to fill in tokens its best loss on dev.
///
/// # Errors
///
/// [`PlotError::NoRuns`] without runs; [`PlotError::Drawing`] if the drawing library fails.
pub fn svg(curves: &[Curve]) -> Result<String, PlotError> {
    if curves.is_empty() {
        return Err(PlotError::NoRuns);
    }
    let height = PANELS + LINE * (curves.len() as u32 + 1) + FOOT;
    Ok(drawing::svg((WIDTH, height), |root| draw(root, curves))?)
}

fn draw(root: &Area, curves: &[Curve]) -> Drawn {
    let (panels, below) = root.split_vertically(PANELS);
    let (left, right) = panels.split_horizontally(WIDTH / 2);
    let steps = curves
        .iter()
        .flat_map(|curve| &curve.lines)
        .map(|line| line.step)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    panel(&left, curves, steps, "Loss", "cross-entropy (nats)", loss)?;
    panel(&right, curves, steps, "Accuracy", "accuracy (%)", percent)?;
    legend(&below, curves)
}

/// The legend has a place of its own: inside a panel it would hide a curve of some run.
fn legend(area: &Area, curves: &[Curve]) -> Drawn {
    const LEFT: i32 = 72;
    const SWATCH: i32 = 30;
    let text = |words: String, row: i32| {
        let style = (FONT, 14).into_font().color(&INK);
        Text::new(words, (LEFT + SWATCH + 10, row * LINE as i32), style)
    };
    for (row, (curve, colour)) in (0..).zip(curves.iter().zip(COLOURS.iter().cycle())) {
        let middle = row * LINE as i32 + 8;
        let line = [(LEFT, middle), (LEFT + SWATCH, middle)];
        area.draw(&PathElement::new(line, colour.stroke_width(3)))?;
        area.draw(&text(curve.summary(), row))?;
    }
    let key = "Thin: training. Thick: dev. Dot: test.".to_owned();
    area.draw(&text(key, curves.len() as i32))?;
    Ok(())
}

fn panel(
    area: &Area,
    curves: &[Curve],
    steps: f64,
    title: &str,
    axis: &str,
    value: fn(&MetricLine) -> f64,
) -> Drawn {
    let values = curves
        .iter()
        .flat_map(|curve| Split::ALL.map(|split| curve.points(split, value)))
        .flatten()
        .map(|(_, value)| value);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.06).max(1e-3);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 19).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(Steps(steps), (low - margin).max(0.0)..high + margin)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .y_labels(7)
        .x_desc("step")
        .y_desc(axis)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        for (split, width, opacity) in [(Split::Train, 1, 0.45), (Split::Dev, 2, 1.0)] {
            let style = colour.mix(opacity).stroke_width(width);
            let points = curve.points(split, value);
            // A line through one point would not be seen.
            let alone = (points.len() == 1).then(|| points.clone());
            chart.draw_series(LineSeries::new(points, style))?;
            let dot = |point| Circle::new(point, width + 1, style.filled());
            chart.draw_series(alone.into_iter().flatten().map(dot))?;
        }
        let tested = curve.points(Split::Test, value).into_iter();
        chart.draw_series(tested.map(|point| Circle::new(point, 5, colour.filled())))?;
    }
    Ok(())
}

/// An axis of steps: plotters' own of numbers has ticks between them.
struct Steps(f64);

impl Ranged for Steps {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, step: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(step, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        ticks(self.0)
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.0 * 1.02
    }
}

/// Seven at most of the steps from 0 on, by 1, 2 or 5 of a power of ten.
fn ticks(steps: f64) -> Vec<f64> {
    let powers = (0..).map(|power| 10f64.powi(power));
    let mut strides = powers.flat_map(|power| [power, 2.0 * power, 5.0 * power]);
    let stride = strides.find(|stride| *stride >= steps / 6.0);
    let tick = |number| f64::from(number) * stride.unwrap_or(steps);
    let ticks = (0..).map(tick);
    ticks.take_while(|tick| *tick <= steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize, split: Split, loss: f64, accuracy: f64) -> MetricLine {
        MetricLine {
            step,
            split,
            loss,
            accuracy,
            learning_rate: 1e-4,
            tokens_per_second: 1e4,
            seconds: step as f64,
            device_bytes: None,
        }
    }

    fn curve(name: &str) -> Curve {
        let mut lines = Vec::new();
        for step in (50..=500).step_by(50) {
            let loss = 1.5 + 100.0 / step as f64;
            lines.push(line(step, Split::Train, loss, 0.3));
            lines.push(line(step, Split::Dev, loss + 0.1, 0.28));
        }
        lines.push(line(450, Split::Test, 1.7, 0.385));
        Curve {
            name: name.into(),
            lines,
            is_pretraining: false,
        }
    }

    #[test]
    fn the_best_of_a_pretraining_run_is_by_loss() {
        let run = Curve {
            is_pretraining: true,
            ..curve("run")
        };
        // 1.5 + 100 / 500 + 0.1
        assert_eq!(
            run.summary(),
            "run: best dev loss 1.8000 at step 500, test 38.50 %"
        );
    }

    #[test]
    fn two_runs_are_told_apart_and_axes_are_labelled() {
        let picture = svg(&[curve("first"), curve("second")]).unwrap();
        for text in [
            "first: best dev 28.00 % at step",
            "second: best dev",
            "test 38.50 %",
            "cross-entropy (nats)",
            "accuracy (%)",
            "step",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(picture.contains("#0072B2") && picture.contains("#D55E00"));
    }

    /// The texts below the panels' axes: plotters writes each with its place, and the title between.
    fn tick_labels(picture: &str) -> Vec<Vec<usize>> {
        let mut below = std::collections::BTreeMap::new();
        let lines: Vec<&str> = picture.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with("<text")) {
            if let (true, Ok(step)) = (pair[0].contains("middle"), pair[1].trim().parse()) {
                let x = pair[0].split("x=\"").nth(1).unwrap();
                let x: u32 = x.split('"').next().unwrap().parse().unwrap();
                below
                    .entry(x < WIDTH / 2)
                    .or_insert_with(Vec::new)
                    .push(step);
            }
        }
        below.into_values().collect()
    }

    #[test]
    fn an_axis_has_each_of_its_steps_once() {
        for (steps, wanted) in [
            (1, vec![0, 1]),
            (2, vec![0, 1, 2]),
            (3, vec![0, 1, 2, 3]),
            (5, vec![0, 1, 2, 3, 4, 5]),
            (50, vec![0, 10, 20, 30, 40, 50]),
            (5000, vec![0, 1000, 2000, 3000, 4000, 5000]),
        ] {
            let run = Curve {
                lines: vec![line(steps, Split::Dev, 2.31, 0.123)],
                ..curve("run")
            };
            let picture = svg(&[run]).unwrap();
            let labels = tick_labels(&picture);
            assert_eq!(labels, [wanted.clone(), wanted], "{picture}");
        }
        for steps in 1..2000 {
            assert!((2..=7).contains(&ticks(f64::from(steps)).len()), "{steps}");
        }
    }

    #[test]
    fn one_evaluation_and_a_lost_loss_can_be_drawn() {
        let lines = vec![line(3, Split::Dev, f64::NAN, 0.1)];
        let name = "short".to_owned();
        let is_pretraining = false;
        let short = Curve {
            name,
            lines,
            is_pretraining,
        };
        assert!(svg(&[short]).is_ok());
        assert!(matches!(svg(&[]), Err(PlotError::NoRuns)));
    }
}
