//! Pathfinder's metadata, however it was saved, and what the original programs wrote.

use std::fs;
use std::path::Path;

use transformer_ls_datasets::pathfinder::parse_metadata;
use transformer_ls_datasets::png;

/// Records that share a line, lone carriage returns, marks of editors: no image is lost.
#[test]
fn metadata_is_read_as_it_was_saved_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pathfinder");
    let parse = |bytes: &[u8]| parse_metadata(bytes, Path::new("0.npy")).map_err(|e| e.to_string());
    let returns = fs::read(folder.join("carriage_returns.npy")).unwrap();
    let entries = parse(&returns).unwrap();
    let images: Vec<_> = entries
        .iter()
        .map(|e| (e.image.as_str(), e.label))
        .collect();
    assert_eq!(
        images,
        [("imgs/0/sample_0.png", 0), ("imgs/0/sample_1.png", 1)]
    );
    let text = String::from_utf8(returns).unwrap();
    for end in ["\n", "\r\n"] {
        assert_eq!(parse(text.replace('\r', end).as_bytes()).unwrap(), entries);
    }
    assert_eq!(
        parse(format!("\u{feff}{text}").as_bytes()).unwrap(),
        entries
    );
    for paths in ["./imgs/0", "imgs\\0", ".\\imgs//0/."] {
        assert_eq!(
            parse(text.replace("imgs/0", paths).as_bytes()).unwrap(),
            entries
        );
    }
    for paths in ["imgs\\..\\..", "C:\\imgs", "\\imgs", ".."] {
        let error = parse(text.replace("imgs/0", paths).as_bytes()).unwrap_err();
        assert!(
            error.contains("is no name of a file below this folder"),
            "{error}"
        );
    }
    let two = fs::read(folder.join("two_records_one_line.npy")).unwrap();
    let error = parse(&two).unwrap_err();
    assert!(
        error.starts_with("0.npy:1: 22 fields, but a line has 11: "),
        "{error}"
    );
    // A file that was cut off in a line, and one that mixes line ends.
    let cut = text.trim_end().strip_suffix(" 2 1.0").unwrap();
    let error = parse(cut.as_bytes()).unwrap_err();
    assert!(
        error.starts_with("0.npy:2: 9 fields, but a line has 11: "),
        "{error}"
    );
    let error = parse(format!("{}{text}", text.replace('\r', "\n")).as_bytes()).unwrap_err();
    assert!(error.starts_with("0.npy:3: 22 fields"), "{error}");
}

/// How a text becomes a cell of an array.
type ToCell<'a> = &'a dyn Fn(&str) -> Vec<u8>;

/// A NumPy file of text, stored in any way.
fn numpy(kind: &str, rows: &[Vec<&str>], by_columns: bool, cell: ToCell) -> Vec<u8> {
    let order = if by_columns { "True" } else { "False" };
    let shape = format!("({}, {})", rows.len(), rows[0].len());
    let header = format!("{{'descr': '{kind}14', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.bytes());
    if by_columns {
        for column in 0..rows[0].len() {
            npy.extend(rows.iter().flat_map(|row| cell(row[column])));
        }
    } else {
        npy.extend(rows.iter().flatten().flat_map(|text| cell(text)));
    }
    npy
}

#[test]
fn numpy_files_are_read_in_every_order() {
    let lines = [
        "imgs/0 sample_0.png 0 0 0.8 14 9 5 1.5 2 1.0",
        "imgs/0 sample_1.png 1 1 0.8 6 9 5 1.5 2 1.0",
    ];
    let rows = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    let path = Path::new("0.npy");
    let expected = parse_metadata(lines.join("\n").as_bytes(), path).unwrap();
    let padded = |text: &str, of: &dyn Fn(u32) -> Vec<u8>| {
        let characters = text.chars().map(u32::from).chain([0; 14]).take(14);
        characters.flat_map(of).collect::<Vec<u8>>()
    };
    let little = |text: &str| padded(text, &|c| c.to_le_bytes().to_vec());
    let big = |text: &str| padded(text, &|c| c.to_be_bytes().to_vec());
    let bytes = |text: &str| padded(text, &|c| vec![c as u8]);
    let cells: [(&str, ToCell); 3] = [("<U", &little), (">U", &big), ("|S", &bytes)];
    for (kind, cell) in cells {
        for by_columns in [false, true] {
            let npy = numpy(kind, &rows, by_columns, cell);
            assert_eq!(
                parse_metadata(&npy, path).unwrap(),
                expected,
                "{kind} {by_columns}"
            );
        }
    }
    // Of another number of columns, as of a line.
    let four = rows.map(|row| row[..4].to_vec());
    let error = parse_metadata(&numpy("|S", &four, false, &bytes), path).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("0.npy:1: 4 fields, but a line has 11"),
        "{error}"
    );
}

/// An image that Pillow wrote, metadata that NumPy wrote.
#[test]
fn files_of_the_original_programs_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pathfinder");
    let image = png::decode(&fs::read(folder.join("pillow.png")).unwrap()).unwrap();
    let originals = fs::read(folder.join("im32.npy")).unwrap();
    let first = originals.len() - 60 * 1024;
    assert!(
        image.pixels == originals[first..first + 1024],
        "other pixels"
    );
    let path = folder.join("numpy_metadata.npy");
    let entries = parse_metadata(&fs::read(&path).unwrap(), &path).unwrap();
    let entries: Vec<_> = entries
        .iter()
        .map(|e| (e.image.as_str(), e.label))
        .collect();
    let expected = [
        "imgs/2/sample_0.png",
        "imgs/2/sample_1.png",
        "imgs/2/sample_2.png",
    ];
    assert_eq!(
        entries,
        [(expected[0], 0), (expected[1], 1), (expected[2], 0)]
    );
}
