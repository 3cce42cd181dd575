//! Templates that are images: a container runtime builds them, as a Dockerfile or the given steps say.

use super::error::{BuildError, at};
use super::running::{run_seen, shown};
use super::{print, say};
use crate::containers::{ContainerError, ContainerRuntime, ImageBuild};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::templates::{Form, Recipe, TemplateDescription, failure_in};
use clusterrunner_common::text::printable::plain;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What an image is called while it is built, before its digits.
const BUILT: &str = "localhost/clusterrunner-build";

/// Where the workspace is in an image of given steps.
const CODE: &str = "/code";

/// How the line begins that says which step failed.
const STEP_FAILED: &str = "Build step ";

/// Stands in front of a step: says which one failed, and with which exit code. It gets the step, its number and how it is
/// shown.
const STEP: &str = "/bin/sh -c \"$0\" || { code=$?; printf '\\nBuild step %s failed with exit code %s: %s\\n' \"$1\" \"$code\" \"$2\"; exit \"$code\"; }";

/// An image that was built and is not yet stored; it goes from the runtime at the end.
pub(super) struct BuiltImage<'a> {
    runtime: &'a ContainerRuntime,
    name: String,
}

impl Drop for BuiltImage<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.remove_image(&self.name) {
            let error = error.to_string();
            say(&format!("The image could not be removed here: {error}."));
        }
    }
}

/// Builds what a Dockerfile says.
pub(super) fn build<'a>(
    runtime: &'a ContainerRuntime,
    recipe: &Recipe,
    (context, dockerfile): (&Path, &Path),
) -> Result<BuiltImage<'a>, BuildError> {
    let image = BuiltImage {
        runtime,
        name: format!("{BUILT}:{}", hex::encode(random_bytes::<8>())),
    };
    let mut command = runtime.build_command(&ImageBuild {
        context,
        dockerfile,
        name: &image.name,
    });
    if recipe.has_no_cache {
        command.arg("--no-cache");
    }
    let mut step = None;
    let code = run_seen(&mut command, context, |line| {
        // Runtimes write numbers in front of what a step prints, and the commands of steps, which have no number.
        let begins = line.match_indices(STEP_FAILED).map(|(at, _)| &line[at..]);
        let told = begins.filter(|rest| {
            let number = rest[STEP_FAILED.len()..].chars().next();
            number.is_some_and(|digit| digit.is_ascii_digit())
        });
        step = step.take().or_else(|| told.filter_map(failure_in).next());
    })?;
    match (code, step) {
        (0, _) => Ok(image),
        (_, Some(sentence)) => Err(BuildError::Said(sentence)),
        (code, None) => Err(BuildError::Said(format!(
            "{} build failed with exit code {code}.",
            runtime.name()
        ))),
    }
}

impl BuiltImage<'_> {
    /// What is said of its template. How it starts and which variables it has the image itself says.
    pub(super) fn description(&self) -> Result<TemplateDescription, BuildError> {
        Ok(TemplateDescription {
            form: Form::Image,
            root: None,
            image: Some(self.name.clone()),
            recipe: None,
            port: self.runtime.exposed_port(&self.name).map_err(told)?,
            command: Vec::new(),
            processes: BTreeMap::new(),
            environment: BTreeMap::new(),
            directory: String::new(),
        })
    }

    /// Writes its archive into a file; how many bytes that has.
    pub(super) fn save(&self, file: &Path) -> Result<u64, BuildError> {
        let mut made = regular_file::create(file).map_err(at("make", file))?;
        self.runtime.save(&self.name, &mut made).map_err(told)?;
        made.sync_all().map_err(at("write", file))?;
        Ok(made.metadata().map_err(at("look at", file))?.len())
    }
}

fn told(error: ContainerError) -> BuildError {
    let mut sentence = error.to_string();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    BuildError::Said(sentence)
}

/// Writes the Dockerfile that carries given steps out in an image.
pub(super) fn write_steps(
    directory: &Path,
    image: &str,
    steps: &[String],
    variables: &[(String, String)],
) -> Result<PathBuf, BuildError> {
    if image.is_empty()
        || image.starts_with('-')
        || image.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err(BuildError::Said(format!(
            "{} names no image.",
            plain(image)
        )));
    }
    let path = directory.join("Dockerfile");
    std::fs::write(&path, text(image, steps, variables)).map_err(at("write", &path))?;
    Ok(path)
}

fn text(image: &str, steps: &[String], variables: &[(String, String)]) -> String {
    let mut text = format!("FROM {image}\n");
    for (name, value) in variables {
        if value.contains(['\n', '\r']) {
            print(&format!(
                "The variable {} has more than one line, and is left out.",
                plain(name)
            ));
            continue;
        }
        let mut escaped = String::new();
        for character in value.chars() {
            if matches!(character, '\\' | '"' | '$') {
                escaped.push('\\');
            }
            escaped.push(character);
        }
        line(&mut text, &format!("ENV {name}=\"{escaped}\""));
    }
    line(&mut text, &format!("WORKDIR {CODE}\nCOPY . {CODE}"));
    for (number, step) in (1_usize..).zip(steps) {
        let number = number.to_string();
        let words = ["/bin/sh", "-c", STEP, step, &number, &shown(step)];
        let words = serde_json::to_string(&words).unwrap_or_default();
        line(&mut text, &format!("RUN {words}"));
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a text does not fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_step_that_fails_says_which_it_is() {
        let steps = ["true".to_owned(), "echo \"it's\nhere\"; exit 3".to_owned()];
        let variables = [
            ("A".to_owned(), "b \"c\" $d \\".to_owned()),
            ("B".to_owned(), "two\nlines".to_owned()),
        ];
        let text = text("busybox:1", &steps, &variables);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "FROM busybox:1",
                "ENV A=\"b \\\"c\\\" \\$d \\\\\"",
                "WORKDIR /code",
                "COPY . /code"
            ]
        );
        let words = lines[5].strip_prefix("RUN ").unwrap();
        let words: Vec<String> = serde_json::from_str(words).unwrap();
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            failure_in(&printed).unwrap(),
            "Build step 2 failed with exit code 3: echo \"it's here\"; exit 3"
        );
    }

    #[test]
    fn what_names_no_image_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for image in ["", "a\nRUN x", "a b", "-x"] {
            write_steps(directory.path(), image, &[], &[]).unwrap_err();
        }
        write_steps(directory.path(), "host:1/a:2", &[], &[]).unwrap();
    }
}
