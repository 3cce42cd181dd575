//! Which builds of a project are listed: `?query=<field>:<condition>[,…]`.
//!
//! A condition is a value, several (`a|b`), a comparison (`<`, `<=`, `>`, `>=`) or a range (`from..to`, both ends
//! included), each with `~` before it for the opposite. Numbers and times can be compared. All conditions must hold.

use super::invalid::{InvalidParameter, quoted};
use super::sort::{Moment, Moments};
use super::times::Period;
use clusterrunner_common::ids::BuildId;

/// How many values a query may name.
const MAX_VALUES: usize = 100;

/// The statuses that a build may have here, and others that clients know.
const STATUSES: [&str; 19] = [
    "created",
    "scheduled",
    "building",
    "running",
    "succeeded",
    "failed",
    "stopped",
    "unknown",
    "resuming",
    "warning",
    "unschedulable",
    "initializing",
    "starting",
    "stopping",
    "upstream_failed",
    "retrying",
    "skipped",
    "processing",
    "done",
];

/// How many of [`STATUSES`] builds have here; named where a query names none of them.
const OURS: usize = 8;

/// What a query may ask of a build.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) id: BuildId,
    pub(super) name: Option<&'a str>,
    /// The name of the user who started it.
    pub(super) user: &'a str,
    /// The name of its project.
    pub(super) project: &'a str,
    /// The name of the project's owner.
    pub(super) owner: &'a str,
    pub(super) status: &'a str,
    pub(super) tags: &'a [String],
    pub(super) commit: Option<&'a str>,
    pub(super) moments: Moments,
}

/// Conditions that must all hold; none where nothing was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    is_negated: bool,
    asked: Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Text(TextField, Vec<String>),
    Id(Bounds<u64>),
    Time(Moment, Bounds<Period>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextField {
    Name,
    User,
    Project,
    Status,
    Tags,
    Commit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bounds<T> {
    OneOf(Vec<T>),
    Below(T),
    UpTo(T),
    Above(T),
    From(T),
    Between(T, T),
}

/// What is wrong with a query, as a sentence with the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum WrongQuery {
    #[error("{} is no condition: {CURE}.", quoted(.0))]
    NoCondition(String),
    #[error("{}: the condition is empty: {CURE}.", quoted(.0))]
    EmptyCondition(String),
    #[error("It names more than {MAX_VALUES} values.")]
    TooManyValues,
    #[error(
        "{} is no field of a build: ask for id, name, user, project, status, tags, commit, created_at, updated_at, \
         started_at or finished_at.",
        quoted(.0)
    )]
    NoField(String),
    #[error(
        "{0}: only times and ids can be compared: write {0}:<value>, {0}:<one>|<other> or {0}:~<value>."
    )]
    NotComparable(String),
    #[error("{0}: a value is empty: write {0}:<one>|<other>.")]
    EmptyValue(String),
    #[error("{field}: {} is no time: write 2018-08-19 or 2018-08-19T22:06:35+02:00.", quoted(.value))]
    NoTime { field: String, value: String },
    #[error("{field}: {} is no number.", quoted(.value))]
    NoNumber { field: String, value: String },
    #[error("{field}: {} is no status: a build is {}.", quoted(.value), STATUSES[..OURS].join(", "))]
    NoStatus { field: String, value: String },
}

const CURE: &str =
    "write <field>:<condition>, such as status:running|failed or created_at:>=2018-08-19";

impl Query {
    /// The value of the parameter; an empty one asks nothing.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidParameter> {
        let mut query = Self::default();
        let mut num_values = 0;
        if text.trim().is_empty() {
            return Ok(query);
        }
        for part in text.split(',') {
            let condition = Condition::parse(part.trim()).map_err(invalid)?;
            num_values += 1 + part.matches('|').count();
            if num_values > MAX_VALUES {
                return Err(invalid(WrongQuery::TooManyValues));
            }
            query.conditions.push(condition);
        }
        Ok(query)
    }

    /// Whether a build is what was asked for.
    pub(super) fn has(&self, row: &Row<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.has(row))
    }
}

fn invalid(wrong: WrongQuery) -> InvalidParameter {
    InvalidParameter::new("query", wrong.to_string())
}

impl Condition {
    fn parse(part: &str) -> Result<Self, WrongQuery> {
        let (field, condition) = part
            .split_once(':')
            .ok_or_else(|| WrongQuery::NoCondition(part.to_owned()))?;
        let (field, condition) = (field.trim(), condition.trim());
        let (is_negated, condition) = match condition.strip_prefix('~') {
            Some(rest) => (true, rest.trim()),
            None => (false, condition),
        };
        if condition.is_empty() {
            return Err(WrongQuery::EmptyCondition(part.to_owned()));
        }
        let asked = match Moment::named(field) {
            Some(moment) => Bounds::parse(field, condition, time).map(|b| Asked::Time(moment, b)),
            None if field == "id" => Bounds::parse(field, condition, number).map(Asked::Id),
            None => text(field, condition),
        };
        let asked = asked?;
        Ok(Self { is_negated, asked })
    }

