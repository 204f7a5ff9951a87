//! What every picture has in common: colours, letters, and the files it can be written as.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;

/// The letters of all words.
pub const FONT: &str = "sans-serif";
/// Lines that only guide the eye.
pub const GRID: RGBColor = RGBColor(232, 232, 232);
/// Words and axes.
pub const INK: RGBColor = RGBColor(51, 51, 51);

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// Pixels of a PNG for each point of the picture, so that screens of twice the density show it sharp.
const PIXELS_A_POINT: f32 = 2.0;

/// What a picture is drawn on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// How the functions that draw end.
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrawingError {
    /// The drawing library failed.
    #[error("the picture could not be drawn: {0}")]
    Failed(String),
    /// The file's name asks for another kind of picture.
    #[error(
        "{} ends neither in .svg nor in .png, the pictures that can be drawn: give --out such a name",
        .0.display()
    )]
    Format(PathBuf),
}

fn failed(error: impl std::fmt::Display) -> DrawingError {
    DrawingError::Failed(error.to_string())
}

/// A kind of picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines and letters, sharp at any size.
    Svg,
    /// Pixels, two for each point of the picture.
    Png,
}

impl Format {
    /// The kind that the file's name ends in.
    ///
    /// # Errors
    ///
    /// [`DrawingError::Format`] for any other ending.
    pub fn of(file: &Path) -> Result<Self, DrawingError> {
        let ending = file.extension().unwrap_or(OsStr::new(""));
        match ending {
            _ if ending.eq_ignore_ascii_case("svg") => Ok(Self::Svg),
            _ if ending.eq_ignore_ascii_case("png") => Ok(Self::Png),
            _ => Err(DrawingError::Format(file.to_owned())),
        }
    }

    /// The content of a file of this kind that shows the SVG.
    ///
    /// # Errors
    ///
    /// [`DrawingError::Failed`] if the text is no SVG, or too large to be a PNG.
    pub fn encode(self, svg: String) -> Result<Vec<u8>, DrawingError> {
        match self {
            Self::Svg => Ok(svg.into_bytes()),
            Self::Png => png(&svg),
        }
    }
}

/// The letters come with the program: a machine without fonts draws the same picture.
fn png(svg: &str) -> Result<Vec<u8>, DrawingError> {
    let mut options = usvg::Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let tree = usvg::Tree::from_str(svg, &options).map_err(failed)?;
    let size = tree.size().to_int_size().scale_by(PIXELS_A_POINT);
    let mut pixels = size
        .and_then(|size| Pixmap::new(size.width(), size.height()))
        .ok_or_else(|| failed("it is too large"))?;
    let scale = Transform::from_scale(PIXELS_A_POINT, PIXELS_A_POINT);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels.encode_png().map_err(failed)
}

/// A white picture of this width and height in points, with what `draw` draws, as SVG.
///
/// # Errors
///
/// [`DrawingError::Failed`] if the drawing library fails.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<String, DrawingError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        draw(&root).map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_ends_in() {
        for (name, format) in [("a.svg", Format::Svg), ("b/a.b.PNG", Format::Png)] {
            assert_eq!(Format::of(Path::new(name)).unwrap(), format, "{name}");
        }
        for name in ["a", "a.jpg", "png", ".svg", ""] {
            assert!(Format::of(Path::new(name)).is_err(), "{name}");
        }
    }

    /// The pixels of a picture with a blue square of 10 points in its corner, and a word below.
    #[test]
    fn squares_and_letters_come_out_as_pixels() {
        let svg = svg((60, 40), |root| {
            root.draw(&Rectangle::new([(0, 0), (10, 10)], COLOURS[0].filled()))?;
            let style = (FONT, 16).into_font().color(&INK);
            root.draw(&Text::new("word", (5, 20), style))?;
            Ok(())
        });
        let png = Format::Png.encode(svg.unwrap()).unwrap();
        let picture = Pixmap::decode_png(&png).unwrap();
        assert_eq!((picture.width(), picture.height()), (120, 80));
        let colour = |x, y| {
            let pixel = picture.pixel(x, y).unwrap();
            (pixel.red(), pixel.green(), pixel.blue())
        };
        assert_eq!(colour(10, 10), (0, 114, 178));
        assert_eq!(colour(100, 10), (255, 255, 255));
        let dark = |&(x, y): &(u32, u32)| colour(x, y).0 < 128;
        let below = (0..120).flat_map(|x| (32..80).map(move |y| (x, y)));
        assert!((100..1500).contains(&below.filter(dark).count()));
    }
}
