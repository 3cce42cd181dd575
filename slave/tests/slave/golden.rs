//! The recorded exchanges of the original's slave, replayed with a slave in the same state.

#[path = "../../../common/testdata/golden.rs"]
mod replay;

use crate::fake_master::FakeMaster;
use crate::test_slave::{TestSlave, job};
use replay::{Answer, Exception, NotAlone, Score};
use serde_json::Value;

/// The recorded slave.
const SLAVE: &str = "0788cce8-6de1-4d67-a84d-d96f3317a969";

const TEST: &str =
    "/srv/cr/sample/master/symlinks/00a34ec0-7eb7-4513-b6da-4718827902fa/tests/test_a";

const EXCEPTIONS: &[Exception] = &[
    Exception {
        fixtures: &[37],
        differs: &["+child_routes.hand_outs"],
        because: "our masters give many hand-outs in one call",
    },
    Exception {
        fixtures: &[47],
        differs: &["error", "status=404"],
        because: "an unknown executor is not found, not an internal error",
    },
    Exception {
        fixtures: &[82, 83, 177, 179],
        differs: &["error", "status=401"],
        because: "every order is first of all asked for a signature over the whole request",
    },
    Exception {
        fixtures: &[84, 176, 178],
        differs: &["error"],
        because: "the words say what kind of signature is missing",
    },
];

const NOT_ALONE: &[NotAlone] = &[
    NotAlone {
        fixtures: &[48, 121],
        because: "events depend on all that happened before",
    },
    NotAlone {
        fixtures: &[53, 55, 56, 94, 125, 229, 235, 238, 257],
        because: "orders of a master, which are signed here as whole requests",
    },
];

async fn send(slave: &TestSlave, score: &Score, number: u16) -> Answer {
    let fixture = score.fixture(number);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = fixture.method.parse().unwrap();
    let mut request = client.request(method, slave.url(&fixture.path));
    for (name, value) in &fixture.headers {
        request = request.header(name, value);
    }
    let answer = request.body(fixture.body).send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.bytes().await.unwrap().to_vec(),
    }
}

async fn replay(slave: &TestSlave, score: &mut Score, numbers: impl IntoIterator<Item = u16>) {
    for number in numbers {
        let answer = send(slave, score, number).await;
        score.judge(number, &answer);
    }
}

#[tokio::test]
async fn the_recorded_exchanges_of_the_original_come_out_the_same() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    let session = slave.status().await.slave.session_id.0;
    let renamed = [
        ("localhost:43000", master.address.as_str()),
        (SLAVE, &session),
    ];
    let mut score = Score::new("slave", &renamed, EXCEPTIONS);
    replay(&slave, &mut score, (32..=49).filter(|number| *number != 48)).await;
    replay(&slave, &mut score, [52].into_iter().chain(176..=179)).await;

    slave.set_up(1, job(None, None)).await;
    let wait = "until [ -e release ]; do sleep 0.02; done";
    let lines = format!("for i in 1 2 3; do echo \"line $i of {TEST}\"; done");
    let command = format!("echo start {TEST}; {wait}; {lines}");
    slave.start_subjob(1, 0, 1, &[&command]).await.unwrap();
    slave.start_subjob(1, 1, 1, &[wait]).await.unwrap();
    shows(&slave, &score, 81, "executors").await;
    shows(&slave, &score, 73, "num_lines").await;
    replay(&slave, &mut score, [73, 80, 81, 82, 83, 84]).await;
    std::fs::write(slave.project.join("release"), "").unwrap();
    master.hears_result(2).await;
    replay(&slave, &mut score, [123]).await;
    slave.tear_down(1).await;
    slave
        .shows(|status| status.slave.current_build_id.is_none())
        .await;
    replay(&slave, &mut score, [122]).await;
    score.finish(NOT_ALONE, (21, 9, 11));
    slave.end().await;
}

/// Waits until a field of an answer is as it was recorded: what was ordered takes its time.
async fn shows(slave: &TestSlave, score: &Score, number: u16, field: &str) {
    let recorded: Value = serde_json::from_str(&score.fixture(number).answer.body).unwrap();
    let look = async {
        loop {
            let answer = send(slave, score, number).await;
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            if answer[field] == recorded[field] {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::test_slave::DEADLINE, look)
        .await
        .unwrap();
}
