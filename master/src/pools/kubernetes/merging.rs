//! Puts what one part of a manifest says over what another one does.

use serde_json::{Map, Value};

/// `over` on top of `under`: objects are merged, of lists of things with names the things with the same name, and of all
/// else what is on top counts. A null on top takes away what is under it.
#[must_use]
pub(super) fn merged(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (name, value) in over {
                match (under.remove(&name), value) {
                    (_, Value::Null) => {}
                    (below, value) => {
                        under.insert(name, merged(below.unwrap_or(Value::Null), value));
                    }
                }
            }
            Value::Object(under)
        }
        (Value::Array(mut under), Value::Array(over)) if has_names(&under) && has_names(&over) => {
            for value in over {
                let name = value["name"].clone();
                match under.iter_mut().find(|known| known["name"] == name) {
                    Some(known) => *known = merged(known.take(), value),
                    None => under.push(merged(Value::Null, value)),
                }
            }
            Value::Array(under)
        }
        (_, over @ Value::Object(_)) => merged(Value::Object(Map::new()), over),
        (_, over) => over,
    }
}

fn has_names(list: &[Value]) -> bool {
    list.iter().all(|one| one["name"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_on_top_counts_and_the_rest_stays() {
        let under = json!({
            "a": { "b": 1, "c": 2 }, "list": [1, 2], "gone": 1,
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
        });
        let over = json!({
            "a": { "c": 3 }, "list": [3], "gone": null, "new": { "x": null, "y": 1 },
            "env": [{ "name": "B", "value": "3" }, { "name": "C" }],
        });
        let expected = json!({
            "a": { "b": 1, "c": 3 }, "list": [3], "new": { "y": 1 },
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "3" }, { "name": "C" }],
        });
        assert_eq!(merged(under, over), expected);
    }
}
