//! Builds that were split into the builds of a matrix: how these are shown, and what names them.

use super::standing::build_state_of;
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::count;
use crate::output::{self, BAD, FAINT, STRONG, styled};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::Client;
use clusterrunner_common::api::{BuildView, ChildView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::matrix::{Combination, folders};
use clusterrunner_common::text::printable::plain;
use reqwest::StatusCode;

/// How many builds a hint names.
const NAMED: usize = 8;

/// How the line of a reason ends behind which a command's output follows.
const OUTPUT_FOLLOWS: &str = "; its output ended with:";

/// Lists the builds of a matrix, each with the command that says more of it. Nothing for other builds.
pub(super) fn list(build: &BuildView) {
    if build.children.is_empty() {
        return;
    }
    output::say("Builds of the matrix:");
    let mut table = Table::indented();
    for child in &build.children {
        let (style, state) = build_state_of(child.status, child.result, child.lacks_atoms);
        let (atoms_style, atoms) = atoms(child);
        table.add([
            child.build_id.to_string().into(),
            Cell::styled(style, state),
            plain(&child.name).into_owned().into(),
            Cell::styled(atoms_style, atoms),
            Cell::styled(FAINT, command(format!("status {}", child.build_id))),
        ]);
    }
    table.print();
    for child in &build.children {
        if let Some(reason) = &child.error_message {
            let first = reason.lines().next().unwrap_or_default();
            let reason = first.strip_suffix(OUTPUT_FOLLOWS).unwrap_or(first);
            let what = format!("build {}: {reason}", child.build_id);
            output::say(styled(BAD, plain(&what)));
        }
    }
}

fn atoms(child: &ChildView) -> (Style, String) {
    let (done, all) = (child.num_atoms_completed, child.num_atoms);
    let atoms = match done == all {
        true => count(all, "atom"),
        false => format!("{done} of {}", count(all, "atom")),
    };
    match child.num_atoms_failed {
        0 => (Style::new(), atoms),
        failed => (BAD, format!("{atoms}, {failed} failed")),
    }
}

/// Refuses a build that was split: only the builds of its matrix have what is asked for.
pub(super) async fn refuse_parent(client: &Client, id: BuildId, what: &str) -> Result<(), Trouble> {
    let build = client.build(id).await?;
    if build.children.is_empty() {
        return Ok(());
    }
    let named = build.children.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|child| format!("{} ({})", child.build_id, child.name))
        .collect();
    let more = match build.children.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(Trouble::usage(format!(
        "build {id} was split into the builds of a matrix, which have the {what}"
    ))
    .hint(plain(&format!("name one of them: {}{more}", named.join(", "))).into_owned()))
}

/// A build that has what is asked for: one of a matrix, or one alone.
pub(super) struct Part {
    pub(super) id: BuildId,
    /// What one of a matrix has beside it.
    pub(super) among: Option<Among>,
}

/// How a build of a matrix is told from the others.
pub(super) struct Among {
    /// Its variables in one line.
    pub(super) name: String,
    /// The folder for what is fetched of it.
    pub(super) folder: String,
}

impl Part {
    /// The folder for what is fetched of it; none of a build alone.
    pub(super) fn folder(&self) -> Option<&str> {
        let among = self.among.as_ref();
        among.map(|among| among.folder.as_str())
    }

    /// Says which build of a matrix the lines below are of; nothing for other builds.
    pub(super) fn say(&self) {
        if let Some(among) = &self.among {
            let head = format!("{} (build {}):", plain(&among.name), self.id);
            output::say(styled(STRONG, head));
        }
    }
}

/// The builds that have what is asked for of a build: those of its matrix, or the build itself.
pub(super) fn parts_of(build: &BuildView) -> Vec<Part> {
    if build.children.is_empty() {
        return vec![Part {
            id: build.id,
            among: None,
        }];
    }
    let children = build.children.iter();
    let folders = folders(
        children
            .clone()
            .map(|child| (child.build_id, &child.matrix)),
    );
    let part = |(child, folder): (&ChildView, String)| Part {
        id: child.build_id,
        among: Some(Among {
            name: child.name.clone(),
            folder,
        }),
    };
    children.zip(folders).map(part).collect()
}

/// Those of them that are kept.
pub(super) async fn parts(client: &Client, id: BuildId) -> Result<Vec<Part>, Trouble> {
    let build = client.build(id).await?;
    let mut parts = Vec::new();
    for part in parts_of(&build) {
        let Some(among) = &part.among else {
            parts.push(part);
            continue;
        };
        match client.build(part.id).await {
            Ok(_) => parts.push(part),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => output::note(format!(
                "{} (build {}) is not kept any more",
                plain(&among.name),
                part.id
            )),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(parts)
}

/// The combinations that are meant by variables and values: any of the values of one variable, and one of each variable.
pub(super) fn chosen(given: &[(String, String)]) -> Vec<Combination> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in given {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut found: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for name in names {
        let values = given.iter().filter(|(other, _)| other == name);
        let values: Vec<&(String, String)> = values.collect();
        let longer = |before: &Vec<(String, String)>| {
            let before = before.clone();
            let all = values.iter();
            let all = all.map(move |pair| [before.clone(), vec![(*pair).clone()]].concat());
            all.collect::<Vec<_>>()
        };
        found = found.iter().flat_map(longer).collect();
    }
    found
        .into_iter()
        .map(|variables| variables.into_iter().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_variable_are_alternatives_and_variables_go_together() {
        let chosen = |given: &[(&str, &str)]| {
            let given = given.iter();
            let given: Vec<_> = given
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            let chosen = chosen(&given);
            chosen.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[("PY", "3.12")]), ["PY=3.12"]);
        assert_eq!(
            chosen(&[("PY", "1"), ("OS", "a"), ("PY", "2")]),
            ["PY=1 OS=a", "PY=2 OS=a"]
        );
    }
}
