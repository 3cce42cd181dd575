//! What must hold of apps in every state.

use super::app::App;
use crate::Cluster;
use crate::check::{Inconsistency, must};
use crate::instances::instance::{Purpose, Runs};
use std::collections::BTreeSet;

impl Cluster {
    /// Versions have no gaps, releases name what there is, templates of app builds are there, no place has two instances of
    /// a release, and what is derived fits.
    pub(crate) fn check_apps(&self) -> Result<(), Inconsistency> {
        must(self.apps.is_derived_right(), || "apps".to_owned())?;
        for app in self.apps() {
            let id = &app.id;
            must(self.project(app.project).is_some(), || {
                format!("app {id} has no project")
            })?;
            self.check_releases(app)?;
            self.check_places(app)?;
        }
        for instance in self.instances().filter(|instance| !instance.is_over()) {
            let app = instance.purpose.project();
            must(app.is_none_or(|app| self.app(app).is_some()), || {
                format!("instance {} is of an app that is gone", instance.id)
            })?;
        }
        Ok(())
    }

    fn check_releases(&self, app: &App) -> Result<(), Inconsistency> {
        let id = &app.id;
        must(!app.releases.is_empty(), || {
            format!("app {id} has no release")
        })?;
        for (next, release) in (1..).zip(&app.releases) {
            must(release.version == next, || {
                format!("app {id} has release v{} as {next}", release.version)
            })?;
            let has_config = app.config(release.config).is_some();
            let has_build = release.build.is_none_or(|build| app.build(build).is_some());
            must(has_config && has_build, || {
                format!("app {id}: release v{} names nothing", release.version)
            })?;
        }
        for build in &app.builds {
            let is_there = match build.runs {
                Runs::Template(template) => self.template(template).is_some(),
                Runs::Image(_) | Runs::Nothing(_) => true,
            };
            must(is_there, || {
                format!(
                    "app {id}: build {} runs a template that is gone",
                    build.number
                )
            })?;
        }
        Ok(())
    }

    fn check_places(&self, app: &App) -> Result<(), Inconsistency> {
        let mut places = BTreeSet::new();
        for instance in self.app_instances(app.project) {
            if let Purpose::App {
                release,
                process,
                num,
                ..
            } = &instance.purpose
            {
                let is_new = instance.retired || places.insert((release, process, num));
                must(is_new, || {
                    format!("app {}: {process}.{num} is there twice", app.id)
                })?;
            }
        }
        Ok(())
    }
}
