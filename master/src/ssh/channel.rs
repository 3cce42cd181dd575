//! One channel: what the client asks for, and the bytes between it and git.

use crate::push::{self, Part, Protocol, Pushes, Service};
use clusterrunner_common::text::printable::plain;
use clusterrunner_core::access::UserCaller;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

/// How long a client may take to say what it wants.
const TO_ASK: Duration = Duration::from_secs(30);

/// How long nothing may move between client and git. While a build runs, git gives a sign of life every five seconds.
const NOTHING_MOVES: Duration = Duration::from_secs(300);

/// How much is read of git at a time.
const CHUNK: usize = 32 << 10;

/// Where what programs say besides goes.
const STDERR: u32 = 1;

/// A channel, before anything is known of it.
pub(super) struct Talk {
    from: ChannelReadHalf,
    to: ChannelWriteHalf<Msg>,
    pushes: Pushes,
    user: UserCaller,
}

/// The client is gone, or the connection.
struct Gone;

impl Talk {
    /// A talk with this user.
    pub(super) fn new(channel: Channel<Msg>, pushes: Pushes, user: UserCaller) -> Self {
        let (from, to) = channel.split();
        Self {
            from,
            to,
            pushes,
            user,
        }
    }

    /// Answers until the client has what it wanted, or has left.
    pub(super) async fn until_end(mut self) {
        let mut protocol = None;
        let asked = tokio::time::timeout(TO_ASK, self.asked(&mut protocol)).await;
        let code = match asked {
            Ok(Ok(Some((service, app)))) => self.serve(service, &app, protocol).await,
            Ok(Ok(None)) => Ok(1),
            Ok(Err(Gone)) | Err(_) => Err(Gone),
        };
        if let Ok(code) = code {
            self.to.exit_status(code).await.ok();
            self.to.eof().await.ok();
        }
        self.to.close().await.ok();
    }

    /// Waits for what the client wants; none where it was told that it can not have that.
    async fn asked(
        &mut self,
        protocol: &mut Option<Protocol>,
    ) -> Result<Option<(Service, String)>, Gone> {
        loop {
            match self.from.wait().await.ok_or(Gone)? {
                ChannelMsg::Exec { command, .. } => {
                    let Some((service, app)) = push::command(&command) else {
                        let command = String::from_utf8_lossy(&command);
                        let shown: String = command.chars().take(80).collect();
                        tracing::info!(user = %self.user.id, command = %plain(&shown), "a command was refused that came by SSH");
                        let line = "Only git can be used here, with the repository of an app: ssh://git@<master>:<port>/<app>.git";
                        self.complain(line).await?;
                        return Ok(None);
                    };
                    return Ok(Some((service, app.to_owned())));
                }
                ChannelMsg::RequestShell { .. } => {
                    let name = self.pushes.name_of(self.user.id).await.ok().flatten();
                    let name = name.unwrap_or_default();
                    let line = format!(
                        "Hello {name}! Your SSH key works. There is no shell here, only git push."
                    );
                    self.complain(&line).await?;
                    return Ok(None);
                }
                ChannelMsg::SetEnv {
                    variable_name,
                    variable_value,
                    ..
                } => {
                    let found = protocol_in(&variable_name, &variable_value);
                    *protocol = found.or(protocol.take());
                }
                ChannelMsg::Close => return Err(Gone),
                // What else may be asked for was refused.
                _ => {}
            }
        }
    }

    /// Has git talk with the client. The code with which it ends.
    async fn serve(
        &mut self,
        service: Service,
        app: &str,
        protocol: Option<Protocol>,
    ) -> Result<u32, Gone> {
        let opened = self.pushes.repository(self.user, app, service).await;
        let started =
            opened.and_then(|opened| self.pushes.start(opened, Part::Whole, protocol.as_ref()));
        let mut talk = match started {
            Ok(talk) => talk,
            Err(reason) => {
                self.complain(&reason.to_string()).await?;
                return Ok(1);
            }
        };
        let git = &mut talk.git;
        let mut stdin = git.stdin.take();
        let (stdout, stderr) = (git.stdout.as_mut(), git.stderr.as_mut());
        let moved = Moved::default();
        let (from, to) = (&mut self.from, &self.to);
        let coming = async {
            loop {
                match from.wait().await {
                    Some(ChannelMsg::Data { data }) => {
                        moved.note();
                        let taken = match stdin.as_mut() {
                            Some(stdin) => stdin.write_all(&data).await,
                            None => Ok(()),
                        };
                        if taken.is_err() {
                            // It has heard enough, and says why.
                            stdin = None;
                        }
                    }
                    Some(ChannelMsg::Eof) => stdin = None,
                    Some(ChannelMsg::Close) | None => return,
                    Some(_) => {}
                }
            }
        };
        let going = async {
            let out = pass_on(stdout, to, None, &moved);
            let said = pass_on(stderr, to, Some(STDERR), &moved);
            tokio::try_join!(out, said)
        };
        tokio::select! {
            () = coming => return Err(Gone),
            () = moved.until_nothing_does() => {
                tracing::info!(app, "an SSH client is cut off: nothing moves");
                return Err(Gone);
            }
            passed = going => passed?,
        };
        let code = git.end().await.unwrap_or(128);
        Ok(u32::try_from(code).unwrap_or(128))
    }

    /// Tells the user something.
    async fn complain(&self, line: &str) -> Result<(), Gone> {
        let line = format!("{}\n", plain(line));
        let told = self.to.extended_data_bytes(STDERR, line.into_bytes()).await;
        told.map_err(|_| Gone)
    }
}

/// The version of git's protocol that a client sets through its environment; other variables are not taken.
pub(super) fn protocol_in(variable: &str, value: &str) -> Option<Protocol> {
    let is_version = variable == "GIT_PROTOCOL";
    Protocol::of(value).filter(|_| is_version)
}

/// Passes on what git says, to its end.
async fn pass_on(
    from: Option<&mut (impl AsyncRead + Unpin)>,
    to: &ChannelWriteHalf<Msg>,
    kind: Option<u32>,
    moved: &Moved,
) -> Result<(), Gone> {
    let Some(from) = from else { return Ok(()) };
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Gone)?;
        if length == 0 {
            return Ok(());
        }
        let piece = buffer[..length].to_vec();
        let sent = match kind {
            None => to.data_bytes(piece).await,
            Some(kind) => to.extended_data_bytes(kind, piece).await,
        };
        sent.map_err(|_| Gone)?;
        moved.note();
    }
}

/// When something last moved.
struct Moved(std::sync::Mutex<Instant>);

impl Default for Moved {
    fn default() -> Self {
        Self(std::sync::Mutex::new(Instant::now()))
    }
}

impl Moved {
    fn note(&self) {
        *clusterrunner_common::lock::lock(&self.0) = Instant::now();
    }

    async fn until_nothing_does(&self) {
        loop {
            let last = *clusterrunner_common::lock::lock(&self.0);
            let until = last + NOTHING_MOVES;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}
