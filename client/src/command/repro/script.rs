//! The script that runs an atom by hand. Pure: it is text made of what is known of the atom. Whatever strangers wrote is
//! quoted, or a comment on one line.

use clusterrunner_common::text::byte_size::shown_byte_size;
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::text::shell::shell_word;
use clusterrunner_common::work::IsolationWish;
use std::fmt::Write as _;

/// How long a command that is out of time has to end by itself, in seconds.
const KILL_GRACE: u64 = 10;

/// A longer text is no argument of a program, so it is a file.
const LONGEST_ARGUMENT: usize = 100 << 10;

/// What is known of an atom that is to be run by hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    /// The build, by its number.
    pub(super) build: u64,
    /// The atom's directory: `artifact_3_0`.
    pub(super) name: String,
    /// The atom's setting, for people.
    pub(super) setting: String,
    /// How the atom ended on the farm, and where.
    pub(super) ended: String,
    /// Where the project comes from.
    pub(super) source: Source,
    /// Files that are downloaded into the project: name and URL.
    pub(super) remote_files: Vec<(String, String)>,
    /// Those of them whose URL is not whole.
    pub(super) cut_urls: Vec<String>,
    /// The variables of all commands.
    pub(super) variables: Vec<(String, String)>,
    /// The variables of the atom alone.
    pub(super) of_atom: Vec<(String, String)>,
    /// How far the job asks for its commands to be kept apart, and limited.
    pub(super) isolation: IsolationWish,
    /// Runs before.
    pub(super) setup: Option<String>,
    /// What the atom runs.
    pub(super) command: String,
    /// How long that may run, in seconds.
    pub(super) time_limit: Option<u64>,
    /// The image of the container that all of it ran in.
    pub(super) image: Option<String>,
    /// The names of the secrets that its job asks for.
    pub(super) secrets: Vec<String>,
}

/// Where the project comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A commit of one of these repositories, the first one that has it.
    Git {
        urls: Vec<String>,
        commit: String,
        /// The project's directory in the repository.
        directory: Option<String>,
    },
    /// A directory as it is.
    Directory(String),
}

impl Default for Source {
    fn default() -> Self {
        Self::Directory(String::new())
    }
}

impl Recipe {
    /// The script.
    pub(super) fn script(&self) -> String {
        let mut script = self.head();
        script.push_str(PLACE);
        self.source(&mut script);
        for (name, url) in &self.remote_files {
            let (name, url) = (quoted(name), quoted(url));
            // What is there in a directory of the user is not overwritten.
            let line = format!(
                "test -e {name} || {{ mkdir -p -- \"$(dirname -- {name})\" && curl -gfsSL -o {name} -- {url}; }} || exit 2\n"
            );
            script.push_str(&line);
        }
        script.push_str("\ncr_artifacts=$cr_work/artifacts/");
        script.push_str(&quoted(&self.name));
        script.push_str("\nrm -rf -- \"$cr_artifacts\"\nmkdir -p -- \"$cr_artifacts\"\n");
        script.push_str(
            "\n# Variables of ClusterRunner that are set here are not those of the farm.\n",
        );
        script.push_str("for cr_name in \"${!CLUSTERRUNNER_@}\"; do unset \"$cr_name\"; done\n");
        array(&mut script, "cr_variables", &self.variables);
        script.push_str("cr_variables+=(\"PROJECT_DIR=$cr_project\")\n");
        if !self.secrets.is_empty() {
            // Names of variables, which need no quotes.
            let line = format!(
                "for cr_name in {}; do test -n \"${{!cr_name:-}}\" || echo \"The secret \\$$cr_name is not set here.\" >&2; done\n",
                self.secrets.join(" ")
            );
            script.push_str(&line);
        }
        array(&mut script, "cr_of_atom", &self.of_atom);
        script.push_str("cr_of_atom+=(\"ARTIFACT_DIR=$cr_artifacts\")\n");
        if let Some(setup) = &self.setup {
            script.push_str("\necho '== set-up' >&2\n");
            let run = runner(&mut script, "cr_setup", setup);
            let line = format!(
                "env -- \"${{cr_variables[@]}}\" {run} </dev/null || {{\n  echo \"The set-up failed with $?.\" >&2\n  exit 2\n}}\n"
            );
            script.push_str(&line);
        }
        self.atom(&mut script);
        script
    }

