//! The original program's images, bit for bit, from its own random draws.
//!
//! Reads every `replay_*.safetensors` in `tests/fixtures/pathfinder`, or in the folder that
//! `LS_PATHFINDER_REPLAY` names: `draw.bound` and `draw.value` are the draws (bound 0 is a real in
//! `[0, 1)`), `offset[k]..offset[k + 1]` those of image `k`.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use transformer_ls_datasets::draws::Draws;
use transformer_ls_datasets::pathfinder::generate::Generator;
use transformer_ls_datasets::pathfinder::{Difficulty, Size};

/// Draws that were recorded, with the bounds that were asked for.
struct Recorded<'a> {
    bounds: &'a [i32],
    values: &'a [f64],
    next: usize,
}

impl Recorded<'_> {
    fn draw(&mut self, bound: i32) -> f64 {
        let next = self.next;
        assert!(next < self.bounds.len(), "more draws than were recorded");
        assert_eq!(bound, self.bounds[next], "the bound of draw {next}");
        self.next += 1;
        self.values[next]
    }
}

impl Draws for Recorded<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        self.draw(bound as i32) as u32
    }

    fn unit(&mut self) -> f64 {
        self.draw(0)
    }
}

/// Relative to the workspace's root, or to the current folder.
fn folder() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(named) = std::env::var_os("LS_PATHFINDER_REPLAY") else {
        return crate_root.join("tests/fixtures/pathfinder");
    };
    let from_root = crate_root.join("..").join(&named);
    if from_root.is_dir() {
        from_root
    } else {
        PathBuf::from(named)
    }
}

fn numbers<const N: usize, T>(file: &SafeTensors, name: &str, from: fn([u8; N]) -> T) -> Vec<T> {
    let bytes = file.tensor(name).unwrap().data();
    bytes
        .chunks_exact(N)
        .map(|chunk| from(chunk.try_into().unwrap()))
        .collect()
}

/// What the file says of itself.
fn metadata(bytes: &[u8], key: &str) -> String {
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    metadata.metadata().as_ref().unwrap()[key].clone()
}

fn replay(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let side: usize = metadata(&bytes, "size").parse().unwrap();
    let size = Size::ALL
        .into_iter()
        .find(|size| size.side() == side)
        .unwrap();
    let difficulty = match metadata(&bytes, "contour_length").as_str() {
        "6" => Difficulty::Easy,
        "9" => Difficulty::Medium,
        "14" => Difficulty::Hard,
        other => panic!("{}: contour length {other}", path.display()),
    };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let images = file.tensor("image").unwrap();
    let labels = numbers(&file, "label", i64::from_le_bytes);
    let offsets = numbers(&file, "offset", i64::from_le_bytes);
    let bounds = numbers(&file, "draw.bound", i32::from_le_bytes);
    let values = numbers(&file, "draw.value", f64::from_le_bytes);

    let generator = Generator::new(size, difficulty);
    for (k, expected) in images.data().chunks_exact(side * side).enumerate() {
        let draws = offsets[k] as usize..offsets[k + 1] as usize;
        let mut recorded = Recorded {
            bounds: &bounds[draws.clone()],
            values: &values[draws],
            next: 0,
        };
        let drawn = generator.draw(&mut recorded);
        let name = format!("{}, image {k}", path.display());
        assert_eq!(recorded.next, recorded.bounds.len(), "{name}: draws");
        assert_eq!(i64::from(drawn.label), labels[k], "{name}: label");
        let pairs = drawn.pixels.iter().zip(expected);
        let differing = pairs.filter(|(ours, theirs)| ours != theirs).count();
        assert_eq!(differing, 0, "{name}: pixels that differ");
    }
    labels.len()
}

#[test]
fn pathfinder_replay() {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("replay_") && name.ends_with(".safetensors")
        })
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "no replay_*.safetensors in {}",
        folder.display()
    );
    for path in paths {
        let images = replay(&path);
        println!("{}: {images} images, bit for bit", path.display());
    }
}
