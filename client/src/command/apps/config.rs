//! `clusterrunner app config`.

use super::{of_apps, show};
use crate::options::ConfigOptions;
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::client::{Config, ConfigChange};
use serde_json::{Map, Value};

/// Shows the configuration, or changes it first.
pub(super) async fn run(client: &Client, options: ConfigOptions) -> Result<(), Trouble> {
    let app = options.app.clone();
    let json = options.json;
    let change = change(options);
    let is_changed = !change.is_empty();
    let config = match is_changed {
        true => client.configure_app(&app, &change).await,
        false => client.app_config(&app).await,
    };
    let config = config.map_err(of_apps)?;
    match json {
        true => output::say_versioned(&config),
        false => print(&app, &config),
    }
    match is_changed && !json {
        true => show::made(client, &app).await,
        false => Ok(()),
    }
}

fn change(options: ConfigOptions) -> ConfigChange {
    let mut values = Map::new();
    for (name, value) in options.set {
        values.insert(name, value.into());
    }
    for name in options.unset {
        values.insert(name, Value::Null);
    }
    // An empty text takes a limit or a tag away.
    let or_none = |pairs: Vec<(String, String)>| {
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(name, text)| match text.is_empty() {
            true => (name, Value::Null),
            false => (name, text.into()),
        });
        pairs.collect()
    };
    ConfigChange {
        values,
        memory: or_none(options.memory),
        cpu: or_none(options.cpu),
        tags: or_none(options.tag),
    }
}

fn print(app: &str, config: &Config) {
    let parts = [
        ("", &config.values),
        ("memory ", &config.memory),
        ("cpu ", &config.cpu),
        ("tag ", &config.tags),
    ];
    if parts.iter().all(|(_, part)| part.is_empty()) {
        return output::note(format!("{app} has no configuration"));
    }
    for (kind, part) in parts {
        for (name, value) in part {
            match value {
                Value::String(text) => output::say(format!("{kind}{name}={text}")),
                other => output::say(format!("{kind}{name}={other}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_limit_is_taken_away() {
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect::<Vec<_>>()
        };
        let change = change(ConfigOptions {
            app: "shop".to_owned(),
            set: pairs(&[("A", "1"), ("EMPTY", "")]),
            unset: vec!["B".to_owned()],
            memory: pairs(&[("web", "512M"), ("worker", "")]),
            cpu: Vec::new(),
            tag: pairs(&[("rack", "")]),
            json: false,
        });
        let text = serde_json::to_string(&change).unwrap();
        let expected = r#"{"values":{"A":"1","EMPTY":"","B":null},"memory":{"web":"512M","worker":null},"tags":{"rack":null}}"#;
        assert_eq!(text, expected);
    }
}
