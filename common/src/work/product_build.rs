//! The request for a build that leaves a template: a job of one command, which the slave's own program carries out, and
//! its only atom.

use super::{BuildRequest, ProjectSource};
use crate::process::variables::Variables;
use crate::templates::{Product, Recipe};
use crate::text::shell::shell_word;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// The name of the job.
pub const JOB: &str = "template";

/// The first argument of the program that makes a template. It reads the [`Recipe`] from its standard input.
pub const BUILD_TEMPLATE: &str = "build-template";

/// The variable with the path of the slave's program. Commands of builds that leave a template have it.
pub const PROGRAM_VARIABLE: &str = "CLUSTERRUNNER_PROGRAM";

/// The variable with the name of the template. It makes the build's only atom.
const TEMPLATE: &str = "TEMPLATE";

/// A build of `project` that leaves a template called `name`, which has only letters, digits, `.`, `_` and `-`. Templates
/// that were made in another way, or with other variables, are not used again for it.
///
/// `is_forced`: no earlier template is used again, and a build of the name that is under way is canceled.
#[must_use]
pub fn product_build(
    project: ProjectSource,
    name: &str,
    recipe: &Recipe,
    variables: Variables,
    is_forced: bool,
) -> BuildRequest {
    let job = json!({
        "commands": [command(recipe)],
        "atomizers": [{TEMPLATE: format!("echo {name}")}],
    });
    let job = match job {
        Value::Object(job) => job,
        _ => Map::new(),
    };
    BuildRequest {
        project,
        job_name: Some(JOB.to_owned()),
        config: Some(job),
        atoms_override: Some(vec![format!("export {TEMPLATE}=\"{name}\";")]),
        quotes_atoms: false,
        in_order: false,
        remote_files: IndexMap::new(),
        retries: None,
        max_fail: None,
        retry_of: None,
        matrix: Vec::new(),
        part: None,
        is_commit_found: false,
        is_brought_by_others: false,
        working_tree: None,
        product: Some(Product {
            name: name.to_owned(),
            recipe: recipe.digest_with(&variables),
            image: recipe.image_of_steps().map(str::to_owned),
            dockerfile: recipe.dockerfile_path(),
            is_forced,
        }),
        env: variables,
        inherited_env: None,
        specification: None,
    }
}

fn command(recipe: &Recipe) -> String {
    let program =
        format!("\"${{{PROGRAM_VARIABLE}:?this slave makes no templates}}\" {BUILD_TEMPLATE}");
    match &*recipe.to_text() {
        "" => program,
        // Through a pipe: it may be longer than an argument.
        text => format!("printf '%s' {} | {program}", shell_word(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::config::JobConfig;
    use std::process::Command;

    fn request(recipe: &Recipe, variables: &[(&str, &str)]) -> BuildRequest {
        let project = ProjectSource::Directory {
            project_directory: "/x".to_owned(),
        };
        let mut set = Variables::default();
        for (name, value) in variables {
            set.set(*name, *value);
        }
        product_build(project, "a-b", recipe, set, false)
    }

    /// What the program of a slave gets on its standard input.
    fn given(request: &BuildRequest) -> String {
        let job = request.config.clone().unwrap();
        let file = serde_json::to_string(&json!({JOB: job})).unwrap();
        let config = JobConfig::parse(&file, "job").unwrap();
        let (_, job) = config.job(None).unwrap();
        let [atom] = request.atoms_override.as_deref().unwrap() else {
            panic!("not one atom");
        };
        let line = format!(
            "set -o pipefail; build() {{ cat; echo \"$1 $TEMPLATE\"; }}; {atom} {}",
            job.commands
        );
        let mut shell = Command::new("/bin/bash");
        shell.args(["-c", &line]).env(PROGRAM_VARIABLE, "build");
        let output = shell.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_command_gives_the_recipe_to_the_program_of_the_slave() {
        let usual = request(&Recipe::default(), &[]);
        assert_eq!(given(&usual), "build-template a-b\n");
        let recipe = Recipe {
            steps: Some(vec![
                "echo 'it'\"$X\" \\".to_owned(),
                "a\nb && $(x) `y` %s \\n".to_owned(),
            ]),
            ..Recipe::default()
        };
        let output = given(&request(&recipe, &[]));
        let text = output.strip_suffix("build-template a-b\n").unwrap();
        assert_eq!(Recipe::from_text(text).unwrap(), recipe);
    }

    #[test]
    fn other_recipes_and_other_variables_make_other_templates() {
        let recipe = Recipe {
            steps: Some(Vec::new()),
            ..Recipe::default()
        };
        let made = [
            request(&Recipe::default(), &[]),
            request(&recipe, &[]),
            request(&recipe, &[("A", "b=c")]),
            request(&recipe, &[("A", "b"), ("B", "c")]),
        ];
        let digests = made.map(|request| request.product.unwrap().recipe);
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), 4, "{digests:?}");
        let params = request(&recipe, &[("A", "a secret")]).to_params();
        assert!(!format!("{params:?}").contains("secret"));
    }
}
