//! What commands reach by calls of the system alone, through no file.

use super::cells::Cell::{self, Open, Stopped};
use super::cells::{IN, Place, SECRET};
use crate::job::job;
use clusterrunner_common::process::confinement::keeps_abstract_sockets;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

const KEYCTL: u32 = if cfg!(target_arch = "x86_64") {
    250
} else {
    219
};
const ADD_KEY: u32 = if cfg!(target_arch = "x86_64") {
    248
} else {
    217
};

/// A script that calls the system by numbers.
fn python(script: &str) -> String {
    format!(
        "python3 -c '
import ctypes, os, sys
system = ctypes.CDLL(None, use_errno=True).syscall
{script}'"
    )
}

/// What the slave starts its life with: a key in the keyring of its session, a terminal, and a file that nobody closes.
pub(super) fn with_a_key(file: &std::path::Path) -> Vec<String> {
    let script = format!(
        "import ctypes, os, sys
system = ctypes.CDLL(None, use_errno=True).syscall
assert system({KEYCTL}, 1, None) > 0, os.strerror(ctypes.get_errno())
assert system({ADD_KEY}, b\"user\", b\"canary\", b\"{SECRET}\", {}, -3) > 0
import fcntl, pty, termios
# Out of its group, of which it may not be the first process.
os.setpgid(0, os.getpgid(os.getppid()))
os.setsid()
ours, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.set_inheritable(ours, True)
os.dup2(os.open(\"{}\", os.O_RDONLY), 9, inheritable=True)
import resource
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
os.execvp(sys.argv[1], sys.argv[1:])",
        SECRET.len(),
        file.display()
    );
    vec!["python3".to_owned(), "-c".to_owned(), script]
}

#[tokio::test]
async fn keys_of_the_slaves_session() {
    let Some(place) = Place::started_by(with_a_key).await else {
        return;
    };
    let reads = python(&format!(
        "key = system({KEYCTL}, 10, -3, b\"user\", b\"canary\", 0)
text = ctypes.create_string_buffer(99)
system({KEYCTL}, 11, key, text, 99)
if b\"{SECRET}\" in text.raw: print(\"{IN}\")"
    ));
    place.check(reads, [Open, Open, Stopped]).await;
}

/// The keyring of a user is one for all of its builds.
#[tokio::test]
async fn keys_that_another_atom_leaves() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let leaves = python(&format!(
        "name = os.environ[\"PROJECT_DIR\"].encode()
if system({KEYCTL}, 10, -4, b\"user\", name, 0) > 0: print(\"{IN}\")
key = system({ADD_KEY}, b\"user\", name, b\"x\", 1, -4)
system({KEYCTL}, 15, key, 60)"
    ));
    let row = [Open, Open, Stopped];
    place.check_job(&job(leaves).atoms(2), row).await;
}

#[tokio::test]
async fn files_that_the_slaves_parent_left_open() {
    let Some(place) = Place::started_by(with_a_key).await else {
        return;
    };
    let slave = place.farm.slave_process(0);
    let held = std::fs::read_to_string(format!("/proc/{slave}/fd/9"));
    assert_eq!(held.unwrap(), SECRET, "the slave has it");
    let reads = format!("cat <&9 2> /dev/null | grep -q {SECRET} && echo '{IN}'; true");
    place.check(reads, [Stopped, Stopped, Stopped]).await;
}

/// What is left of a process that crashes goes to a program of the machine, which is root, or into a file.
#[tokio::test]
async fn what_is_left_of_crashes() {
    let Some(place) = Place::started_by(with_a_key).await else {
        return;
    };
    let limit = format!("[ $(ulimit -Hc) = unlimited ] && echo '{IN}'; true");
    place.check(limit, [Open, Open, Stopped]).await;
}

/// Most faults of the kernel were open only to who is root of a namespace.
#[tokio::test]
async fn namespaces_of_its_own() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let row = [Open, Open, Stopped];
    let enters = format!("unshare --user --map-root-user true 2> /dev/null && echo '{IN}'; true");
    place.check(enters, row).await;
    const NEW_USER: u32 = 0x1000_0000;
    for call in [
        // In a new process, by the older call and by the newer one.
        format!("system(56, {NEW_USER} | 17, 0, 0, 0, 0)"),
        format!("system(435, (ctypes.c_uint64 * 8)({NEW_USER}, 0, 0, 0, 17), 64)"),
    ] {
        if cfg!(not(target_arch = "x86_64")) {
            break;
        }
        let forks = python(&format!(
            "child = {call}
if child == 0: os._exit(0)
if child > 0:
    os.waitpid(child, 0)
    print(\"{IN}\")"
        ));
        place.check(forks, row).await;
    }
}

/// Where the slave's owner says so, and a job does not.
#[tokio::test]
async fn nested_sandboxes() {
    let Some(place) = Place::with(1, "run_as = nobody\nnested_sandboxes = True\n").await else {
        return;
    };
    let secret = place.farm.path("home/.netrc");
    let hidden = secret.parent().unwrap();
    let outside = place.outside();
    let inside = format!(
        "mount -t tmpfs none /mnt && echo mounted; umount {hidden} 2> /dev/null; mount -o remount,rw,bind / 2> /dev/null
         cat {secret} 2> /dev/null; touch {outside}/x 2> /dev/null && echo wrote; true",
        hidden = hidden.display(),
        secret = secret.display(),
        outside = outside.display(),
    );
    let nests = format!("unshare --user --map-root-user --mount --pid --fork sh -c '{inside}'");
    let (build, _, consoles) = place.run("user", job(nests).atoms(1)).await;
    build.passes();
    assert_eq!(consoles, ["mounted\n"]);
    // What has nothing to do with sandboxes is refused as before.
    let rest = python(&format!(
        "if system({ADD_KEY}, b\"user\", b\"name\", b\"x\", 1, -4) > 0: print(\"{IN}\")"
    ));
    place.check(rest, [Open, Open, Stopped]).await;
    std::fs::remove_dir_all(outside).unwrap();
}

#[tokio::test]
async fn calls_that_open_ways_into_the_kernel() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    // A map of BPF, and a file of a file system that is in no directory.
    let (bpf, fsopen) = match cfg!(target_arch = "x86_64") {
        true => (321, 430),
        false => (280, 430),
    };
    for call in [
        format!("system({bpf}, 0, (ctypes.c_uint32 * 18)(2, 4, 4, 1), 72)"),
        format!("system({fsopen}, b\"tmpfs\", 0)"),
    ] {
        let opens = python(&format!("if {call} > 0: print(\"{IN}\")"));
        place.check(opens, [Open, Open, Stopped]).await;
    }
    // Programs do not miss what they are refused.
    let works = "python3 -c '
import subprocess, threading
thread = threading.Thread(target=lambda: print(subprocess.run([\"echo\", \"works\"], capture_output=True).stdout.decode(), end=\"\"))
thread.start()
thread.join()'";
    let (_, _, consoles) = place.run("user", job(works).atoms(1)).await;
    assert_eq!(consoles, ["works\n"]);
}

/// They lead to the host of a virtual machine, and no network is in between.
#[tokio::test]
async fn sockets_to_the_host_of_a_virtual_machine() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let opens = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); print(\"{IN}\")' 2>&1; true"
    );
    let (_, _, consoles) = place.run("none", job(&opens).atoms(1)).await;
    if consoles.concat().contains(IN) {
        place.check(&opens, [Open; 3]).await;
    }
    let without = job(&opens).atoms(1).with("network", false);
    place.check_job(&without, [Stopped; 3]).await;
}

/// They are in no directory, so nothing hides them from who has the machine's network.
#[tokio::test]
async fn sockets_with_abstract_names() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let name = format!("clusterrunner-test-{}", place.farm.port());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name}\"); print(\"{IN}\")' 2>&1; true"
    );
    let behind_walls: Cell = match keeps_abstract_sockets() {
        true => Stopped,
        false => Open,
    };
    place.check(&connect, [Open, Open, behind_walls]).await;
    let without = job(&connect).atoms(1).with("network", false);
    place.check_job(&without, [Stopped; 3]).await;
    drop(listener);
}
