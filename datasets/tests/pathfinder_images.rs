//! Images from draws of this project's own: their statistics against the original's, and their
//! labels traced in the generator's masks.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use transformer_ls_datasets::draws::PcgDraws;
use transformer_ls_datasets::pathfinder::generate::{Drawn, Generator};
use transformer_ls_datasets::pathfinder::{Difficulty, Size};
use transformer_ls_datasets::png;

fn draw(size: Size, difficulty: Difficulty, count: u64) -> (Generator, Vec<Drawn>) {
    let generator = Generator::new(size, difficulty);
    let images = (0..count).into_par_iter();
    let drawn = images.map(|image| generator.draw(&mut PcgDraws::new(2020, image)));
    let drawn = drawn.collect();
    (generator, drawn)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pathfinder")
}

/// The original's images of a size: a `[count, side, side]` array of bytes.
fn originals(size: Size) -> Vec<Vec<u8>> {
    let bytes = fs::read(fixtures().join(format!("im{}.npy", size.side()))).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8(bytes[10..10 + header].to_vec()).unwrap();
    assert!(text.contains("'|u1'") && text.contains("False"), "{text}");
    let pixels = &bytes[10 + header..];
    assert_eq!(pixels.len() % size.tokens(), 0);
    pixels
        .chunks_exact(size.tokens())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Mean, standard deviation and share of pixels that aren't black, of one image.
fn figures(pixels: &[u8]) -> [f64; 3] {
    let count = pixels.len() as f64;
    let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / count;
    let square = pixels.iter().map(|&p| f64::from(p).powi(2)).sum::<f64>() / count;
    let lit = pixels.iter().filter(|&&p| p > 0).count() as f64 / count;
    [mean, (square - mean * mean).sqrt(), lit]
}

/// Mean and standard error of each figure over images.
fn summary(images: impl Iterator<Item = impl AsRef<[u8]>>) -> [(f64, f64); 3] {
    let all: Vec<[f64; 3]> = images.map(|image| figures(image.as_ref())).collect();
    let count = all.len() as f64;
    [0, 1, 2].map(|at| {
        let mean = all.iter().map(|f| f[at]).sum::<f64>() / count;
        let variance = all.iter().map(|f| (f[at] - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, (variance / count).sqrt())
    })
}

#[test]
fn images_are_like_the_originals() {
    /// Standard errors that a figure may be off.
    const SIGMAS: f64 = 4.5;
    for (size, count) in [
        (Size::N32, 400),
        (Size::N64, 40),
        (Size::N128, 80),
        (Size::N256, 40),
    ] {
        let (_, drawn) = draw(size, Difficulty::Hard, count);
        let ours = summary(drawn.iter().map(|image| &image.pixels));
        let theirs = summary(originals(size).iter());
        for ((name, ours), theirs) in ["mean", "deviation", "lit"].iter().zip(ours).zip(theirs) {
            let error = ours.1.hypot(theirs.1);
            println!("{}, {name}: {ours:.3?}, original {theirs:.3?}", size.task());
            assert!(
                (ours.0 - theirs.0).abs() < SIGMAS * error,
                "{}, {name}: {ours:?}, original {theirs:?}",
                size.task()
            );
        }
    }
}

#[test]
fn figures_are_those_of_long_runs_of_the_original() {
    // Mean, deviation and share of pixels that aren't black, as measured on the original.
    let original = [
        (Size::N32, 800, [20.3, 51.0, 0.34]),
        (Size::N64, 60, [13.4, 41.3, 0.26]),
        (Size::N128, 100, [7.9, 35.7, 0.138]),
        (Size::N256, 100, [2.96, 24.2, 0.039]),
    ];
    for (size, count, figures) in original {
        let (_, drawn) = draw(size, Difficulty::Hard, count);
        let ours = summary(drawn.iter().map(|image| &image.pixels));
        for (ours, figure) in ours.into_iter().zip(figures) {
            // The figures have two or three digits.
            let tolerance = 4.5 * ours.1 + 0.015 * figure;
            assert!(
                (ours.0 - figure).abs() < tolerance,
                "{}: {ours:?}, {figure}",
                size.task()
            );
        }
    }
}

#[test]
fn counts_are_like_the_originals() {
    // Restarts of the targets and distractors an image, measured on the original. The number of
    // restarts is geometric: its deviation is about its mean.
    let original = [
        (Size::N32, 2000, 306.0, 1.1),
        (Size::N64, 100, 4300.0, 2.6),
        (Size::N128, 120, 310.0, 7.7),
        (Size::N256, 120, 11.0, 7.0),
    ];
    for (size, count, restarts, distractors) in original {
        let (_, drawn) = draw(size, Difficulty::Hard, count);
        let mean = |value: fn(&Drawn) -> f64| drawn.iter().map(value).sum::<f64>() / count as f64;
        let found = mean(|image| image.restarts as f64);
        println!("{}: {found:.1} restarts, original {restarts}", size.task());
        // The original's figures came from some dozen images; a factor says more than an error.
        assert!(
            (0.6..1.6).contains(&(found / restarts)),
            "{found} and {restarts}"
        );
        let found = mean(|image| f64::from(image.distractors));
        println!(
            "{}: {found:.2} distractors, original {distractors}",
            size.task()
        );
        assert!(
            (found - distractors).abs() < 0.25,
            "{found} and {distractors}"
        );
        let connected = mean(|image| f64::from(image.label));
        let error = 0.5 / (count as f64).sqrt();
        assert!(
            (connected - 0.5).abs() < 4.0 * error,
            "{connected} connected"
        );
    }
}

/// The pixels that can be reached from a pixel over pixels of a mask, corners included.
fn reached(mask: &[u8], side: usize, from: (i32, i32)) -> Vec<bool> {
    let mut seen = vec![false; mask.len()];
    let mut waiting = vec![from];
    while let Some((y, x)) = waiting.pop() {
        let inside = 0..side as i32;
        if !inside.contains(&y) || !inside.contains(&x) {
            continue;
        }
        let at = y as usize * side + x as usize;
        if mask[at] > 0 && !seen[at] {
            seen[at] = true;
            waiting.extend((-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (y + dy, x + dx))));
        }
    }
    seen
}

#[test]
fn labels_can_be_traced() {
    for (size, count) in [
        (Size::N32, 300),
        (Size::N64, 24),
        (Size::N128, 60),
        (Size::N256, 60),
    ] {
        for difficulty in Difficulty::ALL {
            let (generator, drawn) = draw(size, difficulty, count);
            let side = size.side();
            let mut overlaps = 0;
            for (number, image) in drawn.iter().enumerate() {
                let at = |(y, x): (i32, i32)| y as usize * side + x as usize;
                // A way from marker to marker along the paddles of one contour alone, which both
                // markers are fully on: masks of two contours may touch at their edges.
                let connected = (0..2).any(|target| {
                    let mask = generator.contour_mask(image, target);
                    let reached = reached(&mask, side, image.markers[0]);
                    let ends = image
                        .markers
                        .map(|marker| reached[at(marker)] && mask[at(marker)] > 230);
                    ends == [true, true]
                });
                let name = format!("{} {difficulty}, image {number}", size.task());
                if connected && image.label == 0 {
                    // The original doesn't keep others off the first contour's last paddle, so
                    // that rarely one contour ends on top of the other.
                    overlaps += 1;
                } else {
                    assert_eq!(connected, image.label == 1, "{name}");
                }
                // The markers are there to be seen.
                for marker in image.markers {
                    let brightest = image.pixels.iter().max();
                    let here = image.pixels[at(marker)];
                    assert!(here > 100, "{name}: {here} of {brightest:?} at {marker:?}");
                }
            }
            println!(
                "{} {difficulty}: {overlaps} of {count} overlap",
                size.task()
            );
            assert!(overlaps * 50 <= count, "{overlaps} of {count}");
        }
    }
}

#[test]
fn threads_and_earlier_images_change_nothing() {
    let (generator, drawn) = draw(Size::N32, Difficulty::Hard, 50);
    for (number, image) in drawn.iter().enumerate().rev() {
        let again = generator.draw(&mut PcgDraws::new(2020, number as u64));
        assert_eq!(again, *image);
    }
    let other = generator.draw(&mut PcgDraws::new(2021, 0));
    assert_ne!(other.pixels, drawn[0].pixels);
}

/// The picture in `docs/`: the original's images on the left, this generator's on the right, each
/// row of another size. With `LS_WRITE_CONTACT_SHEET` set it is written, otherwise compared with what is there.
#[test]
fn the_contact_sheet_is_up_to_date() {
    const COLUMNS: usize = 4;
    const CELL: usize = 256;
    const GAP: usize = 4;
    let sizes = Size::ALL;
    let (width, height) = (
        2 * COLUMNS * (CELL + GAP) + 3 * GAP,
        sizes.len() * (CELL + GAP) + GAP,
    );
    let mut sheet = vec![96u8; width * height];
    for (row, size) in sizes.into_iter().enumerate() {
        let (_, drawn) = draw(size, Difficulty::Hard, COLUMNS as u64);
        let drawn = drawn.into_iter().map(|image| image.pixels);
        let images = originals(size).into_iter().take(COLUMNS).chain(drawn);
        for (column, image) in images.enumerate() {
            let gap = GAP + if column < COLUMNS { 0 } else { 2 * GAP };
            let (top, left) = (
                row * (CELL + GAP) + GAP,
                column * (CELL + GAP) + gap - GAP / 2,
            );
            let scale = CELL / size.side();
            for y in 0..CELL {
                for x in 0..CELL {
                    let pixel = image[y / scale * size.side() + x / scale];
                    sheet[(top + y) * width + left + x] = pixel;
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pathfinder-contact-sheet.png");
    if std::env::var_os("LS_WRITE_CONTACT_SHEET").is_some() {
        fs::write(&path, png::encode(width, height, &sheet)).unwrap();
    }
    let found = png::decode(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((found.width, found.height), (width, height));
    assert!(
        found.pixels == sheet,
        "run this test with LS_WRITE_CONTACT_SHEET=1"
    );
}
