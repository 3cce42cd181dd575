use super::*;
use crate::settings::error::SettingsError;
use crate::settings::{
    MasterSettings, Overrides, Reader, SHIPPED_SETTINGS, SettingValue, load_client, load_master,
    settings_with_origins,
};
use crate::work::BuildEvent;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Place(TempDir);

fn at_home(variable: &str) -> Option<String> {
    (variable == "HOME").then(|| "/home/nobody".to_owned())
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("clusterrunner.conf", text, 0o600);
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clusterrunner.conf")
    }

    fn load(&self) -> Result<MasterSettings, SettingsError> {
        load_master(Some(&self.file()), at_home, &Overrides::new())
    }

    fn targets(&self) -> Vec<NotifyTarget> {
        self.load().unwrap().notify
    }

    fn error(&self) -> String {
        let error = self.load().unwrap_err().to_string();
        error.replace(&self.file().display().to_string(), "FILE")
    }
}

fn error_of(section: &str) -> String {
    Place::new(section).error()
}

#[test]
fn a_webhook_needs_only_its_url() {
    let place = Place::new("[notify chat]\nurl = https://chat.example.com/hooks?x=1\n");
    let [target] = &place.targets()[..] else {
        panic!("one target");
    };
    let expected = [
        BuildEvent::Building,
        BuildEvent::Finished,
        BuildEvent::Error,
        BuildEvent::Canceled,
    ];
    assert!(target.events.iter().eq(&expected));
    assert_eq!((target.name.as_str(), target.projects.len()), ("chat", 0));
    let NotifyReceiver::Webhook(webhook) = &target.receiver else {
        panic!("{target:?}");
    };
    assert_eq!(webhook.url.as_str(), "https://chat.example.com/hooks?x=1");
    assert!(webhook.secret.is_none());
}

