//! How fast each loader hands over samples, and what memory it takes, on data made up for it.
//!
//! ```sh
//! cargo run --release -p transformer-ls-datasets --example loader_speed
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use burn_dataset::Dataset;
use transformer_ls_datasets::cache::cached;
use transformer_ls_datasets::image::{self, Image, Protocol};
use transformer_ls_datasets::listops::{self, ListOps, Tokenizer};
use transformer_ls_datasets::pathfinder::generate::{GenerateConfig, generate};
use transformer_ls_datasets::pathfinder::{self, Difficulty, Pathfinder, Size};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::text::{self, Text};
use transformer_ls_datasets::{DatasetError, Missing, Sample, Samples, Split};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    for size in [Size::N32, Size::N128] {
        let config = GenerateConfig {
            count: 2000,
            ..GenerateConfig::new(size)
        };
        let report = generate(
            dir.join(size.task()).as_path(),
            &config,
            &|_, _| {},
            &|| false,
        )?;
        println!(
            "{}: {:.1} images/s drawn and written",
            size.task(),
            config.count as f64 / report.elapsed.as_secs_f64()
        );
        let data = dir.join(size.task());
        let open =
            || Pathfinder::open(&data, size, Difficulty::Hard, Split::Train, Missing::Refuse);
        let key =
            pathfinder::cache_key(&data, size, Difficulty::Hard, Split::Train, Missing::Refuse)?;
        both(size.task(), dir, &key, open)?;
    }

    let trees = dir.join("listops");
    let config = listops::generate::GenerateConfig::default();
    listops::generate::generate(&trees, &config, &|_, _| {}, &|| false)?;
    let tokenizer = Tokenizer::default();
    let key = listops::cache_key(&trees, Split::Train, tokenizer)?;
    both("listops", dir, &key, || {
        ListOps::open(&trees, Split::Train, tokenizer)
    })?;

    // As many and as long reviews and pairs as published, or a tenth of them.
    let review = "What a film: nobody in it is who they seem. ".repeat(30);
    for class in ["neg", "pos"] {
        let folder = dir.join("aclImdb/train").join(class);
        fs::create_dir_all(&folder)?;
        for number in 0..12_500 {
            fs::write(folder.join(format!("{number}_5.txt")), &review)?;
        }
    }
    let key = text::cache_key(dir, Split::Train, Missing::Refuse)?;
    both("text", dir, &key, || {
        Text::open(dir, Split::Train, Missing::Refuse)
    })?;

    let path = dir.join(retrieval::file_name(Split::Train));
    let mut file = BufWriter::new(File::create(&path)?);
    let paper = "A paper about long sequences and what attention costs them. ".repeat(100);
    for pair in 0..50_000 {
        writeln!(file, "{}.0\t{pair}\t{pair}\t{paper}\t{paper}", pair % 2)?;
    }
    file.flush()?;
    println!(
        "retrieval: a file of {} MB",
        fs::metadata(&path)?.len() >> 20
    );
    let key = retrieval::cache_key(dir, Split::Train)?;
    both("retrieval", dir, &key, || {
        Retrieval::open(dir, Split::Train)
    })?;

    let folder = dir.join("cifar-10-batches-bin");
    fs::create_dir(&folder)?;
    let batch = vec![7; 30_730_000];
    for number in 1..=5 {
        fs::write(folder.join(format!("data_batch_{number}.bin")), &batch)?;
    }
    let key = image::cache_key(dir, Split::Train, Protocol::Tfds)?;
    both("image", dir, &key, || {
        Image::open(dir, Split::Train, Protocol::Tfds)
    })?;
    Ok(())
}

/// Opens and reads a data set as it lies, then packed, for the first and for the second time.
fn both<D: Samples>(
    name: &str,
    dir: &Path,
    key: &transformer_ls_datasets::cache::Key,
    open: impl Fn() -> Result<D, DatasetError>,
) -> Result<(), Box<dyn Error>> {
    measure(&format!("{name}, as it lies"), &open)?;
    let cache = dir.join("cache");
    let packed = || cached(&cache, key, &open, &|_, _| {}, &|| false);
    measure(&format!("{name}, packed now"), packed)?;
    measure(&format!("{name}, packed before"), packed)
}

fn measure<D: Dataset<Sample>>(
    what: &str,
    open: impl Fn() -> Result<D, DatasetError>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let data = open()?;
    let opened = start.elapsed();
    let start = Instant::now();
    let mut tokens = 0;
    // Out of order, as in training.
    let (count, step) = (data.len(), 7919);
    for at in 0..count {
        tokens += data.get(at * step % count)?.documents.token_count();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: opened in {opened:.1?}, {:.0} samples/s, {:.1} M tokens/s on one thread, own \
         memory {} MB",
        count as f64 / seconds,
        tokens as f64 / seconds / 1e6,
        own_memory()
    );
    Ok(())
}

/// Memory that isn't a file's, in MB; 0 where the system doesn't say.
fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) >> 10
}
