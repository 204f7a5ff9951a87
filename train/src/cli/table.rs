//! Tables for people.

/// Which side a column's cells stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The rows under their headings, columns as wide as need be.
pub(super) fn table(columns: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let heading = columns[column].0.chars().count();
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.fold(heading, usize::max)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(columns.iter().zip(&widths))
            .map(|(cell, ((_, side), width))| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(columns.iter().map(|(heading, _)| *heading).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["longer".to_owned(), "123".to_owned()],
        ];
        assert_eq!(
            table(&[("name", Side::Left), ("n", Side::Right)], &rows),
            "name      n\na         1\nlonger  123\n"
        );
    }
}
