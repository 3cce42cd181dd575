//! Command lines, read.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_consistent() {
    Options::command().debug_assert();
}

fn build_options(line: &str) -> BuildOptions {
    match Options::try_parse_from(line.split(' ')).unwrap().command {
        Command::Build(options) => *options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_of_a_build_stand_before_or_after_the_project_type() {
    for line in [
        "clusterrunner build --master-url h:1 -j J git --url U",
        "clusterrunner build git --url U --master-url h:1 --job-name J",
        "clusterrunner -q build git --master-url h:1 --url U -j J -v".trim_end_matches(" -v"),
    ] {
        let options = build_options(line);
        assert_eq!(options.master.master_url.as_deref(), Some("h:1"), "{line}");
        assert_eq!(options.job_name.as_deref(), Some("J"), "{line}");
        assert!(matches!(options.project, Some(ProjectOptions::Git(git)) if git.url == "U"));
    }
}

#[test]
fn of_verbose_and_quiet_the_last_counts() {
    for (line, verbose, quiet) in [
        ("master -v -v", true, false),
        ("master -v -q", false, true),
        ("build -q --verbose", true, false),
        ("build --quiet -v -q --quiet", false, true),
    ] {
        let line = format!("clusterrunner {line}");
        let common = Options::try_parse_from(line.split(' ')).unwrap().common;
        assert_eq!((common.verbose, common.quiet), (verbose, quiet), "{line}");
    }
}

#[test]
fn each_field_of_a_git_build_has_an_option_that_is_told() {
    let mut command = Options::command();
    let build = command.find_subcommand_mut("build").unwrap();
    let git = build.find_subcommand_mut("git").unwrap();
    let help = git.render_help().to_string();
    for option in [
        "--url",
        "--branch",
        "--hash",
        "--remote",
        "--project-directory",
    ] {
        assert!(help.contains(&format!("{option} <")), "{option}: {help}");
    }
}

#[test]
fn a_master_without_a_port_has_the_usual_one() {
    for (given, meant) in [
        ("farm", "farm:43000"),
        ("farm:1", "farm:1"),
        ("https://farm/", "https://farm:43000"),
        ("http://farm:1", "http://farm:1"),
        ("[::1]", "[::1]:43000"),
        ("[::1]:1", "[::1]:1"),
    ] {
        let options = build_options(&format!("clusterrunner build -m {given}"));
        let meant = Some(meant.to_owned());
        assert_eq!(options.master.with_port(43000), meant, "{given}");
    }
    for wrong in ["farm:99999", "farm:1/v1", "::1", "a b"] {
        let refused = Options::try_parse_from(["clusterrunner", "status", "-m", wrong]);
        assert_eq!(refused.unwrap_err().exit_code(), 2, "{wrong}");
    }
}

#[test]
fn how_a_build_is_followed_is_said_where_one_is() {
    for option in [["--failure-output", "full"], ["--slow-after", "7"]] {
        let line = [&["clusterrunner", "status", "7"][..], &option].concat();
        let refused = Options::try_parse_from(&line).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{option:?}");
        assert!(refused.to_string().contains("--watch"), "{refused}");
        Options::try_parse_from([&line[..], &["-w"]].concat()).unwrap();
    }
    Options::try_parse_from(["clusterrunner", "status", "7", "--json"]).unwrap();
}

#[test]
fn remote_files_come_in_pairs() {
    let options = build_options("clusterrunner build -f a http://x/a -f b http://x/b dir");
    assert_eq!(options.remote_files, ["a", "http://x/a", "b", "http://x/b"]);
    assert_eq!(options.path, Some("dir".into()));
    let one = Options::try_parse_from(["clusterrunner", "build", "-f", "a"]);
    assert_eq!(one.unwrap_err().exit_code(), 2);
}

#[test]
fn the_shipped_units_start_what_there_is() {
    for (unit, daemon) in [
        (
            include_str!("../../../conf/clusterrunner-master.service"),
            "master",
        ),
        (
            include_str!("../../../conf/clusterrunner-slave.service"),
            "slave",
        ),
    ] {
        let starts = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let command = Options::try_parse_from(starts.unwrap().split(' ')).unwrap();
        match command.command {
            Command::Master(_) => assert_eq!(daemon, "master"),
            // What SIGTERM does there goes with how long systemd waits for it.
            Command::Slave(options) => assert!(options.drain && daemon == "slave"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_build_is_named_by_its_number_or_as_the_latest() {
    assert_eq!(BuildChoice::read("7"), Ok(BuildChoice::Number(BuildId(7))));
    assert_eq!(BuildChoice::read("latest"), Ok(BuildChoice::Latest));
    for wrong in ["", "last", "-1", "7.0"] {
        assert!(BuildChoice::read(wrong).is_err(), "{wrong}");
    }
    // As they are shown in hints they are read again.
    assert_eq!(BuildChoice::Latest.to_string(), "latest");
    assert_eq!(BuildChoice::Number(BuildId(7)).to_string(), "7");
}
