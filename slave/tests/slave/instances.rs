//! Instances of a slave: real processes that come up, end, hide and refuse to go.

pub(crate) mod containers;
pub(crate) mod restarts;

use crate::fake_master::{FakeMaster, SECRET, secret};
use crate::instance_book::{Spoilt, instance, order};
use crate::test_slave::{DEADLINE, Place, TestSlave};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::instances::InstancesOrder;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::ids::Generation;
use clusterrunner_common::process::ports::free_port;
use clusterrunner_common::templates::{Form, TemplateContent};
use clusterrunner_common::work::ReportedState;
use reqwest::Method;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Listens on `$PORT` and answers with what is in a file.
const SERVER: &str = "import http.server, os
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()
";

/// A slave with a template of one program, `serve.py`.
pub(crate) struct Farm {
    pub(crate) master: FakeMaster,
    pub(crate) slave: TestSlave,
    pub(crate) template: TemplateContent,
}

const PLACE: &str = "0123456789abcdef";

impl Farm {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let master = FakeMaster::start().await;
        let place = Place::new().await;
        let files = [("source/serve.py", SERVER), ("source/hello", "world\n")];
        let template = master.book.template(&place.templates_path(), PLACE, &files);
        let slave = place.start_with(&master.address, 1, settings);
        master.book.reports(|_| true).await;
        Self {
            master,
            slave,
            template,
        }
    }

    pub(crate) async fn order(&self, order: InstancesOrder) {
        let url = self.slave.url("/v1/instances");
        let _: Success = self
            .slave
            .caller
            .send(Method::PUT, &url, &order)
            .await
            .unwrap();
    }

    /// Has one instance with this command run under number 1.
    async fn runs(&self, command: &[&str]) {
        let order = order(1, vec![instance(1, &self.template, command)]);
        self.order(order).await;
    }

    fn instances(&self) -> PathBuf {
        self.slave.data.join("instances")
    }

    /// Ends all, and looks that nothing is left of them.
    pub(crate) async fn ends_all(self) {
        let data = self.slave.data.clone();
        self.order(order(1_000, Vec::new())).await;
        self.master
            .book
            .reports(|report| {
                let mut all = report.instances.iter();
                all.all(|one| {
                    let state = &one.state;
                    matches!(
                        state,
                        ReportedState::Ended
                            | ReportedState::Failed { .. }
                            | ReportedState::Exited { .. }
                    )
                })
            })
            .await;
        assert_eq!(processes(&data), [0_u32; 0]);
        self.slave.end().await;
    }
}

/// Of instances below this data directory.
pub(crate) fn processes(data: &Path) -> Vec<u32> {
    crate::test_slave::all_processes(&format!("instance:{}/instances:", data.display()))
}

