//! Where the project of a request comes from.

use super::fields::{Fields, wrong, wrong_kind};
use super::{HASH, InvalidRequest, WORKING_TREE};
use crate::git::CommitId;
use crate::ids::ProjectId;
use crate::work::{ProjectSource, WorkingTree};
use serde_json::Value;

/// The longest name of a sender.
const LONGEST_SENDER: usize = 200;

pub(super) fn git_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let url = fields.required_text("url")?;
    let branch = fields.text("branch")?.filter(|branch| !branch.is_empty());
    if branch
        .as_ref()
        .is_some_and(|b| b.starts_with('-') || b.contains(char::is_whitespace))
    {
        return Err(wrong("branch", "the name of a branch, tag or ref"));
    }
    let hash = fields.text(HASH)?.filter(|hash| !hash.is_empty());
    let is_commit = |hash: &String| {
        (4..=40).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit())
    };
    if hash.as_ref().is_some_and(|hash| !is_commit(hash)) {
        return Err(wrong(HASH, "a commit id of 4 to 40 hex digits"));
    }
    let project_directory = fields
        .text("project_directory")?
        .filter(|dir| !dir.is_empty());
    let leaves_repository = |dir: &String| {
        let path = std::path::Path::new(dir);
        path.components().any(|part| {
            !matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        })
    };
    if project_directory.as_ref().is_some_and(leaves_repository) {
        return Err(wrong(
            "project_directory",
            "a path inside the repository, relative and without '..'",
        ));
    }
    Ok(ProjectSource::Git {
        url,
        remote: fields.text("remote")?,
        branch,
        hash: hash.map(|hash| hash.to_lowercase()),
        project_directory,
    })
}

pub(super) fn directory_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let project_directory = fields.required_text("project_directory")?;
    Ok(ProjectSource::Directory { project_directory })
}

/// It belongs to a commit that is named in full: one that was sent is found by nothing else.
pub(super) fn working_tree(fields: &Fields<'_>) -> Result<Option<WorkingTree>, InvalidRequest> {
    let expected = "an object with \"files\", and perhaps \"base\" and \"by\"";
    let map = match fields.get(WORKING_TREE) {
        None => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(wrong_kind(WORKING_TREE, expected, other)),
    };
    if let Some(key) = map
        .keys()
        .find(|key| !["base", "files", "by"].contains(&key.as_str()))
    {
        return Err(wrong(format!("{WORKING_TREE}.{key}"), "left out"));
    }
    let is_commit = |text: &String| text.parse::<CommitId>().is_ok();
    if !fields.text(HASH)?.as_ref().is_some_and(is_commit) {
        return Err(wrong(HASH, "the full id of the commit that was sent"));
    }
    if fields.text("remote")?.is_some() {
        return Err(wrong("remote", format!("left out beside '{WORKING_TREE}'")));
    }
    let inside = Fields(map);
    let base = inside.text("base")?;
    if base.as_ref().is_some_and(|base| !is_commit(base)) {
        let expected = "a commit id of 40 hex digits";
        return Err(wrong(format!("{WORKING_TREE}.base"), expected));
    }
    let by = inside.text("by")?.filter(|by| !by.is_empty());
    if by
        .as_ref()
        .is_some_and(|by| by.len() > LONGEST_SENDER || by.chars().any(char::is_control))
    {
        let expected = format!("a name of at most {LONGEST_SENDER} bytes, in one line");
        return Err(wrong(format!("{WORKING_TREE}.by"), expected));
    }
    let files = inside.get("files").and_then(Value::as_u64);
    let files = files.ok_or_else(|| wrong(format!("{WORKING_TREE}.files"), "a whole number"))?;
    let base = base.map(|base| base.to_lowercase());
    Ok(Some(WorkingTree { base, files, by }))
}

pub(super) fn own_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let project = fields.get("project").and_then(Value::as_u64);
    let commit = fields.text("commit")?;
    let is_commit = |commit: &String| commit.parse::<CommitId>().is_ok();
    match (project, &commit) {
        (None, _) => Err(wrong("project", "the number of a project")),
        (_, Some(commit)) if !is_commit(commit) => {
            Err(wrong("commit", "a commit id of 40 hex digits"))
        }
        (Some(project), _) => Ok(ProjectSource::Own {
            project: ProjectId(project),
            commit,
        }),
    }
}
