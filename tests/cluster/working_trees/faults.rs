//! Working trees where something dies: the master, a slave, the command that sends.

use super::{CODE, Clone, command, noise, packs, printed, said, temporary};
use crate::farm::Farm;
use crate::machine::{files_below, interrupt};
use crate::wait::wait_for;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// What the command says to the master passes here; what is longer than a question is held up.
struct Relay {
    address: String,
    has_held: Arc<Notify>,
    holding: watch::Sender<bool>,
    _connections: JoinSet<()>,
}

/// Whatever is longer is a pack.
const HELD_AFTER: usize = 1 << 20;

impl Relay {
    async fn start(farm: &Farm) -> Self {
        let listener = TcpListener::bind((farm.address(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (holding, has_held) = (watch::Sender::new(true), Arc::new(Notify::new()));
        let (held, told, master) = (
            holding.subscribe(),
            Arc::clone(&has_held),
            farm.master_address(),
        );
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (held, told, master) = (held.clone(), Arc::clone(&told), master.clone());
                connections.spawn(async move {
                    // Without a master the client's connection ends, too.
                    if let Ok(master) = TcpStream::connect(master).await {
                        pass(client, master, held, &told).await;
                    }
                });
            }
        });
        Self {
            address,
            has_held,
            holding,
            _connections: accepting,
        }
    }
}

async fn pass(
    mut client: TcpStream,
    mut master: TcpStream,
    mut holding: watch::Receiver<bool>,
    has_held: &Notify,
) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_master, mut to_master) = master.split();
    let up = async {
        let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
        loop {
            let length = match from_client.read(&mut buffer).await {
                Ok(length) if length > 0 => length,
                Ok(_) | Err(_) => break,
            };
            total += length;
            if total > HELD_AFTER && *holding.borrow() {
                has_held.notify_one();
                holding.wait_for(|holding| !holding).await.ok();
                break;
            }
            if to_master.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let down = tokio::io::copy(&mut from_master, &mut to_client);
    tokio::select! {
        () = up => {}
        _ended = down => {}
    }
}

/// A build of a large file that is on its way.
async fn held_up(farm: &Farm, clone: &Clone) -> (Relay, std::process::Child) {
    let relay = Relay::start(farm).await;
    clone.write("large", noise(8 << 20, 4));
    clone.write("code", "as changed\n");
    let mut command = farm.command();
    command
        .args([
            "build",
            "--send",
            "--master-url",
            &relay.address,
            "--no-results",
        ])
        .env("TMPDIR", temporary(farm))
        .current_dir(&clone.path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    relay.has_held.notified().await;
    (relay, child)
}

#[tokio::test]
async fn a_master_that_is_killed_gets_the_rest_when_it_is_back() {
    let mut farm = Farm::new();
    farm.start_master().await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    let (relay, child) = held_up(&farm, &clone).await;
    let trees = farm.path("base/master/working_trees");
    wait_for("a pack comes in", async || {
        (!files_below(&trees).is_empty()).then_some(())
    })
    .await;
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(files_below(&trees), Vec::<PathBuf>::new());
    relay.holding.send_replace(false);
    // It sends all again, and is accepted; the master dies before anything is done.
    wait_for("the build is accepted", async || {
        let builds = farm.client().builds().await.ok()?;
        (!builds.is_empty()).then_some(())
    })
    .await;
    farm.kill_master();
    farm.start_master().await;
    farm.start_slave(1);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    said(&ended.await.unwrap().unwrap());
    assert_eq!(printed(&farm, 1).await, "as changed\n");
    assert_eq!(packs(&farm).len(), 1);
}

#[tokio::test]
async fn an_interrupt_leaves_nothing() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    let (relay, child) = held_up(&farm, &clone).await;
    interrupt(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let ended = ended.await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    assert_eq!(files_below(&temporary(&farm)), Vec::<PathBuf>::new());
    drop(relay);
    wait_for("what came in is gone", async || {
        let left = files_below(&farm.path("base/master/working_trees"));
        left.is_empty().then_some(())
    })
    .await;
    assert_eq!(farm.client().builds().await.unwrap(), []);
}

/// Waits for a file, and says that it does.
const WAITING: &str = "Waiting:
  commands:
    - touch \"$SIGNS/started\"
    - until test -e \"$SIGNS/go\"; do sleep 0.05; done
    - cat code
  atomizers: [{N: echo 1}]
";

#[tokio::test]
async fn two_that_send_the_same_are_built_though_the_slave_dies() {
    let mut farm = Farm::start(&[2]).await;
    let clone = Clone::of(&farm, WAITING, &[("code", "as committed\n")]);
    clone.write("code", "as changed\n");
    clone.write("large", noise(400_000, 5));
    let signs = farm.path("signs");
    fs::create_dir(&signs).unwrap();
    let variable = format!("SIGNS={}", signs.display());
    let builds = [(); 2].map(|()| {
        let mut command = command(&farm, &clone.path, &["--no-results", "--env", &variable]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    wait_for("an atom runs", async || {
        signs.join("started").exists().then_some(())
    })
    .await;
    farm.kill_slave(0);
    farm.start_slave(2);
    fs::write(signs.join("go"), "").unwrap();
    for build in builds {
        let ended = tokio::task::spawn_blocking(move || build.wait_with_output());
        said(&ended.await.unwrap().unwrap());
    }
    for build in [1, 2] {
        assert_eq!(printed(&farm, build).await, "as changed\n");
    }
    assert_eq!(packs(&farm).len(), 1);
}
