//! Time and memory over the documents' length, both axes logarithmic.

use std::ops::Range;

use plotters::prelude::*;
use transformer_ls_infer::drawing::{self, Area, COLOURS, DrawingError, Drawn, FONT, GRID, INK};

use super::job::{Line, Pass, Path};

/// Width and height of the picture, in points.
const SIZE: (u32, u32) = (1100, 480);
/// Thin for the forward pass, thick for both.
const PASSES: [(Pass, u32); 2] = [(Pass::Forward, 1), (Pass::ForwardBackward, 3)];

/// What a panel shows of a measurement.
type Value = fn(&Line) -> Option<f64>;

/// One line in a panel.
struct Curve {
    label: String,
    colour: RGBColor,
    width: u32,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Of the variant with this number among those that were measured.
    fn new(
        lines: &[Line],
        (number, variant): (usize, &str),
        (pass, width): (Pass, u32),
        value: Value,
    ) -> Self {
        let points = lines
            .iter()
            .filter(|line| line.job.variant() == variant && line.job.pass == pass)
            .filter_map(|line| Some((line.job.n as f64, value(line)?)))
            .filter(|(_, value)| value.is_finite() && *value > 0.0);
        Self {
            label: format!("{variant} {pass}"),
            colour: COLOURS[number % COLOURS.len()],
            width,
            // There are more variants than colours.
            dashed: number >= COLOURS.len(),
            points: points.collect(),
        }
    }
}

/// An SVG of the time (left) and the memory (right) of every path, or kind of attention, and pass: thin
/// lines for the forward pass, thick ones for forward and backward; dashed, the floor of long-short
/// attention.
///
/// # Errors
///
/// [`DrawingError::Failed`] if the drawing library fails.
pub fn svg(lines: &[Line]) -> Result<String, DrawingError> {
    drawing::svg(SIZE, |root| draw(root, lines))
}

fn draw(root: &Area, lines: &[Line]) -> Drawn {
    let mut plots = root.clone();
    if let Some(line) = lines.first() {
        let style = (FONT, 15).into_font().color(&INK);
        plots = root.titled(&line.job.heading(), style)?;
    }
    let (left, right) = plots.split_horizontally(SIZE.0 / 2);
    let mut variants: Vec<String> = Vec::new();
    for variant in lines.iter().map(|line| line.job.variant()) {
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    let curves = |value: Value| -> Vec<Curve> {
        let numbered = variants.iter().map(String::as_str).enumerate();
        let of_one = |variant| PASSES.map(|pass| Curve::new(lines, variant, pass, value));
        numbered.flat_map(of_one).collect()
    };
    let mut times = curves(|line| Some(line.milliseconds));
    // The floor is the same for both implementations of long-short attention, up to the bandwidth
    // that each process measured: the first one's is drawn.
    let names = [Path::Fused, Path::Plain].map(|path| path.to_string());
    if let Some(name) = names.iter().find(|name| variants.contains(name)) {
        times.extend(PASSES.map(|pass| Curve {
            label: format!("floor {}", pass.0),
            colour: INK,
            dashed: true,
            ..Curve::new(lines, (0, name), pass, |line| line.floor_milliseconds)
        }));
    }
    let memory = curves(|line| line.peak_bytes.map(|bytes| bytes as f64 / 1e6));
    panel(&left, &times, "Time", "milliseconds")?;
    panel(&right, &memory, "Memory", "peak, MB")
}

/// The smallest and the largest value; 1 and 10 without values.
fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match low <= high {
        true => (low, high),
        false => (1.0, 10.0),
    }
}

/// So much room on either side that a power of two lies in the range, which is where labels are.
fn lengths(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = extremes(values);
    low / 1.5..high * 1.5
}

/// Whole decades, with room for the legend at the top.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = extremes(values);
    let bottom = low.log10().floor();
    let top = high.log10();
    let top = (top + 0.4 * (top - bottom)).ceil().max(bottom + 1.0);
    10f64.powf(bottom)..10f64.powf(top)
}

