//! Making a template: what the hidden subcommand `build-template` of both programs does, as the command of a build.
//!
//! It finds out how the workspace in `$PROJECT_DIR` is to be prepared, does so in a copy of it, and leaves the
//! description and the snapshot of the template in `$ARTIFACT_DIR`. All that is printed goes to the console of the
//! build; the last line of one that fails says why.

mod bases;
mod carrying_out;
mod copying;
mod environments;
mod error;
mod finding;
mod images;
mod place;
mod places;
mod procfile;
mod running;
mod snapshot;
mod steps;
mod tree;

pub(crate) use bases::GivenBase;
pub(crate) use places::TemplatePlaces;
pub(crate) use procfile::number_of_types;

use crate::containers::{ContainerRuntime, RUNTIME_VARIABLE};
use bases::{Bases, LaidBase};
use clusterrunner_common::process::umask;
use clusterrunner_common::process::variables::check as check_variable;
use clusterrunner_common::templates::{
    DESCRIPTION, Form, Recipe, SNAPSHOT, TemplateDescription, dockerfile, failure_line,
};
use clusterrunner_common::text::printable::plain;
use error::{BuildError, at, wrong_in};
use finding::Found;
use place::TemplateDirectory;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The variable with the directory of all templates, which a slave sets.
const TEMPLATES_PATH: &str = "CLUSTERRUNNER_TEMPLATES_PATH";

/// The directory where nothing is said.
const USUAL_TEMPLATES_PATH: &str = "/var/tmp/clusterrunner";

/// The most bytes of a recipe on standard input: steps of a build may be many.
const LONGEST_RECIPE: u64 = 256 << 20;

/// The most bytes of a description: orders to slaves carry it once for each instance.
const LONGEST_DESCRIPTION: usize = 32 << 10;

