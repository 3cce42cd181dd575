use super::*;
use crate::git::url_error::redact_url;

fn parse(text: &str) -> Result<GitUrl, GitUrlError> {
    GitUrl::parse(text, false)
}

fn ssh_parts(text: &str) -> (String, Option<u16>, String) {
    match parse(text).unwrap().place {
        RepositoryPlace::Ssh(ssh) => (ssh.destination, ssh.port, ssh.path),
        _ => panic!("{text} is not ssh"),
    }
}

#[test]
fn urls_on_the_list_are_accepted() {
    for text in [
        "https://github.com/box/ClusterRunner.git",
        "http://host:8080/x",
        "HTTPS://Host/x",
        "git://host/x.git",
        "git://[::1]:1234/x",
        " https://host/x \n",
        "https://user:p%40ss@host/x",
        "https://host/a%20b",
    ] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn ssh_is_understood_in_both_spellings() {
    let parts =
        |destination: &str, port, path: &str| (destination.to_owned(), port, path.to_owned());
    assert_eq!(
        ssh_parts("git@github.com:box/x.git"),
        parts("git@github.com", None, "box/x.git")
    );
    assert_eq!(ssh_parts("host:/abs/x"), parts("host", None, "/abs/x"));
    assert_eq!(
        ssh_parts("ssh://git@host:2222/a/b%20c"),
        parts("git@host", Some(2222), "/a/b c")
    );
    assert_eq!(
        ssh_parts("ssh://host/~user/x"),
        parts("host", None, "~user/x")
    );
    assert_eq!(
        ssh_parts("ssh://git@[::1]:22/x"),
        parts("git@::1", Some(22), "/x")
    );
    assert_eq!(ssh_parts("git@[::1]:x"), parts("git@::1", None, "x"));
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        "x",
        "./x",
        "../x",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=x/y",
        "ssh://-x@host/y",
        "-x@host:y",
        "git@-oProxyCommand=x:y",
        "host:-x",
        "ssh://host/-x",
        "ssh://host/%2dx",
        "ssh://host/a'b",
        "ssh://host/a%27b",
        "ssh://host/a%0ab",
        "ssh://host/a%zz",
        "ssh://host/a%",
        "ssh://user:password@host/x",
        "ssh://host",
        "ssh://host/",
        "ssh://host:99999/x",
        "ssh://ho st/x",
        "ssh://$(id)/x",
        "git://host",
        "git://user@host/x",
        "ext::sh -c id",
        "fd::3",
        "ext::https://host/x",
        "ftp://host/x",
        "git+ssh://host/x",
        "javascript://x/y",
        "https://",
        "https://-x/y",
        "https:///x",
        "https://host/x?y",
        "https://host/x#y",
        "https://host/\u{0}",
        "https://host/a\nb",
        "https://host/a%0d%0ab",
        "https://host/\"x\"",
        "C:\\x",
        ":x",
        "host:",
        "[x]:y",
        "[:y",
        "]:[",
    ] {
        assert!(parse(text).is_err(), "{text:?} was accepted");
        assert!(GitUrl::parse(text, true).is_err(), "{text:?} was accepted");
    }
    assert_eq!(parse(&"x".repeat(5000)), Err(GitUrlError::TooLong));
}

#[test]
fn local_sources_need_the_setting() {
    for text in [
        "/srv/x.git",
        "file:///srv/x.git",
        "file://localhost/srv/x%2egit",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("allow_local_sources"), "{error}");
        let url = GitUrl::parse(text, true).unwrap();
        assert_eq!(url.local_path(), Some(Path::new("/srv/x.git")));
    }
    for text in ["file://host/x", "file://x", "file:///a%00b"] {
        assert!(GitUrl::parse(text, true).is_err(), "{text}");
    }
}

#[test]
fn credentials_are_never_shown() {
    let url = parse("https://someone:secr%40t@host/x").unwrap();
    assert_eq!(url.to_string(), "https://***@host/x");
    assert_eq!(format!("{url:?}"), "GitUrl(https://***@host/x)");
    assert!(url.address().contains("secr%40t"));
    assert_eq!(
        url.redact("at https://someone:secr%40t@host/x with secr@t"),
        "at https://***@host/x with ***"
    );
    for text in [
        "https://someone:hidden@host/x?y",
        "ftp://someone:hidden@host/x",
        "ssh://someone:hidden@host/x",
        "git://hidden@host/x",
        "https://someone:hid@hidden@host/x#y",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    }
}

