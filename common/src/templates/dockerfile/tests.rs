//! Dockerfiles as they are written, and as they should not be.

use super::*;
use proptest::prelude::*;

fn refused(text: &str) -> (usize, String) {
    let WrongDockerfile { line, sentence } = read(text).unwrap_err();
    (line, sentence)
}

#[test]
fn instructions_have_the_line_where_they_begin() {
    let text = "# syntax=docker/dockerfile:1\n# escape=\\\n\nARG V=1\nfrom scratch AS base\n\
                RUN one && \\\n  # why\n\n  two \\  \n three\n  COPY --from=base --chown=a:b x y\n\
                RUN <<EOF\nfirst\n# kept\nEOF\nCMD [\"a\"]";
    let found = read(text).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|i| (i.line, i.word(), &*i.text, i.documents.len()))
        .collect();
    assert_eq!(
        found,
        [
            (4, "ARG", "V=1", 0),
            (5, "FROM", "scratch AS base", 0),
            (6, "RUN", "one &&   two  three", 0),
            (11, "COPY", "x y", 0),
            (12, "RUN", "<<EOF", 1),
            (16, "CMD", "[\"a\"]", 0),
        ]
    );
    let found = read(text).unwrap();
    assert_eq!(found[3].flag("from"), Some("base"));
    assert_eq!(found[4].documents[0].content, "first\n# kept\n");
    let windows = "# escape=`\nFROM a\nRUN b `\n c \\";
    assert_eq!(read(windows).unwrap()[1].text, "b  c \\");
}

#[test]
fn what_is_no_dockerfile_is_refused_with_its_line() {
    for (text, line, sentence) in [
        (
            "FROM a\n\nRUNN x",
            3,
            "unknown instruction `RUNN`. Did you mean RUN?",
        ),
        ("FROM a\n\u{1b}[2J x", 2, "`\\u{1b}[2J`."),
        ("RUN x\nFROM a", 1, "the first instruction must be FROM."),
        ("", 1, "there is no FROM."),
        ("# a\nARG X\n", 2, "there is no FROM."),
        ("FROM a\nRUN", 2, "RUN needs arguments."),
        (
            "FROM a\nRUN <<-'E' x\n\ty\n",
            2,
            "the here-document `E` has no end.",
        ),
        ("FROM a\nRUN a\0b", 2, "it has a NUL character."),
    ] {
        let found = refused(text);
        assert!(found.0 == line && found.1.contains(sentence), "{found:?}");
    }
    let many = format!("FROM a\n{}", "RUN x\n".repeat(10_000));
    assert_eq!(refused(&many).0, 10_001);
}

#[test]
fn words_lose_their_quotes_and_get_variables() {
    let lookup = |name: &str| match name {
        "A" => Some("one two".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let split = |text: &str| words(text, '\\', true, &lookup);
    for (text, expected) in [
        (
            "a 'b $A' \"c $A\" d\\ e",
            &["a", "b $A", "c one two", "d e"][..],
        ),
        ("$A/${A}x ${B} \\$A $", &["one two/one twox", "", "$A", "$"]),
        ("${B:-x${A}} ${EMPTY:-y} ${EMPTY-z}", &["xone two", "y", ""]),
        ("${A:+set} ${B:+set} ${B+x}", &["set", "", ""]),
        ("\"a\\nb\\\"c\" ''", &["a\\nb\"c", ""]),
    ] {
        assert_eq!(split(text).unwrap(), expected, "{text}");
    }
    assert_eq!(
        words(" a  $A ", '\\', false, &lookup).unwrap(),
        ["a  one two "]
    );
    for (text, wrong) in [
        ("'a", WrongWords::OpenSingleQuote),
        ("\"a", WrongWords::OpenDoubleQuote),
        ("${A", WrongWords::OpenBrace),
        ("${}", WrongWords::Nameless(String::new())),
        ("${B:?}", WrongWords::NotSet("B".to_owned())),
        ("${A:}", WrongWords::UnknownUse("A:".to_owned())),
        ("${A%x}", WrongWords::UnknownUse("A%x".to_owned())),
    ] {
        assert_eq!(split(text), Err(wrong), "{text}");
    }
    let wrong = WrongWords::UnknownUse("A%x".to_owned());
    assert_eq!(wrong.to_string(), "`${A%x}` is no way to use a variable.");
    assert_eq!(WrongWords::OpenBrace.to_string(), "a `${` is not closed.");
    let deep = format!("{}{}", "${B:-".repeat(100), "}".repeat(100));
    assert_eq!(split(&deep), Err(WrongWords::TooDeep));
    let long = |_: &str| Some("x".repeat(100_000));
    let many = words(&"$A".repeat(100), '\\', true, &long);
    assert_eq!(many, Err(WrongWords::TooLong));
}

#[test]
fn sources_and_destination_are_told_apart() {
    let copy = |text: &str| {
        let read = read(&format!("FROM a\nCOPY {text}")).unwrap();
        copying(&read[1], &|_| None).map(|found| (found.sources, found.target))
    };
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(copy("a b c/"), Ok((texts(&["a", "b"]), "c/".to_owned())));
    let list = "[\"a b\", \"c\"]";
    assert_eq!(copy(list), Ok((texts(&["a b"]), "c".to_owned())));
    assert_eq!(copy("<<A /x\nb\nA"), Ok((Vec::new(), "/x".to_owned())));
    assert!(copy("a").unwrap_err().sentence.contains("a source and a"));
    assert_eq!(number_of_port("8080/tcp"), Some(8080));
    assert_eq!(number_of_port("7000-7010"), Some(7000));
    assert_eq!(number_of_port("0"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No text brings the reader down.
    #[test]
    fn any_text_is_read_or_refused(
        text in "(FROM a\n)?((RUN|COPY|ENV|# x|)[ <\\-'\"${}:A\\\\`=\\n\\t]{0,24}\n?){0,4}\\PC{0,12}"
    ) {
        if let Ok(found) = read(&text) {
            for instruction in &found {
                words(&instruction.text, instruction.escape, true, &|_| Some("v".to_owned())).ok();
                copying(instruction, &|_| None).ok();
            }
        }
    }
}
