//! Pathfinder's files: generated ones appear batch by batch and complete, and what is read of
//! generated and published folders.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use tempfile::TempDir;
use transformer_ls_datasets::check::check;
use transformer_ls_datasets::draws::PcgDraws;
use transformer_ls_datasets::pathfinder::generate::{GenerateConfig, Generator, Report, generate};
use transformer_ls_datasets::pathfinder::{
    Difficulty, Pathfinder, Size, is_prepared, state, warning,
};
use transformer_ls_datasets::splits::torch_permutation;
use transformer_ls_datasets::{DatasetError, Missing, Samples, Split, State, Task, TokenIds, png};

fn config(count: usize) -> GenerateConfig {
    GenerateConfig {
        difficulty: Difficulty::Easy,
        count,
        seed: 7,
        ..GenerateConfig::new(Size::N32)
    }
}

fn run(dir: &Path, count: usize) -> Result<Report, DatasetError> {
    generate(dir, &config(count), &|_, _| {}, &|| false)
}

fn open(dir: &Path, split: Split) -> Result<Pathfinder, DatasetError> {
    Pathfinder::open(dir, Size::N32, Difficulty::Easy, split, Missing::Refuse)
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn generated_images_are_read_back_in_the_published_split() {
    let dir = TempDir::new().unwrap();
    let report = run(dir.path(), 1010).unwrap();
    assert_eq!(report.drawn, 1010);
    assert!(is_prepared(dir.path(), Size::N32, Difficulty::Easy));
    let line = fs::read_to_string(report.folder.join("metadata/1.npy")).unwrap();
    assert_eq!(line.lines().count(), 10);
    let first: Vec<&str> = line.lines().next().unwrap().split(' ').collect();
    assert_eq!(first[..3], ["imgs/1", "sample_0.png", "0"]);
    assert_eq!(first[4..], ["1.0", "6", "2", "2", "0.5", "1", "1"]);

    let order = torch_permutation(1010, 42);
    let generator = Generator::new(Size::N32, Difficulty::Easy);
    let mut seen = 0;
    let mut connected = 0;
    for split in Split::ALL {
        let data = open(dir.path(), split).unwrap();
        assert_eq!(data.len(), if split == Split::Train { 808 } else { 101 });
        assert_eq!(data.left_out(), 0);
        connected += data.labels().map(usize::from).sum::<usize>();
        for index in 0..data.len() {
            let image = order[seen + index];
            let drawn = generator.draw(&mut PcgDraws::new(7, image.into()));
            let sample = data.get(index).unwrap();
            assert_eq!(sample.label, drawn.label);
            let TokenIds::One(pixels) = sample.documents else {
                panic!("two documents")
            };
            assert!(
                pixels
                    .iter()
                    .copied()
                    .eq(drawn.pixels.iter().map(|&p| u16::from(p)))
            );
        }
        seen += data.len();
    }
    assert_eq!(seen, 1010);
    assert_eq!(connected, report.connected);
}

#[test]
fn an_interrupted_run_goes_on_and_ends_with_the_same_files() {
    let (whole, parts) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    run(whole.path(), 2500).unwrap();
    let folder = parts.path().join("curv_baseline");
    let mut drawn = 0;
    let mut stops = 0;
    loop {
        // Each time some further steps, the first times not even a batch.
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 10 + 12 * stops
        };
        match generate(parts.path(), &config(2500), &|_, _| {}, &stop) {
            Ok(report) => {
                assert!(report.drawn < 2500, "nothing was kept");
                drawn += report.drawn;
                break;
            }
            Err(DatasetError::Stopped(named)) => assert_eq!(named, folder),
            Err(other) => panic!("{other}"),
        }
        assert!(!is_prepared(parts.path(), Size::N32, Difficulty::Easy));
        let error = open(parts.path(), Split::Train).unwrap_err().to_string();
        assert!(
            error.contains("run the same `ls-train generate` command again"),
            "{error}"
        );
        stops += 1;
    }
    assert!(stops > 0 && drawn < 2500, "{stops} stops");
    let strip = |dir: &TempDir| -> Vec<(PathBuf, Vec<u8>)> {
        let files = contents(dir.path()).into_iter();
        files
            .map(|(path, bytes)| (path.strip_prefix(dir.path()).unwrap().to_owned(), bytes))
            .collect()
    };
    assert!(strip(&whole) == strip(&parts), "other files");
}

