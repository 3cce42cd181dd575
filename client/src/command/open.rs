//! `clusterrunner open`.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, OpenOptions};
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::ids::BuildId;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// The program that opens an address in the user's browser.
const OPENER: &str = "xdg-open";

/// How long it may take: it leaves the browser alone when it has told the address.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the page in a browser, signed in, or prints its address.
pub(crate) async fn run(options: OpenOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = match options.build {
        Some(build) => Some(build.of(&client).await?),
        None => None,
    };
    let address = address(&client, build).await?;
    if options.print || !has_screen() || !open(&address).await {
        output::say(address);
    }
    Ok(ExitCode::Success)
}

/// The address of the page, with a link that signs in once where the caller may have one.
async fn address(client: &Client, build: Option<BuildId>) -> Result<String, Trouble> {
    let path = match build {
        Some(build) => {
            // A build that is not there is told here, not in the browser.
            client.build(build).await?;
            format!("/ui/builds/{build}")
        }
        None => "/ui/".to_owned(),
    };
    match client.session_link().await {
        Ok(made) => Ok(client.url_of(&format!("{path}#link={}", made.link))),
        Err(error)
            if error
                .status()
                .is_some_and(|status| matches!(status.as_u16(), 401 | 403)) =>
        {
            output::note(
                "the page opens without signing in: the master does not take the secret of the settings here, nor a token",
            );
            Ok(client.url_of(&path))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a browser could be shown here.
fn has_screen() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// Whether the address was given to a browser.
async fn open(address: &str) -> bool {
    let mut opener = Command::new(OPENER);
    opener
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = timeout(PATIENCE, opener.status()).await;
    matches!(ended, Ok(Ok(status)) if status.success())
}
