//! What commands see, reach and change of their machine.

use super::cells::Cell::{Open, Stopped};
use super::cells::{CANARY, IN, Place, SECRET, USER, beside};
use crate::job::job;
use crate::processes;
use std::os::unix::net::UnixListener;
use std::process::Command;

/// Says so if what a command prints has this.
fn finds(command: &str, text: &str) -> String {
    format!("({command}; true) 2> /dev/null | grep -a '{text}' > /dev/null && echo '{IN}'; true")
}

#[tokio::test]
async fn the_secret_of_the_farm() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let file = place.farm.path("base/clusterrunner.conf");
    let row = [Open, Open, Stopped];
    place
        .check(finds(&format!("cat {}", file.display()), "secret"), row)
        .await;
    // Nor by another way to it.
    let around = format!(
        "for pid in /proc/[0-9]*; do cat $pid/cwd/base/clusterrunner.conf $pid/root{}; done",
        file.display()
    );
    place.check(finds(&around, "secret"), row).await;
}

#[tokio::test]
async fn the_environment_of_the_slave() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let slave = place.farm.slave_process(0);
    let row = [Open, Open, Stopped];
    let environ = format!("cat /proc/{slave}/environ");
    place.check(finds(&environ, SECRET), row).await;
    place.check(finds("cat /proc/*/environ", SECRET), row).await;
    // What it inherits itself.
    let own = format!("printenv {CANARY}");
    place
        .check(finds(&own, SECRET), [Open, Stopped, Stopped])
        .await;
    let setup = job("cat $PROJECT_DIR/found").atoms(1);
    let setup = setup.setup(format!("({}) > found", finds(&own, SECRET)));
    place.check_job(&setup, [Open, Stopped, Stopped]).await;
}

#[tokio::test]
async fn the_rest_of_the_file_system() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let outside = place.outside();
    let touch = format!("touch {}/$$ && echo \"{IN}\"; true", outside.display());
    place.check(&touch, [Open, Open, Stopped]).await;
    // Nor as root of a namespace of its own.
    let again = format!(
        "unshare --user --map-root-user --mount sh -c 'mount -o remount,rw,bind / ; {touch}'; true"
    );
    place.check(&again, [Open, Open, Stopped]).await;
    std::fs::remove_dir_all(outside).unwrap();
    // Its own places are its own.
    let own = format!(
        "touch $PROJECT_DIR/a $ARTIFACT_DIR/b $HOME/c /tmp/d /var/tmp/e /dev/shm/f && cp $ARTIFACT_DIR/b $TMPDIR/ && \
         echo '{IN}'"
    );
    let own =
        format!("export TMPDIR=${{TMPDIR:-/tmp}}; {own}; rm -f /tmp/[bd] /var/tmp/e /dev/shm/f");
    place.check(own, [Open; 3]).await;
}

#[tokio::test]
async fn homes() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let file = place.farm.path("home/.netrc");
    let read = format!("cat {}", file.display());
    place
        .check(finds(&read, SECRET), [Open, Open, Stopped])
        .await;
    // What the set-up installs in its home is there for the atoms, and for no other build.
    for expected in ["first", "first"] {
        let kept = job("cat ~/installed").atoms(2);
        let kept = kept.setup("[ -e ~/installed ] || echo first > ~/installed");
        let (build, _, consoles) = place.run("user", kept).await;
        build.passes();
        assert_eq!(consoles, [format!("{expected}\n"), format!("{expected}\n")]);
        let (_, _, consoles) = place.run("user", job("ls -A ~").atoms(1)).await;
        assert_eq!(consoles, [".gitconfig\n"]);
    }
}

/// It belongs to the slave's user, in the repository's mirror, and is there to be read.
#[tokio::test]
async fn the_history_of_its_work_tree() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let line = "id -un && git log --format=%H -1 && git status > /dev/null";
    let (build, _, consoles) = place.run("user", job(line).atoms(1)).await;
    build.passes();
    let mut lines = consoles[0].lines();
    assert_eq!(lines.next(), Some(USER), "{consoles:?}");
    assert_eq!(lines.next().map(str::len), Some(40), "{consoles:?}");
    assert_eq!(lines.next(), None, "{consoles:?}");
}

