//! `clusterrunner config show`: each setting, its value, and where the value comes from.

use crate::options::{
    CommonOptions, SettingsOf, SettingsOptions, SettingsTask, ShowSettingsOptions,
};
use crate::output::table::{Cell, Table};
use crate::output::{self, BAD, FAINT, styled};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::settings::{
    Overrides, Reader, SettingOrigin, SettingValue, SettingWithOrigin, settings_with_origins,
};
use clusterrunner_common::text::printable::plain;
use serde_json::{Value, json};
use std::path::Path;

/// Settings that are lists.
const LISTS: [&str; 5] = [
    "slaves",
    "container_flags",
    "container_build_flags",
    RUN_FLAGS,
    "further_hostnames",
];

/// Settings of the sections `[notify NAME]` that are lists.
const NOTIFY_LISTS: [&str; 3] = [".events", ".projects", ".hosts"];

/// Arguments of the containers' runtime, with variables among them.
const RUN_FLAGS: &str = "container_run_flags";

/// Does what is to be done with settings.
pub(crate) fn run(options: SettingsOptions, common: &CommonOptions) -> Result<ExitCode, Trouble> {
    let SettingsTask::Show(options) = options.task;
    show(&options, common)
}

fn show(options: &ShowSettingsOptions, common: &CommonOptions) -> Result<ExitCode, Trouble> {
    let (reader, flags) = match &options.of {
        None => (Reader::Command, Overrides::new()),
        Some(SettingsOf::Master(options)) => (Reader::Master, options.overrides(common)),
        Some(SettingsOf::Slave(options)) => (Reader::Slave, options.overrides(common)),
    };
    if let Some(file) = &common.config_file {
        look_for(file)?;
    }
    let environment = |name: &str| std::env::var(name).ok();
    let settings =
        settings_with_origins(reader, common.config_file.as_deref(), environment, &flags)
            .map_err(|error| Trouble::usage(error.to_string()))?;
    let is_changed = |setting: &&SettingWithOrigin| {
        !matches!(setting.origin, None | Some(SettingOrigin::Default))
    };
    let shown = settings
        .iter()
        .filter(|setting| !options.changed || is_changed(setting));
    let shown: Vec<&SettingWithOrigin> = shown.collect();
    match options.json {
        true => {
            let settings: Vec<Value> = shown.iter().map(|setting| to_json(setting)).collect();
            output::say_versioned(&json!({"settings": settings}));
        }
        false => {
            table(&shown, options.origin, &chosen(common));
            if shown.iter().any(|setting| setting.origin.is_none()) {
                output::note(
                    "what is not set is off, or follows from the rest: conf/clusterrunner.conf says how",
                );
            }
        }
    }
    Ok(tell_mistakes(&settings))
}

/// To look makes no file, as the other commands do.
pub(super) fn look_for(file: &Path) -> Result<(), Trouble> {
    let file_name = file.display();
    match file.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::usage(format!(
            "there is no settings file {file_name}"
        ))),
        Err(error) => Err(Trouble::usage(format!(
            "the settings file {file_name} can not be looked at: {error}"
        ))),
    }
}

/// What programs choose where nothing is set, as far as it has a value on this machine.
fn chosen(common: &CommonOptions) -> Vec<(&'static str, String)> {
    // What is wrong with the settings is told with them.
    let Ok(settings) = Settings::load(common) else {
        return Vec::new();
    };
    vec![
        (
            "base_directory",
            settings.base_directory.display().to_string(),
        ),
        ("hostname", settings.hostname),
    ]
}

fn table(settings: &[&SettingWithOrigin], has_origins: bool, chosen: &[(&str, String)]) {
    let titles: &[&str] = match has_origins {
        true => &["Setting", "Value", "From"],
        false => &["Setting", "Value"],
    };
    let mut table = Table::new(titles);
    for setting in settings {
        let style = match setting.origin {
            None | Some(SettingOrigin::Default) => FAINT,
            Some(_) => anstyle::Style::new(),
        };
        let value = match &setting.value {
            SettingValue::Unset => {
                let chosen = chosen.iter().find(|(key, _)| *key == setting.key);
                chosen.map_or_else(|| "-".to_owned(), |(_, value)| value.clone())
            }
            SettingValue::Hidden => "(hidden)".to_owned(),
            SettingValue::Text(lines) => shown(&setting.key, lines).join(", "),
        };
        let mut row = vec![Cell::from(setting.key.as_str()), Cell::styled(style, value)];
        if has_origins {
            row.push(Cell::styled(style, origin(setting)));
        }
        table.add(row);
    }
    table.print();
}

/// Whether a setting is a list.
fn is_list(key: &str) -> bool {
    let is_of_notify = key.starts_with("notify.");
    let of_section = || NOTIFY_LISTS.iter().any(|list| key.ends_with(list));
    LISTS.contains(&key) || (is_of_notify && of_section())
}

/// The values of a setting as they are shown.
fn shown(key: &str, values: &[String]) -> Vec<String> {
    match key {
        RUN_FLAGS => without_values(values),
        _ => values.to_vec(),
    }
}

