//! Grey PNG images, to bytes and back.
//!
//! Reading is `zune-png`'s. The `png` crate would switch on features of crates that Burn is built
//! on, and so cause a second build of Burn. Writing is short enough to be here.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use zune_png::PngDecoder;
use zune_png::error::PngDecodeErrors;
use zune_png::zune_core::bytestream::ZCursor;
use zune_png::zune_core::colorspace::ColorSpace;
use zune_png::zune_core::options::DecoderOptions;

use crate::problem::FileProblem;

/// No Pathfinder image is larger; a damaged header may say otherwise.
const LARGEST: usize = 4096;

/// A grey image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grey {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row, black is 0.
    pub pixels: Vec<u8>,
}

/// Reads a PNG; colours become grey as the mean of red, green and blue where they are the same,
/// and are refused where they are not.
///
/// # Errors
/// [`FileProblem::Empty`] for no bytes, [`FileProblem::Png`] for anything that can't be read.
pub fn decode(bytes: &[u8]) -> Result<Grey, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    let problem = |cause: String| FileProblem::Png(cause);
    let options = DecoderOptions::default()
        .set_max_width(LARGEST)
        .set_max_height(LARGEST)
        .set_strict_mode(true)
        .png_set_confirm_crc(true)
        .inflate_set_confirm_adler(true)
        .inflate_set_limit(LARGEST * LARGEST * 2)
        .png_set_decode_animated(false)
        .png_set_strip_to_8bit(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let raw = decoder
        .decode_raw()
        .map_err(|error| problem(words(&error)))?;
    let dimensions = decoder.dimensions();
    let (width, height) = dimensions.ok_or_else(|| problem("no size".to_owned()))?;
    let channels = match decoder.colorspace() {
        Some(ColorSpace::Luma) => 1,
        Some(ColorSpace::LumaA) => 2,
        Some(ColorSpace::RGB) => 3,
        Some(ColorSpace::RGBA) => 4,
        _ => return Err(problem("its colours are of an unusual kind".to_owned())),
    };
    if raw.len() != width * height * channels {
        return Err(problem("the pixels end too early".to_owned()));
    }
    let colours = if channels < 3 { 1 } else { 3 };
    let pixels = raw.chunks_exact(channels).map(|pixel| {
        let is_grey = pixel[..colours].iter().all(|&value| value == pixel[0]);
        is_grey.then_some(pixel[0])
    });
    let pixels: Option<Vec<u8>> = pixels.collect();
    let pixels = pixels.ok_or_else(|| problem("it has colours".to_owned()))?;
    Ok(Grey {
        width,
        height,
        pixels,
    })
}

/// What the decoder found, in words: its own are for programmers.
fn words(error: &PngDecodeErrors) -> String {
    use PngDecodeErrors::{
        BadCrc, BadSignature, Generic, GenericStatic, IoErrors, ZlibDecodeErrors,
    };
    match error {
        BadSignature => "it does not begin as a PNG".to_owned(),
        BadCrc(..) => "its checksum is wrong".to_owned(),
        ZlibDecodeErrors(_) => "its pixels are damaged".to_owned(),
        IoErrors(_) => "it ends too early".to_owned(),
        GenericStatic(words) => (*words).to_owned(),
        Generic(words) => words.clone(),
        _ => "it is of an unusual kind".to_owned(),
    }
}

/// Writes a PNG of 8-bit grey.
///
/// # Panics
/// If there are not `width × height` pixels.
pub fn encode(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height, "pixels of another size");
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::with_capacity(13);
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    // Eight bits of grey, deflated, not interlaced.
    header.extend([8, 0, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::new(6));
    for line in pixels.chunks_exact(width.max(1)) {
        // Unfiltered: dashes on black compress best so.
        write(&mut lines, &[0]);
        write(&mut lines, line);
    }
    // Writing to memory cannot fail.
    let lines = lines.finish().unwrap_or_default();
    chunk(&mut png, b"IDAT", &lines);
    chunk(&mut png, b"IEND", &[]);
    png
}

fn write(lines: &mut ZlibEncoder<Vec<u8>>, bytes: &[u8]) {
    // Writing to memory cannot fail.
    let _ = lines.write_all(bytes);
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    png.extend(name);
    png.extend(data);
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(data);
    png.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (width, height) in [(1, 1), (32, 32), (5, 3), (256, 256)] {
            let pixels: Vec<u8> = (0..width * height).map(|i| (i * i / 7) as u8).collect();
            let png = encode(width, height, &pixels);
            let grey = decode(&png).unwrap();
            assert_eq!((grey.width, grey.height), (width, height));
            assert_eq!(grey.pixels, pixels);
        }
    }

    #[test]
    fn damage_is_noticed() {
        let pixels: Vec<u8> = (0..=255).collect();
        let png = encode(16, 16, &pixels);
        assert_eq!(decode(&[]), Err(FileProblem::Empty));
        for length in 1..png.len() - 12 {
            let found = decode(&png[..length]);
            assert!(
                matches!(found, Err(FileProblem::Png(_))),
                "{length}: {found:?}"
            );
        }
        for at in 0..png.len() - 12 {
            let mut broken = png.clone();
            broken[at] ^= 0x10;
            if let Ok(grey) = decode(&broken) {
                panic!("byte {at}: {} × {} were read", grey.width, grey.height);
            }
        }
    }

    #[test]
    fn grey_in_colours_is_read_and_colours_are_not() {
        // 2 × 1 pixels of RGB: (7, 7, 7) and (9, 9, last).
        let rgb = |last: u8| {
            let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
            chunk(&mut png, b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
            let mut lines = ZlibEncoder::new(Vec::new(), Compression::new(6));
            write(&mut lines, &[0, 7, 7, 7, 9, 9, last]);
            chunk(&mut png, b"IDAT", &lines.finish().unwrap());
            chunk(&mut png, b"IEND", &[]);
            png
        };
        assert_eq!(decode(&rgb(9)).unwrap().pixels, [7, 9]);
        assert!(decode(&rgb(8)).unwrap_err().to_string().contains("colours"));
    }
}
