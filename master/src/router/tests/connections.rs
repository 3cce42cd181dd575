//! Connections to programs: which are used again, and what goes on while an answer is read.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GET: &str = "GET /user/KEY/ HTTP/1.1\r\nHost: farm\r\n\r\n";
const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A router before a program that counts its connections and gives each of them so many answers.
async fn counted(answer: &'static str, answers: usize) -> (Farm, Arc<AtomicUsize>) {
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = program.local_addr().unwrap().to_string();
    let number = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&number);
    tokio::spawn(async move {
        while let Ok((mut user, _)) = program.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                for _ in 0..answers {
                    if read_head(&mut user).await.is_empty() {
                        return;
                    }
                    user.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let program = Program::at(address);
    let keeps_prefix = false;
    let farm = Farm::with(Target::Up {
        program,
        keeps_prefix,
    });
    (farm.await, number)
}

/// One more answer that ends with `end`, on a connection that goes on.
async fn answered(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = read_head(stream).await;
    while !answer.ends_with(end) {
        answer.push(char::from(stream.read_u8().await.unwrap()));
    }
    answer
}

async fn ask(stream: &mut TcpStream, head: &str) {
    let head = head.replace("KEY", KEY);
    stream.write_all(head.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn the_next_request_takes_the_connection_of_the_last_one_whoever_asks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    for (answer, end) in [(SHORT, "hello"), (chunked, "0\r\n\r\n"), (nothing, "")] {
        let (farm, number) = counted(answer, usize::MAX).await;
        let mut first = farm.asked(GET).await;
        answered(&mut first, end).await;
        ask(&mut first, GET).await;
        answered(&mut first, end).await;
        let mut other = farm.asked(GET).await;
        answered(&mut other, end).await;
        assert_eq!(number.load(Ordering::Relaxed), 1, "{answer}");
    }
}

#[tokio::test]
async fn what_the_program_has_closed_is_left_without_a_failed_request() {
    let (farm, number) = counted(SHORT, 2).await;
    let mut user = farm.asked(GET).await;
    for _ in 0..5 {
        answered(&mut user, "hello").await;
        ask(&mut user, GET).await;
    }
    let last = answered(&mut user, "hello").await;
    assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "{last}");
    assert_eq!(number.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_body_is_still_sent_while_its_answer_waits_to_be_read() {
    let piece = "x".repeat(1 << 20);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = program.local_addr().unwrap().to_string();
    let length = piece.len();
    let reading = tokio::spawn(async move {
        let (mut user, _) = program.accept().await.unwrap();
        read_head(&mut user).await;
        user.write_all(head.as_bytes()).await.unwrap();
        let mut body = vec![0; 8 * length];
        user.read_exact(&mut body).await.unwrap();
        user.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let program = Program::at(address);
    let keeps_prefix = false;
    let target = Target::Up {
        program,
        keeps_prefix,
    };
    let farm = Farm::with(target).await;
    let head = format!(
        "POST /user/KEY/ HTTP/1.1\r\nHost: farm\r\nContent-Length: {}\r\n\r\n",
        8 * length
    );
    let mut user = farm.asked(&head).await;
    let answer = read_head(&mut user).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for _ in 0..8 {
        user.write_all(piece.as_bytes()).await.unwrap();
    }
    reading.await.unwrap();
    answered(&mut user, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_user_who_leaves_takes_the_request_along() {
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = program.local_addr().unwrap().to_string();
    let program_at = Program::at(address);
    let keeps_prefix = false;
    let farm = Farm::with(Target::Up {
        program: program_at,
        keeps_prefix,
    })
    .await;
    let user = farm.asked(GET).await;
    let (mut asked, _) = program.accept().await.unwrap();
    read_head(&mut asked).await;
    drop(user);
    assert_eq!(asked.read(&mut [0]).await.unwrap(), 0);
}
