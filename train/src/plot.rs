//! Learning curves, several runs side by side: loss and accuracy over steps, or a language model's bits per
//! character over steps and over time.

use std::path::PathBuf;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use transformer_ls_datasets::Split;
use transformer_ls_infer::drawing::{self, Area, COLOURS, DrawingError, Drawn, FONT, GRID, INK};
use transformer_ls_infer::language::LanguageLine;
use transformer_ls_infer::run::MetricLine;

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
    /// Runs of both kinds were named.
    #[error(
        "classifiers' runs and language models' have no figure in common: plot them one kind at a time"
    )]
    Mixed,
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
    pub lines: Lines,
}

/// The evaluations of a run.
#[derive(Clone, Debug)]
pub enum Lines {
    /// Of one that learned to classify: the best model is that of the highest accuracy on dev.
    Classifying(Vec<MetricLine>),
    /// Of one that learned to fill in tokens: the best model is that of the lowest loss on dev.
    FillingIn(Vec<MetricLine>),
    /// Of a language model.
    Language(Vec<LanguageLine>),
}

/// What a panel shows of an evaluation: a point, and whether time takes the place of steps.
#[derive(Clone, Copy)]
enum Figure {
    Loss,
    Percent,
    Bits,
    BitsByMinute,
}

impl Figure {
    /// Left and right.
    fn of(curves: &[Curve]) -> Result<[Self; 2], PlotError> {
        let is_language = |curve: &Curve| matches!(curve.lines, Lines::Language(_));
        match curves.iter().filter(|curve| is_language(curve)).count() {
            0 => Ok([Self::Loss, Self::Percent]),
            all if all == curves.len() => Ok([Self::Bits, Self::BitsByMinute]),
            _ => Err(PlotError::Mixed),
        }
    }

    /// The panel's title, and what its axes measure.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Loss => ["Loss", "step", "cross-entropy (nats)"],
            Self::Percent => ["Accuracy", "step", "accuracy (%)"],
            Self::Bits => ["Bits per character by step", "step", "bits per character"],
            Self::BitsByMinute => ["The same by time", "minutes", "bits per character"],
        }
    }
}

impl Curve {
    /// Whether there are no evaluations.
    pub fn is_empty(&self) -> bool {
        match &self.lines {
            Lines::Classifying(lines) | Lines::FillingIn(lines) => lines.is_empty(),
            Lines::Language(lines) => lines.is_empty(),
        }
    }

    fn points(&self, split: Split, figure: Figure) -> Vec<(f64, f64)> {
        let points: Vec<(Split, (f64, f64))> = match &self.lines {
            Lines::Classifying(lines) | Lines::FillingIn(lines) => {
                let point = |line: &MetricLine| match figure {
                    Figure::Percent => (line.step as f64, percent(line)),
                    _ => (line.step as f64, line.loss),
                };
                lines.iter().map(|line| (line.split, point(line))).collect()
            }
            Lines::Language(lines) => {
                let point = |line: &LanguageLine| match figure {
                    Figure::BitsByMinute => (line.seconds / 60.0, line.bits_per_character),
                    _ => (line.step as f64, line.bits_per_character),
                };
                lines.iter().map(|line| (line.split, point(line))).collect()
            }
        };
        let points = points.into_iter().filter(|(of, _)| *of == split);
        let points = points.map(|(_, point)| point);
        points
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect()
    }

