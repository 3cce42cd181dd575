use super::*;
use clusterrunner_common::ids::{Generation, InstanceId};
use tempfile::TempDir;

const APP: ProjectId = ProjectId(3);
const PLENTY: usize = 1 << 30;

fn logs(max_bytes: u64) -> (TempDir, AppLogs) {
    let directory = tempfile::tempdir().unwrap();
    let logs = again(&directory, max_bytes);
    (directory, logs)
}

fn again(directory: &TempDir, max_bytes: u64) -> AppLogs {
    AppLogs::open(directory.path().join("logs"), max_bytes).unwrap()
}

fn piece(instance: u64, generation: u32, offset: u64, text: &str) -> LogPiece {
    LogPiece {
        id: InstanceId(instance),
        generation: Generation(generation),
        offset,
        text: text.to_owned(),
        length: text.len() as u64,
    }
}

fn add(logs: &AppLogs, piece: &LogPiece) -> Option<u64> {
    let process = format!("web.{}", piece.id);
    let output = Output {
        process: &process,
        is_run: false,
        piece,
        before: 0,
    };
    logs.add_output(APP, Timestamp(7_000), output).unwrap()
}

fn says(logs: &AppLogs, text: &str) {
    let lines = vec![text.to_owned()];
    logs.add_controller_lines(APP, Timestamp(5_000), lines)
        .unwrap();
}

fn shown(lines: AppLines) -> Vec<String> {
    let shown = lines.lines.into_iter().map(|line| match line.from {
        Origin::Controller => line.text,
        Origin::Process(process) => format!("{process}: {}", line.text),
    });
    shown.collect()
}

fn all(logs: &AppLogs) -> Vec<String> {
    shown(logs.read(APP, 0, PLENTY).unwrap())
}

#[test]
fn lines_of_all_kinds_stand_in_the_order_in_which_they_come() {
    let (directory, logs) = logs(1 << 20);
    assert_eq!(logs.read_last(APP, 10).unwrap(), AppLines::default());
    says(&logs, "created");
    add(&logs, &piece(1, 1, 0, "one\ntw"));
    says(&logs, "scaled");
    add(&logs, &piece(2, 1, 0, "other\r\n"));
    add(&logs, &piece(1, 1, 6, "o\n\nthree"));
    let expected = ["created", "web.1: one", "scaled", "web.2: other"];
    let expected = [&expected[..], &["web.1: two", "web.1: "]].concat();
    assert_eq!(all(&logs), expected);
    // A new placement ends the last line of the one before.
    add(&logs, &piece(1, 2, 0, "again\n"));
    let expected = [&expected[..], &["web.1: three", "web.1: again"]].concat();
    let logs = again(&directory, 1 << 20);
    assert_eq!(all(&logs), expected);
    assert_eq!(shown(logs.read_last(APP, 3).unwrap()), expected[5..]);
    let read = logs.read(APP, 2, 1).unwrap();
    assert_eq!((read.first, read.next), (2, 3));
    assert_eq!(
        read.lines,
        [AppLine {
            at: Timestamp(5_000),
            from: Origin::Controller,
            text: "scaled".to_owned()
        }]
    );
}

#[test]
fn each_byte_is_there_once_after_a_restart() {
    let (directory, mut logs) = logs(1 << 20);
    for (offset, text, end) in [
        (0, "one\ntw", 6),
        (0, "one\ntwo\n", 6),
        (6, "o\n", 8),
        (3, "\ntwo\nthree\n", 8),
        (8, "", 8),
        (8, "three\n", 14),
    ] {
        for _ in 0..2 {
            let had = add(&logs, &piece(1, 1, offset, text));
            assert!(had == Some(end) || had == Some(14), "{offset} {had:?}");
            logs = again(&directory, 1 << 20);
        }
    }
    assert_eq!(all(&logs), ["web.1: one", "web.1: two", "web.1: three"]);
    assert_eq!(add(&logs, &piece(1, 2, 0, "new\n")), Some(4));
    assert_eq!(add(&logs, &piece(1, 1, 14, "late\n")), None);
    assert_eq!(add(&logs, &piece(1, 2, 10, "later\n")), Some(16));
    let missing = "web.1: [ClusterRunner: 6 bytes of output are not kept here]";
    assert_eq!(
        shown(logs.read_last(APP, 3).unwrap()),
        ["web.1: new", missing, "web.1: later"]
    );
}

#[test]
fn a_record_that_did_not_come_to_its_end_is_written_again() {
    let (directory, logs) = logs(1 << 20);
    add(&logs, &piece(1, 1, 0, "one\n"));
    add(&logs, &piece(1, 1, 4, "two\n"));
    let file = directory.path().join("logs/3/0000000000000000");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let logs = again(&directory, 1 << 20);
    assert_eq!(all(&logs), ["web.1: one"]);
    assert_eq!(add(&logs, &piece(1, 1, 4, "")), Some(4));
    assert_eq!(add(&logs, &piece(1, 1, 4, "two\n")), Some(8));
    assert_eq!(all(&logs), ["web.1: one", "web.1: two"]);
}

