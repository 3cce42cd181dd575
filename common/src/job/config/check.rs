//! What a job must look like: from the tree of one job to a [`Job`] or everything that is wrong with it.

use super::document::{Node, Value, python_type};
use super::problem::{Position, Problem};
use super::{Job, Timeouts, batch_of_one, join_commands};
use crate::job::setup_cache::SetupCache;
use crate::text::nearest::nearest;
use std::collections::BTreeMap;

const COMMANDS: &str = "commands";
pub(super) const ATOMIZERS: &str = "atomizers";
pub(super) const SETUP_BUILD: &str = "setup_build";
const TEARDOWN_BUILD: &str = "teardown_build";
const MAX_EXECUTORS: &str = "max_executors";
const MAX_EXECUTORS_PER_SLAVE: &str = "max_executors_per_slave";
// The limits in time are ours; the original knows no such sections.
const TIMEOUT: &str = "timeout";
const ATOMIZER_TIMEOUT: &str = "atomizer_timeout";
const SETUP_TIMEOUT: &str = "setup_timeout";
const TEARDOWN_TIMEOUT: &str = "teardown_timeout";

// What slaves it needs and how urgent it is are ours, too.
const LABELS: &str = "labels";
const PRIORITY: &str = "priority";
const WEIGHT: &str = "weight";

// And what its atoms are made of.
pub(super) const ENV: &str = "env";
const RAW_ATOMS: &str = "raw_atoms";
const ALLOW_NO_ATOMS: &str = "allow_no_atoms";

// What follows from atoms that fail.
const RETRIES: &str = "retries";
const FLAKY: &str = "flaky";
const MAX_FAIL: &str = "max_fail";

// And whether those that pass are tried again.
const HUNT_FLAKES: &str = "hunt_flakes";

// And what its commands run in.
pub(super) const IMAGE: &str = "image";

// And which files its atoms leave are reports of tests.
const JUNIT: &str = "junit";

// And in which combinations of variables it is built.
pub(super) const MATRIX: &str = "matrix";
// And what runs many atoms in one process.
pub(super) const BATCH_COMMAND: &str = "batch_command";
// Or one atom after the other.
const WORKER: &str = "worker";

// And what of its set-up is kept for later builds.
const CACHE: &str = "cache";
const SETUP_ONCE: &str = "setup_once";

// And which secrets of its project its commands are given.
const SECRETS: &str = "secrets";

// And how far its commands are kept apart, and what they may use.
pub(super) const ISOLATION: &str = "isolation";
pub(super) const MEMORY: &str = "memory";
pub(super) const PIDS: &str = "pids";
pub(super) const CPUS: &str = "cpus";
pub(super) const NETWORK: &str = "network";

pub(super) const REMOVE_NUL: &str = "remove the NUL, which is written \\0, \\x00 or \\u0000";

const SECTIONS: [&str; 33] = [
    COMMANDS,
    ATOMIZERS,
    SETUP_BUILD,
    TEARDOWN_BUILD,
    MAX_EXECUTORS,
    MAX_EXECUTORS_PER_SLAVE,
    TIMEOUT,
    ATOMIZER_TIMEOUT,
    SETUP_TIMEOUT,
    TEARDOWN_TIMEOUT,
    LABELS,
    PRIORITY,
    WEIGHT,
    ENV,
    RAW_ATOMS,
    ALLOW_NO_ATOMS,
    RETRIES,
    FLAKY,
    MAX_FAIL,
    HUNT_FLAKES,
    IMAGE,
    JUNIT,
    MATRIX,
    BATCH_COMMAND,
    CACHE,
    SETUP_ONCE,
    WORKER,
    SECRETS,
    ISOLATION,
    MEMORY,
    PIDS,
    CPUS,
    NETWORK,
];

