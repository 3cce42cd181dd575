//! `clusterrunner repro`: a script that runs an atom by hand.

mod script;

use super::interrupt::Interrupt;
use super::matrix;
use super::standing::working_tree;
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, ReproOptions};
use crate::output;
use crate::output::text::{how_ended, how_to_name_an_atom, name, parse_atom, setting};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::{AtomView, BuildView, SubjobView};
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::config::{Job, TimeLimit, quoted_atom};
use clusterrunner_common::job::file::read_job;
use clusterrunner_common::job::matrix::Combination;
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::text::shell::shell_word;
use script::{Recipe, Source};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a build that names no other fork has as its remote.
const ORIGIN: &str = "origin";

/// Writes the script of an atom.
pub(crate) async fn run(options: ReproOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    // A link that leads nowhere is there, too.
    if let Some(path) = &options.output
        && path.symlink_metadata().is_ok()
    {
        return Err(is_there(path));
    }
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let interrupt = Interrupt::listen(false)?;
    let build = options.build.of(&client).await?;
    matrix::refuse_parent(&client, build, "atoms").await?;
    let view = client.build(build).await?;
    let (subjob, atom) = found(&client, build, &options.atom).await?;
    let source = source(&view)?;
    // Here, so that it goes when the user wants an end.
    let place = tempfile::tempdir()
        .map_err(|error| Trouble::new(format!("could not make a temporary directory: {error}")))?;
    let directory = place.path().to_owned();
    let text = move || -> Result<String, Trouble> {
        let job = job(&view, &source, &directory)?;
        Ok(recipe(&view, &subjob, &atom, source, &job).script())
    };
    let making = tokio::task::spawn_blocking(text);
    let Some(text) = interrupt.unless(making).await else {
        return Err(Trouble::new("interrupted before the script was made"));
    };
    let text = text.map_err(|_| Trouble::new("the script could not be made"))??;
    let Some(path) = &options.output else {
        output::pass_on(text.as_bytes());
        return Ok(ExitCode::Success);
    };
    write(path, &text)?;
    output::note(format!(
        "`bash {}` runs the atom",
        shell_word(&path.display().to_string())
    ));
    Ok(ExitCode::Success)
}

async fn found(
    client: &Client,
    build: BuildId,
    text: &str,
) -> Result<(SubjobView, AtomView), Trouble> {
    let none = || {
        Trouble::usage(format!("build {build} has no atom {text}"))
            .hint(how_to_name_an_atom(format_args!("logs {build}")))
    };
    let (subjob, atom) = parse_atom(text).ok_or_else(none)?;
    let subjob = match client.subjob(build, subjob).await {
        Ok(subjob) => subjob,
        Err(error) if error.status().is_some_and(|status| status == 404) => return Err(none()),
        Err(error) => return Err(error.into()),
    };
    let atom = subjob.atoms.iter().find(|known| known.id == atom);
    let atom = atom.cloned().ok_or_else(none)?;
    Ok((subjob, atom))
}

/// Where the project of a build comes from.
fn source(build: &BuildView) -> Result<Source, Trouble> {
    let params = &build.request_params;
    let text = |field: &str| params.get(field).and_then(Value::as_str);
    let id = build.id;
    if build.template.is_some() {
        return Err(Trouble::usage(format!(
            "build {id} makes a template: it has no atoms of a job"
        )));
    }
    if let Some(tree) = working_tree(build) {
        let by = tree.by.as_deref().map(|by| format!(" by {}", plain(by)));
        return Err(Trouble::usage(format!(
            "build {id} is of the {tree}, sent{}: no repository has it",
            by.unwrap_or_default()
        ))
        .hint(
            "run the atom's command in that working tree; `clusterrunner status` shows the command",
        ));
    }
    match (text("type"), text("url"), text("project_directory")) {
        (Some("git"), Some(url), directory) => {
            let url = &shown_url(url);
            let Some(commit) = &build.commit else {
                return Err(
                    Trouble::usage(format!("the commit of build {id} is not known"))
                        .hint("a build has a commit once it is prepared"),
                );
            };
            let fork = text("remote").filter(|remote| *remote != ORIGIN);
            let fork = fork.map(shown_url);
            Ok(Source::Git {
                urls: fork.into_iter().chain([url.clone()]).collect(),
                commit: commit.clone(),
                directory: directory.map(str::to_owned),
            })
        }
        (Some("directory"), _, Some(directory)) => Ok(Source::Directory(directory.to_owned())),
        _ => Err(Trouble::usage(format!(
            "the project of build {id} was uploaded to the farm: there is no repository to clone"
        ))),
    }
}

