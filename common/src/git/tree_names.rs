//! Names that no file of a commit may have.

/// How many bytes of a name a message shows.
const SHOWN_NAME: usize = 80;

/// Characters that HFS+ leaves out when it compares names (as git's `next_hfs_char`).
const HFS_IGNORED: [char; 16] = [
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

/// What is wrong with the name of a file or directory.
pub(super) fn what_is_wrong(name: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(name);
    match name {
        b"" => Some("is empty"),
        b"." | b".." => Some("leads elsewhere"),
        _ if name.contains(&b'/') => Some("has a slash"),
        _ if text.chars().any(char::is_control) => Some("has control characters"),
        _ if is_dot_git(&text) => Some("is one of git's own directory"),
        _ => None,
    }
}

/// Whether some file system takes the name for `.git`.
fn is_dot_git(name: &str) -> bool {
    // HFS+ leaves characters out and knows no case.
    let visible = name.chars().filter(|shown| !HFS_IGNORED.contains(shown));
    if visible.flat_map(char::to_lowercase).eq(".git".chars()) {
        return true;
    }
    // NTFS leaves blanks and dots at the end out, knows streams after a colon, and has short names.
    let first = name.split(['\\', ':']).next().unwrap_or_default();
    let first = first.trim_end_matches([' ', '.']);
    first.eq_ignore_ascii_case(".git") || first.eq_ignore_ascii_case("git~1")
}

pub(super) fn shown(name: &[u8]) -> String {
    let name = name.get(..SHOWN_NAME).unwrap_or(name);
    String::from_utf8_lossy(name).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_git_s_own_directory_are_known_in_any_spelling() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".git\u{206f}",
            "git~1",
            "GIT~1",
            ".git.",
            ".git ",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            ".git\\config",
            "git~1 ",
        ] {
            assert!(is_dot_git(name), "{name:?}");
        }
        for name in [
            ".gitignore",
            ".gitmodules",
            "git",
            "git~2",
            ".github",
            "a.git",
            "..git",
            ".gi",
            ".git~1",
            "x:.git",
        ] {
            assert_eq!(what_is_wrong(name.as_bytes()), None, "{name:?}");
        }
    }
}
