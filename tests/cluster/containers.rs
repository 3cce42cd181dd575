//! Jobs whose commands run in containers of an image, with the real runtime of this machine.
//!
//! Where no container runs, these tests say `SKIPPED` and why.

use crate::farm::{Extra, Farm};
use crate::job::{Job, job};
use crate::repository::Repository;
use crate::skipping::{Lacks, skip};
use crate::wait::wait_for;
use clusterrunner_common::api::launching::BuildTemplate;
use clusterrunner_common::api::secrets::SetSecret;
use clusterrunner_common::work::SecretValue;
use serde_json::json;
use std::fs;
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) const IMAGE: &str = "localhost/box:1";

/// What busybox needs to be a system.
const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nRUN mkdir /tmp\nENV FROM_IMAGE=yes SHADOWED=image\n\
    ENTRYPOINT [\"/bin/false\"]\n";

const FLAGS: [&str; 3] = [
    "--storage-driver=vfs",
    "--runtime=runc",
    "--cgroup-manager=cgroupfs",
];
const RUN_FLAGS: [&str; 2] = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];

/// The images and containers of one test.
pub(crate) struct Images {
    directory: TempDir,
}

impl Images {
    /// With one image; none, loudly, where no container runs.
    pub(crate) fn new() -> Option<Self> {
        let images = Self {
            directory: tempfile::Builder::new()
                .prefix("cr-images-")
                .tempdir()
                .unwrap(),
        };
        match images.build() {
            Ok(()) => Some(images),
            Err(why) => {
                eprintln!("no container runs on this machine: {why}");
                skip(Lacks::Containers);
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let context = self.directory.path().join("context");
        fs::create_dir(&context).unwrap();
        fs::copy("/bin/busybox", context.join("busybox"))
            .map_err(|error| format!("/bin/busybox (Debian: busybox-static): {error}"))?;
        fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
        let told = |output: Output| match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        };
        let context = context.display().to_string();
        told(self.podman(&[
            "build",
            "--isolation=chroot",
            "--layers=false",
            "--tag",
            IMAGE,
            &context,
        ])?)?;
        let run = ["run", "--rm", "--network=host", "--entrypoint=/bin/true"];
        told(self.podman(&[&run[..], &RUN_FLAGS, &[IMAGE]].concat())?)
    }

    fn flags(&self) -> Vec<String> {
        let places = ["root", "runroot"];
        let places = places
            .map(|place| format!("--{place}={}", self.directory.path().join(place).display()));
        FLAGS.map(str::to_owned).into_iter().chain(places).collect()
    }

    fn podman(&self, arguments: &[&str]) -> Result<Output, String> {
        let mut podman = Command::new("podman");
        let output = podman.args(self.flags()).args(arguments).output();
        output.map_err(|error| format!("podman: {error}"))
    }

    fn list(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.podman(arguments).unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn containers(&self) -> Vec<String> {
        self.list(&["ps", "--all", "--format", "{{.Names}}"])
    }

    /// Nothing of ours is there any more.
    pub(crate) async fn are_left_alone(&self) {
        wait_for("the containers are gone", async || {
            self.containers().is_empty().then_some(())
        })
        .await;
        let images = self.list(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert_eq!(images, [IMAGE]);
    }

    /// What a slave needs to run them.
    pub(crate) fn settings(&self) -> String {
        format!(
            "container_runtime = podman\ncontainer_flags = {}\ncontainer_run_flags = {}\ncontainer_network = host\n",
            self.flags().join(", "),
            RUN_FLAGS.join(", "),
        )
    }

    pub(crate) async fn farm(&self, slaves: &[u32]) -> Farm {
        let slave = self.settings();
        let extra = Extra {
            slave: &slave,
            ..Extra::default()
        };
        let mut farm = Farm::with(&extra);
        farm.start_all(slaves).await;
        farm
    }
}

impl Farm {
    /// Makes a template of a repository; its name.
    async fn builds_template(&self, repository: &Repository) -> String {
        let request = BuildTemplate {
            repository: repository.path().display().to_string(),
            branch: None,
            commit: None,
            force: false,
        };
        let accepted = self.client().build_template(&request).await.unwrap();
        self.end_of(accepted.build_id).await.passes();
        accepted.name
    }
}

/// A job whose atoms run this command in a container.
pub(crate) fn contained(command: &str) -> Job {
    job(command).with("image", IMAGE)
}

#[tokio::test]
async fn set_up_atoms_and_teardown_run_in_containers() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::empty();
    // What the set-up installs is there for each atom; an executor has one container for all of its atoms.
    let atom = "echo $FROM_IMAGE $SHADOWED $N; cat /installed checked-out made; echo $N >> /tmp/atoms; \
                wc -l < /tmp/atoms; echo artifact > $ARTIFACT_DIR/file; ls /usr /home; test $N != 3";
    let job = contained(atom)
        .setup("echo installed > /installed; echo made > made; id -u")
        .teardown("cat /installed && test ! -e /usr")
        .with("env", json!({"SHADOWED": "two\nlines"}));
    repository.commit_job(&job);
    repository.commit(&[("checked-out", "checked out\n")]);
    let farm = images.farm(&[1]).await;
    let build = farm.run(&repository.request()).await.fails(&[(3, 1)]);
    let mut consoles = Vec::new();
    for atom in farm.atoms(build.id).await {
        consoles.push(farm.console(build.id, &atom).await);
    }
    for (number, console) in (1..).zip(&consoles) {
        let printed = format!(
            "yes two lines {number}\ninstalled\nchecked out\nmade\n{number}\n\
             ls: /usr: No such file or directory\nls: /home: No such file or directory\n"
        );
        assert_eq!(console, &printed);
    }
    assert_eq!(consoles.len(), 4);
    farm.wait_for_rest().await;
    images.are_left_alone().await;
}

/// A batch finds the file with its atoms in the container, too.
#[tokio::test]
async fn many_atoms_run_in_one_process_of_a_container() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::empty();
    let log = "echo $BATCH_SIZE > $ARTIFACT_DIR/size";
    let batch = format!(
        "{log}; while read -r atom; do if test $atom = 3; then echo not ok 3; else echo ok $atom; fi; done < $ATOMS_FILE; \
         ! grep -qx 3 $ATOMS_FILE"
    );
    let job = contained("test $N != 3")
        .with("batch_command", batch)
        .with("atomizers", json!([{"N": "seq 1 12"}]));
    repository.commit_job(&job);
    let farm = images.farm(&[1]).await;
    let build = farm.run(&repository.request()).await.fails(&[(3, 1)]);
    let into = farm.path("files");
    let fetch = ["artifacts", "1", "**/size", "-o", into.to_str().unwrap()];
    let fetched = farm.user(&fetch);
    assert_eq!(fetched.code, Some(0), "{fetched:#?}");
    let atoms = fs::read_dir(&into).unwrap();
    let size = |atom: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(atom.unwrap().path().join("size")).unwrap()
    };
    let sizes: Vec<u32> = atoms
        .map(|atom| size(atom).trim().parse().unwrap())
        .collect();
    // Those of the batches that failed are not kept: a batch that found its atoms passed.
    assert!(sizes.iter().any(|size| *size > 1), "{sizes:?}");
    assert_eq!(farm.atoms(build.id).await.len(), 12);
    farm.wait_for_rest().await;
    images.are_left_alone().await;
}

