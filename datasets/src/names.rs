//! Names of files: those that lie beside others for a while, and paths that stay in their folder.

use std::ffi::{OsStr, OsString};

use crate::printable::sha256;

/// The name with something before and after it, no longer than a file system allows: a long one is
/// cut and told from others by a hash.
pub(crate) fn affixed(before: &str, name: &OsStr, after: &str) -> OsString {
    // Everywhere 255 bytes or more, or 255 characters.
    const LONGEST: usize = 255;
    const DIGEST: usize = 16;
    let room = LONGEST.saturating_sub(before.len() + after.len());
    let mut affixed = OsString::from(before);
    if name.len() <= room {
        affixed.push(name);
    } else {
        let text = name.to_string_lossy();
        let kept = text.floor_char_boundary(room.saturating_sub(DIGEST + 1));
        let digest = sha256(name.as_encoded_bytes());
        affixed.push(format!("{}~{}", &text[..kept], &digest[..DIGEST]));
    }
    affixed.push(after);
    affixed
}

/// A path with `/` between its parts, without `.`; `None` if it leads out of the folder that it is in.
pub(crate) fn within(path: &str) -> Option<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let leads_out = path.starts_with('/') || path.contains(':') || parts.contains(&"..");
    (!leads_out && !parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_and_stay_different() {
        assert_eq!(affixed(".", OsStr::new("a.txt"), ".part"), ".a.txt.part");
        let [one, other] = ["x", "y"].map(|end| format!("{}{end}", "ü".repeat(127)));
        let [one, other] = [one, other].map(|name| affixed(".", OsStr::new(&name), ".lock"));
        assert!(one != other && one.len() <= 255 && other.len() <= 255);
        assert!(one.to_string_lossy().starts_with(".üü"));
        assert!(one.to_string_lossy().ends_with(".lock"));
    }
}