/// Checks one job whole, so that its author sees all mistakes at once.
///
/// `name_place` is where a missing section is reported: at the job's name. The second list is of what is right, but
/// means something else to the original.
pub(super) fn check_job(
    file: &str,
    name: &str,
    name_place: &Position,
    node: &Node,
) -> (Result<Job, Vec<Problem>>, Vec<Problem>) {
    let mut check = Check {
        file,
        job: name,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let job = match check.job(name_place, node) {
        Some(job) if check.problems.is_empty() => Ok(job),
        _ => Err(check.problems),
    };
    (job, check.warnings)
}

pub(super) struct Check<'a> {
    file: &'a str,
    pub(super) job: &'a str,
    problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Check<'_> {
    /// `None` stands for "a problem was noted", here and below.
    #[expect(clippy::too_many_lines, reason = "a sentence for each section")]
    fn job(&mut self, name_place: &Position, node: &Node) -> Option<Job> {
        let Value::Mapping(entries) = &node.value else {
            let message = format!(
                "Passed in configuration is not a dictionary for job: \"{}\".",
                self.job
            );
            self.note(
                &node.place,
                message,
                "write the sections below the job's name, indented, such as \"commands:\"",
            );
            return None;
        };
        let sections = self.sections(entries);
        let commands = sections
            .get(COMMANDS)
            .and_then(|list| self.command_list(COMMANDS, list));
        let atomizers = sections
            .get(ATOMIZERS)
            .and_then(|list| self.atomizers(list));
        let batch_command = sections
            .get(BATCH_COMMAND)
            .and_then(|command| self.batch_command(command, &sections, atomizers.as_deref()));
        let worker = sections
            .get(WORKER)
            .and_then(|worker| self.worker(WORKER, worker, &sections));
        let setup_build = sections
            .get(SETUP_BUILD)
            .and_then(|list| self.command_list(SETUP_BUILD, list));
        let teardown_build = sections
            .get(TEARDOWN_BUILD)
            .and_then(|list| self.command_list(TEARDOWN_BUILD, list));
        let max_executors = sections
            .get(MAX_EXECUTORS)
            .and_then(|number| self.limit(MAX_EXECUTORS, number));
        let max_executors_per_slave = sections
            .get(MAX_EXECUTORS_PER_SLAVE)
            .and_then(|number| self.limit(MAX_EXECUTORS_PER_SLAVE, number));
        let labels = sections
            .get(LABELS)
            .and_then(|list| self.labels(LABELS, list));
        let priority = sections
            .get(PRIORITY)
            .and_then(|number| self.priority(PRIORITY, number));
        let weight = sections
            .get(WEIGHT)
            .and_then(|number| self.weight(WEIGHT, number));
        let env = sections
            .get(ENV)
            .and_then(|variables| self.env(ENV, variables));
        let raw_atoms = sections
            .get(RAW_ATOMS)
            .and_then(|truth| self.truth(RAW_ATOMS, truth));
        let allow_no_atoms = sections
            .get(ALLOW_NO_ATOMS)
            .and_then(|truth| self.truth(ALLOW_NO_ATOMS, truth));
        let retries = sections
            .get(RETRIES)
            .and_then(|number| self.retries(RETRIES, number));
        let flaky_fails = sections.get(FLAKY).and_then(|word| self.flaky(FLAKY, word));
        let max_fail = sections
            .get(MAX_FAIL)
            .and_then(|number| self.limit(MAX_FAIL, number));
        let hunt_flakes = sections
            .get(HUNT_FLAKES)
            .and_then(|truth| self.truth(HUNT_FLAKES, truth));
        let image = sections
            .get(IMAGE)
            .and_then(|image| self.image(IMAGE, image));
        let junit = sections
            .get(JUNIT)
            .and_then(|paths| self.junit(JUNIT, paths));
        let matrix = sections
            .get(MATRIX)
            .and_then(|variables| self.matrix(MATRIX, variables));
        let cache = sections
            .get(CACHE)
            .and_then(|paths| self.cache(CACHE, paths, &sections));
        let setup_once = sections
            .get(SETUP_ONCE)
            .and_then(|truth| self.setup_once(SETUP_ONCE, truth, &sections))
            .unwrap_or_default();
        let elsewhere = (env.as_ref(), matrix.as_deref(), atomizers.as_deref());
        let secrets = sections
            .get(SECRETS)
            .and_then(|names| self.secrets(SECRETS, names, elsewhere));
        let isolation = self.isolation(&sections);
        let mut time_limit = |section| {
            let value = sections.get(section)?;
            self.time_limit(section, value)
        };
        let timeouts = Timeouts {
            atom: time_limit(TIMEOUT),
            atomizer: time_limit(ATOMIZER_TIMEOUT),
            setup: time_limit(SETUP_TIMEOUT),
            teardown: time_limit(TEARDOWN_TIMEOUT),
        };

        let is_there = |name: &&str| {
            // What runs many atoms runs one, too.
            let other = if *name == COMMANDS {
                BATCH_COMMAND
            } else {
                name
            };
            sections.contains_key(name) || sections.contains_key(other)
        };
        let missing: Vec<_> = [COMMANDS, ATOMIZERS]
            .into_iter()
            .filter(|name| !is_there(name))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "Definition for job \"{}\" is missing required config sections: {{'{}'}}",
                self.job,
                missing.join("', '")
            );
            let cure = match missing[0] {
                COMMANDS => {
                    "add \"commands:\" and below it \"- \" and the command that runs one atom"
                }
                _ => {
                    "add \"atomizers:\" and below it \"- NAME: \" and a command that prints one value per line"
                }
            };
            self.note(name_place, message, cure);
        }
        let atomizers = atomizers?;
        let commands = match sections.contains_key(COMMANDS) {
            true => commands?,
            false => batch_of_one::of_one(&atomizers.first()?.name, batch_command.as_deref()?),
        };
        Some(Job {
            commands,
            batch_command,
            worker,
            atomizers,
            setup_build: setup_build.filter(|command| !command.is_empty()),
            teardown_build: teardown_build.filter(|command| !command.is_empty()),
            max_executors,
            max_executors_per_slave,
            labels: labels.unwrap_or_default(),
            priority: priority.unwrap_or_default(),
            weight,
            timeouts,
            env: env.unwrap_or_default(),
            raw_atoms: raw_atoms.unwrap_or_default(),
            allow_no_atoms: allow_no_atoms.unwrap_or_default(),
            retries: retries.unwrap_or_default(),
            flaky_fails: flaky_fails.unwrap_or_default(),
            max_fail,
            hunt_flakes,
            image,
            junit,
            matrix: matrix.unwrap_or_default(),
            cache: cache.or_else(|| setup_once.then(SetupCache::whole)),
            setup_once,
            secrets: secrets.unwrap_or_default(),
            isolation,
        })
    }

    /// The known sections by name; the first one where one is there twice.
    fn sections<'n>(&mut self, entries: &'n [(Node, Node)]) -> BTreeMap<&'static str, &'n Node> {
        let mut sections = BTreeMap::new();
        let mut first_places: BTreeMap<&str, &Position> = BTreeMap::new();
        for (key, value) in entries {
            let written = key.value.scalar_text().unwrap_or("?");
            let Some(section) = SECTIONS.into_iter().find(|known| *known == written) else {
                let message = format!(
                    "Definition for job \"{}\" contains an invalid config section \"{written}\".",
                    self.job
                );
                let cure = match nearest(written, SECTIONS) {
                    Some(meant) => format!("write \"{meant}\""),
                    None => format!("write one of {}", SECTIONS.join(", ")),
                };
                self.note(&key.place, message, &cure);
                continue;
            };
            if let Some(first) = first_places.insert(section, &key.place) {
                let message = format!(
                    "Definition for job \"{}\" contains the config section \"{section}\" twice.",
                    self.job
                );
                self.note(&key.place, message, &remove_one(first));
                continue;
            }
            sections.insert(section, value);
        }
        sections
    }

    pub(super) fn command_list(&mut self, section: &str, node: &Node) -> Option<String> {
        const EXPECTED: &str = "(<class 'list'>, <class 'str'>)";
        let Value::List(elements) = &node.value else {
            let cure = match &node.value {
                Value::Null if section != COMMANDS => {
                    "write a list of commands, or leave the section out".to_owned()
                }
                Value::Text(_) => {
                    "write a list: \"- \" and the command, on the next line, indented".to_owned()
                }
                _ => "write a list of commands, each after \"- \"".to_owned(),
            };
            self.wrong_value(
                node,
                section,
                EXPECTED,
                &python_type(&node.value, false),
                &cure,
            );
            return None;
        };
        if elements.is_empty() {
            let cure = match section {
                COMMANDS => "write at least one command",
                _ => "write at least one command, or leave the section out",
            };
            self.wrong_value(node, section, EXPECTED, "an empty list", cure);
            return None;
        }
        let mut commands = Vec::with_capacity(elements.len());
        let several = elements
            .iter()
            .filter(|element| !matches!(element.value, Value::Null))
            .count()
            > 1;
        let mut good = true;
        for (index, element) in elements.iter().enumerate() {
            let cure = match &element.value {
                Value::Text(text) if several && text.trim().trim_end_matches(';').is_empty() => {
                    self.empty_command(section, element);
                    good = false;
                    continue;
                }
                Value::Text(text) => {
                    good &= self.no_nul(section, element, text);
                    commands.push(Some(text.as_str()));
                    continue;
                }
                // As the original: only at the beginning is an empty element an error.
                Value::Null if index > 0 => continue,
                Value::Null => "write a command after the \"-\", or remove the \"-\"".to_owned(),
                Value::Boolean(text) | Value::Integer(text, _) | Value::Float(text) => {
                    format!("put it in quotes: \"{text}\"")
                }
                Value::Mapping(_) => {
                    "put the whole command in single quotes; unquoted, a \": \" in it makes it a mapping".to_owned()
                }
                Value::List(_) => "write one command per \"- \", not a list in the list".to_owned(),
            };
            self.wrong_value(
                element,
                section,
                EXPECTED,
                &python_type(&element.value, true),
                &cure,
            );
            good = false;
        }
        if good {
            self.warn_of_joining(section, elements);
        }
        good.then(|| join_commands(commands))
    }

    fn empty_command(&mut self, section: &str, element: &Node) {
        let message = format!(
            "Definition for job \"{}\" contains an empty command in config section \"{section}\", which is a syntax \
             error for the shell when the commands are joined.",
            self.job
        );
        self.note(&element.place, message, "remove the element");
    }

    /// Whether the text can be given to a shell: no argument of a program can have a NUL.
    pub(super) fn no_nul(&mut self, section: &str, node: &Node, text: &str) -> bool {
        if !text.contains('\0') {
            return true;
        }
        let message = format!(
            "Definition for job \"{}\" contains a NUL character in config section \"{section}\", which no command of a \
             shell can have.",
            self.job
        );
        self.note(&node.place, message, REMOVE_NUL);
        false
    }

    pub(super) fn wrong_value(
        &mut self,
        node: &Node,
        section: &str,
        expected: &str,
        found: &str,
        cure: &str,
    ) {
        let message = format!(
            "Definition for job \"{}\" contains an invalid value for config section \"{section}\". Parser expected one \
             of [{expected}] but found {found}.",
            self.job
        );
        self.note(&node.place, message, cure);
    }

    pub(super) fn note(&mut self, place: &Position, message: String, cure: &str) {
        let problem = self.problem(place, message, cure);
        self.problems.push(problem);
    }

    pub(super) fn problem(&self, place: &Position, message: String, cure: &str) -> Problem {
        Problem {
            file: self.file.to_owned(),
            place: Some(place.clone()),
            message,
            cure: cure.to_owned(),
        }
    }
}

/// The cure for something that is there twice.
pub(super) fn remove_one(first: &Position) -> String {
    match first {
        Position::Line { line, .. } => {
            format!("remove or rename one of them; the first is in line {line}")
        }
        Position::Path(_) => "remove or rename one of them".to_owned(),
    }
}