/// As variables and as files, and no runtime has them on its command line.
#[tokio::test]
async fn secrets_reach_what_runs_in_a_container() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::empty();
    let looks =
        "test \"$(cat $KEY_FILE)\" = \"$TOKEN\" && test ${#TOKEN} = 19 && echo \"has $TOKEN\"";
    let job = contained(looks)
        .atoms(2)
        .setup(looks)
        .with("secrets", json!(["TOKEN", "KEY_FILE"]));
    repository.commit_job(&job);
    let farm = images.farm(&[1]).await;
    farm.run(&repository.request()).await.errs(&["secret set"]);
    for (name, as_file) in [("TOKEN", false), ("KEY_FILE", true)] {
        let secret = SetSecret {
            project: repository.path().display().to_string(),
            name: name.to_owned(),
            value: Some(SecretValue::new("of-some-container-7".to_owned())),
            as_file,
            allow_forks: false,
        };
        farm.client().set_secret(&secret).await.unwrap();
    }
    let build = farm.run(&repository.request()).await.passes();
    for atom in farm.atoms(build.id).await {
        assert_eq!(farm.console(build.id, &atom).await, "has ***\n");
    }
    farm.wait_for_rest().await;
    images.are_left_alone().await;
}

#[tokio::test]
async fn a_time_limit_and_a_cancel_end_what_runs_in_a_container() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::empty();
    let hangs = "echo begins; test $N = 2 || exit 0; trap '' TERM; while true; do sleep 1; done";
    // Long enough for the others on a busy machine.
    repository.commit_job(&contained(hangs).atoms(3).with("timeout", 15));
    let farm = images.farm(&[1]).await;
    farm.run(&repository.request()).await.fails(&[(2, 124)]);
    repository.commit_job(&contained(&format!("N=2; {hangs}")).atoms(2));
    let build = farm.submit(&repository.request()).await;
    wait_for("an atom hangs", async || {
        let client = farm.client();
        for subjob in client.subjobs(build).await.ok()? {
            for atom in subjob.atoms {
                let (subjob, atom) = (atom.subjob_id, atom.id);
                let console = client.console(build, subjob, atom, 10, Some(0)).await;
                if console.is_ok_and(|console| console.content == "begins\n") {
                    return Some(());
                }
            }
        }
        None
    })
    .await;
    assert_eq!(images.containers().len(), 1);
    farm.client().cancel(build).await.unwrap();
    farm.end_of(build).await.ends_canceled();
    farm.wait_for_rest().await;
    images.are_left_alone().await;
}

