//! The header of an answer that is saved as a file.

/// Of the file's name only plain characters are taken: names of projects that come from addresses have others, and some
/// mean something in a header.
pub(super) fn attachment(name: &str) -> String {
    let plain = |sign: char| match sign {
        '-' | '_' | '.' => sign,
        _ if sign.is_ascii_alphanumeric() => sign,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    format!("attachment; filename={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_has_plain_characters_only() {
        for (name, plain) in [
            ("ann.my-hill_2.builds.7", "ann.my-hill_2.builds.7"),
            ("a\r\n\"b\u{e9} ;c", "a___b___c"),
            ("ann.a\"b\r\nc: d/\u{e9}", "ann.a_b__c__d__"),
        ] {
            assert_eq!(attachment(name), format!("attachment; filename={plain}"));
        }
    }
}
