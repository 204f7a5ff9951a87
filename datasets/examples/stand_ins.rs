//! Writes stand-ins of the Text, Retrieval and Image data: the published formats with made-up
//! contents that are easy on purpose. They show that a task trains from its files, and nothing
//! else.
//!
//! ```sh
//! cargo run --release -p transformer-ls-datasets --example stand_ins -- data/stand-ins
//! ```

use std::error::Error;
use std::f64::consts::PI;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use transformer_ls_datasets::Split;
use transformer_ls_datasets::draws::{Draws, PcgDraws};
use transformer_ls_datasets::retrieval;

/// Words that tell nothing.
const FILLERS: [&str; 24] = [
    "the", "a", "film", "scene", "of", "and", "with", "in", "was", "is", "that", "one", "it", "as",
    "for", "but", "by", "who", "they", "some", "when", "which", "there", "about",
];
/// Words of each mood: bad, good.
const MOODS: [[&str; 6]; 2] = [
    ["dull", "awful", "boring", "poor", "waste", "worst"],
    ["superb", "moving", "great", "lovely", "best", "perfect"],
];
/// Words of each topic.
const TOPICS: [[&str; 6]; 2] = [
    ["parsing", "grammar", "treebank", "syntax", "clause", "verb"],
    ["speech", "acoustic", "phoneme", "audio", "voice", "pitch"],
];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args()
        .nth(1)
        .ok_or("name the folder to write to")?;
    let dir = Path::new(&dir);
    text(&dir.join("text/aclImdb"))?;
    pairs(&dir.join("retrieval"))?;
    images(&dir.join("image/cifar-10-batches-bin"))?;
    println!(
        "stand-ins of Text, Retrieval and Image in {}",
        dir.display()
    );
    Ok(())
}

/// A text in which every twelfth word or so is one of `telling`.
fn words(draws: &mut PcgDraws, count: u32, telling: &[&str]) -> String {
    let mut word = |_| {
        let of = if draws.below(12) == 0 {
            telling
        } else {
            &FILLERS
        };
        of[draws.below(of.len() as u32) as usize]
    };
    (0..count).map(&mut word).collect::<Vec<_>>().join(" ")
}

/// Reviews, each in a file: 1500 to train and 250 to test of each mood.
fn text(dir: &Path) -> Result<(), Box<dyn Error>> {
    for (stream, (split, count)) in (0..).zip([("train", 1500), ("test", 250)]) {
        for (class, mood) in ["neg", "pos"].into_iter().zip(MOODS) {
            let folder = dir.join(split).join(class);
            fs::create_dir_all(&folder)?;
            for number in 0..count {
                let name = format!("{number}_{}.txt", if class == "pos" { 9 } else { 2 });
                let mut draws = PcgDraws::new(stream, 2 * number + u64::from(class == "pos"));
                let length = 60 + draws.below(300);
                fs::write(folder.join(name), words(&mut draws, length, &mood))?;
            }
        }
    }
    Ok(())
}

/// Pairs of papers: 3000 to train, 400 each for dev and test.
fn pairs(dir: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    for (seed, split) in (0..).zip(Split::ALL) {
        let count = if split == Split::Train { 3000 } else { 400 };
        let mut file = BufWriter::new(File::create(dir.join(retrieval::file_name(split)))?);
        for number in 0..count {
            let mut draws = PcgDraws::new(10 + seed, number);
            let label = draws.below(2);
            let mut paper = |topic: usize| {
                let length = 150 + draws.below(250);
                words(&mut draws, length, &TOPICS[topic])
            };
            // Those that don't belong together are of two topics.
            let (one, other) = (paper(0), paper(1 - label as usize));
            writeln!(file, "{label}.0\tA{number}\tB{number}\t{one}\t{other}")?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Noisy gratings, a direction a class: five batches of 1000 to train, one to test.
fn images(dir: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    let names = (1..=5).map(|number| format!("data_batch_{number}.bin"));
    for (seed, name) in (20..).zip(names.chain(["test_batch.bin".to_owned()])) {
        let mut file = BufWriter::new(File::create(dir.join(name))?);
        for number in 0..1000 {
            let mut draws = PcgDraws::new(seed, number);
            let class = draws.below(10);
            let (sin, cos) = (PI * f64::from(class) / 10.0).sin_cos();
            let mut record = vec![class as u8];
            for pixel in 0..3 * 1024 {
                let (x, y) = (f64::from(pixel % 32), f64::from(pixel / 32 % 32));
                let wave = (0.5 * (x * cos + y * sin)).sin();
                let noise = f64::from(draws.below(60)) - 30.0;
                record.push((128.0 + 80.0 * wave + noise) as u8);
            }
            file.write_all(&record)?;
        }
        file.flush()?;
    }
    Ok(())
}
