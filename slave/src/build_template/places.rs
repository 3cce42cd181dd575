//! What a slave tells builds that make templates, and what it removes after them.

use super::TEMPLATES_PATH;
use super::bases::{BASES, GivenBase, write};
use super::place::remove_left;
use crate::containers::{ContainerRuntime, RUNTIME_VARIABLE};
use clusterrunner_common::child::THIS_PROGRAM;
use clusterrunner_common::process::variables::{BuildVariables, TEMPLATE_VARIABLE};
use clusterrunner_common::work::product_build::PROGRAM_VARIABLE;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where templates are made on this slave, and by which program.
#[derive(Clone, Debug)]
pub(crate) struct TemplatePlaces {
    program: PathBuf,
    templates_path: PathBuf,
}

impl TemplatePlaces {
    pub(crate) fn new(program: &Path, templates_path: &Path) -> Self {
        // To a command that would be the command itself.
        let program = match program == Path::new(THIS_PROGRAM) {
            true => format!("/proc/{}/exe", std::process::id()).into(),
            false => program.to_owned(),
        };
        Self {
            program,
            templates_path: templates_path.to_owned(),
        }
    }

    /// Whether a build with these variables makes a template.
    pub(crate) fn are_of(variables: &BuildVariables) -> bool {
        variables.set.get(TEMPLATE_VARIABLE).is_some()
    }

    /// The variables of a build, with what its command needs to make a template if it is to make one. `runtime` says by
    /// which container runtime images are built.
    ///
    /// `bases` is the file with the templates that it may be based on.
    pub(crate) fn given_to(
        &self,
        variables: Arc<BuildVariables>,
        runtime: Option<&ContainerRuntime>,
        bases: Option<&Path>,
    ) -> Arc<BuildVariables> {
        if !Self::are_of(&variables) {
            return variables;
        }
        let mut given = BuildVariables::clone(&variables);
        let paths = [
            (PROGRAM_VARIABLE, &self.program),
            (TEMPLATES_PATH, &self.templates_path),
        ];
        for (name, path) in paths {
            given.set.set(name, path.to_string_lossy());
        }
        if let Some(runtime) = runtime {
            given.set.set(RUNTIME_VARIABLE, runtime.to_text());
        }
        if let Some(bases) = bases {
            given.set.set(BASES, bases.to_string_lossy());
        }
        Arc::new(given)
    }

    /// Writes down which templates a build may be based on. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn write_bases(bases: &[GivenBase], path: &Path) -> io::Result<()> {
        write(bases, path)
    }

    /// Removes what ended builds left where templates are made. Blocks.
    pub(crate) fn remove_left(&self) {
        if let Err(error) = remove_left(&self.templates_path) {
            let path = self.templates_path.display();
            tracing::warn!(%path, %error, "could not remove what builds of templates left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_builds_that_make_a_template_are_told() {
        let places = TemplatePlaces::new(Path::new("/bin/slave"), Path::new("/templates"));
        let plain = Arc::<BuildVariables>::default();
        assert_eq!(places.given_to(Arc::clone(&plain), None, None), plain);
        let mut variables = BuildVariables::default();
        variables.set.set(TEMPLATE_VARIABLE, "a");
        let given = places.given_to(Arc::new(variables), None, None);
        assert_eq!(given.set.get("CLUSTERRUNNER_PROGRAM"), Some("/bin/slave"));
        assert_eq!(
            given.set.get("CLUSTERRUNNER_TEMPLATES_PATH"),
            Some("/templates")
        );
    }
}
