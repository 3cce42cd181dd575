//! How a change is merged into a config, and which entries there can be.

use super::app::{AppConfig, DEIS_APP, DEIS_RELEASE, text_of};
use super::command::{AppRefusal, ConfigChange, ConfigFault, ConfigMap};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many entries a map has at most.
const MAX_ENTRIES: usize = 1_000;

/// How many bytes keys and values of a config have together at most: a process can be started with them.
const MAX_BYTES: usize = 64 << 10;

/// How many bytes the name of a variable or a process type has at most.
const MAX_KEY: usize = 256;

/// The greatest weight.
const MAX_SHARES: i64 = 1024;

type Change = BTreeMap<String, Option<Value>>;

/// Takes a change into a config, or refuses all of it.
pub(super) fn merge(config: &mut AppConfig, mut change: ConfigChange) -> Result<(), AppRefusal> {
    // Clients send back what they were shown.
    change.values.remove(DEIS_APP);
    change.values.remove(DEIS_RELEASE);
    merge_map(ConfigMap::Values, &mut config.values, change.values, value)?;
    merge_map(ConfigMap::Memory, &mut config.memory, change.memory, memory)?;
    merge_map(ConfigMap::Cpu, &mut config.cpu, change.cpu, cpu)?;
    merge_map(ConfigMap::Tags, &mut config.tags, change.tags, tag)?;
    match config.num_bytes() > MAX_BYTES {
        true => Err(too_large(ConfigMap::Values)),
        false => Ok(()),
    }
}

fn too_large(map: ConfigMap) -> AppRefusal {
    AppRefusal::InvalidConfig {
        map,
        key: String::new(),
        why: ConfigFault::TooLarge,
    }
}

/// A key that is given nothing is removed, whatever it is; also one that is not there.
fn merge_map<T>(
    name: ConfigMap,
    map: &mut BTreeMap<String, T>,
    change: Change,
    check: fn(&str, Value) -> Result<T, ConfigFault>,
) -> Result<(), AppRefusal> {
    for (key, value) in change {
        match value {
            None | Some(Value::Null) => {
                map.remove(&key);
            }
            Some(value) => match check(&key, value) {
                Ok(value) => {
                    map.insert(key, value);
                }
                Err(why) => {
                    let key = key.chars().take(MAX_KEY).collect();
                    let map = name;
                    return Err(AppRefusal::InvalidConfig { map, key, why });
                }
            },
        }
    }
    match map.len() > MAX_ENTRIES {
        true => Err(too_large(name)),
        false => Ok(()),
    }
}

fn value(key: &str, value: Value) -> Result<Value, ConfigFault> {
    let is_odd = |character: char| character == '=' || character.is_control();
    if key.is_empty() || key.len() > MAX_KEY || key.contains(is_odd) {
        return Err(ConfigFault::VariableName);
    }
    match &value {
        Value::Array(_) | Value::Object(_) | Value::Null => Err(ConfigFault::VariableValue),
        Value::String(text) if text.contains('\0') => Err(ConfigFault::VariableValue),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(value),
    }
}

fn check_process(key: &str) -> Result<(), ConfigFault> {
    let is_type = key.starts_with(|first: char| first.is_ascii_lowercase());
    match is_type && key.len() <= MAX_KEY {
        true => Ok(()),
        false => Err(ConfigFault::ProcessType),
    }
}

fn memory(key: &str, value: Value) -> Result<String, ConfigFault> {
    check_process(key)?;
    let text = text_of(&value);
    match bytes_of(&text) {
        Some(_) => Ok(text),
        None => Err(ConfigFault::Memory),
    }
}

/// How many bytes a limit such as `512M` stands for.
pub(super) fn bytes_of(limit: &str) -> Option<u64> {
    let unit = limit.chars().next_back()?;
    let number = &limit[..limit.len() - unit.len_utf8()];
    let shift = match unit.to_ascii_uppercase() {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => return None,
    };
    if number.is_empty() || number.len() > MAX_KEY || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().unwrap_or(u64::MAX);
    Some(number.saturating_mul(1 << shift))
}

fn cpu(key: &str, value: Value) -> Result<Value, ConfigFault> {
    check_process(key)?;
    let number = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.ok_or(ConfigFault::CpuNumber)? {
        0..=MAX_SHARES => Ok(value),
        _ => Err(ConfigFault::CpuRange),
    }
}

/// The weight that an entry stands for.
pub(super) fn shares_of(value: &Value) -> Option<u32> {
    text_of(value).trim().parse().ok()
}

