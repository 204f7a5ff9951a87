//! How many Pathfinder images a second one thread draws.
//!
//! ```sh
//! cargo run --release -p transformer-ls-datasets --example pathfinder_speed
//! ```

use std::time::{Duration, Instant};

use transformer_ls_datasets::draws::PcgDraws;
use transformer_ls_datasets::pathfinder::generate::Generator;
use transformer_ls_datasets::pathfinder::{Difficulty, Size};

fn main() {
    for size in Size::ALL {
        for difficulty in [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard] {
            let start = Instant::now();
            let generator = Generator::new(size, difficulty);
            let prepared = start.elapsed();
            let start = Instant::now();
            let (mut images, mut restarts, mut distractors) = (0u64, 0u64, 0u64);
            while start.elapsed() < Duration::from_secs(2) {
                let drawn = generator.draw(&mut PcgDraws::new(1, images));
                images += 1;
                restarts += drawn.restarts;
                distractors += u64::from(drawn.distractors);
            }
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{:3} {difficulty:?}: {:8.1} images/s, {:7.1} restarts and {:.1} distractors an \
                 image, prepared in {prepared:?}",
                generator.side(),
                images as f64 / seconds,
                restarts as f64 / images as f64,
                distractors as f64 / images as f64,
            );
        }
    }
}
