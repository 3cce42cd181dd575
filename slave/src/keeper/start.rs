//! What an instance runs, and in which surroundings.

use super::protocol::KeeperOrder;
use super::{CanNotStart, workspace};
use crate::browse_files::BROWSE_FILES;
use clusterrunner_common::api::instances::{InstanceOrder, OrderedPurpose};
use clusterrunner_common::child::THIS_PROGRAM;
use clusterrunner_common::process::command::MARK_VARIABLE;
use clusterrunner_common::templates::TemplateDescription;
use clusterrunner_common::text::shell::shell_line;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What programs are looked for in where nothing else is said.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of this machine that an instance sees too.
const OF_THE_MACHINE: [&str; 3] = ["LANG", "LC_ALL", "TZ"];

/// The shell for which processes of apps are written.
const BASH: &str = "/bin/bash";

/// The shells whose `-c` is shown as its text alone.
const SHELLS: [&str; 4] = ["/bin/sh", "sh", BASH, "bash"];

/// How many characters of a command are shown.
const MOST_SHOWN: usize = 200;

/// Why a template can not be an app.
const NOTHING_TO_START: &str = "the template names nothing to start: it has no web in a Procfile, no CMD in a Dockerfile and \
                                no Jupyter";

/// How to start an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) program: PathBuf,
    /// The name that it is called by, and its arguments.
    pub(super) arguments: Vec<String>,
    pub(super) directory: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    /// Whether it wants to see paths as they were asked for.
    pub(super) keeps_prefix: bool,
    /// What is started, for the log.
    pub(super) what: String,
}

/// What all instances find in their environment, of a workspace or an image. A run has no port.
pub(super) fn variables(instance: &InstanceOrder, port: Option<u16>) -> BTreeMap<String, String> {
    let mut variables = instance.environment.clone();
    let mut add = |name: &str, value| variables.insert(name.to_owned(), value);
    if let Some(port) = port {
        add("PORT", port.to_string());
    }
    if instance.purpose == OrderedPurpose::Launch {
        add("BASE_URL", base_url(instance));
        add("BINDER_ID", instance.key.clone());
        add("BINDER_TEMPLATE", instance.template.clone());
    }
    variables
}

/// The path below which users see it. An app has hosts of its own.
fn base_url(instance: &InstanceOrder) -> String {
    match instance.purpose {
        OrderedPurpose::Launch => format!("/user/{}", instance.key),
        OrderedPurpose::App | OrderedPurpose::Run => "/".to_owned(),
    }
}

/// The text of a command that is for bash. Many machines and images have no bash: the usual shell reads it there.
pub(super) fn for_bash(command: &[String]) -> Option<&str> {
    match command {
        [shell, option, text] if shell == BASH && option == "-c" => Some(text),
        _ => None,
    }
}

/// A command as somebody would type it: the text that a shell reads, or else its words, in quotes where they have to be. At
/// most so long that a line of a log can show it.
fn as_typed(command: &[String]) -> String {
    let typed = match command {
        [shell, option, text] if SHELLS.contains(&shell.as_str()) && option == "-c" => text.clone(),
        words => shell_line(words.iter().map(String::as_str)),
    };
    match typed.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &typed[..end]),
        None => typed,
    }
}

/// How to start an instance of a workspace that gets this port: the first that applies of its command, the Procfile's
/// `web`, the Dockerfile's, Jupyter, and, of what somebody looks at, a read-only view of its files.
pub(super) fn of_workspace(
    order: &KeeperOrder,
    description: &TemplateDescription,
    root: &Path,
    port: Option<u16>,
) -> Result<Start, CanNotStart> {
    let instance = &order.instance;
    let environment = environment(order, description, root, port);
    let path = environment.get("PATH").map_or("", String::as_str);
    let directory = workspace::start_directory(&order.directory, &description.directory)?;
    let mut start = Start {
        program: PathBuf::new(),
        arguments: Vec::new(),
        keeps_prefix: false,
        what: String::new(),
        directory,
        environment: environment.clone(),
    };
    let shell = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    let web = description.processes.get("web");
    let is_launch = instance.purpose == OrderedPurpose::Launch;
    (start.what, start.arguments) = match (instance.command.as_slice(), web) {
        ([text], _) => (format!("the command \"{text}\""), shell(text)),
        (command, _) if for_bash(command).is_some() => {
            let text = for_bash(command).unwrap_or_default();
            let arguments = match Path::new(BASH).exists() {
                true => instance.command.clone(),
                false => shell(text),
            };
            (format!("the command \"{text}\""), arguments)
        }
        (command @ [_, ..], _) => (
            format!("the command \"{}\"", as_typed(command)),
            instance.command.clone(),
        ),
        ([], Some(text)) => (format!("web of the Procfile: {text}"), shell(text)),
        ([], None) => match description.command.as_slice() {
            command @ [_, ..] => (
                format!("the command of the Dockerfile, \"{}\"", as_typed(command)),
                description.command.clone(),
            ),
            [] => match find("jupyter", path, &start.directory) {
                Some(jupyter) => {
                    start.keeps_prefix = is_launch;
                    let jupyter = jupyter.to_string_lossy().into_owned();
                    (
                        "jupyter notebook".to_owned(),
                        with_jupyter(jupyter, instance, port),
                    )
                }
                None if is_launch => return Ok(browser(start, order, port)),
                None => return Err(CanNotStart(NOTHING_TO_START.to_owned())),
            },
        },
    };
    let name = start.arguments.first().map_or("", String::as_str);
    start.program = find(name, path, &start.directory).ok_or_else(|| {
        CanNotStart(format!(
            "there is no program \"{name}\" in the workspace or on the PATH of the slave"
        ))
    })?;
    Ok(start)
}