fn tag(key: &str, value: Value) -> Result<String, ConfigFault> {
    let is_key = |byte: u8| byte.is_ascii_lowercase();
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(is_key) {
        return Err(ConfigFault::TagKey);
    }
    let text = text_of(&value);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match !text.is_empty() && text.len() <= MAX_KEY && text.bytes().all(is_part) {
        true => Ok(text),
        false => Err(ConfigFault::TagValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::owner::Owner;
    use clusterrunner_common::clock::Timestamp;
    use serde_json::json;

    fn map(value: Value) -> Change {
        serde_json::from_value(value).unwrap()
    }

    fn empty() -> AppConfig {
        AppConfig {
            number: 1,
            owner: Owner::ClusterRunner,
            values: BTreeMap::new(),
            memory: BTreeMap::new(),
            cpu: BTreeMap::new(),
            tags: BTreeMap::new(),
            release: None,
            created: Timestamp(0),
        }
    }

    fn change_of(name: ConfigMap, change: Change) -> ConfigChange {
        let mut all = ConfigChange::default();
        match name {
            ConfigMap::Values => all.values = change,
            ConfigMap::Memory => all.memory = change,
            ConfigMap::Cpu => all.cpu = change,
            ConfigMap::Tags => all.tags = change,
        }
        all
    }

    #[test]
    fn a_change_is_merged_key_by_key_and_null_removes() {
        let mut config = empty();
        let first = ConfigChange {
            values: map(json!({"A": 1, "B": "x y", "C": true, "D": 1.5})),
            memory: map(json!({"web": "1G"})),
            cpu: map(json!({"web": 1024, "worker": "7"})),
            tags: map(json!({"rack": "1"})),
        };
        merge(&mut config, first).unwrap();
        let second = ConfigChange {
            values: map(json!({"B": null, "NEVER": null, "E": "e", "A": "2"})),
            memory: map(json!({"1odd": null})),
            ..ConfigChange::default()
        };
        merge(&mut config, second).unwrap();
        let values = serde_json::to_value(&config.values).unwrap();
        assert_eq!(values, json!({"A": "2", "C": true, "D": 1.5, "E": "e"}));
        assert_eq!(config.memory["web"], "1G");
        let cpu = serde_json::to_value(&config.cpu).unwrap();
        assert_eq!(cpu, json!({"web": 1024, "worker": "7"}));
        assert_eq!(config.tags["rack"], "1");
        let before = config.clone();
        merge(&mut config, ConfigChange::default()).unwrap();
        assert_eq!(config, before);
    }

    #[test]
    fn what_the_farm_says_itself_nobody_sets() {
        let mut config = empty();
        let values = map(json!({"DEIS_APP": "x", "DEIS_RELEASE": "v9", "A": "a"}));
        merge(&mut config, change_of(ConfigMap::Values, values)).unwrap();
        assert_eq!(config.values.len(), 1);
    }

    #[test]
    fn entries_that_can_not_be_are_refused_by_name() {
        use ConfigMap::{Cpu, Memory, Tags, Values};
        for (map_name, entries, key, why) in [
            (Values, json!({"": "x"}), "", ConfigFault::VariableName),
            (
                Values,
                json!({"A=B": "x"}),
                "A=B",
                ConfigFault::VariableName,
            ),
            (
                Values,
                json!({"A\nB": "x"}),
                "A\nB",
                ConfigFault::VariableName,
            ),
            (Values, json!({"A": {}}), "A", ConfigFault::VariableValue),
            (Values, json!({"A": ["x"]}), "A", ConfigFault::VariableValue),
            (Values, json!({"A": "\0"}), "A", ConfigFault::VariableValue),
            (
                Memory,
                json!({"1web": "1G"}),
                "1web",
                ConfigFault::ProcessType,
            ),
            (Memory, json!({"web": "1X"}), "web", ConfigFault::Memory),
            (Memory, json!({"web": "G"}), "web", ConfigFault::Memory),
            (Memory, json!({"web": 512}), "web", ConfigFault::Memory),
            (Memory, json!({"web": "-1G"}), "web", ConfigFault::Memory),
            (Memory, json!({"web": "1ä"}), "web", ConfigFault::Memory),
            (Cpu, json!({"Web": 1}), "Web", ConfigFault::ProcessType),
            (Cpu, json!({"web": "x"}), "web", ConfigFault::CpuNumber),
            (Cpu, json!({"web": 1.5}), "web", ConfigFault::CpuNumber),
            (Cpu, json!({"web": true}), "web", ConfigFault::CpuNumber),
            (Cpu, json!({"web": 2000}), "web", ConfigFault::CpuRange),
            (Cpu, json!({"web": -1}), "web", ConfigFault::CpuRange),
            (Tags, json!({"RACK": "1"}), "RACK", ConfigFault::TagKey),
            (Tags, json!({"rack": "a b"}), "rack", ConfigFault::TagValue),
            (Tags, json!({"rack": ""}), "rack", ConfigFault::TagValue),
        ] {
            let mut config = empty();
            let refused = merge(&mut config, change_of(map_name, map(entries.clone())));
            let key = key.to_owned();
            let map = map_name;
            let expected = AppRefusal::InvalidConfig { map, key, why };
            assert_eq!(refused, Err(expected), "{entries}");
        }
    }

    #[test]
    fn configs_are_bounded() {
        let many = (0..=MAX_ENTRIES).map(|number| (number.to_string(), Some(json!("x"))));
        let many = change_of(ConfigMap::Values, many.collect());
        let long = "x".repeat(MAX_BYTES);
        let long = change_of(ConfigMap::Values, map(json!({ "A": long })));
        for change in [many, long] {
            assert_eq!(
                merge(&mut empty(), change),
                Err(too_large(ConfigMap::Values))
            );
        }
    }

    #[test]
    fn limits_are_numbers_with_units() {
        for (text, bytes) in [
            ("7B", 7),
            ("1k", 1 << 10),
            ("512M", 512 << 20),
            ("2g", 2 << 30),
            ("99999999999999999999G", u64::MAX),
        ] {
            assert_eq!(bytes_of(text), Some(bytes), "{text}");
        }
    }
}
