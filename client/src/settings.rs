//! The settings as far as a client needs them.

use crate::options::CommonOptions;
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::user_token::{NoToken, UserToken};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::http::tls::HttpsSettings;
use clusterrunner_common::settings::{
    ClientSettings, IsolationSettings, Overrides, SettingsError, TOKEN_VARIABLE,
    default_config_file, load_client, load_slave, second_file,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest settings file that is sent, in bytes.
const MAX_SETTINGS: u64 = 4 << 20;

/// What a client knows of its farm.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the daemons of this machine keep their files.
    pub(crate) base_directory: PathBuf,
    /// Where the daemons of this machine log.
    pub(crate) log_directory: PathBuf,
    /// Signs what changes something; reads need none.
    pub(crate) secret: Option<Secret>,
    /// Whether a master of the original is given the weaker proof that it asks for.
    pub(crate) accept_legacy_peers: bool,
    /// This machine's name.
    pub(crate) hostname: String,
    /// The master's port.
    pub(crate) port: u16,
    /// The machine that the master runs on.
    pub(crate) master_hostname: String,
    /// The machines that slaves run on.
    pub(crate) slaves: Vec<String>,
    pub(crate) http_timeout: Duration,
    /// Bytes that daemons keep free on the disk of the base directory.
    pub(crate) min_free_space: u64,
    /// How old a signature may be for a daemon that takes it.
    pub(crate) signature_max_age: Duration,
    /// Opens reads where there is no secret to sign them with.
    pub(crate) read_token: Option<Secret>,
    /// The user that asks, instead of the holder of the secret.
    pub(crate) user_token: Option<UserToken>,
    /// Whether addresses mean HTTPS, and who is believed.
    pub(crate) https: HttpsSettings,
    /// The settings file, which need not exist.
    pub(crate) file: PathBuf,
    /// The file that was named on the command line.
    pub(crate) config_file: Option<PathBuf>,
}

impl Settings {
    /// The same with a secret, which is generated where there is none yet: for a farm that may have
    /// to be started here.
    pub(crate) fn with_secret(self, common: &CommonOptions) -> Result<Self, Trouble> {
        let secret = read(common)?.general.secret_or_generate().map_err(wrong)?;
        Ok(Self {
            secret: Some(secret),
            ..self
        })
    }

    /// Reads the settings. All that this can change is that a file is made that was named and is not there.
    pub(crate) fn load(common: &CommonOptions) -> Result<Self, Trouble> {
        let ClientSettings {
            general,
            port,
            accept_legacy_peers,
            min_free_space,
            signature_max_age,
            ..
        } = read(common)?;
        for warning in &general.warnings {
            output::note(warning);
        }
        let config_file = match &common.config_file {
            Some(path) => Some(absolute(path)?),
            None => None,
        };
        let base_directory = absolute(&general.base_directory)?;
        Ok(Self {
            log_directory: base_directory.join("log"),
            base_directory,
            secret: general.secret,
            accept_legacy_peers,
            hostname: general.hostname,
            port,
            master_hostname: general.master_hostname,
            slaves: general.slaves,
            http_timeout: general.default_http_timeout,
            min_free_space,
            signature_max_age,
            read_token: general.read_token,
            user_token: None,
            https: general.https,
            file: general.config_file,
            config_file,
        })
    }

