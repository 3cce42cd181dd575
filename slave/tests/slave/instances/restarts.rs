//! Instances whose slave ends, is killed, and comes back.

use super::*;

/// A slave that is a process of its own.
pub(crate) struct SlaveProcess {
    child: std::process::Child,
    base: tempfile::TempDir,
    port: u16,
}

impl SlaveProcess {
    pub(crate) fn start(
        master: &FakeMaster,
        base: tempfile::TempDir,
        port: u16,
        alone_for: u32,
    ) -> Self {
        let (host, master_port) = master.address.rsplit_once(':').unwrap();
        let path = base.path().display();
        let settings = format!(
            "[general]\nsecret = {SECRET:?}\nbase_directory = {path}/base\nbind_address = 127.0.0.1\n[slave]\n\
             master_hostname = {host}\nmaster_port = {master_port}\nheartbeat_interval = 1\n\
             templates_path = {path}/t\ninstance_stop_grace = 1\ninstance_alone_for = {alone_for}\n\
             container_runtime = none\n"
        );
        let file = base.path().join("clusterrunner.conf");
        std::fs::write(&file, settings).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clusterrunner-slave"));
        command
            .args([
                "--log-file-only",
                "--port",
                &port.to_string(),
                "--config-file",
            ])
            .arg(&file);
        Self {
            child: command.spawn().unwrap(),
            base,
            port,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.base.path().join(format!("base/slave-{}", self.port))
    }

    pub(crate) async fn order(&self, order: InstancesOrder) {
        let caller = Caller::new(Some(secret()), DEADLINE).unwrap();
        let url = format!("http://127.0.0.1:{}/v1/instances", self.port);
        let _: Success = caller.send(Method::PUT, &url, &order).await.unwrap();
    }

    pub(crate) fn kill(mut self) -> (tempfile::TempDir, u16) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.base, self.port)
    }
}

/// A slave process with an instance that is up at the returned port.
async fn slave_process(
    master: &FakeMaster,
    alone_for: u32,
) -> (SlaveProcess, u16, TemplateContent) {
    let base = tempfile::tempdir().unwrap();
    let port = free_port(Ipv4Addr::LOCALHOST.into(), 20_000).unwrap();
    let files = [("source/serve.py", SERVER), ("source/hello", "world\n")];
    let place = base.path().join("t");
    let template = master.book.template(&place, PLACE, &files);
    let slave = SlaveProcess::start(master, base, port, alone_for);
    master.book.reports(|_| true).await;
    let command = ["python3", "serve.py"];
    let one = order(1, vec![instance(1, &template, &command)]);
    slave.order(one).await;
    let port = master.book.is_up(1, 1).await;
    (slave, port, template)
}

#[tokio::test]
async fn a_slave_that_is_killed_finds_its_instances_again() {
    let master = FakeMaster::start().await;
    let (slave, port, template) = slave_process(&master, 60).await;
    let before = processes(&slave.data());
    assert_eq!(before.len(), 2);
    let data = slave.data();
    let (base, slave_port) = slave.kill();
    assert_eq!(get(port, "/hello").await, "world\n");
    let num_reports = master.book.num_reports();
    let slave = SlaveProcess::start(&master, base, slave_port, 60);
    master
        .book
        .reports(|_| master.book.num_reports() > num_reports)
        .await;
    assert_eq!(master.book.is_up(1, 1).await, port);
    let same = order(2, vec![instance(1, &template, &["python3", "serve.py"])]);
    slave.order(same).await;
    master.book.is_up(1, 1).await;
    assert_eq!(processes(&data), before, "it was not started again");
    // What is printed from now on arrives, and what came before not twice.
    get(port, "/last").await;
    let log = master.book.prints(1, 1, "GET /last").await;
    assert_eq!(log.matches("GET /hello").count(), 1, "{log}");
    slave.order(order(3, Vec::new())).await;
    master
        .book
        .stands(1, 1, |state| *state == ReportedState::Ended)
        .await;
    assert_eq!(processes(&data), [0_u32; 0]);
    slave.kill();
}

/// Waits until nothing of the instances below this data directory runs.
pub(crate) async fn all_end(data: &Path) {
    let all_end = async {
        while !processes(data).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all_end).await.unwrap();
}

#[tokio::test]
async fn instances_end_when_their_slave_is_gone_for_good() {
    let master = FakeMaster::start().await;
    let (slave, port, _) = slave_process(&master, 1).await;
    let data = slave.data();
    let (_base, _) = slave.kill();
    all_end(&data).await;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn a_slave_that_is_told_to_end_ends_its_instances() {
    let farm = Farm::start().await;
    farm.runs(&["python3", "serve.py"]).await;
    farm.master.book.is_up(1, 1).await;
    let data = farm.slave.data.clone();
    farm.slave.stop.cancel();
    let _base = farm.slave.has_ended().await;
    assert_eq!(processes(&data), [0_u32; 0]);
}
