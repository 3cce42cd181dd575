//! Instances of images, which run as containers.

use super::*;

/// Podman with images and containers below a directory of its own, by the flags that work as root on machines that allow
/// little.
pub(crate) fn podman(directory: &Path) -> (std::process::Command, String) {
    let mut flags = [
        "storage-driver=vfs",
        "runtime=runc",
        "cgroup-manager=cgroupfs",
    ]
    .map(|flag| format!("--{flag}"))
    .to_vec();
    for kind in ["root", "runroot"] {
        flags.push(format!("--{kind}={}", directory.join(kind).display()));
    }
    let mut podman = std::process::Command::new("podman");
    podman.args(&flags);
    (podman, flags.join(", "))
}

/// The settings of a slave that runs containers with these flags.
pub(crate) fn settings_of(flags: &str) -> [(&str, &str); 4] {
    let run_flags = "--ulimit=nofile=1024:1024, --ulimit=nproc=1000:1000";
    [
        ("container_runtime", "podman"),
        ("container_flags", flags),
        ("container_run_flags", run_flags),
        ("container_network", "host"),
    ]
}

/// The archive of an image with a web server; none where none can be built.
pub(crate) fn image(directory: &Path) -> Option<Vec<u8>> {
    let context = directory.join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).ok()?;
    let text = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                WORKDIR /srv\nRUN echo hello > index.html\nCMD exec httpd -f -p $PORT\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    let archive = directory.join("archive");
    let built = podman(directory)
        .0
        .args(["build", "--isolation=chroot", "--tag=localhost/web:1"])
        .arg(&context)
        .output();
    let saved = podman(directory)
        .0
        .args(["save", "--output"])
        .arg(&archive)
        .arg("localhost/web:1")
        .output();
    for done in [built, saved] {
        let done = done.ok()?;
        if !done.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::fs::File::open(archive).unwrap(), &mut gzip).unwrap();
    Some(gzip.finish().unwrap())
}

#[tokio::test]
async fn an_image_runs_as_a_container_and_leaves_none() {
    let directory = tempfile::tempdir().unwrap();
    let Some(bytes) = image(directory.path()) else {
        eprintln!("SKIPPED: no image can be built on this machine");
        return;
    };
    let (_, flags) = podman(directory.path());
    let mut farm = Farm::start_with(&settings_of(&flags)).await;
    let digest = crate::instance_book::digest_of(&bytes);
    farm.template.digest.clone_from(&digest);
    farm.template.bytes = bytes.len() as u64;
    farm.template.description.form = Form::Image;
    farm.template.description.root = None;
    let snapshots = &farm.master.book.snapshots;
    snapshots.lock().unwrap().insert(digest, bytes);
    farm.runs(&[]).await;
    let port = farm.master.book.is_up(1, 1).await;
    assert_eq!(get(port, "/index.html").await, "hello\n");
    let keeper = processes(&farm.slave.data);
    let keeper = *keeper.iter().find(|id| is_keeper(**id)).unwrap();
    kill(keeper);
    let again = |state: &ReportedState| matches!(state, ReportedState::Up { port: other, .. } if *other != port);
    farm.master.book.stands(1, 1, again).await;
    let slave_data = farm.slave.data.clone();
    farm.ends_all().await;
    let left = podman(directory.path())
        .0
        .args(["ps", "--all", "--format", "{{.Names}} {{.Status}}"])
        .output();
    assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "");
    assert_eq!(processes(&slave_data), [0_u32; 0]);
}
