use super::*;
use clusterrunner_common::ids::Generation;
use tempfile::TempDir;

const INSTANCE: InstanceId = InstanceId(4);
const PLENTY: usize = 1 << 30;

fn logs(max_bytes: u64) -> (TempDir, InstanceLogs) {
    let directory = tempfile::tempdir().unwrap();
    let logs = InstanceLogs::open(directory.path().join("logs"), max_bytes).unwrap();
    (directory, logs)
}

fn again(directory: &TempDir, max_bytes: u64) -> InstanceLogs {
    InstanceLogs::open(directory.path().join("logs"), max_bytes).unwrap()
}

fn piece(generation: u32, offset: u64, text: &str) -> LogPiece {
    LogPiece {
        id: INSTANCE,
        generation: Generation(generation),
        offset,
        text: text.to_owned(),
        length: text.len() as u64,
    }
}

fn all(logs: &InstanceLogs) -> String {
    logs.read(INSTANCE, 0, PLENTY).unwrap().text
}

#[test]
fn each_piece_is_stored_once() {
    let (directory, mut logs) = logs(1 << 20);
    assert_eq!(all(&logs), "");
    for end in [4, 8, 8] {
        assert_eq!(logs.add(&piece(1, 0, "one\n")).unwrap(), Some(end));
        assert_eq!(logs.add(&piece(1, 4, "two\n")).unwrap(), Some(8));
        // It overlaps: the slave goes on from the end.
        assert_eq!(logs.add(&piece(1, 6, "o\nthree\n")).unwrap(), Some(8));
        assert_eq!(all(&logs), "one\ntwo\n");
        logs = again(&directory, 1 << 20);
    }
    // What was no UTF-8 is longer as text.
    let replaced = LogPiece {
        length: 1,
        ..piece(1, 8, "\u{fffd}")
    };
    assert_eq!(logs.add(&replaced).unwrap(), Some(9));
    assert_eq!(logs.add(&piece(1, 9, "!\n")).unwrap(), Some(11));
    assert_eq!(all(&logs), "one\ntwo\n\u{fffd}!\n");
}

#[test]
fn what_is_missing_and_where_a_placement_begins_is_told() {
    let (directory, logs) = logs(1 << 20);
    logs.add(&piece(1, 0, "a\n")).unwrap();
    assert_eq!(logs.add(&piece(1, 12, "b\n")).unwrap(), Some(14));
    assert_eq!(logs.add(&piece(3, 0, "c\n")).unwrap(), Some(2));
    for late in [piece(1, 14, "late\n"), piece(2, 0, "late\n")] {
        assert_eq!(logs.add(&late).unwrap(), None);
        assert_eq!(again(&directory, 1 << 20).add(&late).unwrap(), None);
    }
    assert_eq!(
        all(&logs),
        "a\n[ClusterRunner: 10 bytes of output are not kept here]\nb\n\
         [ClusterRunner: placement 3 of this instance begins]\nc\n"
    );
}

#[test]
fn a_log_is_bounded_and_keeps_its_places() {
    let (directory, logs) = logs(8000);
    let line = |number: u64| format!("{number:019}\n");
    for number in 0..2000 {
        let added = logs.add(&piece(1, number * 20, &line(number))).unwrap();
        assert_eq!(added, Some((number + 1) * 20));
    }
    let files = std::fs::read_dir(directory.path().join("logs/4")).unwrap();
    let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
    let total: u64 = sizes.sum();
    assert!((4000..=8000).contains(&total), "{total}");
    for logs in [&logs, &again(&directory, 8000)] {
        let kept = logs.read(INSTANCE, 0, PLENTY).unwrap();
        assert!(kept.offset > 0 && kept.offset % 20 == 0, "{}", kept.offset);
        let expected: String = (kept.offset / 20..2000).map(line).collect();
        assert_eq!((kept.text, kept.next), (expected, 40_000));
        let part = logs.read(INSTANCE, 39_925, 50).unwrap();
        let expected = LogText {
            offset: 39_925,
            text: format!("{:014}\n{}{:.15}", 1996, line(1997), line(1998)),
            next: 39_975,
        };
        assert_eq!(part, expected);
        let end = logs.read(INSTANCE, 99_999, 50).unwrap();
        assert_eq!((end.offset, &*end.text, end.next), (40_000, "", 40_000));
    }
}

