//! What the image of an app build stands for: a template of the farm, what an app's release runs, or an image that a slave
//! pulls.

use super::app::AppBuild;
use super::command::NewAppBuild;
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::actor::Actor;
use crate::instances::instance::Runs;
use crate::templates::template::Template;
use clusterrunner_common::clock::Timestamp;

impl Cluster {
    /// The app build, with what the template or the release says of itself where the request says nothing.
    pub(super) fn app_build(
        &self,
        by: Actor,
        new: NewAppBuild,
        number: u64,
        owner: Owner,
        at: Timestamp,
    ) -> AppBuild {
        let mut build = AppBuild {
            number,
            owner,
            image: new.image,
            sha: new.sha,
            procfile: new.procfile,
            dockerfile: new.dockerfile,
            runs: Runs::Nothing(String::new()),
            created: at,
        };
        let image = build.image.clone();
        let (name, tag) = match image.rsplit_once(':') {
            Some((name, tag)) => (name, tag),
            None => (image.as_str(), "latest"),
        };
        if let Some(template) = self.template_of_reference(&image) {
            take_over(&mut build, template);
        } else if let Some(released) = self.released_build(by, name, tag) {
            build.runs = released.runs.clone();
            if build.procfile.is_empty() {
                build.procfile.clone_from(&released.procfile);
            }
            if build.sha.is_empty() {
                build.sha.clone_from(&released.sha);
            }
            if build.dockerfile.is_empty() {
                build.dockerfile.clone_from(&released.dockerfile);
            }
        } else if is_reference(&image) {
            build.runs = Runs::Image(image);
        } else {
            build.runs = Runs::Nothing(format!(
                "{image:?} is no template of this farm, no release of an app and no name of an image"
            ));
        }
        build
    }

    /// The app build of a release that the actor may see.
    fn released_build(&self, by: Actor, id: &str, tag: &str) -> Option<&AppBuild> {
        let version = tag.strip_prefix('v')?.parse().ok()?;
        let app = self.app_of_id(id)?;
        let project = self.project(app.project)?;
        let is_seen = match by {
            Actor::Master | Actor::SecretHolder => true,
            Actor::User(user) => {
                let known = self.accounts().user(user);
                known.is_some_and(|user| user.is_superuser)
                    || project.owner == Owner::User(user)
                    || project.has_collaborator(user)
            }
            Actor::Binder
            | Actor::Slave(_)
            | Actor::Nobody
            | Actor::JoinToken(_)
            | Actor::SlaveKey => false,
        };
        app.build_of(app.release(version)?).filter(|_| is_seen)
    }
}

fn take_over(build: &mut AppBuild, template: &Template) {
    let description = &template.content.description;
    build.runs = Runs::Template(template.id);
    if build.procfile.is_empty() {
        build.procfile.clone_from(&description.processes);
    }
    if build.sha.is_empty() {
        build.sha = template.commit.clone().unwrap_or_default();
    }
    if build.dockerfile.is_empty() {
        let recipe = description.recipe.as_deref();
        let dockerfile = recipe.filter(|recipe| recipe.ends_with("Dockerfile"));
        build.dockerfile = dockerfile.unwrap_or_default().to_owned();
    }
}

/// Whether it can be the reference of an image: `[host[:port]/]path[:tag][@digest]`.
fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let is_digest = |digest: &str| {
        let digits = digest.strip_prefix("sha256:");
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(is_digit))
    };
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let is_word = |text: &str, fits: fn(u8) -> bool| {
        let begins = text.bytes().next();
        begins.is_some_and(|first| first.is_ascii_alphanumeric()) && text.bytes().all(fits)
    };
    let is_tag = |tag: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        is_word(tag, fits) && tag.len() <= 128
    };
    let is_part = |part: &str| {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        is_word(part, fits)
    };
    let is_host = |host: &str| {
        let (host, port) = host.split_once(':').unwrap_or((host, "0"));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        is_word(host, fits) && port.parse::<u16>().is_ok()
    };
    let is_name = match name.split_once('/') {
        Some((first, rest)) => (is_host(first) || is_part(first)) && rest.split('/').all(is_part),
        None => is_part(name),
    };
    is_name && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_other_texts() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        for text in [
            "x",
            "deis/example-go:latest",
            "Registry.example.com:5000/a/b_c:v1.0-x",
            "localhost/a",
            &digest,
        ] {
            assert!(is_reference(text), "{text}");
        }
        for text in [
            "",
            "x y",
            "Upper",
            "-v",
            "--privileged",
            "a/-b",
            "a//b",
            "a:",
            ":a",
            "host:port/a",
            "a:b:c",
            "a@sha256:1",
            "../a",
            "https://host/a",
            "a:-x",
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