/// The URL of a repository without user name and password, which nobody is shown.
fn shown_url(url: &str) -> String {
    match GitUrl::parse(url, true) {
        Ok(parsed) => parsed.without_credentials(),
        Err(_) => without_secrets(url).0,
    }
}

/// A URL without what may open it, and whether that is another one. What is no URL stays.
fn without_secrets(url: &str) -> (String, bool) {
    let Ok(mut parsed) = reqwest::Url::parse(url) else {
        return (url.to_owned(), false);
    };
    let has_secrets =
        !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some();
    if !has_secrets {
        return (url.to_owned(), false);
    }
    // They only fail for URLs that can have no credentials.
    parsed.set_password(None).ok();
    parsed.set_username("").ok();
    parsed.set_query(None);
    (parsed.into(), true)
}

/// The job of a build: that of its request, or of its project at its commit. Blocks.
fn job(build: &BuildView, source: &Source, place: &Path) -> Result<Job, Trouble> {
    let params = &build.request_params;
    let config = params.get("config").and_then(Value::as_object);
    let asked = params.get("job_name").and_then(Value::as_str);
    let job_name = build.job_name.as_deref().filter(|_| config.is_none());
    let job_name = job_name.or(asked);
    if config.is_some() {
        return read(config, job_name, Path::new(""));
    }
    match source {
        Source::Directory(directory) => read(None, job_name, Path::new(directory)),
        Source::Git {
            urls,
            commit,
            directory,
        } => {
            output::note(format!("fetching commit {} for its job", plain(commit)));
            check_out(place, urls, commit)?;
            let project = match directory {
                Some(directory) => place.join(directory),
                None => place.to_owned(),
            };
            read(None, job_name, &project)
        }
    }
}

fn read(
    config: Option<&Map<String, Value>>,
    name: Option<&str>,
    project: &Path,
) -> Result<Job, Trouble> {
    let read = read_job(config, name, project);
    let (_, job) = read.map_err(|error| {
        Trouble::new(format!(
            "the job of the build can not be read here: {error}"
        ))
        .hint("the script has the job's set-up and variables, so that it must be read")
    })?;
    Ok(job)
}

/// Checks a commit out, without its submodules. Blocks.
fn check_out(place: &Path, urls: &[String], commit: &str) -> Result<(), Trouble> {
    git(place, &["init", "--quiet"])?;
    let mut trouble = None;
    for url in urls {
        let one = git(
            place,
            &["fetch", "--quiet", "--depth", "1", "--", url, commit],
        );
        // Not every server gives a commit by its id.
        let heads = "+refs/heads/*:refs/fetched/heads/*";
        let tags = "+refs/tags/*:refs/fetched/tags/*";
        let fetched = one.or_else(|_| git(place, &["fetch", "--quiet", "--", url, heads, tags]));
        let checked_out =
            fetched.and_then(|()| git(place, &["checkout", "--quiet", "--detach", commit, "--"]));
        match checked_out {
            Ok(()) => return Ok(()),
            Err(error) => trouble = Some(error),
        }
    }
    let trouble = trouble.unwrap_or_else(|| Trouble::new("the build names no repository"));
    Err(trouble.hint("this command needs the build's commit, to read its job"))
}

/// What would have git work in the repository that the user is in, as in a hook.
const OF_OTHER_REPOSITORIES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
];

fn git(place: &Path, arguments: &[&str]) -> Result<(), Trouble> {
    let mut git = Command::new("git");
    for variable in OF_OTHER_REPOSITORIES {
        git.env_remove(variable);
    }
    git.arg("-C")
        .arg(place)
        .args(arguments)
        .stdin(Stdio::null());
    // Nobody is there to be asked while the output is a script.
    git.env("GIT_TERMINAL_PROMPT", "0").stdout(Stdio::null());
    let ended = git
        .output()
        .map_err(|error| Trouble::new(format!("could not run git: {error}")))?;
    match ended.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&ended.stderr);
            let what = arguments.first().copied().unwrap_or_default();
            Err(Trouble::new(format!(
                "git {what} failed: {}",
                said.trim_end()
            )))
        }
    }
}

