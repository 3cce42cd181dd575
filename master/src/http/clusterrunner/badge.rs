//! A picture that says how the latest build of a project stands, for web pages elsewhere.

use super::error::ApiError;
use super::{Api, Path};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, header};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::builds::build::{Build, BuildState};
use clusterrunner_core::refusal::Refusal;
use std::sync::Arc;

/// The longest name of a project on a badge; the end of a longer one is left out.
const LONGEST_NAME: usize = 40;

/// How wide a letter is, about: no font is brought along.
const LETTER: usize = 7;

/// Space beside a text.
const PADDING: usize = 8;

type Svg = ([(HeaderName, &'static str); 4], String);

/// The badge of a project.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<ProjectId>,
) -> Result<Svg, ApiError> {
    let look = move |cluster: &Cluster| {
        let project = cluster.project(id)?;
        // Who has come here may read what is public.
        let may_read = access(caller, Subject::Project(project), true) >= Access::Read;
        may_read.then(|| project.name.clone())
    };
    let unknown = Refusal::Account(AccountRefusal::UnknownProject(id));
    let name = api.cluster.read(look).await?.ok_or(unknown)?;
    let builds = api.builds.of_project(id).await?;
    let mut newest = Vec::new();
    for build in builds.iter().rev().take(MOST_LOOKED_AT) {
        let whole = api.builds.whole_of(*build).await?;
        newest = vec![whole];
        let found = api.builds.viewed(&newest, is_of_project).await?;
        if found.iter().any(|(_, is_of_project)| *is_of_project) {
            break;
        }
        newest.clear();
    }
    let standing = api.builds.viewed(&newest, standing).await?;
    let standing = standing.into_iter().map(|(_, standing)| standing).next();
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let (text, colour) = standing.unwrap_or(("no builds", GREY));
    Ok((headers, svg(&name, text, colour)))
}

/// How many builds are looked at for one that is of a commit.
const MOST_LOOKED_AT: usize = 50;

const GREEN: &str = "#1a7f37";
const RED: &str = "#b3261e";
const BLUE: &str = "#0b62c4";
const GREY: &str = "#5c6370";

/// Whether a build says how the project stands: what a user tries in a working tree does not.
fn is_of_project(build: &Build) -> bool {
    build.request.working_tree.is_none()
}

/// How a build stands, and the colour of that.
fn standing(build: &Build) -> (&'static str, &'static str) {
    match build.state {
        BuildState::Queued | BuildState::Preparing | BuildState::Prepared => ("queued", BLUE),
        BuildState::Building(_) | BuildState::Split | BuildState::Archiving => ("running", BLUE),
        BuildState::Finished if build.atoms_failed == 0 => ("passing", GREEN),
        BuildState::Finished => ("failing", RED),
        BuildState::Error { .. } => ("error", RED),
        BuildState::Canceled => ("canceled", GREY),
    }
}

fn svg(name: &str, text: &str, colour: &str) -> String {
    let name: String = name.chars().take(LONGEST_NAME).collect();
    let width = |text: &str| LETTER * text.chars().count() + 2 * PADDING;
    let (left, right) = (width(&name), width(text));
    let (whole, name) = (left + right, escaped(&name));
    let (middle, behind) = (left / 2, left + right / 2);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{name}: {text}"><title>{name}: {text}</title><rect width="{left}" height="20" fill="#3d4450"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{middle}" y="14">{name}</text><text x="{behind}" y="14">{text}</text></g></svg>
"##
    )
}

/// A text as XML has it; what XML can not have is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_place() {
        let badge = svg("<script>\"&'\u{0}", "passing", GREEN);
        assert!(
            badge.contains(">&lt;script&gt;&quot;&amp;&#39;</text>"),
            "{badge}"
        );
        assert!(!badge.contains("<script") && !badge.contains('\u{0}'));
        let long = svg(&"x".repeat(1_000), "failing", RED);
        assert!(long.len() < 1_000 && long.contains(&"x".repeat(LONGEST_NAME)));
    }
}
