//! Words that name a template where the image of a container may stand, too: a job's `image`, the `FROM` of a Dockerfile.

use super::template::Template;
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::builds::build::{Build, BuildState};
use crate::builds::plan::{Plan, TakenTemplate};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::templates::NamedTemplate;

/// Stands for the newest template of a name.
const LATEST: &str = "latest";

/// The shortest abbreviation of a commit.
const SHORTEST_COMMIT: usize = 7;

/// How many templates a build takes at most.
const MOST_TAKEN: usize = 20;

/// Why a build can not be based on what it names, in sentences for the user: each is the reason of a build that fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseMistake {
    #[error(
        "The job's image {0} is a template of this farm, and that is no container image: it was made without a container \
         runtime. Name a template that a Dockerfile makes on a slave with podman or docker. An image of a registry has the \
         registry in its reference, as docker.io/library/{0}."
    )]
    NoImage(String),
    #[error("The build is based on {0} templates; a build can be based on {MOST_TAKEN}.")]
    TooMany(usize),
}

impl Cluster {
    /// The template that a reference names: `NAME` and `NAME:latest` the newest one of a name, `NAME:7` the one that build
    /// 7 of that name left or used again, `NAME:COMMIT` the newest one of a commit that begins so. None if it names none,
    /// as the reference of an image elsewhere does.
    #[must_use]
    pub fn template_of_reference(&self, reference: &str) -> Option<&Template> {
        let (name, tag) = reference.split_once(':').unwrap_or((reference, LATEST));
        if tag == LATEST {
            return self.template_named(name);
        }
        if let Ok(build) = tag.parse().map(BuildId)
            && let Some(template) = self.template_of_build(name, build)
        {
            return Some(template);
        }
        let prefix = tag.to_ascii_lowercase();
        let is_prefix = prefix.len() >= SHORTEST_COMMIT
            && prefix.bytes().all(|digit| digit.is_ascii_hexdigit());
        let begins_so = |template: &&Template| {
            let commit = template.commit.as_deref();
            commit.is_some_and(|commit| commit.starts_with(&prefix))
        };
        let mut newest_first = self.templates().rev();
        newest_first
            .find(|template| is_prefix && self.is_of_name(template, name) && begins_so(template))
    }

    /// What a build of a name left, or used again.
    fn template_of_build(&self, name: &str, build: BuildId) -> Option<&Template> {
        let mut newest_first = self.templates().rev();
        let left = newest_first.find(|template| template.build == build && template.name == name);
        let used_again = || {
            let known = self.template_name(name)?;
            let newest = known.template.filter(|_| known.named_by == Some(build));
            newest.and_then(|id| self.template(id)).or_else(|| {
                let build = self.build(build)?;
                let product = build.request.product.as_ref()?;
                let ran_nothing = build.subjobs.is_empty();
                let is_it =
                    product.name == name && build.state == BuildState::Finished && ran_nothing;
                self.equal_template(build, build.plan.as_ref()?)
                    .filter(|_| is_it)
            })
        };
        left.or_else(used_again)
    }

    /// Whether a template was built under a name, or the name points at it.
    fn is_of_name(&self, template: &Template, name: &str) -> bool {
        let known = self.template_name(name);
        let points_at_it = known.is_some_and(|known| known.template == Some(template.id));
        template.name == name || points_at_it
    }

    /// Fixes which templates a build takes. What names none that its owner may see is the reference of an image elsewhere.
    ///
    /// # Errors
    /// See [`BaseMistake`].
    pub(crate) fn take_templates(&self, build: &Build, plan: &mut Plan) -> Result<(), BaseMistake> {
        let named = |reference: &str| {
            let template = self.template_of_reference(reference);
            template.filter(|template| self.may_take(build, template))
        };
        let bases = std::mem::take(&mut plan.bases);
        plan.templates.clear();
        if let Some(image) = &plan.image
            && let Some(template) = named(image)
        {
            if !template.is_image() {
                return Err(BaseMistake::NoImage(image.clone()));
            }
            plan.templates.push(taken(image, template));
        }
        for base in bases {
            let is_known = plan.templates.iter().any(|known| known.reference == base);
            let template = named(&base).filter(|_| !is_known);
            if let Some(template) = template {
                plan.templates.push(taken(&base, template));
            }
        }
        match plan.templates.len() {
            0..=MOST_TAKEN => Ok(()),
            number => Err(BaseMistake::TooMany(number)),
        }
    }

    /// Whether the owner of a build may see the project of a template.
    fn may_take(&self, build: &Build, template: &Template) -> bool {
        let Some(project) = self.project(template.project) else {
            return true;
        };
        let asked_by = build.started_by.map_or(build.owner, Owner::User);
        let is_superuser = |user| {
            self.accounts
                .user(user)
                .is_some_and(|user| user.is_superuser)
        };
        project.is_public()
            || project.owner == asked_by
            || match asked_by {
                Owner::ClusterRunner => true,
                Owner::Binder => false,
                Owner::User(user) => project.has_collaborator(user) || is_superuser(user),
            }
    }

    /// What a slave is told of the templates that a build takes. None of them is removed meanwhile.
    pub(crate) fn named_templates(&self, plan: &Plan) -> Vec<NamedTemplate> {
        let named = plan.templates.iter().filter_map(|taken| {
            let template = self.template(taken.id)?;
            Some(NamedTemplate {
                reference: taken.reference.clone(),
                snapshot: template.content.clone(),
            })
        });
        named.collect()
    }
}

fn taken(reference: &str, template: &Template) -> TakenTemplate {
    TakenTemplate {
        reference: reference.to_owned(),
        id: template.id,
        is_image: template.is_image(),
    }
}
