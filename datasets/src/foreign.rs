//! What a file is that is none of ours, by its first bytes: a failed download, most of the time.

const PAGE: &str = "a web page";

/// What starts with these bytes, in words: "a web page", "a zip archive", …; `None` for anything else,
/// also for the formats that this project reads (gzip, PNG, safetensors, plain text).
///
/// A zip is what PyTorch writes: readers of weights ask after they have looked for one.
///
/// ```
/// use transformer_ls_datasets::foreign;
/// assert_eq!(foreign::kind(b"<!DOCTYPE html>"), Some("a web page"));
/// assert_eq!(foreign::kind(b"\x1f\x8b\x08"), None);
/// ```
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 13] = [
        (
            b"version https://git-lfs.github.com/spec/",
            "a Git LFS pointer, which stands for the file (`git lfs pull` brings it)",
        ),
        (b"PK\x03\x04", "a zip archive"),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"%PDF-", "a PDF"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\xff\xd8\xff", "a JPEG"),
        (b"GIF8", "a GIF"),
        (b"\x7fELF", "a program"),
    ];
    let known = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, kind)) = known {
        return Some(kind);
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = text.trim_ascii_start();
    let begins = |tag: &[u8]| {
        let start = text.get(..tag.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    let pages: [&[u8]; 5] = [b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"];
    pages.into_iter().any(begins).then_some(PAGE)
}

/// What starts with these bytes and is no text at all, in words. A web page is text.
pub fn binary(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 3] = [
        (&crate::gzip::MAGIC, "a gzip file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG"),
        (b"\x93NUMPY", "a NumPy file"),
    ];
    let known = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, kind)) = known {
        return Some(kind);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    // The length of a header in JSON, and the header.
    if let Some([length @ .., 0, 0, 0, b'{', b'"']) = bytes.get(..10)
        && length.contains(&0)
    {
        return Some("a safetensors file");
    }
    kind(bytes).filter(|&kind| kind != PAGE)
}

/// What starts with these bytes, which are none that were expected, in words.
pub(crate) fn described(bytes: &[u8]) -> &'static str {
    kind(bytes).unwrap_or(match bytes {
        [] => "an empty file",
        _ => "something else",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_archives_and_pointers_are_told_apart() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
        assert!(kind(pointer).is_some_and(|kind| kind.contains("Git LFS")));
        assert_eq!(kind(b"\xef\xbb\xbf \n<HTML>"), Some("a web page"));
        assert_eq!(kind(b"PK\x03\x04\x14\0"), Some("a zip archive"));
        assert_eq!(kind(b"BZh91AY&SY"), Some("a bzip2 file"));
        assert_eq!(kind(b""), None);
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n"), None);
        assert_eq!(kind(b"Source\tTarget\n"), None);
    }

    #[test]
    fn what_is_no_text_is_known() {
        let mut tar = vec![b'a'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        let cases: [(&[u8], _); 7] = [
            (b"\x1f\x8b\x08", "a gzip file"),
            (b"\x89PNG\r\n\x1a\n", "a PNG"),
            (b"\x93NUMPY\x01\x00", "a NumPy file"),
            (
                b"\x10\x02\0\0\0\0\0\0{\"__metadata__\"",
                "a safetensors file",
            ),
            (b"PK\x03\x04\x14\0", "a zip archive"),
            (b"%PDF-1.7", "a PDF"),
            (&tar, "a tar archive"),
        ];
        for (bytes, kind) in cases {
            assert_eq!(binary(bytes), Some(kind));
        }
        for text in [
            &b"<html>"[..],
            b"<?xml?>",
            b"",
            b"a",
            b"EMMA",
            b"{\"a\": 1, \"b\": 2}",
        ] {
            assert_eq!(binary(text), None);
        }
    }
}