#[test]
fn a_server_of_repositories_needs_only_its_token() {
    let text = "[notify a]\nkind = github\ntoken = ghp_0123456789\nevents = finished, failing\n\
                [notify 'b.c']\nkind = GitLab\ntoken = 0123456789\nprojects = gitlab.com/x/**, /srv/*\n\
                [notify d]\nkind = gitea\ntoken = 0123456789\napi_url = http://git.corp/api/v1/\nhosts = Git.corp, g\n\
                context = ci\n";
    let targets = Place::new(text).targets();
    let of = |number: usize| match &targets[number].receiver {
        NotifyReceiver::CommitStatuses(statuses) => statuses,
        NotifyReceiver::Webhook(_) => panic!("{:?}", targets[number]),
    };
    let told = |number: usize| {
        let events = targets[number].events.iter();
        events
            .map(|event| event.name())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let github = of(0);
    assert_eq!(github.forge, Forge::GitHub);
    assert_eq!(github.api_url.as_str(), "https://api.github.com/");
    assert_eq!(github.hosts, ["github.com", "ssh.github.com"]);
    assert_eq!(github.token.as_bytes(), b"ghp_0123456789");
    assert_eq!(github.context, "clusterrunner/{job}");
    assert_eq!(told(0), "failing finished");
    let gitlab = of(1);
    assert_eq!(gitlab.forge, Forge::GitLab);
    assert_eq!(gitlab.api_url.as_str(), "https://gitlab.com/api/v4");
    assert_eq!(gitlab.hosts, ["gitlab.com", "altssh.gitlab.com"]);
    assert_eq!(targets[1].projects, ["gitlab.com/x/**", "/srv/*"]);
    assert_eq!(targets[1].name, "b.c");
    assert_eq!(told(1), "prepared building finished error canceled");
    let gitea = of(2);
    assert_eq!(gitea.forge, Forge::Gitea);
    assert_eq!(gitea.api_url.as_str(), "http://git.corp/api/v1");
    assert_eq!((gitea.hosts.len(), gitea.context.as_str()), (2, "ci"));
    assert_eq!(gitea.hosts[0], "git.corp");
    assert_eq!(told(2), "prepared building failing finished error canceled");
}

#[test]
fn each_mistake_is_told_with_its_line_and_without_secrets() {
    let url = "url = https://a/\n";
    for (text, expected) in [
        (
            "[notify]\nurl = https://a/\n",
            "FILE:1: section [notify ]: expected a name",
        ),
        ("[notify a b]\n", "expected a name of letters"),
        ("[notify on_finish]\n", "take another one"),
        (
            "[notfy a]\n",
            "FILE:1: unknown section [notfy a]; did you mean \"[notify a]\"?",
        ),
        (
            "[notify a]\n",
            "FILE:1: section [notify a]: expected the setting \"url\"",
        ),
        (
            &format!("[notify a]\n{url}[notify a]\n{url}"),
            "FILE:3: section [notify a] begins in line 1 already",
        ),
        (
            &format!("[notify a]\n{url}{url}"),
            "FILE:3: setting \"url\" is already set in line 2",
        ),
        (
            &format!("[notify a]\n{url}evnts = all\n"),
            "FILE:3: unknown setting \"evnts\"; did you mean \"events\"?",
        ),
        (
            &format!("[notify a]\n{url}events = started\n"),
            "FILE:3: setting \"events\": expected a list of these: queued,",
        ),
        (
            &format!("[notify a]\n{url}events = ,\n"),
            "expected at least one event",
        ),
        (
            &format!("[notify a]\n{url}token = 12345678\n"),
            "FILE:3: setting \"token\": it has no meaning for a webhook",
        ),
        (
            "[notify a]\nurl = https://u:hush@a/\n",
            "FILE:2: setting \"url\": the URL has a user name",
        ),
        (
            "[notify a]\nurl = ftp://hush/\n",
            "expected an http or https URL",
        ),
        (
            "[notify a]\nurl = https://a/ hush\n",
            "expected an http or https URL",
        ),
        ("[notify a]\nurl = \"https://a/#hush\"\n", "fragment"),
        (
            "[notify a]\nkind = slack\n",
            "expected webhook, github, gitlab or gitea, found \"slack\"",
        ),
        (
            "[notify a]\nkind = github\n",
            "expected the setting \"token\" or \"token_file\"",
        ),
        (
            "[notify a]\nkind = github\ntoken = hush\n",
            "FILE:3: setting \"token\": expected one text of at least 8",
        ),
        (
            "[notify a]\nkind = github\ntoken = hush1234, hush5678\n",
            "expected one text of at least 8",
        ),
        (
            "[notify a]\nkind = gitea\ntoken = hush1234\n",
            "expected the setting \"api_url\"",
        ),
        (
            "[notify a]\nkind = gitlab\ntoken = hush1234\nurl = https://a/\n",
            "FILE:4: setting \"url\": it has a meaning for webhooks alone",
        ),
        (
            "[notify a]\nkind = gitlab\ntoken = hush1234\ntoken_file = /x\n",
            "\"token\" is set, too",
        ),
        (
            "[notify a]\nkind = gitlab\ntoken = hush1234\napi_url = https://a/?b\n",
            "has a query",
        ),
        (
            &format!("[notify a]\n{url}secret_file = /nowhere/at/all\n"),
            "FILE:3: setting \"secret_file\": could not read /nowhere/at/all",
        ),
        (&format!("[notify a]\n{url}[[b]]\n"), "unknown section [b]"),
    ] {
        let error = error_of(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("hush"), "{text}: {error}");
    }
    // All of them at once, whatever program looks.
    let place = Place::new("[notify a]\n[notify b]\nkind = github\n");
    let error = load_client(Some(&place.file()), |_| None, &Overrides::new()).unwrap_err();
    assert!(error.to_string().starts_with("2 mistakes"), "{error}");
}

#[test]
fn secrets_may_be_in_files_that_nobody_else_can_read() {
    let section = |path: &Path| {
        let path = path.display();
        format!("[notify a]\nurl = https://a/\nsecret_file = {path}\n")
    };
    let place = Place::new("");
    let file = place.write("secret", "  a secret in a file\n", 0o600);
    place.write("clusterrunner.conf", &section(&file), 0o644);
    let targets = place.targets();
    let NotifyReceiver::Webhook(Webhook { secret, .. }) = &targets[0].receiver else {
        panic!("{targets:?}");
    };
    assert_eq!(secret.as_ref().unwrap().as_bytes(), b"a secret in a file");
    assert!(!format!("{targets:?}").contains("in a file"));
    place.write("secret", "a secret in a file", 0o640);
    assert!(
        place.error().contains("run: chmod 600 /"),
        "{}",
        place.error()
    );
    // What stands in the settings file itself makes that file one that nobody else may read.
    let place = Place::new("");
    place.write(
        "clusterrunner.conf",
        "[notify a]\nurl = https://a/\nsecret = 12345678\n",
        0o644,
    );
    assert!(place.error().contains("chmod 600"), "{}", place.error());
}

#[test]
fn keys_and_authorities_that_are_none_are_told_at_the_start() {
    let url = "url = https://a/\n";
    for (text, expected) in [
        (
            &format!("[notify a]\n{url}secret = whsec_hush-hush\n"),
            "FILE:3: setting \"secret\": a key that begins with whsec_ goes on in base64",
        ),
        (
            &format!("[notify a]\n{url}ca_file = /nowhere/at/all\n"),
            "FILE:3: setting \"ca_file\": could not read /nowhere/at/all",
        ),
        (
            &format!("[notify a]\n{url}ca_file = /dev/null\n"),
            "setting \"ca_file\": could not read /dev/null",
        ),
        (
            &format!("[notify a]\n{url}ca_file = /etc/hostname\n"),
            "setting \"ca_file\": there is no certificate in PEM in /etc/hostname",
        ),
    ] {
        let error = error_of(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("hush"), "{text}: {error}");
    }
}

/// What Standard Webhooks say of keys is said of those in files, too. A token is no key.
#[test]
fn a_key_that_is_written_in_base64_is_base64() {
    let place = Place::new("");
    let file = place.write("secret", "whsec_hush-hush\n", 0o600);
    let section =
        |kind: &str, key: &str| format!("[notify a]\n{kind}\n{key} = {}\n", file.display());
    let webhook = section("url = https://a/", "secret_file");
    place.write("clusterrunner.conf", &webhook, 0o600);
    let error = place.error();
    assert!(
        error.contains("\"secret_file\": a key that begins with whsec_"),
        "{error}"
    );
    assert!(!error.contains("hush"), "{error}");
    place.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 0o600);
    assert_eq!(place.targets().len(), 1);
    place.write("secret", "whsec_hush-hush\n", 0o600);
    let statuses = section("kind = github", "token_file");
    place.write("clusterrunner.conf", &statuses, 0o600);
    assert_eq!(place.targets().len(), 1);
}

