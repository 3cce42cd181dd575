//! Requests through a router that listens, to programs that listen.

mod apps;
mod connections;

use super::program::Program;
use super::route::Target;
use super::uses::Uses;
use super::{Router, Routes};
use clusterrunner_common::http::serve;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A router that listens.
struct Farm {
    address: String,
    /// Of the instance with the key, if there is one.
    uses: Uses,
    stop: CancellationToken,
}

impl Farm {
    async fn with(target: Target) -> Self {
        let routes = Routes::to(KEY, target);
        let uses = routes.uses(KEY);
        let mut farm = Self::of(routes).await;
        farm.uses = uses;
        farm
    }

    async fn of(routes: Routes) -> Self {
        let stop = CancellationToken::new();
        let router = Router::new(routes, false, stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(listener, router, stop.clone(), Duration::ZERO));
        Self {
            address,
            uses: Uses::default(),
            stop,
        }
    }

    /// Before a program that answers each connection with `answer` as soon as the head of a request is there, and then
    /// sends back what it gets.
    async fn before(answer: &'static str) -> Self {
        let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = program.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut user, _)) = program.accept().await {
                tokio::spawn(async move {
                    read_head(&mut user).await;
                    user.write_all(answer.as_bytes()).await.unwrap();
                    let (mut from, mut to) = user.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        Self::with(Target::Up {
            program: Program::at(address),
            keeps_prefix: false,
        })
        .await
    }

    /// A connection on which this was sent.
    async fn asked(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = head.replace("KEY", KEY);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer to a GET.
    async fn get(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: farm\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let mut stream = self.asked(&head).await;
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reads to the end of a head; nothing where the connection has ended.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn an_answer_comes_from_the_program_and_counts_as_use() {
    let farm = Farm::before(
        "HTTP/1.1 302 Found\r\nLocation: /next\r\nX-Mine: 1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    assert_eq!(farm.uses.last(), None);
    let answer = farm.get("/user/KEY/a?b").await;
    assert!(answer.starts_with("HTTP/1.1 302 Found\r\n"), "{answer}");
    let location = format!("Location: /user/{KEY}/next\r\n");
    assert!(answer.contains(&location) && answer.contains("X-Mine: 1\r\n"));
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(farm.uses.last().is_some() && !farm.uses.are_under_way());
}

#[tokio::test]
async fn an_answer_is_passed_on_while_the_program_still_writes_it() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let farm = Farm::before(head).await;
    let mut stream = farm
        .asked("GET /user/KEY/ HTTP/1.1\r\nHost: farm\r\n\r\n")
        .await;
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut first = [0; 10];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"5\r\nfirst\r\n");
}

#[tokio::test]
async fn a_connection_goes_on_in_another_protocol() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let farm = Farm::before(head).await;
    let mut stream = farm
        .asked(
            "GET /user/KEY/socket HTTP/1.1\r\nHost: farm\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("Upgrade: echo\r\n"), "{answer}");
    for word in ["one", "another"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, word.as_bytes());
    }
    // The end of one side is the end of the other.
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    let mut stopped = farm
        .asked(
            "GET /user/KEY/ HTTP/1.1\r\nHost: farm\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
    read_head(&mut stopped).await;
    farm.stop.cancel();
    assert_eq!(stopped.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn where_no_program_answers_the_page_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let text = || "because".to_owned();
    for (target, status, reloads) in [
        (
            Target::Up {
                program: Program::at(address),
                keeps_prefix: false,
            },
            "503",
            true,
        ),
        (Target::Starting { text: text() }, "503", true),
        (Target::Failed { text: text() }, "502", false),
        (Target::Over, "404", false),
    ] {
        let farm = Farm::with(target.clone()).await;
        let answer = farm.get("/user/KEY/").await;
        let begin = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begin), "{target:?}: {answer}");
        assert_eq!(
            answer.contains("http-equiv=\"refresh\""),
            reloads,
            "{target:?}"
        );
    }
    let farm = Farm::with(Target::Over).await;
    let unknown = format!("/user/{}/", KEY.replace('0', "f"));
    assert!(farm.get(&unknown).await.contains("No instance has this id"));
    assert!(farm.get("/elsewhere").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_program_that_breaks_off_is_a_bad_gateway() {
    let farm = Farm::before("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n").await;
    let answer = farm.get("/user/KEY/").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}
