//! What of a receiver's answer comes into the log. Pure.

use clusterrunner_common::settings::NotifyReceiver;

/// An answer without what nobody else may know: the receiver may repeat what it was sent.
pub(super) fn without_secrets(answer: &str, receiver: &NotifyReceiver) -> String {
    let (url, secret) = match receiver {
        NotifyReceiver::Webhook(to) => (Some(&to.url), to.secret.as_ref()),
        NotifyReceiver::CommitStatuses(to) => (None, Some(&to.token)),
    };
    let secret = secret.map(|secret| String::from_utf8_lossy(secret.as_bytes()).into_owned());
    let path = url.map(|url| url.path().to_owned());
    let query = url.and_then(|url| url.query().map(str::to_owned));
    let hidden = [secret, query, path].into_iter().flatten();
    let hidden = hidden.filter(|text| text.trim_matches('/').len() > 1);
    hidden.fold(answer.to_owned(), |answer, text| {
        answer.replace(&text, "***")
    })
}

/// As much of an answer as a line of the log should have.
pub(super) fn beginning(answer: &str) -> String {
    const MOST: usize = 300;
    answer.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::auth::secret::Secret;
    use clusterrunner_common::settings::Webhook;

    #[test]
    fn an_answer_that_repeats_what_was_sent_tells_no_secret() {
        let receiver = NotifyReceiver::Webhook(Webhook {
            url: "https://chat.example.com/hooks/T0/B1?key=hush"
                .parse()
                .unwrap(),
            secret: Some(Secret::new("hush, a secret text".to_owned()).unwrap()),
        });
        let answer = "no POST /hooks/T0/B1?key=hush with hush, a secret text";
        let expected = "no POST ***?*** with ***";
        assert_eq!(without_secrets(answer, &receiver), expected);
    }
}