    /// The same for a command that was given a token, or finds one in the environment.
    pub(crate) fn with_token(self, given: Option<&UserToken>) -> Result<Self, Trouble> {
        let user_token = match (given, environment(TOKEN_VARIABLE)) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(text)) if !text.is_empty() => {
                let token = text.parse().map_err(|error: NoToken| {
                    Trouble::usage(format!("{TOKEN_VARIABLE} has no token: {error}"))
                })?;
                Some(token)
            }
            (None, _) => None,
        };
        Ok(Self { user_token, ..self })
    }

    /// Whether the settings say that `build` ends with the original's exit codes; false where they are wrong.
    pub(crate) fn wants_compat_exit_codes(common: &CommonOptions) -> bool {
        read(common).is_ok_and(|settings| settings.compat_exit_codes)
    }

    /// Where the daemons of this machine keep their files; for commands that call nobody.
    pub(crate) fn base_directory(common: &CommonOptions) -> Result<PathBuf, Trouble> {
        absolute(&read(common)?.general.base_directory)
    }

    /// The base directory where no settings say otherwise, which is where the original puts its process ids.
    pub(crate) fn default_directory() -> Option<PathBuf> {
        let file = default_config_file(environment).ok()?;
        absolute(file.parent()?).ok()
    }

    /// The text of the settings file for other machines.
    pub(crate) fn to_deploy(common: &CommonOptions) -> Result<String, Trouble> {
        let file = read(common)?.general.config_file;
        let shown = file.display();
        let text = regular_file::read_to_string(&file, MAX_SETTINGS)
            .map_err(|error| Trouble::new(format!("could not read {shown}: {error}")))?;
        let home_only = |variable: &str| environment(variable).filter(|_| variable == "HOME");
        let alone = load_client(Some(&file), home_only, &Overrides::new()).map_err(wrong)?;
        if alone.general.secret.is_none() {
            let trouble =
                Trouble::usage(format!("{shown} has no secret, and each machine needs it"));
            return Err(trouble.hint("write the line `secret = ...` into it, below [general]"));
        }
        check_fits_all_machines(&text, &file)?;
        Ok(text)
    }

    /// The text of the second settings file for other machines, empty where there is none.
    pub(crate) fn second_to_deploy(common: &CommonOptions) -> Result<String, Trouble> {
        let file = second_file(&read(common)?.general.config_file);
        let text = match regular_file::read_to_string(&file, MAX_SETTINGS) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let shown = file.display();
                return Err(Trouble::new(format!("could not read {shown}: {error}")));
            }
        };
        check_fits_all_machines(&text, &file)?;
        Ok(text)
    }

    /// HTTPS as the settings file alone says, which is what other machines get.
    pub(crate) fn https_to_deploy(common: &CommonOptions) -> Result<HttpsSettings, Trouble> {
        let file = read(common)?.general.config_file;
        let home_only = |variable: &str| environment(variable).filter(|_| variable == "HOME");
        let alone = load_client(Some(&file), home_only, &Overrides::new()).map_err(wrong)?;
        Ok(alone.general.https)
    }

    /// The port of a slave on this machine.
    pub(crate) fn slave_port(common: &CommonOptions) -> Result<u16, Trouble> {
        // Where the master is does not matter, and `deploy` may have it with user and ssh port.
        let flags = Overrides::new().set("master_hostname", "localhost");
        let slave = load_slave(common.config_file.as_deref(), environment, &flags);
        Ok(slave.map_err(wrong)?.service.port)
    }
}

/// How far slaves of this machine keep commands apart.
pub(crate) fn isolation_settings(common: &CommonOptions) -> Result<IsolationSettings, Trouble> {
    let flags = Overrides::new();
    let slave = load_slave(common.config_file.as_deref(), environment, &flags);
    Ok(slave.map_err(wrong)?.isolation)
}

fn read(common: &CommonOptions) -> Result<ClientSettings, Trouble> {
    load_client(
        common.config_file.as_deref(),
        environment,
        &Overrides::new(),
    )
    .map_err(wrong)
}

/// Refuses settings for other machines that can only be right for one.
fn check_fits_all_machines(text: &str, file: &Path) -> Result<(), Trouble> {
    for (key, why) in [
        (
            "hostname",
            "every machine would have the same name; remove the line",
        ),
        (
            "base_directory",
            "remove the line, and say it with --remote-directory",
        ),
    ] {
        if sets(text, key) {
            let shown = file.display();
            return Err(Trouble::usage(format!("{shown} sets `{key}`")).hint(why));
        }
    }
    Ok(())
}

/// Whether a settings file has a line for a key.
fn sets(text: &str, key: &str) -> bool {
    text.lines().any(|line| {
        let value = line.trim_start().strip_prefix(key).map(str::trim_start);
        value.is_some_and(|value| value.starts_with(['=', ':']))
    })
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn wrong(error: SettingsError) -> Trouble {
    Trouble::usage(error.to_string())
}

fn absolute(path: &Path) -> Result<PathBuf, Trouble> {
    std::path::absolute(path)
        .map_err(|error| Trouble::usage(format!("'{}': {error}", path.display())))
}
