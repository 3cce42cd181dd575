//! Packs that no client of ours sends.

use super::{CODE, Clone, packs};
use crate::farm::Farm;
use clusterrunner_client::ClientError;
use clusterrunner_client::client::SentPack;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const URL: &str = "sent://hostile";

impl Clone {
    /// What git prints that reads this.
    fn pipe(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut git = Command::new("git");
        let git = git.arg("-C").arg(&self.path).args(arguments);
        let git = git.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut git = git.spawn().unwrap();
        git.stdin.take().unwrap().write_all(input).unwrap();
        let ended = git.wait_with_output().unwrap();
        assert!(ended.status.success(), "{arguments:?}");
        ended.stdout
    }

    /// An object of any content; its id.
    fn object(&self, kind: &str, content: &[u8]) -> String {
        let hash = ["hash-object", "-t", kind, "-w", "--stdin", "--literally"];
        String::from_utf8(self.pipe(&hash, content))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// A commit with these files, and its pack. All have the same content.
    fn commit_of(&self, entries: &[(&str, &str)]) -> (String, PathBuf) {
        let blob = self.object("blob", b"/etc");
        let id: Vec<u8> = (0..20)
            .map(|n| u8::from_str_radix(&blob[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        let tree = entries.iter().flat_map(|(mode, name)| {
            let head = format!("{mode} {name}\0").into_bytes();
            [head, id.clone()].concat()
        });
        let tree = self.object("tree", &tree.collect::<Vec<u8>>());
        let text = format!("tree {tree}\nauthor a <a@b> 0 +0000\ncommitter a <a@b> 0 +0000\n\nx\n");
        let commit = self.object("commit", text.as_bytes());
        let objects = format!("{commit}\n{tree}\n{blob}\n");
        let pack = self.pipe(&["pack-objects", "--stdout", "-q"], objects.as_bytes());
        let path = self.path.join(".git/sent.pack");
        fs::write(&path, pack).unwrap();
        (commit, path)
    }
}

async fn send(farm: &Farm, commit: &str, path: &PathBuf) -> Result<(), ClientError> {
    let bytes = fs::metadata(path).unwrap().len();
    let pack = SentPack {
        url: URL,
        commit,
        after: None,
        path,
        bytes,
    };
    let client = farm.client();
    client.send_working_tree(&pack, |_| {}).await.map(drop)
}

#[tokio::test]
async fn names_that_lead_out_of_the_work_tree_end_the_build() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "x")]);
    for (number, entries) in (1..).zip([
        &[("100644", ".git")][..],
        &[("100644", ".GIT")],
        &[("100644", "..")],
        &[("100644", "a/b")],
        &[("120000", "a"), ("40000", "a")],
    ]) {
        let (commit, pack) = clone.commit_of(entries);
        send(&farm, &commit, &pack).await.unwrap();
        let request = json!({
            "type": "git", "url": URL, "hash": commit, "working_tree": {"files": 1},
            "config": {"commands": ["true"], "atomizers": [{"N": "echo 1"}]},
        });
        let over = farm.run(&request).await.errs(&["is refused", "tree"]);
        assert_eq!(over.id.0, number, "{entries:?}");
    }
}

#[tokio::test]
async fn what_is_no_pack_of_the_commit_is_refused() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "x")]);
    let (commit, path) = clone.commit_of(&[("100644", "code")]);
    let good = fs::read(&path).unwrap();
    let mut damaged = good.clone();
    damaged[20] ^= 0xff;
    for bytes in [&b"PACK"[..], &good[..good.len() / 2], &damaged] {
        fs::write(&path, bytes).unwrap();
        let refused = send(&farm, &commit, &path).await.unwrap_err();
        assert_eq!(
            refused.status().map(|status| status.as_u16()),
            Some(400),
            "{refused}"
        );
    }
    fs::write(&path, &good).unwrap();
    let other = "1".repeat(40);
    let refused = send(&farm, &other, &path).await.unwrap_err();
    assert!(refused.to_string().contains("has no commit"), "{refused}");
    assert_eq!(packs(&farm).len(), 0);
    send(&farm, &commit, &path).await.unwrap();
    assert_eq!(packs(&farm).len(), 1);
}
