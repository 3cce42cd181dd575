//! YAML from strangers as JSON: what it says is kept, how it says it is not. Bounded in size and depth, also where
//! aliases repeat a part.

use super::json::MOST_LEVELS;
use serde_json::Value;

/// Values in one text, aliases counted as often as they are used.
const MOST_NODES: usize = 50_000;

/// Bytes of all values of one text, counted in the same way.
const MOST_BYTES: usize = 2 << 20;

/// Why a text is not read. It names the place where that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads one document. A name that is twice in one mapping is an error.
///
/// # Errors
/// The text is no YAML, too large or nested too deep.
pub fn from_str(text: &str) -> Result<Value, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES + 1000,
            max_depth: MOST_LEVELS,
            max_total_scalar_bytes: MOST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 2 * MOST_NODES },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    let read: Result<Value, _> = serde_saphyr::from_str_with_options(text, options);
    let value = read.map_err(|error| match error.without_snippet() {
        serde_saphyr::Error::Budget { .. }
        | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. } => YamlError(format!(
            "it is too large or nested too deeply: keep below {MOST_NODES} values, {MOST_BYTES} bytes and \
             {MOST_LEVELS} levels, counting what aliases repeat"
        )),
        other => YamlError(other.to_string()),
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_yaml_says_is_kept() {
        let text = "version: 1\nkind: build\nbuild:\n  image: a:1\n  build_steps: &s\n    - 'echo \"x: y\"'\n    - |\n      two\n      lines\n  env_vars:\n    - [A, 2]\n    - [B, 1.5]\n    - [C, true]\n    - [D, ~]\nagain: *s\n";
        let steps = json!(["echo \"x: y\"", "two\nlines\n"]);
        let expected = json!({
            "version": 1, "kind": "build",
            "build": {
                "image": "a:1", "build_steps": steps,
                "env_vars": [["A", 2], ["B", 1.5], ["C", true], ["D", null]],
            },
            "again": steps,
        });
        assert_eq!(from_str(text).unwrap(), expected);
        assert_eq!(
            from_str("{a: [1, {b: c}]}").unwrap(),
            json!({"a": [1, {"b": "c"}]})
        );
        assert_eq!(from_str("---\na: 1\n").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn what_is_wrong_too_large_or_too_deep_is_an_error() {
        let deep = "[".repeat(100_000);
        let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        let blocks: String = (0..60)
            .map(|level| format!("{}a:\n", " ".repeat(level)))
            .collect();
        let laughs: String = (1..12)
            .map(|n| {
                format!(
                    "l{n}: &l{n} [{}]\n",
                    vec![format!("*l{}", n - 1); 10].join(", ")
                )
            })
            .collect();
        let laughs = format!("l0: &l0 lol\n{laughs}");
        let many = "- 1\n".repeat(60_000);
        let repeated = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(100_000),
            "*a, ".repeat(30)
        );
        for text in [&deep, &nested, &blocks, &laughs, &many, &repeated] {
            let shown: String = text.chars().take(40).collect();
            assert!(from_str(text).is_err(), "{shown}");
        }
        for text in ["a: [", "a: 1\na: 2\n", "a: *b", "a: 1\n---\nb: 2\n", "a: '"] {
            assert!(from_str(text).is_err(), "{text}");
        }
    }
}
