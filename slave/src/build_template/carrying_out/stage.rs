//! What the instructions since the last FROM have said.

use super::{
    BTreeMap, BuildError, Command, Instruction, LaidBase, Made, PathBuf, Roots, check_name,
    check_variable, form, run, say, shown,
};
use clusterrunner_common::templates::dockerfile::{Lookup, words};

/// Variables of this slave that take the place of those of a base image.
const OF_BASE: [&str; 1] = ["PATH"];

/// How a process is to be started.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// A program and its arguments.
    Program(Vec<String>),
    /// A text for the shell.
    Shell(String),
}

/// A stage of a Dockerfile.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) variables: BTreeMap<String, String>,
    pub(super) args: BTreeMap<String, String>,
    /// Relative to `/` of the image.
    pub(super) directory: PathBuf,
    pub(super) shell: Vec<String>,
    pub(super) cmd: Option<Start>,
    pub(super) entrypoint: Option<Start>,
    pub(super) port: Option<u16>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            variables: BTreeMap::new(),
            args: BTreeMap::new(),
            directory: PathBuf::new(),
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            cmd: None,
            entrypoint: None,
            port: None,
        }
    }

    /// A stage on a template of the farm.
    pub(super) fn on(base: &LaidBase) -> Self {
        let Made {
            port,
            command,
            environment,
            directory,
        } = base.made.clone();
        let path = base.path.clone();
        Self {
            variables: environment,
            // Instances look there for programs by themselves.
            args: path
                .map(|path| ("PATH".to_owned(), path))
                .into_iter()
                .collect(),
            directory: PathBuf::from(directory),
            cmd: (!command.is_empty()).then_some(Start::Program(command)),
            port,
            ..Self::new()
        }
    }

    /// The value of a variable in an instruction.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let of_stage = self.variables.get(name).or_else(|| self.args.get(name));
        let of_base = || OF_BASE.contains(&name).then(|| std::env::var(name).ok());
        of_stage.cloned().or_else(|| of_base().flatten())
    }

    /// The words of an instruction, with variables put in.
    pub(super) fn words(&self, instruction: &Instruction) -> Result<Vec<String>, BuildError> {
        let lookup: Lookup<'_> = &|name| self.value(name);
        let read = words(&instruction.text, instruction.escape, true, lookup);
        Ok(read.map_err(|sentence| instruction.wrong(sentence))?)
    }

    /// The text of an instruction as one word.
    pub(super) fn expanded(&self, instruction: &Instruction) -> Result<String, BuildError> {
        self.expand(instruction, &instruction.text)
    }

    fn expand(&self, instruction: &Instruction, text: &str) -> Result<String, BuildError> {
        let lookup: Lookup<'_> = &|name| self.value(name);
        let read = words(text, instruction.escape, false, lookup);
        let read = read.map_err(|sentence| instruction.wrong(sentence))?;
        Ok(read.concat().trim_end().to_owned())
    }

    /// `ENV a=b c=d`, or `ENV a b`. What one sets, the others do not see yet.
    pub(super) fn set_variables(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        let text = &instruction.text;
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if !first.contains('=') {
            if rest.trim().is_empty() {
                let sentence = "ENV takes names and values such as NAME=value.";
                return Err(instruction.wrong(sentence).into());
            }
            check_name(instruction, first)?;
            let value = self.expand(instruction, rest)?;
            self.variables.insert(first.to_owned(), value);
            return Ok(());
        }
        for word in self.words(instruction)? {
            let Some((name, value)) = word.split_once('=') else {
                let sentence = "ENV takes names and values such as NAME=value.";
                return Err(instruction.wrong(sentence).into());
            };
            check_name(instruction, name)?;
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Runs a step to its end.
    pub(super) fn run(
        &self,
        instruction: &Instruction,
        roots: &Roots<'_>,
    ) -> Result<(), BuildError> {
        for flag in &instruction.flags {
            say(&format!(
                "--{flag} has no effect without a container runtime."
            ));
        }
        let program = match form(instruction) {
            Ok(words) => words,
            Err(text) => self.in_shell(script(instruction, text)?),
        };
        let Some((name, arguments)) = program.split_first() else {
            return Err(instruction.wrong("RUN needs arguments.").into());
        };
        let mut command = Command::new(name);
        command
            .args(arguments)
            .envs(&self.args)
            .envs(&self.variables);
        let directory = roots.root.join(&self.directory);
        let code = run(&mut command, &directory, roots.root);
        let code = code.map_err(|error| instruction.wrong(error.to_string()))?;
        match code {
            0 => Ok(()),
            code => {
                let step = shown(&instruction.text);
                let sentence = format!("RUN failed with exit code {code}: {step}");
                Err(instruction.wrong(sentence).into())
            }
        }
    }

    fn in_shell(&self, text: String) -> Vec<String> {
        let mut words = self.shell.clone();
        words.push(text);
        words
    }

    /// What its last stage makes known of a template.
    pub(super) fn made((_, stage): (Option<String>, Self)) -> Made {
        let command = match (&stage.entrypoint, &stage.cmd) {
            (Some(Start::Shell(text)), _) | (None, Some(Start::Shell(text))) => {
                stage.in_shell(text.clone())
            }
            (Some(Start::Program(program)), Some(Start::Program(arguments))) => {
                [program.as_slice(), arguments].concat()
            }
            (Some(Start::Program(program)), Some(Start::Shell(text))) => {
                [program.clone(), stage.in_shell(text.clone())].concat()
            }
            (Some(Start::Program(program)), None) | (None, Some(Start::Program(program))) => {
                program.clone()
            }
            (None, None) => Vec::new(),
        };
        let mut environment = stage.variables;
        environment.retain(|name, value| {
            let fits = check_variable(name, value).is_ok();
            if !fits {
                say(&format!("Instances do not get the variable {name}."));
            }
            fits
        });
        Made {
            port: stage.port,
            command,
            environment,
            directory: stage.directory.display().to_string(),
        }
    }
}

/// What a shell is given: a here-document alone is a script, one behind a command its input.
fn script(instruction: &Instruction, text: String) -> Result<String, BuildError> {
    let [document, ..] = instruction.documents.as_slice() else {
        return Ok(text);
    };
    let is_alone =
        text.trim_start().starts_with("<<") && !text.trim().contains(char::is_whitespace);
    if !is_alone {
        let mut script = text;
        for document in &instruction.documents {
            script.push_str(&format!("\n{}{}", document.content, document.name));
        }
        return Ok(script);
    }
    match document.content.starts_with("#!") {
        true => Err(instruction
            .wrong("a script that names its program needs a container runtime.")
            .into()),
        false => Ok(document.content.clone()),
    }
}
