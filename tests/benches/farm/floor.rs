//! What this machine can do without a farm.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How fast `bash -c true` can be started and waited for, two at a time, with nothing else done.
pub(crate) fn atoms_per_second(atoms: u32) -> f64 {
    times_per_second(&["true"], atoms)
}

/// The same for some commands of bash one after the other, which together are one time.
pub(crate) fn times_per_second(commands: &[&str], times: u32) -> f64 {
    let each = times / 2;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let all = (0..each).flat_map(|_| commands);
                for command in all {
                    let status = Command::new("bash")
                        .args(["-c", command])
                        .env_clear()
                        .process_group(0)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status();
                    assert!(status.is_ok_and(|status| status.success()));
                }
            });
        }
    });
    f64::from(2 * each) / started.elapsed().as_secs_f64()
}

/// Programs that many machines have, if this one has them: name and command.
pub(crate) fn installed_peers() -> Vec<(String, String)> {
    let peers = [
        ("xargs", "seq {atoms} | xargs -P 2 -I N bash -c true N"),
        ("parallel", "seq {atoms} | parallel -j 2 bash -c true"),
    ];
    let is_installed = |name: &str| {
        let status = Command::new("bash")
            .args(["-c", &format!("command -v {name}")])
            .stdout(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let mut installed = Vec::new();
    for (name, command) in peers {
        if is_installed(name) {
            installed.push((name.to_owned(), command.to_owned()));
        } else {
            println!("{name} is not installed");
        }
    }
    installed
}

/// How fast another program runs so many trivial atoms: a shell command that says `{atoms}`.
pub(crate) fn of_peer(command: &str, atoms: u32) -> f64 {
    let script = command.replace("{atoms}", &atoms.to_string());
    let started = Instant::now();
    let status = Command::new("bash")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let seconds = started.elapsed().as_secs_f64();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
    f64::from(atoms) / seconds
}
