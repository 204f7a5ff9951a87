//! Names of files that lie beside others for a while.

use std::ffi::{OsStr, OsString};

use sha2::{Digest, Sha256};

use crate::printable::hex;

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
        let digest = Sha256::digest(name.as_encoded_bytes());
        affixed.push(format!("{}~{}", &text[..kept], hex(&digest[..DIGEST / 2])));
    }
    affixed.push(after);
    affixed
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
