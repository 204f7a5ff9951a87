//! Tables of text in NumPy's file format, for Pathfinder's metadata as its generator writes it.

use crate::problem::FileProblem;

/// How every NumPy file begins.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a two-dimensional array of strings (`<U…`, `>U…` or `|S…`), row by row, however it is stored.
///
/// # Errors
/// [`FileProblem::Npy`] for any other array, and for damaged files.
pub fn read_strings(bytes: &[u8]) -> Result<Vec<Vec<String>>, FileProblem> {
    let problem = |cause: &str| FileProblem::Npy(cause.to_owned());
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| problem("no NumPy file"))?;
    let cut_off = || problem("it ends in its header");
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut_off)?;
    let header = std::str::from_utf8(header).map_err(|_| problem("its header is no text"))?;
    let header: String = header.chars().filter(|c| !c.is_whitespace()).collect();
    let is_by_columns = header.contains("'fortran_order':True");
    let kind = after(&header, "'descr':'").and_then(|text| text.split('\'').next());
    let kind = kind.ok_or_else(|| problem("it holds objects, not text"))?;
    let shape = after(&header, "'shape':(").and_then(|text| text.split(')').next());
    let shape: Option<Vec<usize>> = shape.and_then(|shape| {
        let sizes = shape.split(',').filter(|size| !size.is_empty());
        sizes.map(|size| size.parse().ok()).collect()
    });
    let Some(&[rows, columns]) = shape.as_deref() else {
        return Err(problem("its array has not two dimensions"));
    };
    let (code_point, characters): (fn([u8; 4]) -> u32, &str) = match kind.split_at_checked(2) {
        Some(("<U", count)) => (u32::from_le_bytes, count),
        Some((">U", count)) => (u32::from_be_bytes, count),
        Some(("|S", count)) => (u32::from_le_bytes, count),
        _ => return Err(problem("its array is not of text")),
    };
    let unit = if kind.starts_with("|S") { 1 } else { 4 };
    let characters = characters.parse::<usize>();
    let characters = characters.map_err(|_| problem("its strings have no length"))?;
    let size = characters.checked_mul(unit);
    let total = size.and_then(|size| size.checked_mul(rows)?.checked_mul(columns));
    if total != Some(data.len()) || data.is_empty() {
        return Err(problem("it is too short or too long for its array"));
    }
    let string = |cell: &[u8]| -> Option<String> {
        let characters = cell.chunks_exact(unit).map(|bytes| match *bytes {
            [a, b, c, d] => char::from_u32(code_point([a, b, c, d])),
            [byte] => Some(char::from(byte)),
            _ => None,
        });
        let text: Option<String> = characters.collect();
        Some(text?.trim_end_matches('\0').to_owned())
    };
    let cells = data.chunks_exact(characters * unit).map(string);
    let cells: Option<Vec<String>> = cells.collect();
    let cells = cells.ok_or_else(|| problem("its strings are no text"))?;
    let cell = |row: usize, column: usize| match is_by_columns {
        true => cells[column * rows + row].clone(),
        false => cells[row * columns + column].clone(),
    };
    let row = |row| (0..columns).map(|column| cell(row, column)).collect();
    Ok((0..rows).map(row).collect())
}

fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.find(key).map(|at| &text[at + key.len()..])
}
