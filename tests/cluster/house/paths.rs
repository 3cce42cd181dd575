//! The paths in a file's code.

use std::collections::BTreeSet;

/// All paths of more than one name in the code of a module, each once: those of this crate in full.
pub(super) fn paths(code: &str, module: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut rest = code;
    let mut before = ' ';
    while let Some(sign) = rest.chars().next() {
        let first = name(rest);
        if first.is_empty() {
            rest = &rest[sign.len_utf8()..];
            before = sign;
            continue;
        }
        let is_path = before != ':' && rest[first.len()..].starts_with("::");
        let length = match is_path {
            true => {
                let mut inside = Vec::new();
                let length = tree(rest, &Vec::new(), &mut inside);
                found.extend(inside.into_iter().map(|path| in_full(path, module)));
                length
            }
            false => first.len(),
        };
        rest = &rest[length..];
        before = ' ';
    }
    found
}

/// Reads a path, or the tree of an import, that goes on from `above`. How long its text is.
fn tree(text: &str, above: &Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    if text.starts_with('{') {
        let mut at = 1;
        loop {
            at += text[at..].len() - text[at..].trim_start_matches([',', ' ', '\n']).len();
            if text[at..].starts_with('}') || text[at..].is_empty() {
                return (at + 1).min(text.len());
            }
            let length = tree(&text[at..], above, found);
            at += length;
            // `as` another name, and what is no name.
            at += text[at..].find([',', '{', '}']).unwrap_or(text.len() - at);
        }
    }
    let first = name(text);
    let mut path = above.clone();
    if first != "self" || above.is_empty() {
        path.push(first.clone());
    }
    let rest = &text[first.len()..];
    match rest.strip_prefix("::") {
        Some(next) if next.starts_with('{') || next.starts_with(is_of_a_name) => {
            first.len() + 2 + tree(next, &path, found)
        }
        _ => {
            found.push(path);
            first.len()
        }
    }
}

/// A path of this crate from `crate` on; others as they are.
fn in_full(path: Vec<String>, module: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let is_own = supers > 0 || path[0] == "self";
    if !is_own {
        return path;
    }
    let above = &module[..module.len() - supers];
    let below = path.into_iter().skip(supers.max(1));
    above.iter().cloned().chain(below).collect()
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|sign| is_of_a_name(*sign))
        .collect()
}

pub(super) fn is_of_a_name(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Whether the word stands there and is no part of a longer name.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let begins = !word.starts_with(is_of_a_name) || !code[..at].ends_with(is_of_a_name);
        let ends = !code[at + word.len()..].starts_with(is_of_a_name);
        begins && ends
    })
}

#[test]
fn paths_are_read_in_all_forms() {
    let code = "use crate::a::b;\nuse crate::{c, d::{e, f}, g::h as i};\nlet x = crate::j::k();\nuse my_crate::l;\n\
                use super::m::{self, n};\nlet y = super::super::o::<u8>(self::p::Q);";
    let module = ["crate", "y", "z"].map(str::to_owned);
    let found = paths(code, &module)
        .iter()
        .map(|path| path.join("::"))
        .collect::<Vec<_>>();
    let expected = [
        "crate::a::b",
        "crate::c",
        "crate::d::e",
        "crate::d::f",
        "crate::g::h",
        "crate::j::k",
        "crate::o",
        "crate::y::m",
        "crate::y::m::n",
        "crate::y::z::p::Q",
        "my_crate::l",
    ];
    assert_eq!(found, expected);
    assert!(has_word("std::io::Read", "std::io") && !has_word("std::iosync", "std::io"));
    assert!(has_word("Timestamp::now()", "::now()"));
    // The name of a crate belongs to the word: "common::api" is a part of a longer name.
    let import = "use clusterrunner_common::api::HuntEnd;";
    assert!(has_word(import, "clusterrunner_common::api") && !has_word(import, "common::api"));
}