/// All that is known of the atom.
fn recipe(
    build: &BuildView,
    subjob: &SubjobView,
    atom: &AtomView,
    source: Source,
    job: &Job,
) -> Recipe {
    let params = &build.request_params;
    let text = |field: &str| params.get(field).and_then(Value::as_str);
    let files = params.get("remote_files").and_then(Value::as_object);
    let files = files.into_iter().flatten();
    let files = files.filter_map(|(name, url)| Some((name.clone(), url.as_str()?)));
    let (mut remote_files, mut cut_urls) = (Vec::new(), Vec::new());
    for (name, url) in files {
        let (url, is_cut) = without_secrets(url);
        cut_urls.extend(is_cut.then(|| name.clone()));
        remote_files.push((name, url));
    }
    let ended = how_ended(atom).unwrap_or_else(|| "it has not ended".to_owned());
    let slave = subjob.slave.as_ref().map(|slave| format!(", on {slave}"));
    let limit = job.timeouts.atom.and_then(TimeLimit::seconds);
    Recipe {
        build: build.id.0,
        name: name(atom),
        setting: setting(atom),
        ended: ended + &slave.unwrap_or_default(),
        remote_files,
        cut_urls,
        variables: variables(build, job, &source, text("branch")),
        of_atom: of_atom(atom),
        source,
        isolation: job.isolation,
        setup: job.setup_build.clone(),
        command: format!("{} {}", shell_text(atom), subjob.command),
        // That of the master's settings shows only where it was reached.
        time_limit: limit.or(atom.timed_out_after),
        image: job.image.clone(),
        secrets: job.secrets.iter().cloned().collect(),
    }
}

/// The setting of an atom as a shell reads it. A value that has a name is shown without what quotes it.
fn shell_text(atom: &AtomView) -> Cow<'_, str> {
    match &atom.name {
        Some(_) => quoted_atom(&atom.command_string),
        None => Cow::Borrowed(&atom.command_string),
    }
}

/// The variables of all commands of a build, as far as they are shown.
fn variables(
    build: &BuildView,
    job: &Job,
    source: &Source,
    branch: Option<&str>,
) -> Vec<(String, String)> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut variables = vec![own("CI", "true")];
    variables.extend(job.env.iter().map(|(name, value)| own(name, value)));
    // Those of a matrix overrule the job's, as on the farm.
    let of_matrix = build.matrix.iter().flat_map(Combination::iter);
    variables.extend(of_matrix.map(|(name, value)| own(name, value)));
    variables.push(own("CLUSTERRUNNER_BUILD_ID", &build.id.to_string()));
    if let Some(job) = &build.job_name {
        variables.push(own("CLUSTERRUNNER_JOB", job));
    }
    if let Source::Git { commit, .. } = source {
        variables.push(own("CLUSTERRUNNER_COMMIT", commit));
        variables.extend(branch.map(|branch| own("CLUSTERRUNNER_BRANCH", branch)));
    }
    variables
}

fn of_atom(atom: &AtomView) -> Vec<(String, String)> {
    let executor = atom
        .executor_id
        .map_or(0, |executor| executor.0)
        .to_string();
    let attempt = atom.attempt.map_or(1, |attempt| attempt.0).to_string();
    [
        ("ATOM_ID", atom.id.to_string()),
        ("EXECUTOR_INDEX", executor.clone()),
        ("MACHINE_EXECUTOR_INDEX", executor.clone()),
        ("BUILD_EXECUTOR_INDEX", executor),
        ("CLUSTERRUNNER_ATTEMPT", attempt),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn is_there(path: &Path) -> Trouble {
    Trouble::usage(format!("{} is there already", path.display()))
        .hint("--output names another file: what is there is not replaced")
}

/// Writes the script as a whole, and only where nothing is.
fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    let failed = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return is_there(path);
        }
        Trouble::new(format!("could not write {}: {error}", path.display()))
    };
    let above = path.parent().filter(|above| *above != OsStr::new(""));
    let above = above.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut file = tempfile::NamedTempFile::new_in(above).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let put = file.persist_noclobber(path);
    put.map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_way_is_the_users_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        write(&path, "one").unwrap();
        let refused = write(&path, "two").unwrap_err();
        assert_eq!(refused.code, ExitCode::Usage);
        assert!(refused.hint.is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let failed = write(&directory.path().join("none/script"), "x").unwrap_err();
        assert_eq!(failed.code, ExitCode::Trouble);
        assert_eq!(failed.hint, None);
    }

    #[test]
    fn what_opens_a_url_is_not_shown() {
        for (url, expected) in [
            (
                "https://me:hidden@example.org/a.git",
                "https://example.org/a.git",
            ),
            (
                "https://hidden@example.org/a.git",
                "https://example.org/a.git",
            ),
            ("https://example.org/a.git", "https://example.org/a.git"),
            ("git@example.org:a.git", "git@example.org:a.git"),
            ("/srv/a", "/srv/a"),
        ] {
            assert_eq!(shown_url(url), expected);
        }
        let file = |url: &str| without_secrets(url);
        let cut = |url: &str| (url.to_owned(), true);
        assert_eq!(file("https://a/f?key=hidden"), cut("https://a/f"));
        assert_eq!(file("https://me:hidden@a/f"), cut("https://a/f"));
        assert!(!file("https://a/f").1);
    }
}
