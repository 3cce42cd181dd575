//! Steps that whoever asked for the template gave.

use super::bases::LaidBase;
use super::error::BuildError;
use super::running::{run as run_command, shown};
use super::{Made, print};
use clusterrunner_common::templates::{Recipe, image_not_used};
use std::path::Path;
use std::process::Command;

/// Runs them one after the other, each in a shell of its own.
pub(super) fn run(
    steps: &[String],
    (recipe, base): (&Recipe, Option<&LaidBase>),
    directory: &Path,
) -> Result<Made, BuildError> {
    if let (Some(image), None) = (&recipe.image, base) {
        let sentence = image_not_used(image);
        if recipe.needs_image {
            return Err(BuildError::Said(sentence));
        }
        print(&sentence);
    }
    let shell = match Path::new("/bin/bash").exists() {
        true => "/bin/bash",
        false => "/bin/sh",
    };
    for (number, step) in (1..).zip(steps) {
        let mut command = Command::new(shell);
        command.args(["-c", step]);
        if let Some(base) = base {
            base.give(&mut command);
        }
        let code = run_command(&mut command, directory, directory)?;
        if code != 0 {
            let step = shown(step);
            return Err(BuildError::Step { number, code, step });
        }
    }
    Ok(base.map(|base| base.made.clone()).unwrap_or_default())
}