#[tokio::test]
async fn what_an_atom_leaves_in_tmp() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let name = format!("/tmp/left-{}", place.farm.port());
    let line = format!("[ -e {name} ] && echo '{IN}'; echo > {name}");
    place
        .check_job(&job(line).atoms(2), [Open, Open, Stopped])
        .await;
    std::fs::remove_file(name).unwrap();
    // Nor in a batch of them, nor for the next build.
    let left = std::fs::read_dir(place.farm.slave_directory(0).join("isolation"));
    let left: Vec<_> = left
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["empty"]);
}

#[tokio::test]
async fn the_network() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let (host, port) = (place.farm.address(), place.farm.port());
    let master = format!(
        "python3 -c 'import socket; socket.create_connection((\"{host}\", {port}), 5); print(\"{IN}\")' 2>&1; true"
    );
    place.check(&master, [Open, Open, Open]).await;
    let without = job(&master).atoms(1).with("network", false);
    // It takes a network of its own: a looser level is no way around it.
    place.check_job(&without, [Stopped; 3]).await;
    let own = "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); \
               socket.create_connection(s.getsockname()); print(\"own\")'";
    let (_, _, consoles) = place
        .run("user", job(own).atoms(1).with("network", false))
        .await;
    assert_eq!(consoles, ["own\n"]);
}

#[tokio::test]
async fn sockets_of_the_machines_services() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let path = format!("/run/clusterrunner-test-{}.sock", place.farm.port());
    std::fs::remove_file(&path).ok();
    let listener = UnixListener::bind(&path).unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&path, everybody).unwrap();
    let connect = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{path}\"); print(\"{IN}\")' 2>&1; true"
    );
    place.check(connect, [Open, Open, Stopped]).await;
    drop(listener);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn other_processes() {
    let Some(place) = Place::new(2).await else {
        return;
    };
    let slave = place.farm.slave_process(0);
    // It is not really killed: the question is who may.
    let kill = format!("kill -0 {slave} 2> /dev/null && echo '{IN}'; true");
    place.check(kill, [Open, Open, Stopped]).await;
    let sleep = format!("96{}", place.farm.port());
    let mut neighbour = Command::new("sleep").arg(&sleep).spawn().unwrap();
    let look = finds(
        "cat /proc/[0-9]*/cmdline",
        &format!("[9]6{}", place.farm.port()),
    );
    place.check(look, [Open, Open, Stopped]).await;
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
}

/// Two atoms at a time: one waits until the other one has looked for it.
#[tokio::test]
async fn a_neighbouring_atom() {
    let Some(place) = Place::new(2).await else {
        return;
    };
    // No shell has this number in its command line.
    let number = format!("9$(({} + 500000))", place.farm.port());
    let looks = format!(
        "cd $PROJECT_DIR; if mkdir first 2> /dev/null; then sleep {number} & child=$!; touch there
         until [ -e looked ]; do sleep 0.05; done
         kill $child || true
         else until [ -e there ]; do sleep 0.05; done
         pkill -f \"sleep {number}\" && echo '{IN}'; touch looked; fi"
    );
    place
        .check_job(&job(looks).atoms(2), [Open, Open, Stopped])
        .await;
}

#[tokio::test]
async fn more_rights() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    // Programs that give rights, such as sudo, give none.
    let rights = finds("grep NoNewPrivs /proc/self/status", "0$");
    place.check(rights, [Open, Open, Stopped]).await;
    let (_, _, consoles) = place
        .run(
            "user",
            job("id -un; grep CapEff /proc/self/status").atoms(1),
        )
        .await;
    assert_eq!(consoles, [format!("{USER}\nCapEff:\t0000000000000000\n")]);
}

/// A variable that means something to the linker must not mean it to the process in front of the command, which is root.
#[tokio::test]
async fn nothing_gets_into_the_process_in_front() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let library = beside().join(format!("preloaded-{}.so", place.farm.port()));
    let source = "#include <unistd.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void f(void) \
                  { if (geteuid() == 0) write(1, \"GOT IN\\n\", 7); }";
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-x", "c", "-", "-o"])
        .arg(&library);
    let mut cc = cc.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(cc.stdin.as_mut().unwrap(), source.as_bytes()).unwrap();
    drop(cc.stdin.take());
    assert!(cc.wait().unwrap().success());
    let preloads = job("true").atoms(1);
    let preloads = preloads.with("env", serde_json::json!({"LD_PRELOAD": library}));
    // The shell of the other levels is root, as this farm is.
    place.check_job(&preloads, [Open, Open, Stopped]).await;
    std::fs::remove_file(library).unwrap();
    assert!(processes::with_text("preloaded-").is_empty());
}
