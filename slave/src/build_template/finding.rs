//! Which recipe a workspace has: the first that there is.

use super::bases::Bases;
use super::error::{BuildError, at, wrong_in};
use super::place::TemplateDirectory;
use super::{images, joined, variables};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::templates::{DOCKERFILE, Recipe, dockerfile};
use clusterrunner_common::text::printable::plain;
use std::path::{Path, PathBuf};

/// The most bytes of a file that is read whole.
pub(super) const LONGEST_FILE: u64 = 1 << 20;

pub(super) const REQUIREMENTS: &str = "requirements.txt";
pub(super) const ENVIRONMENT: &str = "environment.yml";

/// How the workspace is prepared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// By the steps that were given.
    Steps(Vec<String>),
    /// As a Dockerfile says.
    Dockerfile { name: String, text: String },
    /// With a virtual environment of Python.
    Requirements,
    /// With an environment of conda.
    Environment,
    /// Not at all.
    Bare,
}

impl Found {
    /// What the build's console says of it.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Steps(steps) => format!("The template is made by {} given steps.", steps.len()),
            Self::Bare => {
                format!(
                    "There is no {DOCKERFILE}, {REQUIREMENTS} or {ENVIRONMENT}: the template is the repository as it is."
                )
            }
            Self::Dockerfile { .. } | Self::Requirements | Self::Environment => {
                let file = self.file().unwrap_or_default();
                format!("The template is made as {file} says.")
            }
        }
    }

    /// Whether it is about an image, where images can be built.
    pub(super) fn is_image(&self, recipe: &Recipe) -> bool {
        match self {
            Self::Dockerfile { .. } => true,
            Self::Steps(_) => recipe.image.is_some(),
            Self::Requirements | Self::Environment | Self::Bare => false,
        }
    }

    /// The words that name what it is based on.
    pub(super) fn bases(&self, recipe: &Recipe) -> Vec<String> {
        match self {
            Self::Dockerfile { text, .. } => match dockerfile::read(text) {
                Ok(instructions) => dockerfile::bases(&instructions),
                Err(_) => Vec::new(),
            },
            Self::Steps(_) => recipe.image.iter().cloned().collect(),
            Self::Requirements | Self::Environment | Self::Bare => Vec::new(),
        }
    }

    /// The Dockerfile of the image: that of the workspace, or one that carries the given steps out. Where templates of the
    /// farm are its bases, it is a copy that names their images.
    pub(super) fn dockerfile_in(
        &self,
        (workspace, context): (&Path, &Path),
        (recipe, bases): (&Recipe, &Bases<'_>),
        place: &TemplateDirectory,
    ) -> Result<PathBuf, BuildError> {
        match self {
            Self::Dockerfile { name, text } if !bases.images.is_empty() => {
                let instructions = dockerfile::read(text).map_err(wrong_in(name))?;
                let image = |base: &str| bases.images.get(base).copied();
                let text = dockerfile::with_bases(text, &instructions, image);
                let path = place.root().join(DOCKERFILE);
                std::fs::write(&path, text).map_err(at("write", &path))?;
                Ok(path)
            }
            Self::Dockerfile { name, .. } => {
                let of_context = context.join(name).canonicalize();
                let named = recipe.dockerfile.as_ref().map(|name| workspace.join(name));
                let path = named.map_or(of_context, |path| path.canonicalize());
                path.map_err(at("find", Path::new(name)))
            }
            Self::Steps(steps) => {
                let image = recipe.image.as_deref().unwrap_or_default();
                let image = bases.images.get(image).copied().unwrap_or(image);
                images::write_steps(place.root(), image, steps, &variables(recipe))
            }
            Self::Requirements | Self::Environment | Self::Bare => {
                Err(BuildError::said("It is built without an image."))
            }
        }
    }

    /// Why no image could be built: what is wrong with the Dockerfile, if that is known.
    pub(super) fn explained(&self, error: BuildError) -> BuildError {
        match self {
            Self::Dockerfile { name, text } => match dockerfile::read(text) {
                Err(wrong) => wrong_in(name)(wrong),
                Ok(_) => error,
            },
            _ => error,
        }
    }

    /// The file that says how.
    pub(super) fn file(&self) -> Option<String> {
        match self {
            Self::Dockerfile { name, .. } => Some(plain(name).into_owned()),
            Self::Requirements => Some(REQUIREMENTS.to_owned()),
            Self::Environment => Some(ENVIRONMENT.to_owned()),
            Self::Steps(_) | Self::Bare => None,
        }
    }
}

/// The directory of the workspace that a recipe is about.
pub(super) fn context(workspace: &Path, recipe: &Recipe) -> Result<PathBuf, BuildError> {
    let Some(context) = &recipe.context else {
        return Ok(workspace.to_owned());
    };
    let found = workspace.join(context).canonicalize();
    match found {
        Ok(found) if found.starts_with(workspace) && found.is_dir() => Ok(found),
        _ => Err(BuildError::said(format!(
            "The context {} is no directory of the repository.",
            plain(context)
        ))),
    }
}

/// What is given goes before what is found.
pub(super) fn find(workspace: &Path, context: &Path, recipe: &Recipe) -> Result<Found, BuildError> {
    if let Some(name) = &recipe.dockerfile {
        let Some(path) = own_file(workspace, name)? else {
            return Err(BuildError::said(format!(
                "There is no {} in the repository.",
                plain(name)
            )));
        };
        return read_dockerfile(&path, name);
    }
    if let Some(steps) = &recipe.steps {
        return Ok(Found::Steps(steps.clone()));
    }
    let own = |name| inside(workspace, &context.join(name), name);
    if let Some(path) = own(DOCKERFILE)? {
        return read_dockerfile(&path, DOCKERFILE);
    }
    if own(REQUIREMENTS)?.is_some() {
        return Ok(Found::Requirements);
    }
    match own(ENVIRONMENT)? {
        Some(_) => Ok(Found::Environment),
        None => Ok(Found::Bare),
    }
}

/// A file of the workspace, where there is one. A link in it may lead to another file of it.
pub(super) fn own_file(workspace: &Path, name: &str) -> Result<Option<PathBuf>, BuildError> {
    inside(workspace, &workspace.join(name), name)
}

fn inside(workspace: &Path, path: &Path, name: &str) -> Result<Option<PathBuf>, BuildError> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let name = plain(name);
    let Ok(found) = path.canonicalize() else {
        let sentence = format!("{name} is a link that leads nowhere.");
        return Err(BuildError::said(sentence));
    };
    if !found.starts_with(workspace) {
        let sentence = format!("{name} is a link that leads out of the repository.");
        return Err(BuildError::said(sentence));
    }
    match found.is_file() {
        true => Ok(Some(found)),
        false => Err(BuildError::said(format!("{name} is no file."))),
    }
}

fn read_dockerfile(path: &Path, name: &str) -> Result<Found, BuildError> {
    Ok(Found::Dockerfile {
        name: joined(Path::new(""), name),
        text: text(path)?,
    })
}

/// What a file of the workspace says.
pub(super) fn text(path: &Path) -> Result<String, BuildError> {
    regular_file::read_to_string(path, LONGEST_FILE).map_err(at("read", path))
}
