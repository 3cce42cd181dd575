//! What one reader gets of what a room tells.

use super::*;
use crate::read::feed::Source;

fn live(source: &Source) -> Live {
    Live::new(source.feed(), CancellationToken::new())
}

fn batch(id: u64) -> Arc<Batch> {
    let frames = vec![Frame::bare("news")];
    Arc::new(Batch {
        id,
        before: id - 1,
        frames,
    })
}

async fn text(reading: &mut Reading, pieces: usize) -> String {
    let mut text = String::new();
    for _ in 0..pieces {
        let bytes = reading.next_bytes().await.unwrap();
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_to_read_anew_and_goes_on() {
    let source = Source::after(9);
    let live = live(&source);
    let (told, next) = broadcast::channel(2);
    let mut reading = Reading {
        waiting: VecDeque::new(),
        next: Some(next),
        until: None,
        feed: live.feed.clone(),
        stop: live.stop.clone(),
        caller: Caller::Nobody,
        _place: live.place().unwrap(),
    };
    for id in 1..=4 {
        told.send(batch(id)).unwrap();
    }
    let expected = "id: 9\nevent: reload\ndata: {}\n\n";
    assert_eq!(text(&mut reading, 2).await, expected);
    for id in 3..=4 {
        let expected = format!("id: {id}\nevent: news\ndata: {{}}\n\n");
        assert_eq!(text(&mut reading, 2).await, expected);
    }
    drop(told);
    assert!(reading.next_bytes().await.is_none(), "the room is closed");
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_is_to_be_looked_at_again_and_at_the_stop() {
    let source = Source::after(9);
    let live = live(&source);
    let (_told, next) = broadcast::channel(2);
    let mut reading = Reading {
        waiting: VecDeque::new(),
        next: Some(next),
        until: Some(Instant::now()),
        feed: live.feed.clone(),
        stop: live.stop.clone(),
        caller: Caller::Nobody,
        _place: live.place().unwrap(),
    };
    assert!(reading.next_bytes().await.is_none());
    reading.until = None;
    live.stop.cancel();
    assert!(reading.next_bytes().await.is_none());
}

#[test]
fn the_number_of_readers_is_bounded() {
    let source = Source::after(0);
    let live = live(&source);
    let mut places = Vec::new();
    while let Ok(place) = live.place() {
        places.push(place);
        assert!(places.len() <= MOST_READERS);
    }
    assert!(matches!(live.place(), Err(ApiError::TooManyReaders)));
    places.pop();
    assert!(live.place().is_ok());
}
