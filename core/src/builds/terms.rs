//! The terms of a build, as its job and its request say them: what it runs, how often and where.

use crate::MAX_SETUPS;
use crate::builds::build::Build;
use crate::scheduling::load::Rank;
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::{SubjobId, TemplateId};
use clusterrunner_common::job::config::quoted_atom;
use clusterrunner_common::work::{BatchTerms, ProjectSource};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

impl Build {
    /// How often an atom of it that fails is run again: as its request says, else as its job says.
    #[must_use]
    pub fn retries(&self) -> u32 {
        let of_job = self.plan.as_ref().map_or(0, |plan| plan.retries);
        self.request.retries.unwrap_or(of_job)
    }

    /// After how many failed atoms the rest is not run: as its request says, else as its job says.
    #[must_use]
    pub fn max_fail(&self) -> Option<NonZeroU32> {
        let of_job = self.plan.as_ref().and_then(|plan| plan.max_fail);
        self.request.max_fail.or(of_job)
    }

    /// Whether an atom that passes only when it is run again counts as failed.
    #[must_use]
    pub fn flaky_fails(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.flaky_fails)
    }

    /// How many executors may work on it at a time.
    #[must_use]
    pub fn max_executors(&self) -> usize {
        let limit = self.plan.as_ref().and_then(|plan| plan.max_executors);
        limit.map_or(usize::MAX, |limit| limit.get() as usize)
    }

    /// How many executors of one slave may work on it at a time.
    #[must_use]
    pub fn max_executors_per_slave(&self) -> usize {
        let limit = self
            .plan
            .as_ref()
            .and_then(|plan| plan.max_executors_per_slave);
        limit.map_or(usize::MAX, |limit| limit.get() as usize)
    }

    /// The job's command, shared by all hand-outs of the build.
    pub(crate) fn shared_command(&self) -> Option<Arc<str>> {
        let command = &self.plan.as_ref()?.command;
        let shared = self.command.get_or_init(|| Arc::from(&**command));
        Some(Arc::clone(shared))
    }

    /// Whether its slaves may run many of its atoms in one process.
    pub(crate) fn has_batches(&self) -> bool {
        self.plan
            .as_ref()
            .is_some_and(|plan| plan.batch_command.is_some())
    }

    /// What a slave is told of a subjob that may run in one process with others. One of which something is to be found
    /// out, such as whether its atom fails again, runs alone.
    pub(crate) fn batch_terms(&self, id: SubjobId) -> Option<BatchTerms> {
        let subjob = self.subjob(id).filter(|_| self.has_batches())?;
        let mishaps = subjob.mishaps();
        let runs_alone = subjob.atoms.iter().len() != 1
            || subjob.is_watched()
            || !mishaps.failed.is_empty()
            || !mishaps.unusable_from.is_empty()
            || mishaps.doubted_from.is_some();
        (!runs_alone).then(|| BatchTerms {
            expected_ms: subjob.known_us().map(|_| subjob.expected_ms()),
        })
    }

    /// The commands of a subjob's atoms, as slaves run them.
    pub(crate) fn commands_of(&self, id: SubjobId) -> Option<Vec<String>> {
        let command = &self.plan.as_ref()?.command;
        let atoms = self.shell_atoms(id)?;
        Some(atoms.map(|atom| format!("{atom} {command}")).collect())
    }

    /// The atoms of a subjob as the shell is given them.
    pub(crate) fn shell_atoms(&self, id: SubjobId) -> Option<impl Iterator<Item = Cow<'_, str>>> {
        let quotes_atoms = self.quotes_atoms();
        let atoms = self.subjob(id)?.atoms.iter();
        Some(atoms.map(move |atom| match quotes_atoms {
            true => quoted_atom(atom),
            false => Cow::Borrowed(&**atom),
        }))
    }

    /// The first atom of a subjob as the shell is given it.
    #[must_use]
    pub fn shell_atom(&self, id: SubjobId) -> Option<String> {
        self.shell_atoms(id)?.next().map(Cow::into_owned)
    }

    /// Whether its atoms are values, and no shell text.
    #[must_use]
    pub fn quotes_atoms(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.quotes_atoms)
    }

    /// What it asks for in a slave.
    #[must_use]
    pub fn labels(&self) -> Option<&BTreeSet<String>> {
        let labels = &self.plan.as_ref()?.labels;
        (!labels.is_empty()).then_some(labels)
    }

    /// Builds with a higher one go first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.plan.as_ref().map_or(0, |plan| plan.priority)
    }

    /// How large its share of the executors is beside other builds of its priority.
    #[must_use]
    pub fn weight(&self) -> u32 {
        let weight = self.plan.as_ref().and_then(|plan| plan.weight);
        weight.map_or(1, NonZeroU32::get)
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank {
            priority: self.priority(),
            weight: self.weight(),
        }
    }

    /// Whether its commands run in containers, or what it makes is based on an image of the farm.
    #[must_use]
    pub fn needs_containers(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| {
            plan.image.is_some() || plan.templates.iter().any(|taken| taken.is_image)
        })
    }

    /// The templates that it takes.
    pub(crate) fn templates_taken(&self) -> impl Iterator<Item = TemplateId> {
        let plan = self.plan.iter();
        plan.flat_map(|plan| plan.templates.iter().map(|taken| taken.id))
    }

    /// Whether a slave has all that it asks for.
    #[must_use]
    pub fn suits(&self, slave: &Slave) -> bool {
        self.labels()
            .is_none_or(|labels| labels.is_subset(&slave.labels))
            && (!self.needs_containers() || slave.runs_images())
    }

    /// Whether a slave may set the build up: its labels suit, it can get the code, this registration has not failed, and
    /// its address has not failed too often.
    #[must_use]
    pub fn may_be_set_up_by(&self, slave: &Slave) -> bool {
        let failure = self.setup_failures.get(&slave.url);
        // Slaves of the original fetch for themselves.
        let is_out_of_reach =
            slave.is_legacy && matches!(self.request.project, ProjectSource::Own { .. });
        self.suits(slave)
            && !is_out_of_reach
            && failure.is_none_or(|failure| failure.slave != slave.id && failure.times < MAX_SETUPS)
    }
}