#[test]
fn images_that_a_power_cut_took_are_noticed() {
    let dir = TempDir::new().unwrap();
    run(dir.path(), 1500).unwrap();
    let whole = contents(dir.path());
    let folder = dir.path().join("curv_baseline");
    let lost = folder.join("imgs/0/sample_7.png");
    fs::write(&lost, b"").unwrap();
    let error = open(dir.path(), Split::Train).unwrap_err().to_string();
    let message = "sample_7.png: the generated file is empty or gone: the machine went down";
    assert!(error.contains(message), "{error}");
    // A run that goes on draws the batch again.
    for damage in [&b""[..], b"\x89PNG\r\n\x1a\n\0\0\0\0\0"] {
        fs::write(&lost, damage).unwrap();
        fs::rename(
            folder.join("generated.json"),
            folder.join("generating.json"),
        )
        .unwrap();
        assert_eq!(run(dir.path(), 1500).unwrap().drawn, 1000);
        assert!(contents(dir.path()) == whole, "other files");
    }
}

#[test]
fn data_is_never_overwritten() {
    let dir = TempDir::new().unwrap();
    run(dir.path(), 10).unwrap();
    let before = contents(dir.path());
    let error = run(dir.path(), 10).unwrap_err();
    assert!(matches!(error, DatasetError::Exists { .. }), "{error}");
    // Other settings on top of a run that was interrupted.
    let origin = dir.path().join("curv_baseline/generated.json");
    let unfinished = origin.with_file_name("generating.json");
    fs::rename(&origin, &unfinished).unwrap();
    let error = run(dir.path(), 20).unwrap_err().to_string();
    let (found, wanted) = error.split_once("asked for: ").expect(&error);
    assert!(
        found.contains("count: 10,") && wanted.contains("count: 20,"),
        "{error}"
    );
    fs::rename(&unfinished, &origin).unwrap();
    assert_eq!(contents(dir.path()), before);
    // Published data has no such file.
    fs::remove_file(&origin).unwrap();
    let error = run(dir.path(), 10).unwrap_err();
    assert!(matches!(error, DatasetError::Exists { .. }), "{error}");
    let error = run(dir.path(), 9).unwrap_err().to_string();
    assert_eq!(
        error,
        "9 samples cannot be split in three: ask for at least 10"
    );
}

/// A folder as published: 20 images in two batches, whose numbers sort otherwise as text.
fn published(dir: &Path) {
    for batch in [2, 10] {
        let images = dir.join(format!("imgs/{batch}"));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(dir.join("metadata")).unwrap();
        let mut metadata = String::new();
        for sample in 0..10u8 {
            let pixels = vec![batch * 10 + sample; 1024];
            let path = images.join(format!("sample_{sample}.png"));
            fs::write(path, png::encode(32, 32, &pixels)).unwrap();
            metadata += &format!(
                "imgs/{batch} sample_{sample}.png {sample} {} 1.0 6 2 2 0.5 1 1\n",
                sample % 2
            );
        }
        fs::write(dir.join(format!("metadata/{batch}.npy")), metadata).unwrap();
    }
}

/// The brightness of each image of a split.
fn brightness(data: &Pathfinder) -> Vec<u16> {
    let samples = data.iter().map(Result::unwrap);
    samples
        .map(|s| s.documents.iter().next().unwrap()[0])
        .collect()
}

