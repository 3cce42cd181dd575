//! What slaves of the original say, replayed with a master that lets them in.

use super::accounts::{LEGACY_EXCEPTIONS, LEGACY_REPRODUCED};
use super::farm::Farm;
use super::replay::{Exception, differences, fixtures};
use super::{MASTER, SAMPLE, test};
use std::collections::BTreeSet;

struct Replay {
    farm: Farm,
    wrong: Vec<String>,
    reproduced: Vec<u16>,
}

impl Replay {
    fn start(session: &str) -> Self {
        Self {
            farm: Farm::start_with_legacy_peers(session),
            wrong: Vec::new(),
            reproduced: Vec::new(),
        }
    }

    async fn send(&mut self, numbers: &[u16]) {
        let fixtures = fixtures("master");
        for number in numbers {
            let fixture = &fixtures[number];
            let answer = self.farm.send(fixture).await;
            let found = differences(&fixture.answer, &answer);
            let exception = |exception: &&Exception| exception.fixtures.contains(number);
            let exception = LEGACY_EXCEPTIONS.iter().find(exception);
            let allowed = exception.map_or(&[][..], |exception| exception.differs);
            let allowed: BTreeSet<String> = allowed.iter().map(|&text| text.to_owned()).collect();
            if found != allowed {
                let body = String::from_utf8_lossy(&answer.body);
                self.wrong.push(format!("{number}: {found:?} {body}"));
            }
            if exception.is_none() {
                self.reproduced.push(*number);
            }
        }
    }

    fn finish(self) -> Vec<u16> {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
        self.reproduced
    }
}

#[tokio::test]
async fn slaves_of_the_original_are_answered_as_recorded() {
    let mut replay = Replay::start(MASTER);
    replay.send(&[1, 2, 17, 19, 50]).await;
    replay
        .farm
        .prepare(1, SAMPLE, &["a", "b", "c", "d", "e"].map(test))
        .await;
    replay.send(&[54, 57, 79]).await;
    for (subjob, exit_code) in [(0, 0), (1, 0), (2, 1), (3, 0), (4, 0)] {
        replay.farm.finish_subjob(1, subjob, exit_code).await;
    }
    replay.send(&[96]).await;
    replay.farm.archive(1).await;
    replay.send(&[100]).await;
    replay.send(&[156, 157, 158, 159, 160]).await;
    replay.send(&[170, 171, 172, 173, 174, 175]).await;
    let mut reproduced = replay.finish();

    // A slave that ends, is dead, and comes back.
    let mut replay = Replay::start("another-life");
    replay
        .farm
        .connect_legacy("localhost:43001", "e1b63b10-213e-402b-8292-787c782d864c", 1)
        .await;
    replay.send(&[242, 243, 244]).await;
    replay
        .farm
        .connect_legacy("localhost:43001", "one-in-between", 1)
        .await;
    replay.send(&[245, 246]).await;
    reproduced.extend(replay.finish());
    assert_eq!(reproduced, LEGACY_REPRODUCED, "the score has changed");
}
