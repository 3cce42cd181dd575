//! What set-ups have made: brought by slaves, and given to others.

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn asked(key: &str) -> Value {
    json!({"slave_id": 1, "session_id": "a-life", "key": key})
}

fn upload(report: &Value, content: &[u8]) -> Vec<u8> {
    let field = "Content-Disposition: form-data; name=";
    let head = format!(
        "--b\r\n{field}\"__encoded_body__\"\r\n\r\n{report}\r\n--b\r\n{field}\"file\"; filename=\"f\"\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n--b--"].concat()
}

#[tokio::test]
async fn what_one_slave_brings_others_get() {
    let master = Master::start();
    master.connect("a-life", None).await;
    for path in ["/v1/kept_setup", "/v2/kept_setup"] {
        assert_eq!(master.signed("POST", path, &asked(KEY)).await.0, 404);
    }
    // JSON, as these tests read answers.
    for content in [json!(["first"]), json!(["second, which takes its place"])] {
        let body = upload(&asked(KEY), content.to_string().as_bytes());
        assert_eq!(master.upload_to("/v1/kept_setups", body).await.0, 200);
        let got = master.signed("POST", "/v1/kept_setup", &asked(KEY)).await;
        assert_eq!(got, (200, content));
    }
    let body = asked(KEY).to_string();
    let (status, _) = master.call("POST", "/v1/kept_setup", &[], &body).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn only_slaves_of_the_farm_bring_and_get_something() {
    let master = Master::start();
    master.connect("a-life", None).await;
    let stranger = json!({"slave_id": 9, "session_id": "a-life", "key": KEY});
    for (report, status) in [(stranger, 404), (asked("../x"), 400), (asked(""), 400)] {
        assert_eq!(
            master.signed("POST", "/v1/kept_setup", &report).await.0,
            status
        );
        let sent = master
            .upload_to("/v1/kept_setups", upload(&report, b"x"))
            .await;
        assert_eq!(sent.0, status, "{report}");
    }
    let large = vec![0; (1 << 20) + 1];
    let sent = master
        .upload_to("/v1/kept_setups", upload(&asked(KEY), &large))
        .await;
    assert_eq!(sent.0, 400);
    assert!(
        sent.1["error"]
            .as_str()
            .unwrap()
            .contains("max_setup_cache_bytes")
    );
    assert_eq!(
        master.signed("POST", "/v1/kept_setup", &asked(KEY)).await.0,
        404
    );
}