#[test]
fn the_second_file_overrules_single_settings() {
    let place =
        Place::new("[notify a]\nurl = https://a/\nevents = all\n[notify b]\nurl = https://b/\n");
    let text = "[notify c]\nurl = https://c/\n[notify a]\nurl = https://d/\n";
    place.write("clusterrunner-rust.conf", text, 0o600);
    let targets = place.targets();
    let shown = targets.iter().map(|target| match &target.receiver {
        NotifyReceiver::Webhook(webhook) => format!("{}={}", target.name, webhook.url),
        NotifyReceiver::CommitStatuses(_) => panic!("{target:?}"),
    });
    let shown: Vec<String> = shown.collect();
    assert_eq!(shown, ["a=https://d/", "b=https://b/", "c=https://c/"]);
    assert_eq!(targets[0].events.len(), BuildEvent::ALL.len());
}

#[test]
fn what_is_secret_is_not_shown() {
    let text = "[notify a]\nurl = https://a/hush?hush\nsecret = hush hush\nevents = all\n[notify b]\nkind = github\n\
                token = hush hush\n[notify c]\nurl = https://c/\n";
    let place = Place::new(text);
    let shown = |reader| {
        let shown = settings_with_origins(reader, Some(&place.file()), |_| None, &Overrides::new());
        let shown = shown.unwrap().into_iter();
        shown
            .filter(|setting| setting.key.starts_with("notify."))
            .collect::<Vec<_>>()
    };
    let master = shown(Reader::Master);
    assert!(!format!("{master:?}").contains("hush"), "{master:?}");
    let value = |key: &str| {
        let found = master.iter().find(|setting| setting.key == key);
        found
            .unwrap_or_else(|| panic!("{key}: {master:?}"))
            .value
            .clone()
    };
    let text = |text: &str| SettingValue::Text(vec![text.to_owned()]);
    assert_eq!(value("notify.a.url"), text("https://a/(hidden)"));
    assert_eq!(value("notify.a.secret"), SettingValue::Hidden);
    assert_eq!(value("notify.b.token"), SettingValue::Hidden);
    assert_eq!(value("notify.c.url"), text("https://c/"));
    assert!(shown(Reader::Slave).is_empty());
}

#[test]
fn the_shipped_file_explains_every_setting() {
    for key in KEYS {
        let line = format!("##     {} ", key.name);
        let explained = SHIPPED_SETTINGS.lines().any(|text| text.starts_with(&line));
        assert!(explained, "{}", key.name);
    }
}

#[test]
fn a_command_and_the_address_of_the_page_can_be_set() {
    let place = Place::new(
        "[master]\non_finish = 'echo \"$BUILD_ID, $STATUS\" # done'\non_finish_timeout = 7\n\
         public_url = https://ci.example.com/farm/\n",
    );
    let settings = place.load().unwrap();
    let on_finish = settings.on_finish.unwrap();
    assert_eq!(on_finish.command, "echo \"$BUILD_ID, $STATUS\" # done");
    assert_eq!(on_finish.timeout.as_secs(), 7);
    assert_eq!(
        settings.public_url.as_deref(),
        Some("https://ci.example.com/farm")
    );
    for wrong in [
        "ci.example.com",
        "ftp://ci",
        "https://u@ci",
        "https://ci/?a",
        "https://ci/#a",
    ] {
        let error = error_of(&format!("[master]\npublic_url = '{wrong}'\n"));
        assert!(
            error.contains("FILE:2: setting \"public_url\": expected an http"),
            "{error}"
        );
    }
}
