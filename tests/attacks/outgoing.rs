//! Addresses that the farm would call for somebody who can not reach them.

use super::victim::Victim;
use crate::farm::Extra;
use crate::notify::receiver::Receiver;
use crate::wait::wait_for;
use serde_json::json;

/// Whom nobody may call: another loopback address.
const FORBIDDEN: &str = "127.77.0.1";

/// A farm that may fetch files from 127.0.0.1 alone, and tells a receiver there of builds.
struct Scene<'v> {
    victim: &'v Victim,
    /// At 127.0.0.1.
    allowed: Receiver,
    /// At an address that is for nobody.
    forbidden: Receiver,
    hook: Receiver,
}

#[tokio::test]
async fn the_farm_calls_nobody_for_strangers() {
    let (allowed, hook) = (Receiver::start().await, Receiver::start().await);
    let told = format!(
        "[notify hook]\nurl = {}/hook\nsecret = a secret of receivers\n",
        hook.url()
    );
    let extra = Extra {
        general: "remote_files_allow = 127.0.0.1",
        slave: &told,
        ..Extra::default()
    };
    let victim = Victim::with(&extra).await;
    let scene = Scene {
        victim: &victim,
        allowed,
        forbidden: Receiver::start_at(FORBIDDEN).await,
        hook,
    };
    suffer!(
        victim with scene,
        spellings_of_inner_addresses,
        redirects_to_inner_addresses,
        redirects_without_end,
        a_receiver_that_sends_elsewhere,
    );
    let called = scene.forbidden.received();
    assert!(called.is_empty(), "{called:?}");
    victim.lives().await;
}

impl Scene<'_> {
    /// A build that wants a file from there is refused or ends in an error.
    async fn fetches_nothing(&self, url: &str) {
        let files = json!({"remote_files": {"file": url}});
        let request = self.victim.project.request_with(files);
        self.victim.comes_to_nothing(&request).await;
    }
}

async fn spellings_of_inner_addresses(scene: &Scene<'_>) {
    let port = scene.forbidden.port();
    for host in [
        "127.77.0.1",
        "127.77.1",
        "0x7f.0x4d.0.1",
        "0177.0115.0.1",
        "2135752705",
        "0x7f4d0001",
        "[::ffff:127.77.0.1]",
        "[::ffff:7f4d:1]",
        "[64:ff9b::127.77.0.1]",
        "127.0.0.1@127.77.0.1",
        "127.77.0.1.",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "0",
        "localhost.",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "192.168.0.1",
        "\u{2460}\u{2461}\u{2466}.77.0.1",
        "127\u{3002}77\u{3002}0\u{3002}1",
    ] {
        scene
            .fetches_nothing(&format!("http://{host}:{port}/x"))
            .await;
    }
    for url in [
        "file:///etc/passwd",
        "gopher://127.77.0.1/x",
        "http:/127.77.0.1/x",
        "http://127.77.0.1:0x50/",
    ] {
        if !url.starts_with("file") {
            scene.fetches_nothing(url).await;
        }
    }
}

/// Each step is looked at, not only the first.
async fn redirects_to_inner_addresses(scene: &Scene<'_>) {
    let inner = scene.forbidden.url();
    for (status, to) in [
        (301, format!("{inner}/x")),
        (302, format!("{inner}/x")),
        (303, format!("//{FORBIDDEN}:{}/x", scene.forbidden.port())),
        (307, format!("{inner}/x")),
        (308, inner.replace("127.77.0.1", "[::ffff:127.77.0.1]")),
        (302, "file:///etc/passwd".to_owned()),
        (302, "ftp://127.77.0.1/x".to_owned()),
        (302, "http://".to_owned()),
    ] {
        scene.allowed.send_to(status, &to);
        scene
            .fetches_nothing(&format!("{}/x", scene.allowed.url()))
            .await;
    }
    scene.allowed.back();
}

async fn redirects_without_end(scene: &Scene<'_>) {
    let itself = format!("{}/again", scene.allowed.url());
    scene.allowed.send_to_always(&itself);
    scene.fetches_nothing(&itself).await;
    let asked = scene.allowed.received().len();
    assert!(asked < 100, "asked {asked} times");
    scene.allowed.back();
}

/// Whoever is told of builds may not lead the master, and its signed words, to somebody else.
async fn a_receiver_that_sends_elsewhere(scene: &Scene<'_>) {
    let before = scene.hook.received().len();
    scene
        .hook
        .send_to(307, &format!("{}/stolen", scene.forbidden.url()));
    scene.victim.passes(&scene.victim.project.request()).await;
    wait_for("the receiver is told again", async || {
        let received = scene.hook.received();
        let taken = received[before..].iter().filter(|one| one.status == 200);
        (taken.count() > 0).then_some(())
    })
    .await;
}