pub(crate) async fn get(port: u16, path: &str) -> String {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await;
    answer.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn an_instance_is_fetched_started_up_and_heard() {
    let farm = Farm::start().await;
    farm.runs(&["python3", "serve.py"]).await;
    let port = farm.master.book.is_up(1, 1).await;
    assert_eq!(get(port, "/hello").await, "world\n");
    farm.master.book.prints(1, 1, "GET /hello").await;
    // It works in a copy of its own.
    assert!(farm.instances().join("1.1/source/hello").exists());
    let report = farm.master.book.reports(|_| true).await;
    assert_eq!(
        report.snapshots,
        std::slice::from_ref(&farm.template.digest)
    );
    farm.ends_all().await;
}

#[tokio::test]
async fn a_template_says_what_it_starts() {
    let mut farm = Farm::start().await;
    let web = "exec python3 serve.py".to_owned();
    farm.template
        .description
        .processes
        .insert("web".to_owned(), web);
    farm.runs(&[]).await;
    let port = farm.master.book.is_up(1, 1).await;
    assert_eq!(get(port, "/hello").await, "world\n");
    farm.ends_all().await;
}

#[tokio::test]
async fn a_template_that_says_nothing_is_shown() {
    let mut farm = Farm::start().await;
    // No Jupyter, wherever the tests run.
    let path = "/nowhere".to_owned();
    let environment = &mut farm.template.description.environment;
    environment.insert("PATH".to_owned(), path);
    farm.runs(&[]).await;
    let port = farm.master.book.is_up(1, 1).await;
    assert!(get(port, "/").await.contains("./serve.py"));
    assert_eq!(get(port, "/hello").await, "world\n");
    farm.ends_all().await;
}

#[tokio::test]
async fn one_that_never_listens_is_given_up() {
    let farm = Farm::start_with(&[("instance_start_timeout", "1"), ("instance_restarts", "1")]);
    let farm = farm.await;
    farm.runs(&["echo waiting; sleep 1000"]).await;
    let crashed = |state: &ReportedState| matches!(state, ReportedState::Crashed { .. });
    farm.master.book.stands(1, 1, crashed).await;
    let reason = farm.master.book.fails(1, 1).await;
    assert!(reason.contains("does not listen"), "{reason}");
    assert!(reason.ends_with("it was started again once"), "{reason}");
    let log = farm.master.book.prints(1, 1, "given up").await;
    assert_eq!(log.matches("waiting\n").count(), 2, "{log}");
    assert_eq!(processes(&farm.slave.data), [0_u32; 0]);
    farm.ends_all().await;
}

#[tokio::test]
async fn one_that_finds_no_room_is_given_back() {
    let mut farm = Farm::start().await;
    let whole = farm.template.clone();
    farm.template.digest = "a".repeat(64);
    farm.template.bytes = 1 << 60;
    farm.runs(&["true"]).await;
    let no_room = |state: &ReportedState| matches!(state, ReportedState::NoRoom { .. });
    let state = farm.master.book.stands(1, 1, no_room).await;
    let ReportedState::NoRoom { reason } = state else {
        panic!("{state:?}");
    };
    assert!(reason.contains("The disk is nearly full"), "{reason}");
    // Under the next placement it is tried again.
    farm.template = whole;
    let mut again = instance(1, &farm.template, &["python3", "serve.py"]);
    again.generation = Generation(2);
    farm.order(order(2, vec![again])).await;
    farm.master.book.is_up(1, 2).await;
    farm.ends_all().await;
}

#[tokio::test]
async fn one_that_dies_is_started_again() {
    let farm = Farm::start().await;
    let once = "import http.server, os
class Once(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not os.path.exists('again'):
            open('again', 'w')
            os._exit(3)
        super().do_GET()
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Once).serve_forever()";
    farm.runs(&["python3", "-c", once]).await;
    let port = farm.master.book.is_up(1, 1).await;
    reqwest::get(format!("http://127.0.0.1:{port}/hello"))
        .await
        .ok();
    let report = farm
        .master
        .book
        .reports(|report| report.instances.iter().any(|one| one.restarts == 1))
        .await;
    assert_eq!(report.instances.len(), 1);
    farm.master.book.is_up(1, 1).await;
    farm.master.book.prints(1, 1, "starts again in 1 s").await;
    farm.ends_all().await;
}

#[tokio::test]
async fn processes_that_hide_belong_to_it_and_end_with_it() {
    let farm = Farm::start().await;
    let hidden = "(setsid env -i PORT=$PORT python3 serve.py &) & setsid sh -c 'trap \"\" TERM; sleep 1000' & exit 0";
    farm.runs(&[hidden]).await;
    let port = farm.master.book.is_up(1, 1).await;
    assert_eq!(get(port, "/hello").await, "world\n");
    farm.order(order(2, Vec::new())).await;
    farm.master
        .book
        .stands(1, 1, |state| *state == ReportedState::Ended)
        .await;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    farm.ends_all().await;
}

#[tokio::test]
async fn one_that_ignores_the_end_is_killed() {
    let farm = Farm::start().await;
    farm.runs(&["trap '' TERM INT; python3 serve.py; sleep 1000"])
        .await;
    farm.master.book.is_up(1, 1).await;
    farm.ends_all().await;
}

#[tokio::test]
async fn much_output_is_bounded_and_its_end_arrives() {
    let farm = Farm::start_with(&[("instance_log_buffer_bytes", "65536")]).await;
    farm.runs(&["yes | head -c 100000000; echo; echo THE END; exec python3 serve.py"])
        .await;
    farm.master.book.is_up(1, 1).await;
    farm.master.book.prints(1, 1, "THE END").await;
    let log = std::fs::read_dir(farm.instances().join("1.1/log")).unwrap();
    let bytes: u64 = log
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 1 << 20, "{bytes}");
    farm.ends_all().await;
}

#[tokio::test]
async fn one_gets_no_more_memory_than_it_may_have() {
    let farm = Farm::start_with(&[("instance_restarts", "0")]).await;
    let hungry = "x = bytearray(400 << 20); print('has', 'got', 'it', flush=True)";
    let mut instance = instance(1, &farm.template, &["python3", "-c", hungry]);
    instance.max_memory_bytes = Some(100 << 20);
    farm.order(order(1, vec![instance])).await;
    let reason = farm.master.book.fails(1, 1).await;
    let in_group = reason.contains("needs more memory than the 104857600 bytes");
    assert!(in_group || reason.contains("exit code 1"), "{reason}");
    let log = farm.master.book.prints(1, 1, "given up").await;
    assert!(!log.contains("has got it"), "{log}");
    farm.ends_all().await;
}

