//! Machines that are reached by ssh: for each a real `sshd` on a loopback address of its own, which
//! lives as long as the test, lets one key in, and has a directory of its own for a home.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// sshd starts itself anew for every connection and wants to be called by its full path for that.
const SSHD: &str = "/usr/sbin/sshd";

/// One machine.
pub(crate) struct SshServer {
    daemon: Child,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) home: PathBuf,
}

/// The user's keys, and whom the user knows.
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(crate) fn new(folder: &Path) -> Self {
        make_key(&folder.join("user_key"));
        make_key(&folder.join("host_key"));
        Self {
            folder: folder.to_owned(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// For `--ssh-option`.
    pub(crate) fn options(&self) -> Vec<String> {
        let options = [
            format!("IdentityFile={}", self.path("user_key")),
            "IdentitiesOnly=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile={}", self.path("known_hosts")),
            "GlobalKnownHostsFile=none".to_owned(),
        ];
        let with_flag = |option| ["--ssh-option".to_owned(), option];
        options.into_iter().flat_map(with_flag).collect()
    }
}

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

impl SshServer {
    pub(crate) fn start(keys: &Keys, name: &str) -> Self {
        // sshd as root wants this directory, which a boot would make; without root it needs none.
        fs::create_dir_all("/run/sshd").ok();
        let home = keys.folder.join(name);
        fs::create_dir(&home).unwrap();
        let address = own_address();
        let port = free_port(&address);
        let config = home.join("sshd_config");
        let shown = home.display();
        let text = format!(
            "ListenAddress {address}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             ForceCommand cd '{shown}' && HOME='{shown}' CLUSTERRUNNER_BIND_ADDRESS={address} \
             exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            keys.path("host_key"),
            keys.path("user_key.pub"),
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(home.join("sshd.log")).unwrap();
        let daemon = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self {
            daemon,
            address,
            port,
            home,
        };
        let began = Instant::now();
        while TcpStream::connect((server.address.as_str(), port)).is_err() {
            let log = fs::read_to_string(server.home.join("sshd.log"));
            assert!(began.elapsed() < Duration::from_secs(90), "{log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let host_key = fs::read_to_string(keys.folder.join("host_key.pub")).unwrap();
        let known = keys.folder.join("known_hosts");
        let mut hosts = fs::read_to_string(&known).unwrap_or_default();
        hosts.push_str(&format!("[{}]:{port} {host_key}", server.address));
        fs::write(known, hosts).unwrap();
        server
    }

    /// As `deploy` takes it.
    pub(crate) fn host(&self) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("{}@{}:{}", user.trim(), self.address, self.port)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

/// A loopback address that no other machine uses: all of 127.0.0.0/8 is this one.
fn own_address() -> String {
    static MACHINES: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let machine = MACHINES.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{low}.{machine}", high.max(1))
}

/// A port that is free at an address.
pub(crate) fn free_port(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
