//! The recorded exchanges of the original, replayed with a master that was brought to the same
//! state by the same commands.

mod accounts;
mod farm;
mod legacy;
#[path = "../../../../../common/testdata/golden.rs"]
mod replay;

use super::Master;
use accounts::{EXCEPTIONS, NOT_ALONE};
use farm::Farm;
use replay::Score;

/// The secret with which the recorded requests are signed.
pub(super) const SECRET: &str = "peersecret0123456789abcdef";

/// The master of the first recorded session, and the slave that was connected to it.
const MASTER: &str = "fc64cae2-b848-425e-9407-46cb2aa23c1b";
const SLAVE: &str = "0788cce8-6de1-4d67-a84d-d96f3317a969";

#[tokio::test]
async fn the_recorded_exchanges_of_the_original_come_out_the_same() {
    let mut score = Score::new("master", &[], EXCEPTIONS);
    first_session(&mut score).await;
    second_session(&mut score).await;
    score.finish(NOT_ALONE, (105, 74, 39));
}

/// One build from its submission to its archives, and many errors.
async fn first_session(score: &mut Score) {
    let farm = Farm::start(MASTER, None);
    farm.connect("localhost:43001", SLAVE, 2).await;
    farm.replay(
        score,
        (3..=31).filter(|n| ![12, 21, 22, 23, 24].contains(n)),
    )
    .await;

    farm.replay(score, [50, 51]).await;
    farm.prepare(1, SAMPLE, &["a", "b", "c", "d", "e"].map(test))
        .await;
    farm.set_up(1, SLAVE).await;
    farm.replay(score, (57..=72).chain(74..=79)).await;
    farm.finish_subjob(1, 0, 0).await;
    farm.replay(score, 86..=93).await;
    for (subjob, exit_code) in [(1, 0), (2, 1), (3, 0), (4, 0)] {
        farm.finish_subjob(1, subjob, exit_code).await;
    }
    farm.replay(score, [95]).await;
    farm.archive(1).await;
    farm.tear_down(1).await;
    farm.replay(score, 97..=118).await;

    farm.replay(score, 129..=144).await;
    farm.replay(score, 148..=156).await;
    farm.replay(score, [157, 159]).await;
    farm.replay(score, 161..=169).await;
    farm.replay(score, (170..=175).chain([180])).await;
    farm.replay(score, [124]).await;
}

/// Builds that wait, are canceled or fail.
async fn second_session(score: &mut Score) {
    let farm = Farm::start("another-life", Some(r"http://dash\.example\.com"));
    farm.replay(score, [181]).await;
    let numbers: Vec<String> = (1..=4).map(|n| format!("export N=\"{n}\";")).collect();
    farm.prepare(1, "echo \"n=$N\"", &numbers).await;
    farm.replay(score, 182..=194).await;
    farm.replay(score, 195..=199).await;
    for number in 200..=220 {
        farm.fail_as_recorded(score, number).await;
    }
    farm.replay(score, 200..=220).await;
    farm.submit_recorded(&score.fixture(221)).await;
    farm.prepare(24, "true", &[]).await;
    farm.archive(24).await;
    farm.replay(score, 221..=227).await;

    // Builds that were canceled while slaves worked on them, and slaves that come and go.
    let session = "e1b63b10-213e-402b-8292-787c782d864c";
    farm.connect("localhost:43001", session, 1).await;
    farm.replay(score, [240, 241]).await;
    farm.submit_fillers(25..26).await;
    farm.submit_recorded(&score.fixture(232)).await;
    farm.prepare(26, SLOW, &numbers).await;
    farm.set_up(26, session).await;
    farm.replay(score, 231..=233).await;
    farm.tear_down(26).await;
    farm.lose().await;
    farm.replay(score, [243]).await;
    let session = "3b79a430-3b1f-42fd-a3d3-e3b309146bb4";
    for session in ["one-in-between", session] {
        farm.connect("localhost:43001", session, 1).await;
    }
    farm.replay(score, [246, 247]).await;
    farm.submit_fillers(27..30).await;
    farm.replay(score, [251]).await;
}

/// The command of another recorded job.
const SLOW: &str =
    "echo started; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo \"tick $i\"; sleep 0.5; done";

/// The command of the recorded job.
const SAMPLE: &str = "echo \"start $TEST\" && sleep 2 && cat $TEST > $ARTIFACT_DIR/copy.txt && for i in 1 2 3; do echo \"line $i of $TEST\"; done && test \"$TEST\" != \"$PROJECT_DIR/tests/test_c\"";

fn test(name: &str) -> String {
    format!("export TEST=\"$PROJECT_DIR/tests/test_{name}\";")
}
