//! Users that push to apps: a repository, an SSH key and a token each, and the system's `git` and `ssh`.

use crate::farm::{Extra, Farm};
use crate::processes::{self, Found};
use crate::repository::Repository;
use crate::wait::{PATIENCE, wait_for};
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::ids::BuildId;
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An app that answers every request.
pub(crate) const SERVER: &str = "web: exec python3 -u -m http.server \"$PORT\"\n";

/// A build that runs until it is canceled.
pub(crate) const SLOW: [(&str, &str); 1] = [("Dockerfile", "FROM debian:12\nRUN sleep 300\n")];

/// A user with a repository of its own.
pub(crate) struct Pusher {
    name: String,
    master: String,
    ssh: (String, u16),
    token: String,
    repository: Repository,
    home: TempDir,
    http: reqwest::Client,
}

/// A git that runs.
pub(crate) struct Begun(Child);

/// A farm with a slave and an SSH port.
pub(crate) async fn pushes() -> Farm {
    let mut farm = unstarted();
    farm.start_all(&[1]).await;
    farm
}

/// Such a farm, of which nothing runs yet.
pub(crate) fn unstarted() -> Farm {
    Farm::with(&Extra {
        master: "ssh_port = AT_HAND\napp_domain = apps.example.com",
        ..Extra::default()
    })
}

impl Farm {
    /// A user with an SSH key that the farm knows.
    pub(crate) async fn pusher(&self, name: &str) -> Pusher {
        let user = self.polyaxon_user(name).await;
        let pusher = self.pusher_with(name, user.token());
        pusher.adds(&pusher.key()).await;
        pusher
    }

    /// Somebody with an SSH key whom the farm does not know.
    pub(crate) fn stranger(&self, name: &str) -> Pusher {
        let pusher = self.pusher_with(name, "");
        pusher.commits(&[("Procfile", SERVER)]);
        pusher
    }

    fn pusher_with(&self, name: &str, token: &str) -> Pusher {
        let home = tempfile::Builder::new()
            .prefix("clusterrunner-pusher-")
            .tempdir()
            .unwrap();
        let pusher = Pusher {
            name: name.to_owned(),
            master: self.master_address(),
            ssh: (self.address().to_owned(), self.ssh_port()),
            token: token.to_owned(),
            repository: Repository::empty(),
            home,
            http: reqwest::Client::new(),
        };
        make_key(&pusher.key(), &["-t", "ed25519"]);
        pusher
    }

    /// `address:port` for SSH.
    pub(crate) fn ssh_address(&self) -> String {
        format!("{}:{}", self.address(), self.ssh_port())
    }

    /// A new token of a user, which lets it do so much.
    pub(crate) fn token_of(&self, user: &str, role: &str) -> String {
        let create = [
            "token", "create", "--user", user, "--name", role, "--role", role,
        ];
        self.operator_runs(&create).trim().to_owned()
    }

    /// A user may do nothing more.
    pub(crate) fn deactivates(&self, user: &str) {
        self.operator_runs(&["user", "change", user, "--deactivate"]);
    }