    /// What it is, and what it can not do.
    fn head(&self) -> String {
        let mut head = format!(
            "#!/bin/bash\n# Runs {} of build {} by hand: {}\n# On the farm: {}\n#\n# Usage: bash THIS_FILE [DIRECTORY]\n\
             #   DIRECTORY is made for the project and the artifacts; a new one in $TMPDIR where none is given.\n#\n\
             # What is not as on the farm:\n",
            plain(&self.name),
            self.build,
            plain(&self.setting),
            plain(&self.ended)
        );
        for line in self.differences() {
            // Writing to a text does not fail.
            writeln!(head, "# * {}", plain(&line)).unwrap_or_default();
        }
        head
    }

    fn differences(&self) -> Vec<String> {
        let mut lines = vec![
            "Variables that came with the build (--env, or `env` of the request) are never shown. Set them before, if \
             there were any."
                .to_owned(),
            "All other variables and programs are those of this machine and this shell.".to_owned(),
            "The set-up has no time limit here, and the teardown does not run.".to_owned(),
            "BUILD_EXECUTOR_INDEX is that of the slave's executor, which may be another one in the build.".to_owned(),
            "Other atoms that ran before on the same slave may have left something there. Here none has run.".to_owned(),
        ];
        if !self.secrets.is_empty() {
            lines.push(format!(
                "On the farm the commands may be given secrets: {}. Nobody is shown them: `export` what you have of them before.",
                self.secrets.join(", ")
            ));
        }
        if let Some(image) = &self.image {
            lines.push(format!(
                "Commands ran in a container of the image {image}. Here they run on this machine: start this script in \
                 such a container."
            ));
        }
        for name in &self.cut_urls {
            lines.push(format!(
                "The URL of the file {name} had credentials or a query. They are never shown: complete it."
            ));
        }
        lines.push(self.without_isolation());
        match &self.source {
            Source::Directory(directory) => lines.push(format!(
                "The project is the directory {directory} as it is now, and commands run in it."
            )),
            Source::Git { urls, .. } => {
                if urls.iter().any(|url| url.starts_with("http")) {
                    lines.push(
                        "Credentials in URLs are never shown: git may ask for them, or have them stored.".to_owned(),
                    );
                }
            }
        }
        lines
    }

    fn without_isolation(&self) -> String {
        let wish = &self.isolation;
        let bytes = wish.memory_bytes.map(shown_byte_size);
        let asked = [
            wish.level.map(|level| format!("isolation: {level}")),
            bytes.map(|bytes| format!("memory: {bytes}")),
            wish.pids.map(|pids| format!("pids: {pids}")),
            wish.cpus.map(|cpus| format!("cpus: {cpus}")),
            wish.network.map(|network| format!("network: {network}")),
        ];
        let asked: Vec<String> = asked.into_iter().flatten().collect();
        let asked = match asked.is_empty() {
            true => String::new(),
            false => format!(" (the job asks for {})", asked.join(", ")),
        };
        format!(
            "Slaves may keep commands apart from their machine, and limit what they use{asked}. Here they are neither."
        )
    }

    fn source(&self, script: &mut String) {
        let (urls, commit, directory) = match &self.source {
            Source::Directory(directory) => {
                let directory = quoted(directory);
                let line = format!("\ncr_project={directory}\ncd -- \"$cr_project\" || exit 2\n");
                return script.push_str(&line);
            }
            Source::Git {
                urls,
                commit,
                directory,
            } => (urls, commit, directory),
        };
        script.push_str("\necho \"== the project, in $cr_work/project\" >&2\n");
        script.push_str(
            "git init --quiet -- \"$cr_work/project\" && cd -- \"$cr_work/project\" || exit 2\n",
        );
        let commit = quoted(commit);
        let fetch = |url: &String| {
            let url = quoted(url);
            // Not every server gives a commit by its id.
            format!(
                "git fetch --quiet --depth 1 -- {url} {commit} 2>/dev/null ||\n  git fetch --quiet -- {url} \
                 '+refs/heads/*:refs/fetched/heads/*' '+refs/tags/*:refs/fetched/tags/*'"
            )
        };
        // Submodules may be named by where they are beside the repository.
        if let Some(url) = urls.last() {
            let line = format!("git remote add origin -- {} || exit 2\n", quoted(url));
            script.push_str(&line);
        }
        let mut urls = urls.iter();
        if let Some(url) = urls.next() {
            script.push_str(&fetch(url));
            script.push('\n');
        }
        for url in urls {
            let line = format!(
                "git cat-file -e {commit} 2>/dev/null || {{\n{}\n}}\n",
                fetch(url)
            );
            script.push_str(&line);
        }
        let line = format!(
            "git checkout --quiet --detach {commit} -- || exit 2\ngit submodule --quiet update --init --recursive || exit 2\n"
        );
        script.push_str(&line);
        let directory = match directory {
            Some(directory) => format!("/{}", quoted(directory)),
            None => String::new(),
        };
        let line =
            format!("cr_project=$cr_work/project{directory}\ncd -- \"$cr_project\" || exit 2\n");
        script.push_str(&line);
    }

