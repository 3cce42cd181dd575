//! A browser: Chromium's own driver speaks HTTP and JSON, and a small part of it is all that the stories need.

use crate::farm::Farm;
use crate::processes;
use crate::wait::{PATIENCE, wait_for};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use clusterrunner_common::http::install_crypto;
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The keys that a driver names by characters of their own.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const TAB: &str = "\u{e004}";

/// A browser with one tab.
pub(crate) struct Browser {
    driver: Child,
    client: reqwest::Client,
    /// The address of the driver's session.
    session: String,
    /// Where the page is, without a path.
    page: String,
    /// What all processes of this browser have in their command line or environment.
    directory: TempDir,
}

impl Browser {
    /// A browser of 1440 by 900 pixels that shows a path of a farm's page.
    pub(crate) async fn at(farm: &Farm, path: &str) -> Self {
        install_crypto();
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-browser-")
            .tempdir()
            .unwrap();
        let output = directory.path().join("driver.log");
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output).unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect(
                "chromedriver is there: Debian's package chromium-driver, which ./check installs",
            );
        let port = wait_for("the driver says its port", async || port_of(&output)).await;
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        let mut browser = Self {
            driver,
            client: client.build().unwrap(),
            session: format!("http://127.0.0.1:{port}/session"),
            page: format!("http://{}", farm.master_address()),
            directory,
        };
        let profile = browser.directory.path().join("profile");
        let options = json!({
            "args": [
                "--headless=new",
                // A test may run as root, in a container without the namespaces that the sandbox needs.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                format!("--user-data-dir={}", profile.display()),
            ],
            "perfLoggingPrefs": {"enableNetwork": true, "enablePage": false},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let begun = browser.ask(Method::POST, "", &wanted).await;
        let id = begun["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser.size(1440, 900).await;
        browser.go(path).await;
        browser
    }

    async fn ask(&self, method: Method, command: &str, body: &Value) -> Value {
        let answer = self.try_to(method, command, body).await;
        answer.unwrap_or_else(|error| panic!("{command} {body}: {error:#}"))
    }

    /// As [`Self::ask`], for orders that may come to nothing: with the driver's error.
    async fn try_to(&self, method: Method, command: &str, body: &Value) -> Result<Value, Value> {
        let url = format!("{}{command}", self.session);
        let mut request = self.client.request(method.clone(), url);
        if method == Method::POST {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let mut answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let value = answer["value"].take();
        match value["error"].is_null() {
            true => Ok(value),
            false => Err(value),
        }
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let order = json!({"cmd": command, "params": parameters});
        self.ask(Method::POST, "/goog/cdp/execute", &order).await
    }

    /// Sets the size of what is seen of the page, in pixels.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// Sets which colours the reader prefers: `light` or `dark`.
    pub(crate) async fn prefers(&self, scheme: &str) {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", feature).await;
    }

    /// Lets the page show messages of the browser, as a reader does who is asked.
    pub(crate) async fn grants_messages(&self) {
        let granted = json!({"permissions": ["notifications"], "origin": self.page});
        self.devtools("Browser.grantPermissions", granted).await;
    }

    /// Opens a path of the page.
    pub(crate) async fn go(&self, path: &str) {
        let url = json!({"url": format!("{}{path}", self.page)});
        self.ask(Method::POST, "/url", &url).await;
    }

    /// What a script's `return` gives. Promises are waited for.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let order = json!({"script": script, "args": []});
        self.ask(Method::POST, "/execute/sync", &order).await
    }

    /// Waits until an expression is true.
    pub(crate) async fn wait(&self, expression: &str) {
        let script = format!("return Boolean({expression});");
        let what = format!("in the browser: {expression}");
        let limit = std::time::Instant::now() + PATIENCE;
        while self.run(&script).await != Value::Bool(true) {
            if std::time::Instant::now() > limit {
                let seen = self.run("return document.body.innerText").await;
                panic!("waited in vain for this: {what}\nthe page shows: {seen:#}");
            }
        }
    }

    /// Waits until a text is on the page, as a reader sees it.
    pub(crate) async fn wait_for_text(&self, text: &str) {
        self.wait(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ))
        .await;
    }

    /// Presses keys where the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let strokes: Vec<Value> = strokes.collect();
        let order = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.ask(Method::POST, "/actions", &order).await;
    }

