//! The real runtime of this machine, where it runs containers.

use super::*;
use clusterrunner_common::settings::RuntimeChoice;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A runtime with images and containers of its own.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) runtime: ContainerRuntime,
}

impl Drop for Place {
    fn drop(&mut self) {
        for role in [Role::Build, Role::Instance, Role::Trial] {
            self.runtime.remove_all(role).unwrap();
        }
    }
}

/// What works as root on machines that allow little.
fn settings(directory: &Path) -> ContainerSettings {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let mut flags: Vec<String> = texts(&[
        "--storage-driver=vfs",
        "--runtime=runc",
        "--cgroup-manager=cgroupfs",
    ]);
    for kind in ["root", "runroot"] {
        flags.push(format!("--{kind}={}", directory.join(kind).display()));
    }
    ContainerSettings {
        runtime: RuntimeChoice::Named("podman".to_owned()),
        flags,
        build_flags: texts(&["--isolation=chroot"]),
        run_flags: texts(&["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]),
        network: Some("host".to_owned()),
    }
}

/// None, loudly, where no container runs.
pub(crate) fn place() -> Option<Place> {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let runtime = ContainerRuntime::installed(&settings, directory.path());
    let tried = runtime.and_then(|mut runtimes| {
        let runtime = runtimes.remove(0);
        runtime.try_out().map(|()| runtime)
    });
    match tried {
        Ok(runtime) if Path::new("/bin/busybox").exists() => Some(Place { directory, runtime }),
        Ok(_) => skipped("there is no /bin/busybox (Debian: busybox-static)"),
        Err(error) => skipped(&error.to_string()),
    }
}

fn skipped(why: &str) -> Option<Place> {
    eprintln!("SKIPPED: no container runs on this machine: {why}");
    None
}

impl Place {
    /// Builds the image of a web server.
    fn build(&self, name: &str) {
        let context = self.directory.path().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
        let dockerfile = context.join("Dockerfile");
        let text = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                    WORKDIR /srv\nRUN echo hello > index.html\nEXPOSE 8000\nCMD exec httpd -f -p $PORT\n";
        std::fs::write(&dockerfile, text).unwrap();
        let build = ImageBuild {
            context: &context,
            dockerfile: &dockerfile,
            name,
        };
        let built = self.runtime.build_command(&build).output().unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }

    fn run(&self, run: &ContainerRun<'_>, variables: &[(&str, &str)]) -> Command {
        self.runtime
            .run_command(run, variables.iter().copied())
            .unwrap()
    }
}

fn run<'a>(name: &'a str, image: &'a str, command: &'a [String]) -> ContainerRun<'a> {
    ContainerRun {
        name,
        role: Role::Instance,
        image,
        command,
        port: None,
        max_memory_bytes: None,
        cpu_shares: None,
        entry: None,
        mounts: &[],
        mark: "a-mark",
        has_network: true,
    }
}

fn shell(line: &str) -> Vec<String> {
    ["sh", "-c", line].map(str::to_owned).into()
}

#[test]
fn an_image_is_built_saved_loaded_and_run() {
    let Some(place) = place() else { return };
    let runtime = &place.runtime;
    place.build("localhost/web:1");
    assert_eq!(runtime.exposed_port("localhost/web:1").unwrap(), Some(8000));
    let mut saved = tempfile::NamedTempFile::new().unwrap();
    runtime
        .save("localhost/web:1", saved.as_file_mut())
        .unwrap();
    runtime.remove_image("localhost/web:1").unwrap();
    assert!(!runtime.has_image("localhost/web:1"));
    let digest = "5".repeat(64);
    let name = runtime.have_template(&digest, saved.path()).unwrap();
    assert!(!runtime.has_image("localhost/web:1"));
    assert!(runtime.has_image(&name));
    let command = shell(
        "cat index.html; echo \"$A\"; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>&-; exit 7",
    );
    let limited = ContainerRun {
        max_memory_bytes: Some(64 << 20),
        cpu_shares: None,
        entry: None,
        ..run("printing", &name, &command)
    };
    let ran = place
        .run(&limited, &[("A", "two\nlines")])
        .output()
        .unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(
        (printed.as_str(), ran.status.code()),
        ("hello\ntwo\nlines\n67108864\n", Some(7))
    );
    assert_eq!(runtime.containers(Role::Instance).unwrap(), [""; 0]);
    runtime.drop_templates_but(|| vec![digest]).unwrap();
    assert!(runtime.has_image(&name));
    runtime.drop_templates_but(Vec::new).unwrap();
    assert!(!runtime.has_image(&name));
}

#[test]
fn a_container_listens_until_it_is_removed() {
    let Some(place) = place() else { return };
    place.build("localhost/web:1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let published = Published {
        port,
        exposed: Some(8000),
    };
    let web = ContainerRun {
        port: Some(published),
        ..run("web", "localhost/web:1", &[])
    };
    let mut client = place
        .run(&web, &[("PORT", "1")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if client.try_wait().unwrap().is_some() || Instant::now() > deadline {
            let mut said = String::new();
            client.stderr.unwrap().read_to_string(&mut said).unwrap();
            panic!("{said}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(place.runtime.containers(Role::Instance).unwrap(), ["web"]);
    assert_eq!(place.runtime.containers(Role::Build).unwrap(), [""; 0]);
    place.runtime.remove("web").unwrap();
    client.wait().unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    // Once more is as good.
    place.runtime.remove("web").unwrap();
    assert_eq!(place.runtime.containers(Role::Instance).unwrap(), [""; 0]);
}

#[test]
fn what_the_runtime_says_is_told() {
    let Some(place) = place() else { return };
    let mut file = tempfile::tempfile().unwrap();
    let error = place
        .runtime
        .save("localhost/nothing:1", &mut file)
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("podman save exited with 125: "),
        "{error}"
    );
    assert!(error.contains("localhost/nothing:1"), "{error}");
}

#[test]
fn the_settings_choose_the_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.runtime = RuntimeChoice::None;
    assert_eq!(
        ContainerRuntime::installed(&settings, directory.path()).unwrap(),
        []
    );
    let program = directory.path().join("docker");
    std::fs::write(&program, "").unwrap();
    settings.runtime = RuntimeChoice::Named(program.display().to_string());
    let error = ContainerRuntime::installed(&settings, directory.path()).unwrap_err();
    assert!(
        error.to_string().contains("there is no such program"),
        "{error}"
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = ContainerRuntime::installed(&settings, directory.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name(), "docker");
    assert_eq!(
        ContainerRuntime::from_text(&found[0].to_text()),
        Some(found[0].clone())
    );
}
