//! Environments that are installed for a workspace: of Python, and of conda.

use super::Made;
use super::error::BuildError;
use super::finding::{ENVIRONMENT, REQUIREMENTS};
use super::place::TemplateDirectory;
use super::running::{announce, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that make an environment of conda, the best known first.
const CONDAS: [&str; 3] = ["conda", "mamba", "micromamba"];

/// Makes a virtual environment and installs what `requirements.txt` names.
pub(super) fn install_requirements(
    place: &TemplateDirectory,
    directory: &Path,
) -> Result<Made, BuildError> {
    let environment = place.environment();
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    let made = succeed(&mut make, directory, "python3 -m venv");
    made.map_err(|error| match error {
        BuildError::Start(..) => BuildError::said(
            "requirements.txt needs python3, which is not on this slave: install python3 and python3-venv there.",
        ),
        other => other,
    })?;
    let mut install = Command::new(environment.join("bin/python3"));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(REQUIREMENTS)
        .env("VIRTUAL_ENV", &environment)
        .env("PATH", with_first(&environment.join("bin")));
    succeed(&mut install, directory, "pip install -r requirements.txt")?;
    Ok(with_variable("VIRTUAL_ENV", &environment))
}

/// Makes what `environment.yml` describes.
pub(super) fn create_conda(
    place: &TemplateDirectory,
    directory: &Path,
) -> Result<Made, BuildError> {
    let Some(conda) = CONDAS.into_iter().find(|name| is_on_path(name)) else {
        return Err(BuildError::said(
            "environment.yml needs conda, which is not on this slave: install conda or micromamba there.",
        ));
    };
    let environment = place.environment();
    let mut create = Command::new(conda);
    create.args(["env", "create", "--yes", "--prefix"]);
    create.arg(&environment).args(["--file", ENVIRONMENT]);
    succeed(&mut create, directory, &format!("{conda} env create"))?;
    Ok(with_variable("CONDA_PREFIX", &environment))
}

fn succeed(command: &mut Command, directory: &Path, shown: &str) -> Result<(), BuildError> {
    announce(command);
    match run(command, directory, directory)? {
        0 => Ok(()),
        code => Err(BuildError::Said(format!(
            "{shown} failed with exit code {code}."
        ))),
    }
}

fn with_variable(name: &str, environment: &Path) -> Made {
    let value = environment.display().to_string();
    Made {
        environment: BTreeMap::from([(name.to_owned(), value)]),
        ..Made::default()
    }
}

/// Where programs are looked for, with one more directory before the others.
fn with_first(directory: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&others));
    let joined = std::env::join_paths(all);
    joined.unwrap_or_else(|_| directory.into())
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.iter().any(|place| place.join(name).is_file())
}
