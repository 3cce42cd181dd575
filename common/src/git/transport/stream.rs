//! Connections that stay open for the whole conversation: `git://`, and ssh through the `ssh` program.

use crate::lock::lock;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::super::GitOptions;
use super::super::url::SshAddress;
use super::advertisement::Advertisement;
use super::wire::{Failure, Wire};
use crate::process::terminal;

/// How much of what ssh prints is kept for the message; the reason stands at the end.
const KEPT_STDERR: usize = 2000;

/// How long an ssh that has closed its output, or was killed, may take to end.
const CHILD_END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for the last words of an ssh that is in trouble; one that still runs may never close its stderr.
const STDERR_TIMEOUT: Duration = Duration::from_millis(500);

/// Both directions of one connection.
pub(super) struct DuplexStream {
    wire: Wire,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    ssh: Option<Ssh>,
    advertisement: Advertisement,
}

struct Ssh {
    child: Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Fills `stderr`; taken when its end has been waited for.
    stderr_reader: Option<JoinHandle<()>>,
}

/// Connects to a `git daemon` (gitprotocol-pack, "Git Transport").
pub(super) fn open_daemon(
    wire: Wire,
    host: &str,
    port: u16,
    path: &str,
    most_refs: u64,
) -> Result<DuplexStream, Failure> {
    let connected = wire.wait(
        wire.connect_timeout,
        "the server could not be reached",
        async {
            TcpStream::connect((host, port)).await.map_err(|error| {
                Failure::new(format!("could not connect to {host} port {port}: {error}"))
            })
        },
    )?;
    let (reader, writer) = connected.into_split();
    let mut stream = DuplexStream {
        wire,
        reader: Box::new(reader),
        writer: Box::new(writer),
        ssh: None,
        advertisement: Advertisement::new(most_refs, 1),
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let question = format!("git-upload-pack {path}\0host={host}:{port}\0");
    // A packet's length counts its own four digits.
    let packet = format!("{:04x}{question}", question.len() + 4);
    stream.send(packet.as_bytes())?;
    Ok(stream)
}

/// Starts ssh with an argument vector. It may not ask anything (`BatchMode`); keys, agent and known hosts are those of
/// the user who runs this process.
pub(super) fn open_ssh(
    wire: Wire,
    address: &SshAddress,
    options: &GitOptions,
) -> Result<DuplexStream, Failure> {
    let default = [String::from("ssh")];
    let words = options
        .ssh_command
        .as_deref()
        .filter(|words| !words.is_empty())
        .unwrap_or(&default);
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Failure::new("no ssh program is set"))?;
    let mut command = Command::new(program);
    let checking = if options.strict_host_key_checking {
        "yes"
    } else {
        "no"
    };
    command
        .args(arguments)
        .args(["-o", "BatchMode=yes"])
        .args(["-o", &format!("StrictHostKeyChecking={checking}")])
        .args([
            "-o",
            &format!(
                "ConnectTimeout={}",
                options.connect_timeout.as_secs().max(1)
            ),
        ]);
    if let Some(port) = address.port {
        command.args(["-p", &port.to_string()]);
    }
    command
        .args(["--", &address.destination])
        // The URL was refused if its path contained a quote.
        .arg(format!("git-upload-pack '{}'", address.path))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // ssh may start programs (ProxyCommand); they end with it, and ask nobody anything.
    terminal::in_own_group(command.as_std_mut());
    let mut child = wire
        .enter(|| command.spawn())
        .map_err(|error| Failure::new(format!("could not start {program}: {error}")))?;
    let (Some(writer), Some(reader), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::new("ssh has no input and output"));
    };
    let kept = Arc::new(Mutex::new(Vec::new()));
    let stderr_reader = wire.enter(|| tokio::spawn(keep_end(stderr, kept.clone())));
    Ok(DuplexStream {
        wire,
        reader: Box::new(reader),
        writer: Box::new(writer),
        ssh: Some(Ssh {
            child,
            stderr: kept,
            stderr_reader: Some(stderr_reader),
        }),
        advertisement: Advertisement::new(options.limits.refs, 1),
    })
}

async fn keep_end(mut stderr: impl AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let mut kept = lock(&kept);
        kept.extend_from_slice(&buffer[..length]);
        let surplus = kept.len().saturating_sub(KEPT_STDERR);
        kept.drain(..surplus);
    }
}

impl DuplexStream {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let reader = &mut self.reader;
        let received = self
            .wire
            .wait(self.wire.idle_timeout, "the server sent nothing", async {
                reader
                    .read(buffer)
                    .await
                    .map_err(|error| Failure::new(format!("the connection broke: {error}")))
            });
        match received {
            Ok(0) => self.ended(),
            Ok(length) => {
                self.advertisement.look_at(&buffer[..length])?;
                Ok(length)
            }
            Err(failure) => Err(self.with_ssh_words(failure)),
        }
    }

    /// The other side has said all it wanted; with ssh its exit code tells whether that was enough.
    fn ended(&mut self) -> Result<usize, Failure> {
        let Some(ssh) = &mut self.ssh else {
            return Ok(0);
        };
        match self
            .wire
            .wait_even_if_canceled(CHILD_END_TIMEOUT, ssh.child.wait())
        {
            Some(Ok(status)) if !status.success() => {
                let failure = Failure::new(format!("ssh ended with {status}"));
                Err(self.with_ssh_words(failure))
            }
            _ => Ok(0),
        }
    }

    fn with_ssh_words(&mut self, failure: Failure) -> Failure {
        let Some(ssh) = &mut self.ssh else {
            return failure;
        };
        if let Some(reader) = ssh.stderr_reader.take() {
            // What ssh prints is read by a task, which only runs while something is waited for.
            drop(self.wire.wait_even_if_canceled(STDERR_TIMEOUT, reader));
        }
        let kept = lock(&ssh.stderr);
        let words = String::from_utf8_lossy(&kept);
        let words = words
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let words = words.collect::<Vec<_>>().join("; ");
        if words.is_empty() {
            failure
        } else {
            Failure::new(format!("{failure}: {words}"))
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let writer = &mut self.writer;
        self.wire
            .wait(self.wire.idle_timeout, "the server took nothing", async {
                let written = async {
                    writer.write_all(bytes).await?;
                    writer.flush().await
                };
                written
                    .await
                    .map_err(|error| Failure::new(format!("the connection broke: {error}")))
            })
    }
}

impl Read for DuplexStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer).map_err(Failure::into_io)
    }
}

impl Write for DuplexStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => Err(self.with_ssh_words(failure).into_io()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        let Some(ssh) = &mut self.ssh else {
            return;
        };
        // `id` is empty once the child was waited for, so this never hits a stranger's group.
        if let Some(group) = ssh
            .child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
        {
            // It may have ended just now.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            drop(
                self.wire
                    .wait_even_if_canceled(CHILD_END_TIMEOUT, ssh.child.wait()),
            );
        }
    }
}