#[tokio::test]
async fn a_killed_slave_leaves_no_container() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::empty();
    repository.commit_job(&contained("trap '' TERM; while true; do sleep 1; done").atoms(2));
    let mut farm = images.farm(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("both atoms run", async || {
        (images.containers().len() == 2).then_some(())
    })
    .await;
    farm.kill_slave(0);
    images.are_left_alone().await;
    farm.client().cancel(build).await.unwrap();
    farm.end_of(build).await.ends_canceled();
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told() {
    let Some(images) = Images::new() else { return };
    let repository = Repository::of(&job("true").with("image", "localhost/nothing:1"));
    let farm = images.farm(&[1]).await;
    let build = farm.run(&repository.request()).await;
    build.errs(&["localhost/nothing:1"]);
}

#[tokio::test]
async fn jobs_and_templates_are_based_on_templates() {
    let Some(images) = Images::new() else { return };
    let farm = images.farm(&[1]).await;
    let dockerfile = format!("FROM {IMAGE}\nRUN echo first > /first\nENTRYPOINT []\n");
    let first = Repository::empty();
    first.commit(&[("Dockerfile", &dockerfile)]);
    let first = farm.builds_template(&first).await;
    let dockerfile =
        format!("FROM {first}:latest\nRUN cp /first /second && echo second >> /second\n");
    let second = Repository::empty();
    second.commit(&[("Dockerfile", &dockerfile)]);
    let second = farm.builds_template(&second).await;
    let job = job("cat /second; cat /third").setup("cp /second /third");
    let repository = Repository::of(&job.with("image", second.as_str()));
    let build = farm.run(&repository.request()).await.passes();
    for atom in farm.atoms(build.id).await {
        let console = farm.console(build.id, &atom).await;
        assert_eq!(console, "first\nsecond\nfirst\nsecond\n");
    }
    farm.wait_for_rest().await;
    assert_eq!(images.containers(), [""; 0]);
    let kept = images.list(&["images", "--format", "{{.Repository}}"]);
    let templates = kept
        .iter()
        .filter(|name| name.contains("clusterrunner-template-"));
    assert_eq!((kept.len(), templates.count()), (3, 2), "{kept:?}");
}

#[tokio::test]
async fn a_template_that_is_no_image_is_a_base_and_no_image() {
    let farm = Farm::start(&[1, 1]).await;
    let first = Repository::empty();
    first.commit(&[
        ("tool", "#!/bin/sh\necho tool\n"),
        ("Procfile", "web: sh tool\n"),
    ]);
    let first = farm.builds_template(&first).await;
    let second = Repository::empty();
    let dockerfile = format!("FROM {first}\nRUN sh tool > said\n");
    second.commit(&[("Dockerfile", &dockerfile)]);
    let second = farm.builds_template(&second).await;
    let template = farm.client().template(&second).await.unwrap();
    let template = template.template.unwrap();
    assert_eq!(template.processes["web"], "sh tool");
    let repository = Repository::of(&job("true").with("image", format!("{first}:latest")));
    let build = farm.run(&repository.request()).await;
    build.errs(&[&first, "is no container image"]);
}

#[tokio::test]
async fn a_slave_without_containers_runs_no_job_with_an_image() {
    let repository = Repository::of(&job("true").with("image", IMAGE));
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let client = farm.client();
    wait_for("the build says what it waits for", async || {
        let details = client.build(build).await.unwrap().details?;
        details
            .contains("no slave that takes work runs containers")
            .then_some(())
    })
    .await;
    client.cancel(build).await.unwrap();
}
