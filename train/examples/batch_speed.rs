//! How long a batch of 131 072 tokens takes one thread: samples read from a packed file, then laid out for a
//! device.
//!
//! ```sh
//! cargo run --release --example batch_speed
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use burn::data::dataset::Dataset;
use transformer_ls_datasets::cache::cached;
use transformer_ls_datasets::listops::generate::{GenerateConfig, generate};
use transformer_ls_datasets::listops::{self, ListOps, Tokenizer, spread, values};
use transformer_ls_datasets::{Sample, Split};
use transformer_ls_infer::batch::Batcher;

const TOKENS: usize = 131_072;
const LENGTH: usize = 2000;
const REPEATS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let config = GenerateConfig {
        count: 1000,
        ..GenerateConfig::default()
    };
    generate(dir.path(), &config, &|_, _| {}, &|| false)?;
    let tokenizer = Tokenizer::default();
    let key = listops::cache_key(dir.path(), Split::Train, tokenizer)?;
    let open = || ListOps::open(dir.path(), Split::Train, tokenizer);
    let data = cached(&dir.path().join("cache"), &key, open, &|_, _| {}, &|| false)?;

    // Documents out of order, as many as make up a batch.
    let (mut indices, mut tokens) = (Vec::new(), 0);
    while tokens < TOKENS {
        let index = indices.len() * 379 % data.len();
        tokens += data.get(index)?.documents.token_count();
        indices.push(index);
    }
    let read = || data.get_many(indices.clone()).expect("samples");
    let samples: Vec<Sample> = read();
    let [packed, padded] = [true, false].map(|packed| Batcher::new(LENGTH, packed));
    let inner = |ids: &[u16]| {
        let values = spread(values(tokenizer, ids), 16);
        values.iter().map(|it| (it.place, it.value)).collect()
    };
    let hides = |document: usize, place: usize| (document * 31 + place * 7) % 20 < 3;
    println!("{tokens} tokens in {} documents", samples.len());
    measure("read", || drop(black_box(read())));
    measure("packed", || drop(black_box(packed.on_host(&samples))));
    measure("padded", || drop(black_box(padded.on_host(&samples))));
    measure("packed, classes of values inside", || {
        drop(black_box(packed.rows_on_host(&samples, &inner)))
    });
    measure("packed, tokens hidden", || {
        drop(black_box(packed.masked_on_host(&samples, &hides)))
    });
    Ok(())
}

fn measure(what: &str, work: impl Fn()) {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what}: {:.3} ms (median of {REPEATS})", times[REPEATS / 2]);
}