    fn operator_runs(&self, arguments: &[&str]) -> String {
        let mut command = self.command();
        let master = self.master_address();
        let output = command
            .args(arguments)
            .args(["--master-url", &master])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        succeeds(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until an atom of a build runs.
    pub(crate) async fn waits_until_it_builds(&self, build: BuildId) {
        let client = self.client();
        wait_for("the build runs", async || {
            let view = client.build(build).await.ok()?;
            (view.status == BuildStatus::Building).then_some(())
        })
        .await;
    }

    /// Waits until a build was canceled.
    pub(crate) async fn waits_for_canceled(&self, build: BuildId) {
        let over = self.end_of(build).await;
        assert_eq!(over.status, BuildStatus::Canceled, "{:?}", *over);
    }

    /// Cancels a build.
    pub(crate) async fn cancels(&self, build: BuildId) {
        self.client().cancel(build).await.unwrap();
        self.waits_for_canceled(build).await;
    }

    /// What runs of the master's git.
    pub(crate) fn gits(&self) -> Vec<Found> {
        let mark = format!("master {}:git:", self.path("base/master").display());
        processes::with_text(&mark)
    }

    /// Where the repository of the farm's first project is.
    pub(crate) fn only_repository(&self) -> PathBuf {
        self.path("base/master/own/1")
    }

    /// What git has half stored in that repository.
    pub(crate) fn half_stored(&self) -> Vec<String> {
        let repository = self.only_repository();
        let directories = ["objects", "objects/pack", "refs/heads", "refs/pushes"];
        let entries = directories
            .iter()
            .flat_map(|directory| std::fs::read_dir(repository.join(directory)))
            .flat_map(|entries| entries.map(|entry| entry.unwrap()));
        let names = entries.map(|entry| entry.path().display().to_string());
        let is_half = |name: &String| {
            name.contains("/tmp_") || name.contains("/refs/pushes/") || name.ends_with(".lock")
        };
        names.filter(is_half).collect()
    }
}

impl Pusher {
    /// Where the user's own things are.
    pub(crate) fn directory(&self) -> &Path {
        self.home.path()
    }

    /// The work tree.
    pub(crate) fn work(&self) -> &Path {
        self.repository.path()
    }

    /// The user's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn key(&self) -> PathBuf {
        self.home.path().join("key")
    }

    /// Makes one more SSH key, and adds it to the user's.
    pub(crate) async fn adds_key(&self, name: &str, form: &[&str]) {
        let path = self.home.path().join(name);
        make_key(&path, form);
        self.adds(&path).await;
    }

    async fn adds(&self, key: &Path) {
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let id = format!("{}@{}", self.name, key.file_name().unwrap().display());
        let key = json!({"id": id, "public": public.trim()});
        self.posts("keys/", &key).await;
    }

    /// Lists the refs of an app, with this of the user's keys and these flags of ssh.
    pub(crate) fn lists_with(&self, app: &str, key: &str, flags: &[&str]) -> Output {
        let key = self.home.path().join(key).display().to_string();
        let options = self
            .ssh_options()
            .join(" ")
            .replace(&self.key().display().to_string(), &key);
        let mut command = self.command(&["ls-remote", &self.by_ssh(app)]);
        command.env(
            "GIT_SSH_COMMAND",
            format!("ssh {options} {}", flags.join(" ")),
        );
        command.output().unwrap()
    }

    /// The address of an app's repository by SSH.
    pub(crate) fn by_ssh(&self, app: &str) -> String {
        format!("ssh://git@{}:{}/{app}.git", self.ssh.0, self.ssh.1)
    }

    /// The address of an app's repository by HTTP, with the user's token.
    pub(crate) fn by_http(&self, app: &str) -> String {
        format!(
            "http://{}:{}@{}/{app}.git",
            self.name, self.token, self.master
        )
    }

    /// Commits files on the branch `main`; the commit's id.
    pub(crate) fn commits(&self, files: &[(&str, &str)]) -> String {
        self.repository.commit(files).trim().to_owned()
    }

    /// What git prints in the user's work tree.
    pub(crate) fn in_work(&self, arguments: &[&str]) -> String {
        self.repository.git(arguments)
    }

    fn ssh_options(&self) -> Vec<String> {
        let known = self.home.path().join("known_hosts");
        vec![
            "-F".to_owned(),
            "/dev/null".to_owned(),
            "-i".to_owned(),
            self.key().display().to_string(),
            "-oIdentitiesOnly=yes".to_owned(),
            "-oBatchMode=yes".to_owned(),
            // A host key that is another than before is refused.
            "-oStrictHostKeyChecking=accept-new".to_owned(),
            // As the settings of usual systems send variables along: the server is not to answer that.
            "-oSetEnv=LANG=C.UTF-8".to_owned(),
            format!("-oUserKnownHostsFile={}", known.display()),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.work())
            .env_remove("SSH_AUTH_SOCK")
            .env(
                "GIT_SSH_COMMAND",
                format!("ssh {}", self.ssh_options().join(" ")),
            )
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs git in the work tree.
    pub(crate) fn git(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Has git begin something, in a process group of its own.
    pub(crate) fn begins(&self, arguments: &[&str]) -> Begun {
        Begun(self.command(arguments).process_group(0).spawn().unwrap())
    }

    /// Runs ssh.
    pub(crate) fn ssh(&self, flags: &[&str], command: &[&str]) -> Output {
        self.ssh_through(Command::new("ssh"), flags, command)
    }

    /// Runs ssh beside an agent that it could take along.
    pub(crate) fn ssh_with_agent(&self, flags: &[&str], command: &[&str]) -> Output {
        let mut agent = Command::new("ssh-agent");
        agent.arg("ssh");
        self.ssh_through(agent, flags, command)
    }

    fn ssh_through(&self, mut ssh: Command, flags: &[&str], command: &[&str]) -> Output {
        ssh.args(self.ssh_options())
            .args(flags)
            .args(["-p", &self.ssh.1.to_string()])
            .arg(format!("git@{}", self.ssh.0))
            .args(command)
            .stdin(Stdio::null());
        ssh.output().unwrap()
    }

    /// What a path below `/v1/` says.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.asks(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Posts to a path below `/v1/`.
    pub(crate) async fn posts(&self, path: &str, body: &Value) {
        let (status, answer) = self.asks(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
    }

    /// Creates an app.
    pub(crate) async fn creates(&self, app: &str) {
        self.posts("apps/", &json!({"id": app})).await;
    }

    /// Sets variables of an app.
    pub(crate) async fn sets(&self, app: &str, values: &Value) {
        let path = format!("apps/{app}/config/");
        self.posts(&path, &json!({"values": values})).await;
    }

    /// Waits until a process of an app is up.
    pub(crate) async fn waits_for_up(&self, app: &str, kind: &str) {
        let path = format!("apps/{app}/containers/{kind}/");
        wait_for("a container is up", async || {
            let all = self.get(&path).await;
            let mut all = all["results"].as_array().unwrap().iter();
            all.any(|one| one["state"] == "up").then_some(())
        })
        .await;
    }

    async fn asks(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let url = format!("http://{}/v1/{path}", self.master);
        let mut request = self
            .http
            .request(method, url)
            .header("Authorization", format!("token {}", self.token));
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Posts bytes with the user's token, and reads the answer to its end; its status.
    pub(crate) async fn sends(&self, path: &str, kind: &str, body: String) -> StatusCode {
        let response = self
            .http
            .post(format!("http://{}/{path}", self.master))
            .basic_auth(&self.name, Some(&self.token))
            .header("Content-Type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        // It may break off.
        response.bytes().await.ok();
        status
    }
}

impl Begun {
    /// Sends it what Ctrl-C sends, and waits for its end.
    pub(crate) fn interrupt(self) {
        kill_process_group(Pid::from_child(&self.0), Signal::INT).unwrap();
        self.fails();
    }

    /// Waits for its end; what it has said.
    pub(crate) fn fails(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn make_key(path: &Path, form: &[&str]) {
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-N", "", "-f"]).arg(path).args(form);
    assert!(made.status().unwrap().success());
}

/// What a program has said that succeeded.
#[track_caller]
pub(crate) fn succeeds(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    format!("{}{said}", String::from_utf8_lossy(&output.stdout))
}

/// Bytes that can not be compressed.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Opens connections.
pub(crate) async fn connections(address: String, number: usize) -> Vec<TcpStream> {
    let mut opened = Vec::new();
    for _ in 0..number {
        opened.push(TcpStream::connect(&address).await.unwrap());
    }
    opened
}

/// On how many connections somebody says hello; the others are closed.
pub(crate) async fn greeted(connections: &mut [TcpStream]) -> usize {
    let mut greeted = 0;
    for connection in connections {
        let mut first = [0; 4];
        let read = timeout(PATIENCE, connection.read_exact(&mut first))
            .await
            .unwrap();
        greeted += usize::from(read.is_ok_and(|_| &first == b"SSH-"));
    }
    greeted
}

/// Sends bytes, and waits until the other side closes the connection.
pub(crate) async fn is_closed_after(address: String, bytes: &[u8]) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    // It may be closed before all is sent.
    connection.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open");
    assert!(answer.len() < 10_000, "{}", answer.len());
}