#[tokio::test]
async fn what_can_not_be_started_fails_at_once() {
    let farm = Farm::start().await;
    let mut elsewhere = farm.template.clone();
    elsewhere.description.root = Some("/elsewhere/0123456789abcdef".to_owned());
    let hostile = [("source/ok", ""), ("environment/x", "")];
    let path = farm.slave.templates_path();
    let mut missing = farm
        .master
        .book
        .template(&path, "00000000000000aa", &hostile);
    missing.description.directory = "../home".to_owned();
    let broken = farm
        .master
        .book
        .template(&path, "00000000000000bb", &[("source/a", "x")]);
    let mut bytes = vec![1, 2, 3];
    let digest = crate::instance_book::digest_of(&bytes);
    let mut no_archive = broken.clone();
    (no_archive.digest, no_archive.bytes) = (digest.clone(), 3);
    farm.master
        .book
        .snapshots
        .lock()
        .unwrap()
        .insert(digest, std::mem::take(&mut bytes));
    let cases = [
        (
            &farm.template,
            vec!["no-such-program", "x"],
            "there is no program",
        ),
        (&elsewhere, vec!["x"], "templates_path"),
        (&missing, vec!["x"], "no directory of its workspace"),
        (&no_archive, vec!["x"], "the snapshot is refused"),
    ];
    let instances = cases.iter().zip(1..);
    let instances = instances.map(|((template, command, _), id)| instance(id, template, command));
    farm.order(order(1, instances.collect())).await;
    for ((_, _, expected), id) in cases.iter().zip(1..) {
        let reason = farm.master.book.fails(id, 1).await;
        assert!(reason.contains(expected), "{reason}");
    }
    farm.ends_all().await;
}

#[tokio::test]
async fn a_snapshot_is_resumed_checked_and_fetched_again_when_damaged() {
    let farm = Farm::start().await;
    farm.master
        .book
        .spoilt
        .lock()
        .unwrap()
        .extend([Spoilt::Cut(100), Spoilt::Zeros]);
    farm.runs(&["python3", "serve.py"]).await;
    farm.master.book.is_up(1, 1).await;
    // The second try goes on with the first; the whole is not what it should be.
    let offsets = farm.master.book.offsets.lock().unwrap().clone();
    assert_eq!(offsets, [0, 100, 0]);
    let template = farm
        .slave
        .data
        .join("templates")
        .join(&farm.template.digest);
    std::fs::remove_file(template.join("source/hello")).unwrap();
    let both = vec![
        instance(1, &farm.template, &["python3", "serve.py"]),
        instance(2, &farm.template, &["python3", "serve.py"]),
    ];
    farm.order(order(2, both)).await;
    let port = farm.master.book.is_up(2, 1).await;
    assert_eq!(get(port, "/hello").await, "world\n");
    assert_eq!(farm.master.book.offsets.lock().unwrap().len(), 4);
    farm.ends_all().await;
}

#[tokio::test]
async fn a_new_placement_takes_the_place_of_the_old_one() {
    let farm = Farm::start().await;
    farm.runs(&["python3", "serve.py"]).await;
    let port = farm.master.book.is_up(1, 1).await;
    let mut second = instance(1, &farm.template, &["python3", "serve.py"]);
    second.generation = Generation(2);
    farm.order(order(5, vec![second])).await;
    farm.master.book.is_up(1, 2).await;
    assert!(!farm.instances().join("1.1/source").exists());
    // An order of before comes late.
    farm.order(order(4, Vec::new())).await;
    farm.master.book.is_up(1, 2).await;
    assert_ne!(port, 0);
    farm.ends_all().await;
}

#[tokio::test]
async fn one_whose_keeper_is_killed_is_started_anew() {
    let farm = Farm::start().await;
    farm.runs(&["python3", "serve.py"]).await;
    farm.master.book.is_up(1, 1).await;
    let before = processes(&farm.slave.data);
    let keeper = before.iter().find(|id| is_keeper(**id)).unwrap();
    kill(*keeper);
    let before = farm.master.book.num_reports();
    farm.master
        .book
        .reports(|report| {
            farm.master.book.num_reports() > before
                && matches!(report.instances[0].state, ReportedState::Up { .. })
                && processes(&farm.slave.data)
                    .iter()
                    .any(|id| id != keeper && is_keeper(*id))
        })
        .await;
    assert_eq!(processes(&farm.slave.data).len(), 2);
    farm.ends_all().await;
}

#[tokio::test]
async fn a_template_is_fetched_ahead() {
    let farm = Farm::start().await;
    let mut ahead = order(1, Vec::new());
    ahead.preloads = vec![farm.template.clone()];
    farm.order(ahead).await;
    farm.master
        .book
        .reports(|report| report.snapshots.contains(&farm.template.digest))
        .await;
    farm.ends_all().await;
}

pub(crate) fn is_keeper(id: u32) -> bool {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("keep-instance")
}

pub(crate) fn kill(id: u32) {
    let pid = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
