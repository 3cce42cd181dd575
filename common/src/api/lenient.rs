//! Numbers as the original takes them: its `int()` reads one in a string like the number itself.

use crate::ids::{ExecutorIndex, SlaveId};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

/// A whole number of at least 0: `2`, `2.0` or `" 2 "`.
struct WholeNumber(u64);

struct WholeNumberVisitor;

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeNumberVisitor)
    }
}

impl Visitor<'_> for WholeNumberVisitor {
    type Value = WholeNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at least 0, or a string of one")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<WholeNumber, E> {
        Ok(WholeNumber(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<WholeNumber, E> {
        // Above this a float does not say which whole number is meant.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || !(0.0..=EXACT).contains(&number) {
            return Err(E::invalid_value(
                serde::de::Unexpected::Float(number),
                &self,
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within these bounds"
        )]
        let number = number as u64;
        Ok(WholeNumber(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<WholeNumber, E> {
        let number = text.trim().parse().map(WholeNumber);
        number.map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D, field: &str) -> Result<u32, D::Error> {
    let number = WholeNumber::deserialize(deserializer).map(|number| u32::try_from(number.0));
    match number {
        Ok(Ok(number)) => Ok(number),
        Ok(Err(_)) => Err(D::Error::custom(format!("{field} is too large"))),
        Err(error) => Err(D::Error::custom(format!("{field}: {error}"))),
    }
}

pub(super) fn num_executors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    number(deserializer, "num_executors")
}

pub(super) fn start_index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    number(deserializer, "build_executor_start_index")
}

/// The ids of some slaves.
pub(super) fn slaves<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<SlaveId>>, D::Error> {
    let ids: Result<Option<Vec<WholeNumber>>, _> = Option::deserialize(deserializer);
    let ids = ids.map_err(|error| D::Error::custom(format!("slaves: {error}")))?;
    Ok(ids.map(|ids| ids.into_iter().map(|id| SlaveId(id.0)).collect()))
}

/// An executor that nobody relies on: what is no number counts as not said, since the original takes
/// anything here.
pub(super) fn executor<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ExecutorIndex>, D::Error> {
    let given = Value::deserialize(deserializer)?;
    Ok(number(given, "executor_id").ok().map(ExecutorIndex))
}

/// What the original's `if` takes for yes: all but `false`, `null`, 0 and what is empty.
pub(super) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => false,
        Value::Bool(yes) => yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use crate::api::{ConnectRequest, ResultMetrics, SetupRequest, ShutdownRequest};
    use crate::ids::{ExecutorIndex, SlaveId};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, from_value, json};

    fn check<T: DeserializeOwned, N: PartialEq + std::fmt::Debug>(
        body: fn(Value) -> Value,
        read: fn(T) -> N,
        number: fn(u32) -> N,
        field: &str,
    ) {
        for given in [json!(7), json!(7.0), json!("7"), json!(" 7\n"), json!("+7")] {
            let body = body(given.clone());
            let taken = from_value::<T>(body).map(read);
            assert_eq!(taken.ok(), Some(number(7)), "{given}");
        }
        for given in [
            json!(-1),
            json!(1.5),
            json!("1.5"),
            json!("-1"),
            json!(""),
            json!("x"),
            json!(true),
            json!([1]),
            json!(1e300),
        ] {
            let refused = from_value::<T>(body(given.clone())).map(read);
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with(field), "{given}: {error}");
        }
    }

    #[test]
    fn a_number_may_stand_in_a_string_wherever_the_original_takes_one() {
        check(
            |given| json!({"slaves": [given]}),
            |read: ShutdownRequest| read.slaves,
            |number| Some(vec![SlaveId(number.into())]),
            "slaves: ",
        );
        check(
            |given| json!({"slave": "h:1", "num_executors": given}),
            |read: ConnectRequest| read.num_executors,
            |number| number,
            "num_executors: ",
        );
        check(
            |given| json!({"project_type_params": {}, "build_executor_start_index": given}),
            |read: SetupRequest| read.build_executor_start_index,
            |number| number,
            "build_executor_start_index: ",
        );
    }

    #[test]
    fn an_executor_that_is_no_number_is_none() {
        for (given, expected) in [
            (json!("3"), Some(ExecutorIndex(3))),
            (json!(3), Some(ExecutorIndex(3))),
            (json!("a"), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            let read: ResultMetrics = from_value(json!({"executor_id": given})).unwrap();
            assert_eq!(read.executor_id, expected);
        }
    }

    #[test]
    fn all_slaves_are_meant_where_the_original_means_them() {
        for (given, expected) in [
            (json!(true), true),
            (json!(1), true),
            (json!("yes"), true),
            (json!(0), false),
            (json!(""), false),
            (json!([]), false),
            (json!(null), false),
        ] {
            let read: ShutdownRequest = from_value(json!({"shutdown_all": given})).unwrap();
            assert_eq!(read.shutdown_all, expected, "{given}");
        }
        let neither: ShutdownRequest = from_value(json!({"slaves": null})).unwrap();
        assert_eq!(neither, ShutdownRequest::default());
    }
}
