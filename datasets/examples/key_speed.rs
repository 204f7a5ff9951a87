//! How long it takes to see whether packed samples are up to date: the names, sizes and times of
//! 25 000 reviews and of 200 000 images, all splits of which are asked about as a run does.
//!
//! ```sh
//! cargo run --release -p transformer-ls-datasets --example key_speed
//! ```

use std::error::Error;
use std::fs;
use std::time::Instant;

use transformer_ls_datasets::cache::is_packed;
use transformer_ls_datasets::pathfinder::{self, Difficulty, Size};
use transformer_ls_datasets::{Missing, Split, text};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    for split in ["train", "test"] {
        for class in ["neg", "pos"] {
            let folder = dir.join("aclImdb").join(split).join(class);
            fs::create_dir_all(&folder)?;
            for number in 0..12_500 {
                fs::write(folder.join(format!("{number}_5.txt")), "a film")?;
            }
        }
    }
    fs::create_dir(dir.join("metadata"))?;
    for batch in 0..200 {
        let folder = dir.join(format!("imgs/{batch}"));
        fs::create_dir_all(&folder)?;
        fs::write(dir.join(format!("metadata/{batch}.npy")), "")?;
        for sample in 0..1000 {
            fs::write(folder.join(format!("sample_{sample}.png")), "an image")?;
        }
    }
    let missing = Missing::Refuse;
    for round in ["first", "second", "third"] {
        let start = Instant::now();
        for split in Split::ALL {
            is_packed(dir, &text::cache_key(dir, split, missing)?)?;
        }
        let text = start.elapsed();
        let start = Instant::now();
        let (size, hard) = (Size::N32, Difficulty::Hard);
        let key = pathfinder::cache_key(dir, size, hard, Split::Train, missing)?;
        for split in Split::ALL {
            is_packed(dir, &key.for_split(split))?;
        }
        let images = start.elapsed();
        println!("{round} time, three splits: text {text:.1?}, pathfinder {images:.1?}");
    }
    Ok(())
}
