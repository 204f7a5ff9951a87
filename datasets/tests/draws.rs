//! The seeded draws against another implementation, and their distribution.

use transformer_ls_datasets::draws::{Draws, PcgDraws};

#[test]
fn draws_are_what_their_documentation_says() {
    // From an implementation of the documentation in Python, with big integers.
    let mut draws = PcgDraws::new(42, 3);
    let bounds = [10, 9, 4, 1, 1000, u32::MAX];
    let integers = bounds.map(|bound| draws.below(bound));
    assert_eq!(integers, [0, 2, 1, 0, 946, 4_042_865_407]);
    let reals = [draws.unit(), draws.unit(), draws.unit()];
    assert_eq!(
        reals,
        [0.6634385038670783, 0.9874215677694483, 0.5006416401791756]
    );
    // The upper 53 bits of PCG's 0x002dccaf062914c5, 0x29741b9032425e52 and 0xb3ade6b8d3613203.
    let first = |seed, stream| PcgDraws::new(seed, stream).unit();
    let bits = |bits: u64| (bits >> 11) as f64 / 2f64.powi(53);
    assert_eq!(first(0, 0), bits(0x002d_ccaf_0629_14c5));
    assert_eq!(first(1, 2), bits(0x2974_1b90_3242_5e52));
    assert_eq!(first(u64::MAX, 7), bits(0xb3ad_e6b8_d361_3203));
}

#[test]
fn integers_are_uniform_over_streams() {
    // The first draw of many streams: what would show if neighbouring streams were alike.
    const COUNT: u32 = 100_000;
    for seed in [0, 1] {
        let mut found = [0u32; 10];
        for stream in 0..u64::from(COUNT) {
            found[PcgDraws::new(seed, stream).below(10) as usize] += 1;
        }
        let expected = f64::from(COUNT) / 10.0;
        let chi_square: f64 = found
            .iter()
            .map(|&count| (f64::from(count) - expected).powi(2) / expected)
            .sum();
        // Nine degrees of freedom: 33.7 is exceeded once in 10000 times.
        assert!(chi_square < 33.7, "chi-square {chi_square} of {found:?}");
    }
}

#[test]
fn reals_are_uniform() {
    const COUNT: usize = 100_000;
    let mut draws = PcgDraws::new(9, 9);
    let reals: Vec<f64> = (0..COUNT).map(|_| draws.unit()).collect();
    assert!(reals.iter().all(|real| (0.0..1.0).contains(real)));
    // Standard errors: 0.289 / √n of the mean, 0.433 / √n of the share below a quarter.
    let root = (COUNT as f64).sqrt();
    let mean = reals.iter().sum::<f64>() / COUNT as f64;
    assert!((mean - 0.5).abs() < 4.0 * 0.289 / root);
    let quarter = reals.iter().filter(|&&real| real < 0.25).count() as f64 / COUNT as f64;
    assert!((quarter - 0.25).abs() < 4.0 * 0.433 / root);
}

#[test]
fn seeds_and_streams_make_different_draws() {
    let draw = |seed, stream| {
        let mut draws = PcgDraws::new(seed, stream);
        [draws.below(u32::MAX), draws.below(u32::MAX)]
    };
    assert_eq!(draw(3, 4), draw(3, 4));
    assert_ne!(draw(3, 4), draw(4, 3));
    assert_ne!(draw(3, 4), draw(3, 5));
    assert_ne!(draw(3, 4), draw(2, 4));
}

#[test]
fn the_seam_takes_any_source() {
    /// A source that only ever says one thing.
    struct Constant(u32, f64);
    impl Draws for Constant {
        fn below(&mut self, bound: u32) -> u32 {
            self.0.min(bound - 1)
        }
        fn unit(&mut self) -> f64 {
            self.1
        }
    }
    let mut sources: [Box<dyn Draws>; 2] =
        [Box::new(Constant(7, 0.5)), Box::new(PcgDraws::new(0, 0))];
    let values = sources.each_mut().map(|source| source.below(4));
    assert_eq!(values[0], 3);
    assert!(values[1] < 4);
    // A root that is a digit is too short to be taken.
    let digits: &mut dyn Draws = &mut Constant(7, 0.5);
    let mut digits = digits;
    assert_eq!(
        transformer_ls_datasets::listops::Tree::draw(&mut digits),
        None
    );
}