/// Makes a template, as the process that a build's command starts.
#[must_use]
pub(crate) fn build_template() -> ExitCode {
    // What steps make is the user's.
    umask::widen_again();
    match Surroundings::read().and_then(|surroundings| build(&surroundings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&failure_line(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// What the slave says.
struct Surroundings {
    recipe: Recipe,
    workspace: PathBuf,
    artifacts: PathBuf,
    templates_path: PathBuf,
    /// Builds images, where there is one.
    runtime: Option<ContainerRuntime>,
    /// Templates of the farm that it may be based on.
    bases: Vec<GivenBase>,
}

impl Surroundings {
    fn read() -> Result<Self, BuildError> {
        let directory = |name: &'static str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from).ok_or(BuildError::Variable(name))
        };
        let mut text = String::new();
        let input = std::io::stdin().lock();
        let read = input.take(LONGEST_RECIPE).read_to_string(&mut text);
        read.map_err(BuildError::Input)?;
        let workspace = directory("PROJECT_DIR")?;
        let resolved = workspace.canonicalize();
        Ok(Self {
            recipe: Recipe::from_text(&text)?,
            workspace: resolved.map_err(at("find", &workspace))?,
            artifacts: directory("ARTIFACT_DIR")?,
            templates_path: directory(TEMPLATES_PATH)
                .unwrap_or_else(|_| USUAL_TEMPLATES_PATH.into()),
            runtime: std::env::var(RUNTIME_VARIABLE)
                .ok()
                .and_then(|text| ContainerRuntime::from_text(&text)),
            bases: bases::read()?,
        })
    }
}

/// What a recipe makes known of the template, beside the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Made {
    port: Option<u16>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Relative to the directory that the recipe is about.
    directory: String,
}

fn build(surroundings: &Surroundings) -> Result<(), BuildError> {
    let (workspace, recipe) = (&surroundings.workspace, &surroundings.recipe);
    let context = finding::context(workspace, recipe)?;
    let found = finding::find(workspace, &context, recipe)?;
    // Of given steps the console has what they print, and no more.
    let say = |text: &str| {
        if !matches!(found, Found::Steps(_)) {
            say(text);
        }
    };
    say(&found.said());
    let mut processes = procfile::read(workspace)?;
    let bases = Bases::named(&found.bases(recipe), &surroundings.bases)?;
    let place = TemplateDirectory::make(&surroundings.templates_path)?;
    let snapshot = surroundings.artifacts.join(SNAPSHOT);
    let (mut description, bytes) = match &surroundings.runtime {
        Some(runtime) if found.is_image(recipe) && bases.workspace.is_none() => {
            let dockerfile =
                found.dockerfile_in((workspace, &context), (recipe, &bases), &place)?;
            let built = images::build(runtime, recipe, (&context, &dockerfile));
            let image = built.map_err(|error| found.explained(error))?;
            say("Storing the image.");
            (image.description()?, image.save(&snapshot)?)
        }
        _ => {
            bases.check_processes()?;
            copying::copy_workspace(workspace, &place.source())?;
            let inside = context.strip_prefix(workspace).unwrap_or(Path::new(""));
            let directory = place.source().join(inside);
            let base = bases
                .workspace
                .map(|base| bases::lay((base, bases.names.clone()), &directory, &place));
            let base = base.transpose()?;
            let made = prepare(
                &found,
                recipe,
                (&context, &directory),
                (&place, base.as_ref()),
            )?;
            if processes.is_empty() {
                processes = base.map(|base| base.processes).unwrap_or_default();
            }
            say("Packing the template.");
            let bytes = snapshot::pack(&place, &snapshot)?;
            (
                described(made, recipe, (workspace, &context), &place),
                bytes,
            )
        }
    };
    description.recipe = found.file();
    description.processes = processes;
    write(&description, &surroundings.artifacts.join(DESCRIPTION))?;
    say(&format!(
        "The template is made: its snapshot has {bytes} bytes."
    ));
    Ok(())
}

/// What is said of a template that is a workspace.
fn described(
    mut made: Made,
    recipe: &Recipe,
    (workspace, context): (&Path, &Path),
    place: &TemplateDirectory,
) -> TemplateDescription {
    for (name, value) in variables(recipe) {
        made.environment.insert(name, value);
    }
    let inside = context.strip_prefix(workspace).unwrap_or(Path::new(""));
    TemplateDescription {
        form: Form::Workspace,
        root: Some(place.root().display().to_string()),
        image: None,
        recipe: None,
        port: made.port,
        command: made.command,
        processes: BTreeMap::new(),
        environment: made.environment,
        directory: joined(inside, &made.directory),
    }
}

/// The variables of the build that its template has, too.
fn variables(recipe: &Recipe) -> Vec<(String, String)> {
    let names = recipe.variables.iter();
    let values = names.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    values
        .filter(|(name, value)| check_variable(name, value).is_ok())
        .collect()
}

fn write(description: &TemplateDescription, path: &Path) -> Result<(), BuildError> {
    let text = serde_json::to_vec(description).map_err(BuildError::Description)?;
    if text.len() > LONGEST_DESCRIPTION {
        return Err(BuildError::Said(format!(
            "Its Procfile, variables and command have {} bytes as JSON, and {LONGEST_DESCRIPTION} are taken.",
            text.len()
        )));
    }
    replace(path, &text).map_err(at("write", path))
}

/// Does what the recipe says in the copy of the workspace.
fn prepare(
    found: &Found,
    recipe: &Recipe,
    (context, directory): (&Path, &Path),
    (place, base): (&TemplateDirectory, Option<&LaidBase>),
) -> Result<Made, BuildError> {
    match found {
        Found::Bare => Ok(Made::default()),
        Found::Steps(given) => steps::run(given, (recipe, base), directory),
        Found::Requirements => environments::install_requirements(place, directory),
        Found::Environment => environments::create_conda(place, directory),
        Found::Dockerfile { name, text } => {
            let instructions = dockerfile::read(text).map_err(wrong_in(name))?;
            let roots = carrying_out::Roots {
                context,
                root: directory,
                base,
            };
            let made = carrying_out::carry_out(&instructions, &roots, recipe.needs_image);
            made.map_err(|error| error.in_file(name))
        }
    }
}

/// A directory below another, without `.`.
fn joined(above: &Path, below: &str) -> String {
    let joined = above.join(below);
    let parts: PathBuf = joined
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .collect();
    parts.display().to_string()
}

/// Writes a file in the place of whatever a step may have left under its name.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = clusterrunner_common::disk::regular_file::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Tells what is done, on a line of its own.
fn say(text: &str) {
    print(&format!("==> {}", plain(text)));
}

/// If nobody reads it, the build goes on.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

#[cfg(test)]
mod tests;
