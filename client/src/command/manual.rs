//! `clusterrunner completions` and `clusterrunner man`: both made of the command line's own definition.

use crate::options::{CompletionsOptions, ManOptions, Options, Shell};
use crate::output;
use crate::trouble::Trouble;
use clap::CommandFactory as _;
use clap_complete::aot;
use clusterrunner_client::exit_code::ExitCode;
use std::fs;
use std::path::Path;

/// The program as the user types it.
const PROGRAM: &str = "clusterrunner";

/// Prints a script that completes this command's words in a shell.
pub(crate) fn completions(options: &CompletionsOptions) -> ExitCode {
    let shell = match options.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut Options::command(), PROGRAM, &mut script);
    output::pass_on(&script);
    ExitCode::Success
}

/// Prints the manual page, or writes one for the command and one for each subcommand.
pub(crate) fn man(options: &ManOptions) -> Result<ExitCode, Trouble> {
    // The name with capitals, which `--version` prints, is no file name.
    let command = Options::command().display_name(PROGRAM);
    match &options.output {
        Some(directory) => write_pages(command, directory)?,
        None => {
            let page = clap_mangen::Man::new(command);
            let mut text = Vec::new();
            page.render(&mut text).map_err(not_made)?;
            output::pass_on(&text);
        }
    }
    Ok(ExitCode::Success)
}

fn write_pages(command: clap::Command, directory: &Path) -> Result<(), Trouble> {
    let written =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| {
        Trouble::new(format!(
            "could not write manual pages into {}: {error}",
            directory.display()
        ))
    })
}

fn not_made(error: std::io::Error) -> Trouble {
    Trouble::new(format!("could not make the manual page: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subcommand_has_a_page_with_its_options() {
        let folder = tempfile::tempdir().unwrap();
        let options = ManOptions {
            output: Some(folder.path().join("man1")),
        };
        man(&options).unwrap();
        let page = |name: &str| fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
        assert!(page("clusterrunner.1").contains("clusterrunner"));
        let command = Options::command();
        assert!(command.get_subcommands().count() > 10);
        for subcommand in command.get_subcommands() {
            let text = page(&format!("clusterrunner-{}.1", subcommand.get_name()));
            assert!(text.contains(".SH OPTIONS"), "{text}");
            for option in subcommand.get_arguments().filter(|a| !a.is_hide_set()) {
                let Some(long) = option.get_long() else {
                    continue;
                };
                let long = long.replace('-', "\\-");
                assert!(text.contains(&format!("\\-\\-{long}")), "{long} in {text}");
            }
        }
    }
}