fn with_jupyter(jupyter: String, instance: &InstanceOrder, port: Option<u16>) -> Vec<String> {
    let mut arguments = vec![jupyter, "notebook".to_owned()];
    arguments.extend(["--no-browser", "--allow-root", "--ip=0.0.0.0"].map(str::to_owned));
    arguments.extend(port.map(|port| format!("--port={port}")));
    arguments.push("--port-retries=0".to_owned());
    // Older and newer ones call the same by different names, and pass over those they do not know.
    for application in ["NotebookApp", "ServerApp"] {
        let base_url = base_url(instance);
        arguments.push(format!("--{application}.base_url={base_url}"));
        for setting in [
            "token=",
            "password=",
            "allow_origin=*",
            "allow_remote_access=True",
        ] {
            arguments.push(format!("--{application}.{setting}"));
        }
    }
    arguments
}

/// This program shows the files.
fn browser(start: Start, order: &KeeperOrder, port: Option<u16>) -> Start {
    let workspace = workspace::source(&order.directory);
    Start {
        program: THIS_PROGRAM.into(),
        arguments: vec![
            "clusterrunner".to_owned(),
            BROWSE_FILES.to_owned(),
            workspace.to_string_lossy().into_owned(),
            port.unwrap_or_default().to_string(),
            order.instance.template.clone(),
        ],
        what: "a read-only view of its files, since the template names nothing to start".to_owned(),
        ..start
    }
}

/// The whole environment: nothing of this process's own gets into it, nor what the slave was started with.
fn environment(
    order: &KeeperOrder,
    description: &TemplateDescription,
    root: &Path,
    port: Option<u16>,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for name in OF_THE_MACHINE {
        if let Ok(value) = std::env::var(name) {
            environment.insert(name.to_owned(), value);
        }
    }
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| USUAL_PATH.to_owned());
    let installed = root.join("environment");
    let path = match installed.join("bin").is_dir() {
        true => {
            let name = match installed.join("conda-meta").is_dir() {
                true => "CONDA_PREFIX",
                false => "VIRTUAL_ENV",
            };
            let installed = installed.to_string_lossy().into_owned();
            let path = format!("{installed}/bin:{path}");
            environment.insert(name.to_owned(), installed);
            path
        }
        false => path,
    };
    environment.insert("PATH".to_owned(), path);
    let home = workspace::home(&order.directory);
    environment.insert("HOME".to_owned(), home.to_string_lossy().into_owned());
    // What is printed is seen at once, and not when a buffer is full.
    environment.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    environment.extend(description.environment.clone());
    environment.extend(variables(&order.instance, port));
    environment.insert(MARK_VARIABLE.to_owned(), order.mark.clone());
    environment
}

/// Where a program is that a command names.
fn find(name: &str, path: &str, directory: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        let found = std::fs::metadata(path);
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if name.contains('/') {
        return Some(directory.join(name)).filter(is_program);
    }
    let mut places = std::env::split_paths(OsStr::new(path)).map(|place| directory.join(place));
    places.find_map(|place| Some(place.join(name)).filter(is_program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        as_typed(&words)
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let served = ["python3", "-m", "http.server", "$PORT", "it's", ""];
        for (words, expected) in [
            (
                &["/bin/sh", "-c", "exec serve $PORT"][..],
                "exec serve $PORT",
            ),
            (&["bash", "-c", "a && b"], "a && b"),
            (&["/bin/sh", "-c", "echo $0", "x"], "/bin/sh -c 'echo $0' x"),
            (&["python3", "-c", "pass"], "python3 -c pass"),
            (&served, r"python3 -m http.server '$PORT' 'it'\''s' ''"),
        ] {
            assert_eq!(typed(words), expected);
        }
        let long = "é".repeat(MOST_SHOWN);
        assert_eq!(typed(&["sh", "-c", &long]), long);
        let longer = format!("{long}é");
        assert_eq!(typed(&["sh", "-c", &longer]), format!("{long}…"));
    }
}
