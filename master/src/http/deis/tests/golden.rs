//! The transcript of the original: each exchange is reproduced, or differs in places and for reasons that are listed here.

use super::farm::{Answer, Farm, HOST_NAME};
use super::transcript::{Exchange, MADE_UP, exchanges};
use axum::body::Body;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A reason for which exchanges differ from the original on purpose, and where: numbers of exchanges, and places.
#[derive(Debug, Default)]
struct Exception {
    why: String,
    places: Vec<(usize, String)>,
}

/// All reasons: each begins with `*`, and below it stands a line `number: place, place` for each exchange.
fn exceptions() -> Vec<Exception> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/deis-exceptions.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let mut exceptions = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(why) = line.strip_prefix("* ") {
            let why = why.to_owned();
            let places = Vec::new();
            exceptions.push(Exception { why, places });
            continue;
        }
        let (number, places) = line.trim().split_once(": ").unwrap();
        let number: usize = number.parse().unwrap();
        let places = places.split(", ").map(|place| (number, place.to_owned()));
        exceptions.last_mut().unwrap().places.extend(places);
    }
    exceptions
}

/// The users of the transcript, by their numbers.
const USERS: [&str; 4] = ["", "test", "second", "third"];

/// What must be done after an exchange so that the farm is where the original was, although it answered otherwise.
async fn keep_in_step(farm: &Farm, exchange: &Exchange) {
    // The original took version 0 for "the one before the newest".
    if exchange.body == r#"{"version":0}"# {
        let body = r#"{"version": 12}"#;
        let path = "/v1/apps/example-go/releases/rollback";
        let answer = farm.post("test", path, body).await;
        assert_eq!(answer.body, json!({"version": 14}));
    }
}

async fn send(farm: &Farm, exchange: &Exchange) -> Answer {
    let user = USERS[exchange.user];
    // A header of its own may stand for the token.
    let mut request = farm.request(user, &exchange.method, &exchange.path);
    if let Some((name, value)) = &exchange.header {
        request = request.header(name, value);
    }
    let body = Body::from(exchange.body.clone());
    farm.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn every_exchange_is_reproduced_or_differs_for_a_reason() {
    let farm = Farm::with_slave(&["rack=1"]).await;
    let mut made_up = MADE_UP.to_owned();
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let exchanges = exchanges();
    for exchange in &exchanges {
        let exchange = exchange.clone().with_id(&made_up);
        let answer = send(&farm, &exchange).await;
        if exchange.path == "/v1/auth/login/" && answer.status == 200 {
            for (user, password) in [("test", "opensesame"), ("second", "x"), ("third", "x")] {
                farm.log_in(user, password).await;
            }
        }
        let exchange = match answer.body["id"].as_str() {
            Some(id) if exchange.body.is_empty() && exchange.method == "POST" => {
                id.clone_into(&mut made_up);
                exchange.with_id(id)
            }
            _ => exchange,
        };
        keep_in_step(&farm, &exchange).await;
        let differences = exchange.differences(&answer, HOST_NAME);
        if !differences.is_empty() {
            found.insert(exchange.number, differences);
        }
    }
    check(&exchanges, found);
}

/// Prints what differs and why. What differs without a reason, and a reason without a difference, is a fault.
fn check(exchanges: &[Exchange], mut found: BTreeMap<usize, BTreeSet<String>>) {
    let num_excepted = found.len();
    println!(
        "{} of {} exchanges are reproduced field by field, {num_excepted} differ for these reasons:",
        exchanges.len() - num_excepted,
        exchanges.len()
    );
    let mut stale = Vec::new();
    for Exception { why, places } in exceptions() {
        println!("* {why}");
        for (number, place) in places {
            let differences = found.entry(number).or_default();
            match differences.remove(&place) {
                true => println!("  {}: {place}", exchanges[number - 1].title()),
                false => stale.push(format!("{number}: {place}: {why}")),
            }
        }
    }
    found.retain(|_, places| !places.is_empty());
    for (number, places) in &found {
        println!("UNEXPLAINED {}: {places:?}", exchanges[number - 1].title());
    }
    assert!(
        found.is_empty() && stale.is_empty(),
        "unexplained: {found:?}, stale: {stale:#?}"
    );
}