    fn has(&self, row: &Row<'_>) -> bool {
        let has = match &self.asked {
            Asked::Text(field, values) => values.iter().any(|value| field.is(row, value)),
            Asked::Id(bounds) => bounds.has(|id| row.id.0.cmp(id)),
            Asked::Time(moment, bounds) => row.moments.get(*moment).is_some_and(|at| {
                bounds.has(|period| match period {
                    period if period.is_after(at) => std::cmp::Ordering::Less,
                    period if period.is_before(at) => std::cmp::Ordering::Greater,
                    _ => std::cmp::Ordering::Equal,
                })
            }),
        };
        has != self.is_negated
    }
}

fn time(field: &str, text: &str) -> Result<Period, WrongQuery> {
    Period::parse(text).ok_or_else(|| WrongQuery::NoTime {
        field: field.to_owned(),
        value: text.to_owned(),
    })
}

fn number(field: &str, text: &str) -> Result<u64, WrongQuery> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    match is_number {
        // More than any id.
        true => Ok(text.parse().unwrap_or(u64::MAX)),
        false => Err(WrongQuery::NoNumber {
            field: field.to_owned(),
            value: text.to_owned(),
        }),
    }
}

/// The condition of a field that can not be compared.
fn text(field: &str, condition: &str) -> Result<Asked, WrongQuery> {
    let known = match field {
        "name" => TextField::Name,
        "user" => TextField::User,
        "project" => TextField::Project,
        "status" => TextField::Status,
        "tags" => TextField::Tags,
        "commit" => TextField::Commit,
        _ => return Err(WrongQuery::NoField(field.to_owned())),
    };
    if condition.starts_with(['<', '>']) {
        return Err(WrongQuery::NotComparable(field.to_owned()));
    }
    let values: Vec<String> = condition.split('|').map(|v| v.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(WrongQuery::EmptyValue(field.to_owned()));
    }
    if known == TextField::Status
        && let Some(other) = values.iter().find(|v| !STATUSES.contains(&v.as_str()))
    {
        return Err(WrongQuery::NoStatus {
            field: field.to_owned(),
            value: other.clone(),
        });
    }
    Ok(Asked::Text(known, values))
}

impl TextField {
    fn is(self, row: &Row<'_>, value: &str) -> bool {
        match self {
            Self::Name => row.name == Some(value),
            Self::User => row.user == value,
            Self::Project => {
                let of_owner = value.strip_prefix(row.owner);
                let name = of_owner.and_then(|rest| rest.strip_prefix('.'));
                row.project == value || name == Some(row.project)
            }
            Self::Status => row.status == value,
            Self::Tags => row.tags.iter().any(|tag| tag == value),
            // People name commits by their first digits.
            Self::Commit => row.commit.is_some_and(|commit| {
                commit == value || value.len() >= 7 && commit.starts_with(value)
            }),
        }
    }
}

impl<T> Bounds<T> {
    fn parse(
        field: &str,
        condition: &str,
        value: impl Fn(&str, &str) -> Result<T, WrongQuery>,
    ) -> Result<Self, WrongQuery> {
        let value = |text: &str| value(field, text.trim());
        if let Some((first, last)) = condition.split_once("..") {
            return Ok(Self::Between(value(first)?, value(last)?));
        }
        for (sign, bounds) in [
            ("<=", Self::UpTo as fn(T) -> Self),
            (">=", Self::From),
            ("<", Self::Below),
            (">", Self::Above),
        ] {
            if let Some(text) = condition.strip_prefix(sign) {
                return value(text).map(bounds);
            }
        }
        let values: Result<_, _> = condition.split('|').map(value).collect();
        Ok(Self::OneOf(values?))
    }