    fn atom(&self, script: &mut String) {
        let line = format!(
            "\necho {} >&2\n",
            quoted(&format!("== {}", plain(&self.name)))
        );
        script.push_str(&line);
        let run = runner(script, "cr_atom", &self.command);
        let limit = self.time_limit.map_or_else(String::new, |seconds| {
            format!("timeout --kill-after={KILL_GRACE} {seconds} ")
        });
        // In the background, since `timeout` begins a group of its own that Ctrl-C does not reach.
        let line = format!(
            "cr_began=$SECONDS\nenv -- \"${{cr_variables[@]}}\" \"${{cr_of_atom[@]}}\" {limit}{run} </dev/null &\n{WAIT}"
        );
        script.push_str(&line);
        if let Some(seconds) = self.time_limit {
            // One that does not obey is killed, and one may end with 124 by itself.
            let line = format!(
                "if test $((SECONDS - cr_began)) -ge {seconds}; then\n  case $cr_code in\n    124 | 137)\n      \
                 cr_code=124\n      echo 'It took longer than its time limit of {seconds} s.' >&2\n      ;;\n  esac\nfi\n"
            );
            script.push_str(&line);
        }
        let ended = quoted(&format!("On the farm: {}", plain(&self.ended)));
        let line = format!(
            "if test $cr_code -gt 128 && test $cr_code -le 192; then\n  echo \"It ended by signal $((cr_code - 128)), or \
             said so.\" >&2\nfi\necho \"Exit code $cr_code.\" {ended} >&2\necho \"Its artifacts: $cr_artifacts\" >&2\n\
             exit $cr_code\n"
        );
        script.push_str(&line);
    }
}

/// Waits for the atom, and ends the atom on Ctrl-C.
const WAIT: &str = "\
cr_child=$!
trap 'kill -TERM \"$cr_child\" 2>/dev/null' INT TERM
wait \"$cr_child\"
cr_code=$?
trap - INT TERM
if kill -0 \"$cr_child\" 2>/dev/null; then
  wait \"$cr_child\"
  cr_code=$?
fi
";

/// Where all of it goes.
const PLACE: &str = "
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY \\
  GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_PREFIX GIT_SHALLOW_FILE
cr_work=${1:-}
if test -n \"$cr_work\"; then
  mkdir -p -- \"$cr_work\" && cr_work=$(cd -- \"$cr_work\" && pwd) || exit 2
  if test -e \"$cr_work/project\"; then
    echo \"$cr_work/project is there already: name another directory\" >&2
    exit 2
  fi
else
  cr_work=$(mktemp -d) || exit 2
fi
";

/// Adds an array of `NAME=value` for `env`.
fn array(script: &mut String, name: &str, variables: &[(String, String)]) {
    script.push_str(name);
    script.push_str("=(\n");
    for (name, value) in variables {
        let line = format!("  {}\n", quoted(&format!("{name}={value}")));
        script.push_str(&line);
    }
    script.push_str(")\n");
}

/// How a text is run as the farm does; what is needed for that is added before.
fn runner(script: &mut String, name: &str, text: &str) -> String {
    let line = format!("{name}={}\n", quoted(&format!("set -o pipefail; {text}")));
    script.push_str(&line);
    if text.len() <= LONGEST_ARGUMENT {
        return format!("bash -c \"${name}\"");
    }
    let line = format!("printf '%s\\n' \"${name}\" >\"$cr_work/{name}.sh\"\n");
    script.push_str(&line);
    format!("bash -c '. \"$1\"' bash \"$cr_work/{name}.sh\"")
}