#[test]
fn published_folders_are_found_and_ordered_by_number() {
    let root = TempDir::new().unwrap();
    let inner = "lra_release/lra_release/pathfinder32/curv_baseline";
    for place in ["", "curv_baseline", "pathfinder32/curv_baseline", inner] {
        let dir = root.path().join(format!("case{}", place.len()));
        published(&dir.join(place));
        let data = open(&dir, Split::Test).unwrap();
        assert_eq!(data.path(), dir.join(place));
        let order = torch_permutation(20, 42);
        // Batch 2 comes before batch 10: image i has brightness 20 + i or 90 + i.
        let expected = order[18..]
            .iter()
            .map(|&i| if i < 10 { 20 + i } else { 90 + i });
        assert!(brightness(&data).into_iter().map(u32::from).eq(expected));
    }
}

#[test]
fn missing_images_are_refused_or_left_out_and_counted() {
    let dir = TempDir::new().unwrap();
    published(dir.path());
    fs::write(dir.path().join("imgs/2/sample_3.png"), b"").unwrap();
    fs::remove_file(dir.path().join("imgs/10/sample_8.png")).unwrap();
    let error = open(dir.path(), Split::Test).unwrap_err().to_string();
    let message = "imgs/2/sample_3.png: the image is empty or not there (2 in all). Unpack the \
                   data again, completely; or train without, with `--set missing=leave_out`";
    assert!(error.ends_with(message), "{error}");
    let mut all = Vec::new();
    for split in Split::ALL {
        let (size, easy) = (Size::N32, Difficulty::Easy);
        let data = Pathfinder::open(dir.path(), size, easy, split, Missing::LeaveOut).unwrap();
        assert_eq!(data.left_out(), 2);
        assert_eq!(data.len(), if split == Split::Train { 16 } else { 1 });
        all.extend(brightness(&data));
    }
    all.sort();
    let expected = (20..30).chain(100..110);
    let expected = expected.filter(|&b| b != 23 && b != 108);
    assert!(all.into_iter().eq(expected));
}

/// The published data has one empty image, which nobody is asked about.
#[test]
fn the_published_empty_image_is_left_out() {
    let dir = TempDir::new().unwrap();
    published(dir.path());
    let metadata = dir.path().join("metadata/2.npy");
    let lines = fs::read_to_string(&metadata).unwrap();
    let known = "imgs/0 sample_172.png 172 1 1.0 6 2 2 0.5 1 1\n";
    fs::write(metadata, format!("{lines}{known}")).unwrap();
    fs::create_dir(dir.path().join("imgs/0")).unwrap();
    let image = dir.path().join("imgs/0/sample_172.png");
    fs::write(&image, b"").unwrap();
    let data = open(dir.path(), Split::Train).unwrap();
    assert_eq!((data.len(), data.left_out()), (16, 1));
    let report = check(Task::Pathfinder(Size::N32), dir.path());
    assert!(report.is_usable(), "{report}");
    assert!(
        report
            .to_string()
            .contains("sample_172.png is empty, as in the published"),
        "{report}"
    );
    // Not there is another matter.
    fs::remove_file(image).unwrap();
    let error = open(dir.path(), Split::Train).unwrap_err().to_string();
    assert!(
        error.contains("sample_172.png: the image is empty or not there (1 in all)"),
        "{error}"
    );
}

