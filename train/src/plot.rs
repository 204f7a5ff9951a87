//! Learning curves: loss and accuracy over steps, several runs side by side.

use std::path::PathBuf;

use plotters::prelude::*;
use transformer_ls_datasets::Split;
use transformer_ls_infer::run::MetricLine;

use crate::drawing::{self, Area, COLOURS, DrawingError, Drawn, FONT, GRID, INK};

/// Width and height of the picture, in points.
const SIZE: (u32, u32) = (1100, 460);
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
}

fn loss(line: &MetricLine) -> f64 {
    line.loss
}

fn percent(line: &MetricLine) -> f64 {
    100.0 * line.accuracy
}

/// An SVG of the runs' loss (left) and accuracy (right): thin lines for training, thick ones for
/// dev, a dot for the test.
///
/// # Errors
///
/// [`PlotError::NoRuns`] without runs; [`PlotError::Drawing`] if the drawing library fails.
pub fn svg(curves: &[Curve]) -> Result<String, PlotError> {
    if curves.is_empty() {
        return Err(PlotError::NoRuns);
    }
    Ok(drawing::svg(SIZE, |root| draw(root, curves))?)
}

fn draw(root: &Area, curves: &[Curve]) -> Drawn {
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    let steps = curves
        .iter()
        .flat_map(|curve| &curve.lines)
        .map(|line| line.step)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    panel(&left, curves, steps, "Loss", "cross-entropy (nats)", loss)?;
    panel(&right, curves, steps, "Accuracy", "accuracy (%)", percent)?;
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
    let all: Vec<(f64, f64)> = curves
        .iter()
        .flat_map(|curve| Split::ALL.map(|split| curve.points(split, value)))
        .flatten()
        .collect();
    let values = all.iter().map(|(_, value)| *value);
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
        .build_cartesian_2d(0.0..steps * 1.02, (low - margin).max(0.0)..high + margin)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(6)
        .y_labels(7)
        .x_desc("step")
        .y_desc(axis)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let prefix = match curves.len() {
            1 => String::new(),
            _ => format!("{} ", curve.name),
        };
        for (split, width, opacity) in [(Split::Train, 1, 0.45), (Split::Dev, 2, 1.0)] {
            let style = ShapeStyle {
                color: colour.mix(opacity),
                filled: false,
                stroke_width: width,
            };
            let points = curve.points(split, value);
            if points.is_empty() {
                continue;
            }
            let alone = points.len() == 1;
            let drawn = chart.draw_series(LineSeries::new(points.clone(), style))?;
            drawn
                .label(format!("{prefix}{split}"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            if alone {
                chart.draw_series(
                    points
                        .into_iter()
                        .map(|point| Circle::new(point, width + 1, style.filled())),
                )?;
            }
        }
        let tested = curve.points(Split::Test, value);
        if let Some((_, figure)) = tested.last().copied() {
            let style = colour.filled();
            chart
                .draw_series(tested.into_iter().map(|point| Circle::new(point, 5, style)))?
                .label(format!("{prefix}test {figure:.2}"))
                .legend(move |(x, y)| Circle::new((x + 9, y), 5, style));
        }
    }
    let middle = (steps / 2.0, (low + high) / 2.0);
    chart
        .configure_series_labels()
        .position(emptiest_corner(&all, middle))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font((FONT, 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// The corner of a panel with the fewest points, for the legend.
fn emptiest_corner(points: &[(f64, f64)], middle: (f64, f64)) -> SeriesLabelPosition {
    let inside = |right: bool, upper: bool| {
        let here = |&&(x, y): &&(f64, f64)| (x > middle.0) == right && (y > middle.1) == upper;
        points.iter().filter(here).count()
    };
    let corners = [
        (inside(true, true), SeriesLabelPosition::UpperRight),
        (inside(true, false), SeriesLabelPosition::LowerRight),
        (inside(false, true), SeriesLabelPosition::UpperLeft),
        (inside(false, false), SeriesLabelPosition::LowerLeft),
    ];
    let emptiest = corners.into_iter().min_by_key(|(points, _)| *points);
    emptiest.map_or(SeriesLabelPosition::UpperRight, |(_, corner)| corner)
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
        }
    }

    #[test]
    fn two_runs_are_told_apart_and_axes_are_labelled() {
        let picture = svg(&[curve("first"), curve("second")]).unwrap();
        for text in [
            "first train",
            "second dev",
            "first test 38.50",
            "cross-entropy (nats)",
            "accuracy (%)",
            "step",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(picture.contains("#0072B2") && picture.contains("#D55E00"));
    }

    #[test]
    fn the_legend_goes_where_no_curve_is() {
        let falling = [(1.0, 9.0), (2.0, 3.0), (8.0, 2.0), (9.0, 1.0)];
        let corner = emptiest_corner(&falling, (5.0, 5.0));
        assert!(matches!(corner, SeriesLabelPosition::UpperRight));
        let high = [(1.0, 1.0), (2.0, 8.0), (8.0, 9.0), (9.0, 9.0)];
        let corner = emptiest_corner(&high, (5.0, 5.0));
        assert!(matches!(corner, SeriesLabelPosition::LowerRight));
    }

    #[test]
    fn one_evaluation_and_a_lost_loss_can_be_drawn() {
        let lines = vec![line(3, Split::Dev, f64::NAN, 0.1)];
        let name = "short".to_owned();
        assert!(svg(&[Curve { name, lines }]).is_ok());
        assert!(matches!(svg(&[]), Err(PlotError::NoRuns)));
    }
}
