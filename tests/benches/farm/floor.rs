//! What this machine can do without a farm.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How fast `bash -c true` can be started and waited for, two at a time, with nothing else done.
pub(crate) fn atoms_per_second(atoms: u32) -> f64 {
    let each = atoms / 2;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..each {
                    let status = Command::new("bash")
                        .args(["-c", "true"])
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

/// The same atoms by programs that many machines have.
pub(crate) fn peers(atoms: u32) {
    for (name, script) in [
        (
            "xargs",
            format!("seq {atoms} | xargs -P 2 -I N bash -c true N"),
        ),
        (
            "parallel",
            format!("seq {atoms} | parallel -j 2 bash -c true"),
        ),
    ] {
        let is_there = Command::new("bash")
            .args(["-c", &format!("command -v {name}")])
            .stdout(Stdio::null())
            .status();
        if !is_there.is_ok_and(|status| status.success()) {
            println!("{name} is not installed");
            continue;
        }
        let started = Instant::now();
        let status = Command::new("bash").args(["-c", &script]).status();
        let seconds = started.elapsed().as_secs_f64();
        assert!(status.is_ok_and(|status| status.success()), "{script}");
        println!(
            "{atoms:>6} trivial atoms by {name}: {:.0}/s",
            f64::from(atoms) / seconds
        );
    }
}