/// Arguments of `podman run` without the values of variables, which may be anybody's secrets.
fn without_values(flags: &[String]) -> Vec<String> {
    let mut is_variable = false;
    let flags = flags.iter().map(|flag| {
        let rest = match std::mem::take(&mut is_variable) {
            true => Some(flag.as_str()),
            false => match flag.strip_prefix("--env") {
                Some("") => {
                    is_variable = true;
                    None
                }
                Some(rest) => rest.strip_prefix(['=', ' ']),
                None => flag.strip_prefix("-e"),
            },
        };
        is_variable |= flag == "-e";
        match rest.and_then(|rest| rest.trim_start_matches('=').split_once('=')) {
            Some((_, value)) => format!("{}(hidden)", &flag[..flag.len() - value.len()]),
            None => flag.clone(),
        }
    });
    flags.collect()
}

/// Where a value comes from, in words.
fn origin(setting: &SettingWithOrigin) -> String {
    match &setting.origin {
        None => "not set".to_owned(),
        Some(SettingOrigin::Default) => "default".to_owned(),
        Some(SettingOrigin::Option) => "option".to_owned(),
        Some(SettingOrigin::File { path, line }) => format!("{}:{line}", path.display()),
        Some(SettingOrigin::Environment(variable)) => format!("${variable}"),
    }
}

fn to_json(setting: &SettingWithOrigin) -> Value {
    let value = match &setting.value {
        SettingValue::Unset | SettingValue::Hidden => Value::Null,
        SettingValue::Text(lines) if is_list(&setting.key) => {
            json!(shown(&setting.key, lines))
        }
        SettingValue::Text(lines) => json!(lines.join(", ")),
    };
    let origin = match &setting.origin {
        None => json!({"kind": "unset"}),
        Some(SettingOrigin::Default) => json!({"kind": "default"}),
        Some(SettingOrigin::Option) => json!({"kind": "option"}),
        Some(SettingOrigin::File { path, line }) => {
            json!({"kind": "file", "path": path.display().to_string(), "line": line})
        }
        Some(SettingOrigin::Environment(variable)) => {
            json!({"kind": "environment", "variable": variable})
        }
    };
    json!({
        "key": setting.key,
        "variable": setting.variable,
        "value": value,
        "is_hidden": setting.value == SettingValue::Hidden,
        "origin": origin,
        "mistake": setting.mistake,
    })
}

/// Says what is wrong with values; a program would not start with them.
fn tell_mistakes(settings: &[SettingWithOrigin]) -> ExitCode {
    let mut code = ExitCode::Success;
    for mistake in settings
        .iter()
        .filter_map(|setting| setting.mistake.as_ref())
    {
        output::complain(format!("{} {}", styled(BAD, "error:"), plain(mistake)));
        code = ExitCode::Usage;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_are_hidden_and_nothing_else() {
        let hidden = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
            without_values(&flags)
        };
        for (flags, expected) in [
            (&["-e", "T=s"][..], &["-e", "T=(hidden)"][..]),
            (&["--env", "T=s=t"], &["--env", "T=(hidden)"]),
            (&["--env=T=s"], &["--env=T=(hidden)"]),
            (&["-eT=s"], &["-eT=(hidden)"]),
            (&["-e=T=s"], &["-e=T=(hidden)"]),
            (&["-e T=s"], &["-e T=(hidden)"]),
            (&["--env T=s"], &["--env T=(hidden)"]),
            (
                &["-e", "T", "--ulimit=a=1:2"],
                &["-e", "T", "--ulimit=a=1:2"],
            ),
            (&["--env-file=/a=b"], &["--env-file=/a=b"]),
            (&["--tmpfs", "/x:size=1"], &["--tmpfs", "/x:size=1"]),
            (&["-e", "-e", "T=s"], &["-e", "-e", "T=(hidden)"]),
        ] {
            assert_eq!(hidden(flags), expected);
        }
    }

    #[test]
    fn lists_are_lists_for_programs() {
        let setting = |key: &str, values: &[&str]| SettingWithOrigin {
            key: key.to_owned(),
            variable: String::new(),
            value: SettingValue::Text(values.iter().map(|&value| value.to_owned()).collect()),
            origin: None,
            mistake: None,
        };
        let value = |key, values: &[&str]| to_json(&setting(key, values))["value"].clone();
        assert_eq!(value("slaves", &["one"]), json!(["one"]));
        assert_eq!(
            value(RUN_FLAGS, &["-e", "T=s"]),
            json!(["-e", "T=(hidden)"])
        );
        assert_eq!(value("port", &["7"]), json!("7"));
    }

    #[test]
    fn the_lists_are_settings() {
        let base = tempfile::tempdir().unwrap();
        let environment = |name: &str| {
            let is_base = name == "CLUSTERRUNNER_BASE_DIRECTORY";
            is_base.then(|| base.path().display().to_string())
        };
        let flags = Overrides::new();
        let all = [Reader::Command, Reader::Master, Reader::Slave]
            .map(|reader| settings_with_origins(reader, None, environment, &flags).unwrap());
        for list in LISTS {
            let is_known = all.iter().flatten().any(|setting| setting.key == list);
            assert!(is_known, "{list}");
        }
    }
}