    /// Its name, the best evaluation on dev, and that of the test.
    fn summary(&self) -> String {
        // The first of equals, as training keeps it.
        let lowest = |figure: Figure| {
            let dev = self.points(Split::Dev, figure).into_iter();
            dev.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        let (best, (figure, decimals, unit)) = match self.lines {
            Lines::Classifying(_) => {
                let dev = self.points(Split::Dev, Figure::Percent).into_iter().rev();
                let best = dev.max_by(|a, b| a.1.total_cmp(&b.1));
                let best = best.map(|(step, y)| format!("best dev {y:.2} % at step {step}"));
                (best, (Figure::Percent, 2, " %"))
            }
            Lines::FillingIn(_) => {
                let best = lowest(Figure::Loss);
                let best = best.map(|(step, y)| format!("best dev loss {y:.4} at step {step}"));
                (best, (Figure::Percent, 2, " %"))
            }
            Lines::Language(_) => {
                let best = lowest(Figure::Bits);
                let best = best.map(|(step, y)| format!("best dev {y:.4} at step {step}"));
                (best, (Figure::Bits, 4, " bits per character"))
            }
        };
        let test = self.points(Split::Test, figure).pop();
        let test = test.map(|(_, y)| format!("test {y:.decimals$}{unit}"));
        let figures: Vec<_> = best.into_iter().chain(test).collect();
        match figures.as_slice() {
            [] => self.name.clone(),
            _ => format!("{}: {}", self.name, figures.join(", ")),
        }
    }
}

fn percent(line: &MetricLine) -> f64 {
    100.0 * line.accuracy
}

/// An SVG of the runs' loss (left) and accuracy (right): thin lines for training, thick ones for
/// dev, a dot for the test. A line for each run below says its best accuracy on dev and that of
/// the test; of a run that learned to fill in tokens its best loss on dev. Of language models both
/// panels show bits per character.
///
/// # Errors
///
/// [`PlotError::NoRuns`] without runs; [`PlotError::Mixed`] for runs of both kinds;
/// [`PlotError::Drawing`] if the drawing library fails.
pub fn svg(curves: &[Curve]) -> Result<String, PlotError> {
    if curves.is_empty() {
        return Err(PlotError::NoRuns);
    }
    let figures = Figure::of(curves)?;
    let height = PANELS + LINE * (curves.len() as u32 + 1) + FOOT;
    Ok(drawing::svg((WIDTH, height), |root| {
        draw(root, curves, figures)
    })?)
}

fn draw(root: &Area, curves: &[Curve], figures: [Figure; 2]) -> Drawn {
    let (panels, below) = root.split_vertically(PANELS);
    let (left, right) = panels.split_horizontally(WIDTH / 2);
    panel(&left, curves, figures[0])?;
    panel(&right, curves, figures[1])?;
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
    for (row, (curve, (colour, dashed))) in (0..).zip(curves.iter().zip(strokes())) {
        let middle = row * LINE as i32 + 8;
        let pieces: &[[i32; 2]] = match dashed {
            true => &[[0, SWATCH / 3], [2 * SWATCH / 3, SWATCH]],
            false => &[[0, SWATCH]],
        };
        for piece in pieces {
            let line = piece.map(|x| (LEFT + x, middle));
            area.draw(&PathElement::new(line, colour.stroke_width(3)))?;
        }
        area.draw(&text(curve.summary(), row))?;
    }
    let key = "Thin: training. Thick: dev. Dot: test.".to_owned();
    area.draw(&text(key, curves.len() as i32))?;
    Ok(())
}

/// A colour for each curve, and whether it is dashed: where there are more curves than colours.
fn strokes() -> impl Iterator<Item = (&'static RGBColor, bool)> {
    let of = |dashed| COLOURS.iter().map(move |colour| (colour, dashed));
    of(false).chain(of(true)).cycle()
}

fn panel(area: &Area, curves: &[Curve], figure: Figure) -> Drawn {
    let points = |curve: &Curve| Split::ALL.map(|split| curve.points(split, figure)).concat();
    let points: Vec<(f64, f64)> = curves.iter().flat_map(points).collect();
    let right = points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    // Steps are whole: so is the end of their axis.
    let right = match figure {
        Figure::BitsByMinute => right.max(0.1),
        _ => right.max(1.0),
    };
    let (low, high) = points
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, y)| {
            (low.min(*y), high.max(*y))
        });
    let [title, below, beside] = figure.words();
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.06).max(1e-3);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 19).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(Steps(right), (low - margin).max(0.0)..high + margin)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .y_labels(7)
        .x_desc(below)
        .y_desc(beside)
        .x_label_formatter(&|x| format!("{}", (x * 1e3).round() / 1e3))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    for (curve, (colour, dashed)) in curves.iter().zip(strokes()) {
        for (split, width, opacity) in [(Split::Train, 1, 0.45), (Split::Dev, 2, 1.0)] {
            let style = colour.mix(opacity).stroke_width(width);
            let points = curve.points(split, figure);
            // A line through one point would not be seen.
            let alone = (points.len() == 1).then(|| points.clone());
            match dashed {
                true => chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?,
                false => chart.draw_series(LineSeries::new(points, style))?,
            };
            let dot = |point| Circle::new(point, width + 1, style.filled());
            chart.draw_series(alone.into_iter().flatten().map(dot))?;
        }
        let tested = curve.points(Split::Test, figure).into_iter();
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

/// Seven at most of the steps from 0 on, by 1, 2 or 5 of a power of ten; of less than one, by hundredths.
fn ticks(steps: f64) -> Vec<f64> {
    let first = if steps < 1.0 { -2 } else { 0 };
    let powers = (first..).map(|power| 10f64.powi(power));
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
            lines: Lines::Classifying(lines),
        }
    }

    #[test]
    fn the_best_of_a_pretraining_run_is_by_loss() {
        let Lines::Classifying(lines) = curve("run").lines else {
            unreachable!("it is a classifier's");
        };
        let run = Curve {
            lines: Lines::FillingIn(lines),
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

    #[test]
    fn curves_beyond_the_colours_are_dashed() {
        let lines = |count: usize| {
            let curves: Vec<Curve> = (0..count).map(|i| curve(&format!("run {i}"))).collect();
            svg(&curves).unwrap().matches("<polyline").count()
        };
        let colours = COLOURS.len();
        let [whole, dashed] = [colours, colours + 1].map(|count| lines(count) - lines(count - 1));
        assert!(
            dashed > 2 * whole,
            "{dashed} lines, {whole} where it is whole"
        );
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
                lines: Lines::Classifying(vec![line(steps, Split::Dev, 2.31, 0.123)]),
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
        let lines = Lines::Classifying(vec![line(3, Split::Dev, f64::NAN, 0.1)]);
        let name = "short".to_owned();
        assert!(svg(&[Curve { name, lines }]).is_ok());
        assert!(matches!(svg(&[]), Err(PlotError::NoRuns)));
    }

    #[test]
    fn a_language_models_bits_are_drawn_by_step_and_by_time() {
        let line = |step, split, bits_per_character| LanguageLine {
            step,
            phase: 0,
            split,
            bits_per_character,
            characters: 1000,
            learning_rate: 1e-3,
            characters_per_second: 1e4,
            seconds: step as f64 * 0.6,
            device_bytes: None,
        };
        let lines = vec![
            line(100, Split::Train, 3.0),
            line(100, Split::Dev, 2.75),
            line(200, Split::Train, 2.5),
            line(200, Split::Dev, 2.25),
            line(200, Split::Test, 2.125),
        ];
        let run = Curve {
            name: "book".into(),
            lines: Lines::Language(lines),
        };
        let summary = "book: best dev 2.2500 at step 200, test 2.1250 bits per character";
        assert_eq!(run.summary(), summary);
        let picture = svg(std::slice::from_ref(&run)).unwrap();
        for text in [summary, "bits per character", "minutes", "step"] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(matches!(svg(&[run, curve("other")]), Err(PlotError::Mixed)));
    }
}