fn panel(area: &Area, curves: &[Curve], title: &str, axis: &str) -> Drawn {
    let all = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let lengths = lengths(all().map(|(n, _)| n)).log_scale().base(2.0);
    let values = decades(all().map(|(_, value)| value)).log_scale();
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 19).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(lengths, values)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(9)
        .y_labels(9)
        .x_desc("tokens")
        .y_desc(axis)
        .x_label_formatter(&|n| length(n.round() as usize))
        .y_label_formatter(&|value| {
            let decimals = (-value.log10().round()).max(0.0) as usize;
            format!("{value:.decimals$}")
        })
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    for curve in curves.iter().filter(|curve| !curve.points.is_empty()) {
        let style = curve.colour.stroke_width(curve.width);
        let points = curve.points.clone();
        let drawn = match curve.dashed {
            true => chart.draw_series(DashedLineSeries::new(points.clone(), 6, 4, style))?,
            false => chart.draw_series(LineSeries::new(points.clone(), style))?,
        };
        let dash = if curve.dashed { 6 } else { 18 };
        drawn
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + dash, y)], style));
        if curve.colour != INK {
            let dot = |point| Circle::new(point, curve.width + 1, curve.colour.filled());
            chart.draw_series(points.into_iter().map(dot))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font((FONT, 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// A number of tokens as `--n` takes it: `1K` is 1024.
fn length(n: usize) -> String {
    match n {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}K", n >> 10),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::{Job, Sizes, Subject};
    use transformer_ls_infer::run::Precision;

    use super::*;

    fn line(path: Path, pass: Pass, n: usize) -> Line {
        let (h, d, r, w) = (2, 32, 32, 8);
        Line {
            job: Job {
                device: "flex".into(),
                adapter: "a processor".into(),
                path,
                pass,
                b: 1,
                n,
                precision: Precision::F32,
                profile: false,
                subject: Subject::Attention(Sizes { h, d, r, w }),
            },
            milliseconds: n as f64 / 700.0,
            gflops: Some(1.0),
            tokens_per_second: None,
            peak_bytes: Some(50_000_000 + 600 * n as u64),
            floor_milliseconds: Some(n as f64 / 5000.0),
            bytes_per_second: None,
            kernels: Vec::new(),
        }
    }

    #[test]
    fn every_curve_and_axis_is_named() {
        let of_path = |path| {
            let lengths = [1024, 4096, 65_536, 1 << 20].into_iter();
            lengths.map(move |n| line(path, Pass::ForwardBackward, n))
        };
        let paths = [Path::Fused, Path::Plain, Path::Dense];
        let lines: Vec<Line> = paths.into_iter().flat_map(of_path).collect();
        let picture = svg(&lines).unwrap();
        for text in [
            "fused forward_backward",
            "plain forward_backward",
            "dense forward_backward",
            "floor forward_backward",
            "tokens",
            "milliseconds",
            "peak, MB",
            ">\n4K\n<",
            ">\n1M\n<",
            "flex (a processor): batch 1, 2 heads of width 32, rank 32, window 8",
        ] {
            assert!(picture.contains(text), "{text}\n{picture}");
        }
        assert!(!picture.contains("fused forward\n"));
        assert!(svg(&[line(Path::Dense, Pass::Forward, 100)]).is_ok());
        assert!(svg(&[]).is_ok());
    }

    #[test]
    fn axes_have_labels_whatever_the_values() {
        assert_eq!(decades([35.0, 48.0].into_iter()), 10.0..100.0);
        assert_eq!(decades([0.2, 4000.0].into_iter()), 0.1..1e6);
        assert_eq!(decades([].into_iter()), 1.0..100.0);
        for n in [1.0, 100.0, 180.0, 65_536.0] {
            let range = lengths([n].into_iter());
            let label = 2f64.powf(range.start.log2().ceil());
            assert!(range.contains(&label), "{n}");
        }
    }
}