/// A word as bash reads it back. Nothing in it is obeyed by a terminal that shows the script.
fn quoted(word: &str) -> String {
    let is_obeyed = |c: char| {
        !matches!(c, '\n' | '\t') && plain(c.encode_utf8(&mut [0; 4])).len() > c.len_utf8()
    };
    if !word.chars().any(is_obeyed) {
        return shell_word(word).into_owned();
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\\' | '\'' => quoted.extend(['\\', c]),
            c if is_obeyed(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a text does not fail.
                    write!(quoted, "\\{byte:03o}").unwrap_or_default();
                }
            }
            c => quoted.push(c),
        }
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};

    fn recipe(command: &str) -> Recipe {
        Recipe {
            build: 7,
            name: "artifact_3_0".to_owned(),
            setting: "TEST=\"x\"".to_owned(),
            ended: "exit code 3".to_owned(),
            source: Source::Directory("/".to_owned()),
            command: command.to_owned(),
            ..Recipe::default()
        }
    }

    fn run(recipe: &Recipe) -> Output {
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().join("work");
        let script = directory.path().join("script");
        std::fs::write(&script, recipe.script()).unwrap();
        let mut bash = Command::new("bash");
        bash.arg(&script)
            .arg(&work)
            .env("CLUSTERRUNNER_SECRET", "of this shell");
        bash.output().unwrap()
    }

    fn printed(recipe: &Recipe) -> String {
        let output = run(recipe);
        assert!(output.status.success(), "{output:?}: {}", recipe.script());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn texts_of_strangers_are_only_texts() {
        let hostile = "'; echo broken; : \"$(echo broken)\"\n`echo broken`\u{1b}[2J#\\";
        let mut recipe = recipe("printf '%s' \"$X\"; test \"$Y\" = \"$X\"");
        recipe.variables = vec![("X".to_owned(), hostile.to_owned())];
        recipe.of_atom = vec![("Y".to_owned(), hostile.to_owned())];
        recipe.setup = Some("test -n \"$X\" -a -z \"$Y\"".to_owned());
        recipe.setting = hostile.to_owned();
        recipe.ended = hostile.to_owned();
        recipe.image = Some(hostile.to_owned());
        assert_eq!(printed(&recipe), hostile);
        let script = recipe.script();
        let head: Vec<&str> = script.lines().take_while(|line| !line.is_empty()).collect();
        assert!(head.iter().all(|line| line.starts_with('#')), "{head:#?}");
        let is_obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!script.contains(is_obeyed), "a terminal shows it as it is");
    }

    #[test]
    fn it_ends_as_the_command_does() {
        for (command, code) in [
            ("exit 3", 3),
            ("false | true", 1),
            ("exit 124", 124),
            ("exit 255", 255),
            ("kill -KILL $$", 137),
            ("test -z \"$CLUSTERRUNNER_SECRET\" && exit 5", 5),
            ("cat; test -d \"$ARTIFACT_DIR\" && exit 6", 6),
        ] {
            assert_eq!(run(&recipe(command)).status.code(), Some(code), "{command}");
        }
        let late = Recipe {
            time_limit: Some(1),
            ..recipe("sleep 600")
        };
        assert_eq!(run(&late).status.code(), Some(124));
        let own = Recipe {
            time_limit: Some(600),
            ..recipe("exit 124")
        };
        let own = run(&own);
        let said = String::from_utf8(own.stderr).unwrap();
        assert_eq!(own.status.code(), Some(124));
        assert!(!said.contains("time limit"), "{said}");
        let broken = Recipe {
            setup: Some("exit 9".to_owned()),
            ..recipe("true")
        };
        let broken = run(&broken);
        assert_eq!(broken.status.code(), Some(2));
        let said = String::from_utf8(broken.stderr).unwrap();
        assert!(said.contains("The set-up failed with 9."), "{said}");
    }

    #[test]
    fn it_says_that_nothing_keeps_it_apart() {
        let isolation = IsolationWish {
            memory_bytes: Some(64 << 20),
            network: Some(false),
            ..IsolationWish::default()
        };
        let limited = Recipe {
            isolation,
            ..recipe("true")
        };
        let asked = "(the job asks for memory: 64 MiB, network: false). Here they are neither.";
        assert!(limited.script().contains(asked), "{}", limited.script());
        let told = "limit what they use. Here they are neither.";
        assert!(recipe("true").script().contains(told));
    }

    #[test]
    fn a_text_that_is_too_long_for_an_argument_is_a_file() {
        let long = format!("X='{}'; printf '%s' \"${{#X}}\"", "y".repeat(200_000));
        assert_eq!(printed(&recipe(&long)), "200000");
    }
}
