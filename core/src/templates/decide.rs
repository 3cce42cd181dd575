//! What orders and reports mean about builds that are to leave a template.

use super::all_templates::MAX_NAMES;
use super::facts::TemplateFact;
use super::names;
use super::refusal::TemplateRefusal;
use super::template::Template;
use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::plan::Plan;
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use clusterrunner_common::ids::{BuildId, TemplateId};
use clusterrunner_common::templates::{Product, TemplateContent};
use clusterrunner_common::work::BuildRequest;

/// How a request for a build comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A build of the name that is under way is in its way.
    Alone,
    /// It may stand behind others of its project.
    InLine,
}

impl Cluster {
    /// Makes the name of the product that a build is to leave unique, and says what must happen before the build is
    /// queued: a build of the name that is under way is canceled where the new one is forced.
    pub(crate) fn claimed(
        &self,
        request: &mut BuildRequest,
        turn: Turn,
    ) -> Result<Option<Fact>, Refusal> {
        let Some(product) = &request.product else {
            return Ok(None);
        };
        if !names::is_valid(&product.name) {
            return Err(TemplateRefusal::InvalidName.into());
        }
        let name = self.free_template_name(&product.name, request);
        let known = self.template_name(&name);
        if known.is_none() && self.templates.names.len() >= MAX_NAMES {
            return Err(TemplateRefusal::TooManyNames(MAX_NAMES).into());
        }
        let newest = known.and_then(|known| self.build(known.build));
        let under_way = newest.filter(|build| !build.is_over());
        let canceled = match under_way {
            Some(build) if product.is_forced => Some(Fact::Build(build.id, BuildFact::Canceled)),
            Some(_) if turn == Turn::Alone => {
                return Err(TemplateRefusal::AlreadyBuilding { name }.into());
            }
            Some(_) | None => None,
        };
        if let Some(product) = &mut request.product {
            product.name = name;
        }
        Ok(canceled)
    }

    fn free_template_name(&self, name: &str, request: &BuildRequest) -> String {
        let source = request.project_key();
        names::free(name, request, |name| {
            let known = self.template_name(name);
            known.is_none_or(|known| known.source == source)
        })
    }

    /// The plan of a build that needs to run nothing, since an equal template is there.
    pub(crate) fn take_work_off(&self, build: &Build, plan: &mut Plan) {
        let Some(product) = &build.request.product else {
            return;
        };
        if !product.is_forced && self.equal_template(build, plan).is_some() {
            plan.atoms.clear();
            plan.expected_ms.clear();
            plan.allow_no_atoms = true;
        }
    }

    /// A template that a build would leave once more.
    pub(super) fn equal_template(&self, build: &Build, plan: &Plan) -> Option<&Template> {
        let product = build.request.product.as_ref()?;
        let source = build.request.project_key();
        let recipe = self.whole_recipe(product, plan);
        let commit = plan.commit.as_deref();
        let equal = self.templates.equal(&source, commit, &recipe)?;
        self.template(equal)
    }

    /// What names the way in which a template is made: on other templates it is made in another way.
    fn whole_recipe(&self, product: &Product, plan: &Plan) -> String {
        let mut recipe = product.recipe.clone();
        for base in &plan.templates {
            if let Some(base) = self.template(base.id) {
                recipe.push_str(" on ");
                recipe.push_str(base.digest());
            }
        }
        recipe
    }

    /// The template that a build uses again that is not over: it is not to be removed meanwhile.
    pub(super) fn template_awaited_by(&self, build: &Build) -> Option<TemplateId> {
        let runs_nothing = match build.state {
            BuildState::Prepared | BuildState::Building(_) | BuildState::Archiving => {
                build.subjobs.is_empty()
            }
            BuildState::Queued
            | BuildState::Preparing
            | BuildState::Split
            | BuildState::Finished
            | BuildState::Error { .. }
            | BuildState::Canceled => false,
        };
        let equal = self.equal_template(build, build.plan.as_ref()?);
        equal.filter(|_| runs_nothing).map(|template| template.id)
    }

    /// The archiver has made the archives of a build, and has stored what the build leaves.
    pub(crate) fn archived(
        &self,
        id: BuildId,
        content: Option<Box<TemplateContent>>,
    ) -> Result<Vec<Fact>, Refusal> {
        let build = self.known_build(id)?;
        if build.state != BuildState::Archiving {
            return Ok(Vec::new());
        }
        let finished = Fact::Build(id, BuildFact::Finished);
        let (Some(product), Some(plan)) = (&build.request.product, &build.plan) else {
            return Ok(vec![finished]);
        };
        let name = self.free_template_name(&product.name, &build.request);
        let template = match content {
            Some(content) => Fact::Template(
                self.templates.next_id(),
                TemplateFact::Registered {
                    name,
                    project: build.project,
                    source: build.request.project_key(),
                    commit: plan.commit.clone(),
                    recipe: self.whole_recipe(product, plan),
                    build: id,
                    content,
                },
            ),
            // It failed as any build fails, and its results say why.
            None if build.atoms_failed > 0 => return Ok(vec![finished]),
            None => match self.equal_template(build, plan) {
                Some(equal) if build.subjobs.is_empty() => {
                    Fact::Template(equal.id, TemplateFact::Named { name, build: id })
                }
                Some(_) | None => {
                    let reason = "The build left no template.".to_owned();
                    return Ok(vec![Fact::Build(id, BuildFact::Failed { reason })]);
                }
            },
        };
        Ok(vec![template, finished])
    }

    /// All slaves are to fetch the template that a name points at.
    pub(crate) fn preloaded(&self, name: String) -> Result<Vec<Fact>, Refusal> {
        let template = self.launchable(&name)?.id;
        Ok(vec![Fact::Template(
            template,
            TemplateFact::Preloaded { name },
        )])
    }

    /// The template that is launched by a name.
    pub(crate) fn launchable(&self, name: &str) -> Result<&Template, Refusal> {
        let unknown = || TemplateRefusal::UnknownTemplate {
            name: name.chars().take(128).collect(),
        };
        Ok(self.template_named(name).ok_or_else(unknown)?)
    }
}
