//! Carrying a Dockerfile out without a container runtime: its steps are processes in the template's directory, which
//! stands for `/` of the image. Images are no bases; other templates of the farm that are workspaces can be.

mod copies;
mod globs;
mod stage;

use super::bases::LaidBase;
use super::error::{BuildError, at};
use super::running::{run, shown};
use super::{Made, print, say};
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::process::variables::check as check_variable;
use clusterrunner_common::templates::dockerfile::{
    From, Instruction, Kind, NOTHING, form, from, number_of_port, words,
};
use clusterrunner_common::templates::image_not_used;
use clusterrunner_common::text::printable::plain;
use stage::{Stage, Start};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a Dockerfile is carried out.
pub(super) struct Roots<'a> {
    /// What COPY takes from; without links in its path.
    pub(super) context: &'a Path,
    /// What stands for `/` of the image.
    pub(super) root: &'a Path,
    /// The template whose files lie there already.
    pub(super) base: Option<&'a LaidBase>,
}

/// Carries all instructions out. `needs_image`: nothing is done without a base image that is asked for.
pub(super) fn carry_out(
    instructions: &[Instruction],
    roots: &Roots<'_>,
    needs_image: bool,
) -> Result<Made, BuildError> {
    let root = Beneath::open(roots.root).map_err(at("open", roots.root))?;
    let mut carrier = Carrier {
        roots,
        root,
        needs_image,
        global_args: BTreeMap::new(),
        earlier: Vec::new(),
        stage: None,
    };
    for instruction in instructions {
        let shown = shown(&instruction.text);
        say(&format!(
            "Line {}: {} {shown}",
            instruction.line,
            instruction.word()
        ));
        carrier.step(instruction)?;
    }
    Ok(carrier.stage.map(Stage::made).unwrap_or_default())
}

struct Carrier<'a> {
    roots: &'a Roots<'a>,
    root: Beneath,
    needs_image: bool,
    /// Those before the first FROM.
    global_args: BTreeMap<String, String>,
    /// The stages that are over, with their names.
    earlier: Vec<(Option<String>, Stage)>,
    /// The one under way, none before the first FROM.
    stage: Option<(Option<String>, Stage)>,
}

impl Carrier<'_> {
    fn step(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        match instruction.kind {
            Kind::From => return self.begin_stage(instruction),
            Kind::Arg => return self.arg(instruction),
            _ => {}
        }
        let Some((_, stage)) = &mut self.stage else {
            // The reader has seen to it that there is one.
            return Ok(());
        };
        match instruction.kind {
            Kind::Run => stage.run(instruction, self.roots)?,
            Kind::Env => stage.set_variables(instruction)?,
            Kind::Workdir => {
                let word = stage.expanded(instruction)?;
                stage.directory = resolved(&stage.directory, &word);
                let made = self.root.make(&stage.directory);
                made.map_err(|error| {
                    instruction.wrong(format!("{} could not be made: {error}.", plain(&word)))
                })?;
            }
            Kind::Copy | Kind::Add => {
                let is_stage = |name: &str| is_stage(&self.earlier, name);
                copies::copy(instruction, stage, (self.roots, &self.root), &is_stage)?;
            }
            Kind::Cmd => stage.cmd = Some(start(instruction)),
            Kind::Entrypoint => stage.entrypoint = Some(start(instruction)),
            Kind::Expose => {
                let ports = stage.words(instruction)?;
                let Some(port) = ports.first().and_then(|port| number_of_port(port)) else {
                    return Err(instruction.wrong("EXPOSE names no port.").into());
                };
                stage.port.get_or_insert(port);
            }
            Kind::Shell => match form(instruction) {
                Ok(words) if !words.is_empty() => stage.shell = words,
                _ => return Err(instruction.wrong("SHELL takes a list in JSON.").into()),
            },
            Kind::User | Kind::Volume | Kind::Onbuild | Kind::Healthcheck => {
                let word = instruction.word();
                say(&format!(
                    "{word} has no effect without a container runtime."
                ));
            }
            Kind::Label | Kind::Maintainer | Kind::Stopsignal | Kind::From | Kind::Arg => {}
        }
        Ok(())
    }

    fn begin_stage(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        let From { base, name } = from(instruction, &self.global_args)?;
        self.earlier.extend(self.stage.take());
        let is_named = |(known, _): &&(Option<String>, Stage)| {
            known.as_deref() == Some(base.to_lowercase().as_str())
        };
        let laid = self.roots.base.filter(|laid| laid.names.contains(&base));
        let stage = match (self.earlier.iter().rev().find(is_named), laid) {
            (Some((_, stage)), _) => stage.clone(),
            (None, Some(laid)) => Stage::on(laid),
            (None, None) => {
                if base != NOTHING {
                    let sentence = image_not_used(&base);
                    if self.needs_image {
                        return Err(BuildError::Said(sentence));
                    }
                    print(&sentence);
                }
                Stage::new()
            }
        };
        self.stage = Some((name, stage));
        Ok(())
    }

    fn arg(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        let global_args = self.global_args.clone();
        let read = match &self.stage {
            Some((_, stage)) => stage.words(instruction)?,
            None => {
                let lookup = |name: &str| global_args.get(name).cloned();
                let read = words(&instruction.text, instruction.escape, true, &lookup);
                read.map_err(|sentence| instruction.wrong(sentence))?
            }
        };
        for word in read {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            check_name(instruction, &name)?;
            let args = match &mut self.stage {
                Some((_, stage)) => &mut stage.args,
                None => &mut self.global_args,
            };
            if let Some(value) = value.or_else(|| global_args.get(&name).cloned()) {
                args.insert(name, value);
            }
        }
        Ok(())
    }
}

/// Whether a stage that is over has this name or number.
fn is_stage(earlier: &[(Option<String>, Stage)], name: &str) -> bool {
    let name = name.to_lowercase();
    let by_number = name.parse::<usize>();
    let mut names = earlier.iter().map(|(known, _)| known.as_deref());
    names.any(|known| known == Some(&*name)) || by_number.is_ok_and(|at| at < earlier.len())
}

fn start(instruction: &Instruction) -> Start {
    match form(instruction) {
        Ok(words) => Start::Program(words),
        Err(text) => Start::Shell(text),
    }
}

fn check_name(instruction: &Instruction, name: &str) -> Result<(), BuildError> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => Err(instruction.wrong("it names no variable.").into()),
        false => Ok(()),
    }
}

/// A path of the image from a directory on, relative to its `/`. It does not lead above that.
fn resolved(directory: &Path, path: &str) -> PathBuf {
    let mut resolved = match path.starts_with('/') {
        true => PathBuf::new(),
        false => directory.to_owned(),
    };
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => resolved.push(name),
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            _ => {}
        }
    }
    resolved
}