#[test]
fn a_log_is_bounded_and_forgets_no_end() {
    let max = 64 << 10;
    let (directory, mut logs) = logs(max);
    add(&logs, &piece(9, 1, 0, "quiet\nhalf"));
    let mut offset = 0;
    for number in 0..2_000 {
        let text = format!("{number} {}\n", "x".repeat(100));
        assert!(add(&logs, &piece(1, 1, offset, &text)).is_some());
        offset += text.len() as u64;
        if number % 500 == 0 {
            logs = again(&directory, max);
        }
    }
    let mut bytes = 0;
    for file in std::fs::read_dir(directory.path().join("logs/3")).unwrap() {
        bytes += file.unwrap().metadata().unwrap().len();
    }
    assert!(bytes < max + (8 << 10), "{bytes}");
    let read = logs.read(APP, 0, PLENTY).unwrap();
    assert!(read.first > 0 && read.next == 2_001, "{}", read.first);
    let last = read.lines.last().unwrap().text.clone();
    assert!(last.starts_with("1999 "), "{last}");
    assert_eq!(read.lines.len() as u64, read.next - read.first);
    // Nothing that is kept says how far the quiet one was, but the heads of the files.
    let logs = again(&directory, max);
    assert_eq!(add(&logs, &piece(9, 1, 0, "quiet\nhalf")), Some(10));
    assert_eq!(add(&logs, &piece(9, 1, 10, " whole\n")), Some(17));
    assert_eq!(
        shown(logs.read_last(APP, 1).unwrap()),
        ["web.9: half whole"]
    );
}

#[test]
fn long_lines_are_cut_and_runs_do_not_fill_the_log() {
    let (_directory, logs) = logs(8 << 20);
    add(&logs, &piece(1, 1, 0, &"é".repeat(10_000)));
    add(&logs, &piece(1, 1, 20_000, "\n"));
    let lines = all(&logs);
    let lengths: Vec<usize> = lines.iter().map(String::len).collect();
    assert_eq!(
        lengths,
        [
            "web.1: ".len() + (16 << 10),
            "web.1: ".len() + 20_000 - (16 << 10)
        ]
    );
    let line = format!("{}\n", "y".repeat(99));
    let mut end = 0;
    for _ in 0..3 {
        let text = line.repeat(8_000);
        let piece = piece(2, 1, end, &text);
        let output = Output {
            process: "run.1",
            is_run: true,
            piece: &piece,
            before: 0,
        };
        end = logs.add_output(APP, Timestamp(1), output).unwrap().unwrap();
    }
    assert_eq!(end, 2_400_000);
    let last = shown(logs.read_last(APP, 2).unwrap());
    let cut = format!("run.1: {}", "y".repeat((1 << 20) % 100));
    let note = "run.1: [ClusterRunner: the log takes no more than 1048576 bytes of one run]";
    assert_eq!(last, [cut.as_str(), note]);
}

#[tokio::test]
async fn a_log_can_be_followed() {
    let (_directory, logs) = logs(1 << 20);
    says(&logs, "first");
    let mut number = logs.num_lines(APP);
    let next = logs.read(APP, 0, PLENTY).unwrap().next;
    assert_eq!(*number.borrow_and_update(), next);
    let others = logs.clone();
    let adding = tokio::task::spawn_blocking(move || says(&others, "second"));
    number.changed().await.unwrap();
    adding.await.unwrap();
    let read = logs.read(APP, next, PLENTY).unwrap();
    assert_eq!((read.first, shown(read)), (1, vec!["second".to_owned()]));
    // A placement of which nothing is known goes on where the other store is.
    let unknown = piece(5, 4, 100, "on\n");
    let output = Output {
        process: "web.5",
        is_run: false,
        piece: &unknown,
        before: 100,
    };
    let end = logs.add_output(APP, Timestamp(1), output).unwrap();
    assert_eq!(end, Some(103));
    assert_eq!(shown(logs.read_last(APP, 1).unwrap()), ["web.5: on"]);
}

#[test]
fn only_logs_of_apps_are_kept() {
    let (directory, logs) = logs(1 << 20);
    says(&logs, "here");
    let other = ProjectId(4);
    let lines = vec!["gone".to_owned()];
    logs.add_controller_lines(other, Timestamp(1), lines)
        .unwrap();
    let logs = again(&directory, 1 << 20);
    logs.keep_only(&HashSet::from([APP])).unwrap();
    assert!(!directory.path().join("logs/4").exists());
    assert_eq!(*logs.num_lines(APP).borrow(), 1);
    logs.remove(APP).unwrap();
    logs.remove(APP).unwrap();
    assert_eq!(all(&logs), [""; 0]);
    assert!(!directory.path().join("logs/3").exists());
}