    /// `compared`: how what is asked about compares with a value.
    fn has(&self, compared: impl Fn(&T) -> std::cmp::Ordering) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|value| compared(value).is_eq()),
            Self::Below(value) => compared(value).is_lt(),
            Self::UpTo(value) => compared(value).is_le(),
            Self::Above(value) => compared(value).is_gt(),
            Self::From(value) => compared(value).is_ge(),
            Self::Between(first, last) => compared(first).is_ge() && compared(last).is_le(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use proptest::prelude::*;

    /// 2018-08-19 20:06:35.963 UTC.
    const CREATED: Timestamp = Timestamp(1_534_709_195_963);

    fn has(query: &str) -> bool {
        let tags = ["fast".to_owned(), "gpu".to_owned()];
        let row = Row {
            id: BuildId(7),
            name: Some("nightly"),
            user: "adam",
            project: "mnist",
            owner: "eve",
            status: "running",
            tags: &tags,
            commit: Some("00a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3"),
            moments: Moments {
                created: CREATED,
                updated: Timestamp(CREATED.0 + 5000),
                started: Some(Timestamp(CREATED.0 + 1000)),
                finished: None,
            },
        };
        Query::parse(query).unwrap().has(&row)
    }

    #[test]
    fn a_query_finds_what_it_asks_for() {
        for query in [
            "",
            " ",
            "id:7",
            "id:6|7",
            "id:>6,id:<=7",
            "id:3..7",
            "id:~8",
            "name:nightly",
            "name: nightly ",
            "user:adam|eve",
            "project:mnist",
            "project:eve.mnist",
            "status:running",
            "status:created|running",
            "status:~failed|succeeded",
            "tags:gpu",
            "tags:slow|fast",
            "tags:~slow",
            "commit:00a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3",
            "commit:00a1b2c",
            "created_at:2018-08-19",
            "created_at:2018-08-19 20:06",
            "created_at:<=2018-08-19",
            "created_at:>=2018-08-19T20:06:35.963",
            "created_at:<2018-08-20",
            "created_at:>2018-08-18",
            "created_at:2018-08-18..2018-08-19",
            "created_at:2018-08-19T22:06:35.963000+02:00",
            "updated_at:>2018-08-19 20:06:36",
            "started_at:2018-08-19 20:06:36|2017-01-01",
            "finished_at:~2018-08-19",
            "status:running, tags:gpu, created_at:>2018-01-01",
        ] {
            assert!(has(query), "{query}");
        }
    }

    #[test]
    fn a_query_leaves_out_what_it_does_not_ask_for() {
        for query in [
            "id:8",
            "id:~7",
            "id:<7",
            "id:8..99999999999999999999999",
            "name:weekly",
            "name:~nightly",
            "user:eve",
            "project:adam.mnist",
            "status:failed",
            "status:~running",
            "tags:slow",
            "tags:~gpu",
            "commit:00a1",
            "commit:ffffffffff",
            "created_at:<2018-08-19",
            "created_at:>2018-08-19",
            "created_at:~2018-08-19",
            "created_at:2018-08-20..2018-08-21",
            "finished_at:2018-08-19",
            "finished_at:>2000-01-01",
            "status:running,tags:slow",
        ] {
            assert!(!has(query), "{query}");
        }
    }

    #[test]
    fn a_query_that_is_not_understood_names_the_field_and_the_cure() {
        for (query, said) in [
            ("running", "write <field>:<condition>"),
            ("status", "write <field>:<condition>"),
            ("status:running,", "write <field>:<condition>"),
            ("status:", "the condition is empty"),
            ("status:~", "the condition is empty"),
            ("status:runing", "a build is created, scheduled"),
            ("status:>running", "only times and ids"),
            ("colour:red", "ask for id, name, user"),
            ("name:a|", "name: a value is empty"),
            ("id:seven", "id: \"seven\" is no number"),
            ("id:1..", "id: \"\" is no number"),
            ("id:-1", "id: \"-1\" is no number"),
            (
                "created_at:yesterday",
                "created_at: \"yesterday\" is no time: write 2018-08-19",
            ),
            ("created_at:2018-08-19..", "created_at: \"\" is no time"),
            ("created_at:<", "created_at: \"\" is no time"),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.sentence.contains(said), "{query}: {error}");
            assert_eq!(error.name, "query");
        }
        let long = Query::parse(&"x".repeat(10_000)).unwrap_err();
        assert!(long.sentence.len() < 300, "{long}");
        let many = format!("id:{}", "1|".repeat(MAX_VALUES) + "1");
        let error = Query::parse(&many).unwrap_err();
        assert!(error.sentence.contains("100 values"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_or_refused(text in ".{0,60}") {
            if let Err(error) = Query::parse(&text) {
                prop_assert!(error.sentence.ends_with('.'), "{error}");
            }
        }

        #[test]
        fn a_condition_and_its_opposite_part_all_builds(
            field in "(id|created_at|finished_at|status|tags|commit|name|user|project)",
            condition in "(7|2018-08-19|running|gpu|>3|<2018-08-20|1..9|2018-08-01..2018-09-01)",
        ) {
            let (plain, opposite) = (format!("{field}:{condition}"), format!("{field}:~{condition}"));
            if Query::parse(&plain).is_ok() {
                prop_assert_ne!(has(&plain), has(&opposite));
            } else {
                prop_assert!(Query::parse(&opposite).is_err());
            }
        }
    }
}
