//! JSON as a careless or hostile peer may send it, as text: also what no JSON value can hold.

use proptest::prelude::*;

/// Texts that are no harm where one of them is run as a command.
const TEXTS: &[&str] = &[
    r#""""#,
    r#""true""#,
    r#""canceled""#,
    r#""IDLE""#,
    r#""git""#,
    r#""directory""#,
    r#""https://h.invalid/p""#,
    r#""/nonexistent/../place""#,
    r#""a\u0000b""#,
    r#""\ud800""#,
    r#""🦀 é""#,
    r#""-1""#,
];

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "1e400",
    "-1e-400",
    "4294967296",
    "-9223372036854775809",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

fn text_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Any value; objects have the names that the API knows, perhaps twice.
pub(crate) fn value(names: &'static [&'static str]) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        text_of(TEXTS),
        text_of(NUMBERS),
        text_of(&["null", "true", "false", "{}", "[]", "[[]]", "{\"\": 0}"]),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let member = (prop::sample::select(names), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| object(&members)),
        ]
    })
    .boxed()
}

fn object(members: &[(&str, String)]) -> String {
    let members = members
        .iter()
        .map(|(name, value)| format!("{name:?}: {value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// A body that would do, but for one thing: a member is of any other kind, is missing or is there twice.
fn nearly(good: &'static [&'static str], names: &'static [&'static str]) -> BoxedStrategy<String> {
    let changed = move |text: &str, index: usize, how: u8, value: &str| {
        let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else {
            return text.to_owned();
        };
        let mut members: Vec<(String, String)> = members
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        if !members.is_empty() {
            let index = index % members.len();
            match how {
                0 => members[index].1 = value.to_owned(),
                1 => drop(members.remove(index)),
                2 => {
                    let twice = members[index].clone();
                    members.push(twice);
                }
                _ => members.push(("colour".to_owned(), value.to_owned())),
            }
        }
        let members: Vec<(&str, String)> = members
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        object(&members)
    };
    (
        prop::sample::select(good),
        any::<usize>(),
        0..4_u8,
        value(names),
    )
        .prop_map(move |(text, index, how, value)| changed(text, index, how, &value))
        .boxed()
}

/// Any body: JSON of every kind, and what is none.
pub(crate) fn body(
    good: &'static [&'static str],
    names: &'static [&'static str],
) -> BoxedStrategy<Vec<u8>> {
    let odd = prop::sample::select(vec![
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe{}".to_vec(),
        b"{\"type\": \"\xc3\x28\"}".to_vec(),
        b"{} {}".to_vec(),
        "[".repeat(100_000).into_bytes(),
        format!("{}{}", "{\"slave\":".repeat(5_000), "}".repeat(5_000)).into_bytes(),
        format!("{{\"type\": \"{}\"}}", "x".repeat((1 << 20) - 12)).into_bytes(),
        vec![b' '; (1 << 20) + 1],
    ]);
    prop_oneof![
        4 => nearly(good, names).prop_map(String::into_bytes),
        3 => value(names).prop_map(String::into_bytes),
        1 => odd,
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
    .boxed()
}

/// Any query: parameters that the API knows, with values of any kind.
pub(crate) fn query() -> BoxedStrategy<String> {
    let name = prop::sample::select(vec![
        "offset",
        "limit",
        "max_lines",
        "offset_line",
        "since_id",
        "since_timestamp",
        "x",
        "",
        "%00",
        "%ff",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "",
            "x",
            "-1",
            "0",
            "1e400",
            "NaN",
            "inf",
            "%",
            "%ff",
            "%00",
            "1.5",
            "+1",
            "99999999999999999999999",
            "[]",
            "1=2",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((name, value), 0..4)
        .prop_map(|pairs| {
            let pairs = pairs
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("&")
        })
        .boxed()
}

/// The path of a route, with these ids in the places of its variable parts.
pub(crate) fn path(template: &str, ids: &[&str]) -> String {
    let mut ids = ids.iter().cycle();
    let part = |part: &str| match part.starts_with(['[', '(']) {
        true => (*ids.next().expect("there are ids")).to_owned(),
        false => part.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}
