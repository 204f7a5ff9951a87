//! Files that an operating system puts beside others, and that are no data.

/// Whether a path is that of a side file: macOS's `._name`, `.DS_Store` and all in `__MACOSX`,
/// Windows' `Thumbs.db` and `desktop.ini`.
pub(crate) fn is_side(path: &str) -> bool {
    const NAMES: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.starts_with("._")
        || NAMES.iter().any(|side| name.eq_ignore_ascii_case(side))
        || path.split(['/', '\\']).any(|part| part == "__MACOSX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_files_are_known_by_their_names() {
        for side in [
            "._0_5.txt",
            "pos/._0_5.txt",
            "a/.ds_store",
            "THUMBS.DB",
            "__MACOSX/a/0_5.txt",
        ] {
            assert!(is_side(side), "{side}");
        }
        for file in ["0_5.txt", "pos/0_5.txt", "a._b", "MACOSX/a", ".hidden"] {
            assert!(!is_side(file), "{file}");
        }
    }
}
