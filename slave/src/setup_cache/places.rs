//! Paths of one project in the files of another copy of it: scripts of virtual environments name the directory where they
//! were installed. Pure.

use std::borrow::Cow;

/// Whether a path goes on after its last character, so that it names something else.
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

/// Where a directory is named in a text, from a byte on.
fn next(text: &[u8], directory: &[u8], from: usize) -> Option<usize> {
    let first = *directory.first()?;
    let mut at = from;
    loop {
        let rest = text.get(at..)?;
        at += memchr(first, rest)?;
        let end = at + directory.len();
        if text.get(at..end)? == directory && !text.get(end).copied().is_some_and(goes_on) {
            return Some(at);
        }
        at += 1;
    }
}

fn memchr(byte: u8, text: &[u8]) -> Option<usize> {
    text.iter().position(|found| *found == byte)
}

/// Whether a text names a directory, or something below.
pub(super) fn names(text: &[u8], directory: &[u8]) -> bool {
    next(text, directory, 0).is_some()
}

/// A text with another directory wherever it names this one.
pub(super) fn moved<'t>(text: &'t [u8], from: &[u8], to: &[u8]) -> Cow<'t, [u8]> {
    let mut moved = Vec::new();
    let mut done = 0;
    while let Some(at) = next(text, from, done) {
        moved.extend_from_slice(text.get(done..at).unwrap_or_default());
        moved.extend_from_slice(to);
        done = at + from.len();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    moved.extend_from_slice(text.get(done..).unwrap_or_default());
    Cow::Owned(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = moved(text.as_bytes(), b"/w/1", b"/work/20");
        assert_eq!(String::from_utf8_lossy(&found), expected);
        assert_eq!(names(text.as_bytes(), b"/w/1"), text != expected);
    }

    #[test]
    fn only_the_very_directory_is_renamed() {
        check("#!/w/1/.venv/bin/python\n", "#!/work/20/.venv/bin/python\n");
        check(
            "VIRTUAL_ENV='/w/1'; cd /w/1",
            "VIRTUAL_ENV='/work/20'; cd /work/20",
        );
        check("/w/1:/w/1", "/work/20:/work/20");
        for same in ["", "/w/", "/w/10/x", "/w/1-a", "/w/1.old", "w/1", "/w/1é"] {
            check(same, same);
        }
        check("/w//w/1/", "/w//work/20/");
    }
}