#[test]
fn nothing_secret_is_shown_of_odd_urls() {
    for (text, shown) in [
        ("https://someone:hidden@host/x", "https://***@host/x"),
        ("https://hidden@host/x", "https://***@host/x"),
        ("https://host/x?token=hidden", "https://host/x?***"),
        ("https://host/x#hidden", "https://host/x?***"),
        ("https://someone:hid/hidden@host/x", "https://***@host/x"),
        ("https://someone:hid?hidden@host/x", "https://***@host/x"),
        ("someone:hidden@host:x", "***@host:x"),
        ("someone:hid/hidden@host:x", "***@host:x"),
        ("someone:12/hidden@host:x", "***@host:x"),
        ("https:/someone:hidden@host/x", "***@host/x"),
        ("https:\\\\someone:hidden@host\\x", "***@host\\\\x"),
        ("https:someone:hidden@host/x", "***@host/x"),
        ("//someone:hidden@host/x", "***@host/x"),
        // What is no secret stays.
        ("git@host:x", "git@host:x"),
        ("https://host:4873/@scope/x", "https://host:4873/@scope/x"),
        ("https://host/@scope/x", "https://host/@scope/x"),
        ("/srv/x@y", "/srv/x@y"),
    ] {
        assert_eq!(redact_url(text), format!("\"{shown}\""), "{text}");
    }
}

#[test]
fn directory_names_are_readable_and_different() {
    let name = |text: &str| GitUrl::parse(text, true).unwrap().directory_name();
    assert!(name("https://github.com/box/x.git").starts_with("github.com-box-x-"));
    assert!(name("git@github.com:box/x.git").starts_with("github.com-box-x-"));
    let names = [
        "https://h/a/b",
        "https://h/a-b",
        "https://h/a.b",
        "http://h/a/b",
        "h:a/b",
        "ssh://h/a/b",
        "/h/a/b",
        "https://h/a/b.git",
    ]
    .map(name);
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    for name in names {
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        assert!(plain && !name.starts_with(['.', '-']), "{name}");
    }
    let long = name(&format!("https://host/{}/é/../x", "long/".repeat(100)));
    assert!(long.len() < 100, "{long}");
}

#[test]
fn relative_submodule_urls_are_resolved() {
    let join = |base: &str, relative: &str| {
        GitUrl::parse(base, true)
            .unwrap()
            .join(relative)
            .map(|url| url.address())
    };
    assert_eq!(
        join("https://h/a/b.git", "../c.git").unwrap(),
        "https://h/a/c.git"
    );
    assert_eq!(
        join("https://h/a/b.git/", "./c").unwrap(),
        "https://h/a/b.git/c"
    );
    assert_eq!(
        join("https://u:p@h/a/b", "../../c").unwrap(),
        "https://u:p@h/c"
    );
    assert_eq!(join("git@h:a/b", "../c").unwrap(), "git@h:a/c");
    assert_eq!(join("/srv/a", "../c").unwrap(), "/srv/c");
    assert_eq!(
        join("ssh://git@h:22/a/b", "../c").unwrap(),
        "ssh://git@h:22/a/c"
    );
    assert!(join("https://h/a", "../../../evil").is_err());
    assert!(join("git@h:a", "../../x").is_err());
}

/// Texts made of the pieces that parsers stumble over, from a fixed seed.
#[test]
fn no_text_makes_it_panic() {
    const PIECES: [&str; 28] = [
        "https://",
        "http:",
        "ssh://",
        "git://",
        "file://",
        "://",
        ":",
        "/",
        "@",
        "[",
        "]",
        "::1",
        "%",
        "%2",
        "%00",
        "%ff",
        "é",
        "\u{0}",
        "..",
        "-",
        "a",
        "host",
        ".git",
        "?",
        "#",
        "'",
        "localhost",
        "ext::",
    ];
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..20_000 {
        let text: String = (0..next() % 9)
            .map(|_| PIECES[next() % PIECES.len()])
            .collect();
        for allowed in [false, true] {
            if let Ok(url) = GitUrl::parse(&text, allowed) {
                assert!(!url.directory_name().is_empty());
                for joined in [url.join("../x"), url.join("./../../y")]
                    .into_iter()
                    .flatten()
                {
                    assert!(!joined.to_string().is_empty());
                }
                assert!(!url.address().starts_with('-'), "{text}");
            }
        }
    }
}

#[test]
fn code_that_was_sent_has_a_name_of_its_own() {
    let url = GitUrl::parse("sent://hello-1a2b3c4d5e6f7081", false).unwrap();
    assert!(url.is_sent());
    assert_eq!(url.to_string(), "sent://hello-1a2b3c4d5e6f7081");
    assert_eq!(url.host_and_path(), None);
    let directory = url.sent_directory_name();
    assert!(
        directory.starts_with("hello-1a2b3c4d5e6f7081-"),
        "{directory}"
    );
    assert!(directory.ends_with(".sent"), "{directory}");
    for wrong in [
        "sent://",
        "sent://a/b",
        "sent://../a",
        "sent://a b",
        "sent://ä",
    ] {
        assert!(GitUrl::parse(wrong, true).is_err(), "{wrong}");
    }
    let other = GitUrl::parse("https://example.org/a.git", false).unwrap();
    assert!(!other.is_sent());
}