#[test]
fn no_character_is_cut() {
    let (_directory, logs) = logs(1 << 20);
    logs.add(&piece(1, 0, "äöü")).unwrap();
    let part = |offset, most| {
        let part = logs.read(INSTANCE, offset, most).unwrap();
        (part.offset, part.text, part.next)
    };
    assert_eq!(part(0, 3), (0, "ä".to_owned(), 2));
    assert_eq!(part(1, 4), (2, "öü".to_owned(), 6));
}

#[test]
fn what_was_half_written_is_left_out_and_sent_again() {
    let (directory, logs) = logs(1 << 20);
    logs.add(&piece(1, 0, "one\n")).unwrap();
    logs.add(&piece(1, 4, "two\n")).unwrap();
    let file = directory.path().join("logs/4/0000000000000000");
    let bytes = std::fs::read(&file).unwrap();
    for torn in 1..bytes.len() {
        std::fs::write(&file, &bytes[..torn]).unwrap();
        let logs = again(&directory, 1 << 20);
        let has_first = torn >= bytes.len() / 2;
        assert_eq!(all(&logs), if has_first { "one\n" } else { "" });
        let end = logs.add(&piece(1, 0, "one\n")).unwrap().unwrap();
        assert_eq!(end, 4);
        assert_eq!(logs.add(&piece(1, 4, "two\n")).unwrap(), Some(8));
        assert_eq!(all(&again(&directory, 1 << 20)), "one\ntwo\n");
    }
}

#[tokio::test]
async fn a_reader_hears_that_a_log_grows() {
    let (_directory, logs) = logs(1 << 20);
    let mut length = logs.length(INSTANCE);
    logs.add(&piece(1, 0, "one\n")).unwrap();
    length.changed().await.unwrap();
    assert_eq!(*length.borrow_and_update(), 4);
    logs.add(&piece(1, 0, "one\n")).unwrap();
    assert!(!length.has_changed().unwrap());
    logs.remove(INSTANCE).unwrap();
    // Nothing more can come.
    assert!(length.changed().await.is_err());
}

#[test]
fn logs_that_nobody_needs_go() {
    let (directory, logs) = logs(1 << 20);
    for id in [1, 2, 3] {
        let piece = LogPiece {
            id: InstanceId(id),
            ..piece(1, 0, "x")
        };
        logs.add(&piece).unwrap();
    }
    logs.remove(InstanceId(2)).unwrap();
    logs.remove(InstanceId(2)).unwrap();
    let logs = again(&directory, 1 << 20);
    logs.keep_only(&[InstanceId(3)].into()).unwrap();
    let left = std::fs::read_dir(directory.path().join("logs")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["3"]);
}

#[tokio::test]
async fn all_of_a_run_is_kept_until_it_was_read() {
    let (directory, logs) = logs(64 << 10);
    let text = "0123456789abcde\n".repeat(1 << 14);
    let mut offset = 0;
    let whole = tokio::spawn({
        let logs = logs.clone();
        async move { logs.is_whole(INSTANCE).await }
    });
    for _ in 0..40 {
        let piece = piece(1, offset, &text);
        offset = logs.add_of_run(&piece).unwrap().unwrap();
    }
    assert_eq!(logs.end_of(INSTANCE, Generation(1)).unwrap(), Some(offset));
    assert_eq!(logs.end_of(INSTANCE, Generation(2)).unwrap(), Some(0));
    logs.expect(INSTANCE, Generation(1), offset + 5);
    tokio::task::yield_now().await;
    assert!(!whole.is_finished());
    logs.add_of_run(&piece(1, offset, "last\n")).unwrap();
    whole.await.unwrap().unwrap();
    let logs = again(&directory, 64 << 10);
    let (mut next, mut read) = (0, 0);
    loop {
        let part = logs.read(INSTANCE, next, 1 << 20).unwrap();
        assert_eq!(part.offset, next);
        if part.text.is_empty() {
            break;
        }
        (next, read) = (part.next, read + part.text.len() as u64);
    }
    assert_eq!(read, offset + 5);
    logs.shrink(INSTANCE).unwrap();
    let left = logs.read(INSTANCE, 0, PLENTY).unwrap();
    assert!(left.offset > 0 && left.text.ends_with("last\n"));
}