    /// Moves the focus by the key Tab until a selector has it.
    pub(crate) async fn tab_to(&self, selector: &str) {
        let is_there = format!(
            "return Boolean(document.activeElement?.matches({}))",
            json!(selector)
        );
        for _ in 0..200 {
            if self.run(&is_there).await == Value::Bool(true) {
                return;
            }
            self.press(TAB).await;
        }
        panic!("no Tab leads to {selector}");
    }

    /// Clicks the first element of a selector, where a reader would, as soon as it is there. Where the page has put another
    /// one in its place meanwhile, that one is clicked.
    pub(crate) async fn click(&self, selector: &str) {
        let limit = std::time::Instant::now() + PATIENCE;
        while let Err(error) = self.click_now(selector).await {
            let may_come = ["no such element", "stale element reference"];
            let may_come = may_come.iter().any(|kind| error["error"] == *kind);
            let is_early = std::time::Instant::now() < limit;
            assert!(may_come && is_early, "{selector}: {error:#}");
        }
    }

    async fn click_now(&self, selector: &str) -> Result<Value, Value> {
        let found = json!({"using": "css selector", "value": selector});
        let found = self.try_to(Method::POST, "/element", &found).await?;
        let mut ids = found.as_object().unwrap().values();
        let id = ids.next().unwrap().as_str().unwrap();
        let click = format!("/element/{id}/click");
        self.try_to(Method::POST, &click, &json!({})).await
    }

    /// Keeps a picture of what is seen, of so many pixels in height from the top, where the variable
    /// `CLUSTERRUNNER_PICTURES` names a directory for pictures.
    pub(crate) async fn picture(&self, name: &str, height: u32) {
        let Some(directory) = std::env::var_os("CLUSTERRUNNER_PICTURES") else {
            return;
        };
        let width = self
            .run("scrollTo(0, 0); return innerWidth")
            .await
            .as_u64()
            .unwrap();
        let part = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let order = json!({"format": "png", "clip": part, "captureBeyondViewport": true});
        let taken = self.devtools("Page.captureScreenshot", order).await;
        let picture = BASE64_STANDARD.decode(taken["data"].as_str().unwrap());
        let path = Path::new(&directory).join(format!("{name}.png"));
        fs::write(path, picture.unwrap()).unwrap();
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let order = json!({"type": kind});
        let entries = self.ask(Method::POST, "/se/log", &order).await;
        entries.as_array().unwrap().clone()
    }

    /// Ends the browser. It must have asked nobody but the master, and nothing may have gone wrong but what `expected`
    /// is a part of.
    pub(crate) async fn ends_content(self, expected: &[&str]) {
        let mut wrong = Vec::new();
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap_or_default().to_owned();
            let is_expected = expected.iter().any(|part| message.contains(part));
            if entry["level"] != "INFO" && !is_expected {
                wrong.push(message);
            }
        }
        assert!(
            wrong.is_empty(),
            "the browser's console has errors: {wrong:#?}"
        );
        let mut asked = 0;
        for entry in self.log("performance").await {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if message["message"]["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let parameters = &message["message"]["params"];
            // Before the first address of the page the browser shows a page of its own, with frames that it asks for later.
            let document = parameters["documentURL"].as_str().unwrap_or_default();
            let url = parameters["request"]["url"].as_str().unwrap();
            if document.starts_with("chrome:") || url.starts_with("chrome-untrusted:") {
                continue;
            }
            let is_own = url.starts_with(&format!("{}/", self.page)) || url.starts_with("data:");
            assert!(is_own, "the page asked for {url}");
            asked += 1;
        }
        assert!(asked > 0, "the log of requests has none");
        self.ask(Method::DELETE, "", &Value::Null).await;
    }
}

/// The port that a driver says it has.
fn port_of(output: &Path) -> Option<u16> {
    let text = fs::read_to_string(output).ok()?;
    let (_, rest) = text.split_once("started successfully on port ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

impl Drop for Browser {
    fn drop(&mut self) {
        processes::kill_group(self.driver.id());
        self.driver.wait().ok();
        // Chromium's own processes are in groups of theirs.
        processes::kill_with_text(&self.directory.path().display().to_string());
    }
}
