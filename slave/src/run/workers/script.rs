//! The script that a command named `pytest` runs.

use crate::work::workers::python::python_of_script;
use clusterrunner_common::process::command::ShellCommand;
use std::fs::File;
use std::io::Read as _;

/// How much of a script is read to know it.
const BEGINNING: u64 = 2048;

/// The path of the script of pytest as a shell finds it, and the Python in its first line.
pub(super) fn script_of(
    command: &ShellCommand,
    program: &str,
    directory: Option<&str>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, String), String> {
    let directory = command.working_directory.join(directory.unwrap_or(""));
    let found = if program.contains('/') {
        Some(directory.join(program))
    } else {
        let path = environment("PATH").unwrap_or_default();
        let mut places = path
            .split(':')
            .map(|place| directory.join(place).join(program));
        places.find(|place| place.is_file())
    };
    let script = found.ok_or_else(|| format!("there is no {program}"))?;
    let mut beginning = String::new();
    let opened = File::open(&script);
    let read = opened.and_then(|file| file.take(BEGINNING).read_to_string(&mut beginning));
    read.map_err(|error| format!("{}: {error}", script.display()))?;
    let python = python_of_script(&beginning)
        .ok_or_else(|| format!("{} is not the script of pytest", script.display()))?;
    let script = script.to_str().ok_or("its script has an odd name")?;
    Ok((script.to_owned(), python.to_owned()))
}