/// What the command line may generate into, and what it may not.
#[test]
fn the_state_of_a_path_is_told() {
    let dir = TempDir::new().unwrap();
    let state = |path: &Path| {
        let state = state(path, Size::N32, Difficulty::Easy).unwrap();
        match state {
            State::Partial(error) => error
                .to_string()
                .replace(&path.display().to_string(), "DIR"),
            state => format!("{state:?}"),
        }
    };
    let path = dir.path().join("data");
    assert_eq!(state(&path), "Absent");
    fs::create_dir_all(path.join("curv_contour_length_14/imgs")).unwrap();
    assert_eq!(state(&path), "Empty");
    // What a generator leaves that is killed at once.
    fs::create_dir(path.join("curv_baseline")).unwrap();
    fs::write(path.join("curv_baseline/.generating.lock"), b"").unwrap();
    assert_eq!(state(&path), "Empty");
    let stop = generate(&path, &config(10), &|_, _| {}, &|| true).unwrap_err();
    assert!(matches!(stop, DatasetError::Stopped { .. }));
    assert_eq!(state(&path), "Unfinished");
    fs::remove_dir_all(path.join("curv_baseline/metadata")).unwrap();
    assert_eq!(state(&path), "Unfinished");
    let inside = path.join("curv_baseline");
    assert!(state(&inside).starts_with("DIR/generating.json: the images are still being"));
    run(&path, 10).unwrap();
    assert_eq!(state(&path), "Complete");
    assert_eq!(state(&inside), "Complete");
    fs::write(path.join("notes.txt"), b"").unwrap();
    assert_eq!(state(&path), "Complete");
    for (gone, message) in [
        (
            "metadata",
            "DIR/curv_baseline holds imgs, but not metadata: unpack the data again",
        ),
        ("imgs", "Other"),
    ] {
        fs::remove_dir_all(inside.join(gone)).unwrap();
        let _ = fs::remove_file(inside.join("generated.json"));
        assert!(state(&path).starts_with(message), "{}", state(&path));
        if gone == "metadata" {
            let error = run(&path, 10).unwrap_err().to_string();
            assert!(error.contains("holds imgs, but not metadata"), "{error}");
            let error = open(&path, Split::Train).unwrap_err().to_string();
            assert!(error.contains("holds imgs, but not metadata"), "{error}");
        }
    }
    assert_eq!(state(&path.join("notes.txt")), "Other");
}

#[test]
fn the_copy_that_nothing_learns_from_is_warned_of() {
    let dir = TempDir::new().unwrap();
    let hard = Difficulty::Hard;
    let warned = |size| warning(dir.path(), size, hard);
    assert_eq!(warned(Size::N128), None);
    for folder in ["pathfinder128", "pathfinder32"] {
        let place = dir
            .path()
            .join("lra_release")
            .join(folder)
            .join(hard.folder());
        fs::create_dir_all(place.join("metadata")).unwrap();
    }
    assert_eq!(warned(Size::N32), None);
    let text = warned(Size::N128).unwrap();
    assert!(
        text.starts_with("this is the copy of pathfinder128 from which nothing learns"),
        "{text}"
    );
    let inner = dir
        .path()
        .join("lra_release/lra_release/pathfinder128")
        .join(hard.folder());
    fs::create_dir_all(inner.join("metadata")).unwrap();
    assert_eq!(warned(Size::N128), None);
}

#[test]
fn numpy_files_of_text_are_read_too() {
    let dir = TempDir::new().unwrap();
    published(dir.path());
    let expected = brightness(&open(dir.path(), Split::Train).unwrap());
    for batch in [2, 10] {
        let path = dir.path().join(format!("metadata/{batch}.npy"));
        let text = fs::read_to_string(&path).unwrap();
        let mut data = Vec::new();
        for field in text.split_whitespace() {
            let mut cell = [0u8; 14 * 4];
            for (character, bytes) in field.chars().zip(cell.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&u32::from(character).to_le_bytes());
            }
            data.extend(cell);
        }
        let header = "{'descr': '<U14', 'fortran_order': False, 'shape': (10, 11), }\n";
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((header.len() as u16).to_le_bytes());
        npy.extend(header.bytes());
        npy.extend(data);
        fs::write(&path, &npy).unwrap();
        if batch == 10 {
            assert_eq!(
                brightness(&open(dir.path(), Split::Train).unwrap()),
                expected
            );
            fs::write(&path, &npy[..npy.len() - 1]).unwrap();
            let error = open(dir.path(), Split::Train).unwrap_err().to_string();
            assert!(
                error.contains("10.npy: not a readable NumPy file"),
                "{error}"
            );
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let broken = |damage: &dyn Fn(&Path)| -> String {
        let dir = TempDir::new().unwrap();
        published(dir.path());
        damage(dir.path());
        let read = || -> Result<(), String> {
            for split in Split::ALL {
                let data = open(dir.path(), split).map_err(|error| error.to_string())?;
                for sample in data.iter() {
                    sample.map_err(|error| error.to_string())?;
                }
            }
            Ok(())
        };
        let error = read().unwrap_err();
        error.replace(&dir.path().display().to_string(), "DIR")
    };
    let line = |text: &'static str| {
        move |dir: &Path| {
            let path = dir.join("metadata/10.npy");
            let good = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = good.lines().collect();
            fs::write(&path, [lines[0], text, lines[2]].join("\n")).unwrap();
        }
    };
    type Case<'a> = (&'a dyn Fn(&Path), &'a str);
    let cases: [Case; 11] = [
        (
            &line("imgs/10 sample_1.png 1 2 1.0 6 2 2 0.5 1 1"),
            "DIR/metadata/10.npy:2: the label is \"2\", but has to be 0 or 1.",
        ),
        (
            &line("imgs/10 sample_1.png 1"),
            "DIR/metadata/10.npy:2: 3 fields, but a line has 11:",
        ),
        (
            &line("../../etc passwd 1 1 1.0 6 2 2 0.5 1 1"),
            "DIR/metadata/10.npy:2: \"../../etc/passwd\" is no name of a file below this folder.",
        ),
        (
            &line("/etc passwd 1 1 1.0 6 2 2 0.5 1 1"),
            "DIR/metadata/10.npy:2: \"/etc/passwd\" is no name",
        ),
        (
            &line("imgs/10 sample_1.png 1 1 1.0 14 4 2 0.5 1 1"),
            "DIR/imgs/10/sample_1.png: the images are hard (14 paddles), but easy ones were asked for: \
             train on them with --difficulty hard, or name the folder curv_baseline",
        ),
        (
            &line("imgs/10 sample_77.png 1 1 1.0 6 2 2 0.5 1 1"),
            "DIR/imgs/10/sample_77.png: the image is empty or not there (1 in all).",
        ),
        (
            &|dir| {
                fs::write(
                    dir.join("metadata/2.npy"),
                    b"imgs/2 \xff 0 0 1.0 6 2 2 0.5 1 1",
                )
                .unwrap()
            },
            "DIR/metadata/2.npy:1: byte 8 of the line is not valid UTF-8",
        ),
        (
            &|dir| {
                let path = dir.join("imgs/2/sample_5.png");
                let png = fs::read(&path).unwrap();
                fs::write(&path, &png[..40]).unwrap();
            },
            "DIR/imgs/2/sample_5.png: not a readable PNG (",
        ),
        (
            &|dir| {
                let path = dir.join("imgs/10/sample_5.png");
                fs::write(path, png::encode(64, 64, &[0; 64 * 64])).unwrap();
            },
            "DIR/imgs/10/sample_5.png: the image is 64 × 64, but has to be 32 × 32:",
        ),
        (
            &|dir| fs::remove_dir_all(dir.join("metadata")).unwrap(),
            "DIR holds imgs, but not metadata: unpack the data again, completely; or move this away",
        ),
        (
            &|dir| {
                fs::remove_dir_all(dir.join("metadata")).unwrap();
                fs::remove_dir_all(dir.join("imgs")).unwrap();
            },
            "no pathfinder32 data in DIR: none of DIR, DIR/curv_baseline, ",
        ),
    ];
    for (damage, message) in cases {
        let error = broken(damage);
        assert!(error.starts_with(message), "{error}\nexpected {message}");
    }
}
