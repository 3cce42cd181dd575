//! Names and output that would do something if the page took them for more than text.

use super::browser::Browser;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use serde_json::{Value, json};

/// What would run if it became markup or an address.
const SCRIPTS: [&str; 6] = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\"><svg/onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "</pre><style>*{display:none}</style>",
];

/// A shell's words that print what a terminal obeys: links, titles, cursor, direction, colours without an end.
const OUTPUT: &str = r#"printf '\033]8;;javascript:window.hacked=1\007click\033]8;;\007 and '
printf '\033]8;;https://example.org/?a=1&b=2\033\\a link\033]8;;\033\\\n'
printf '\033]0;title\007\033[2J\033[H\033[?1049h\033[31mred\n'
printf 'safe\342\200\256gnp.exe\n'
printf '10%%\r50%%\r100%% done\n'
printf '\033[38;5;300mx\033[48;2;1;2my\033[999999999999Cz\033[m\n'
printf '\000\001\377\376 bytes\n'
printf '\033]unfinished'; echo
head -c 1000000 /dev/zero | tr '\0' x; echo
head -c 1000000 /dev/zero | tr '\0' '\r'; echo end; echo last
"#;

/// A shell's words that leave files.
const FILES: &str = r#"cd "$ARTIFACT_DIR"; printf '<script>window.hacked = 1</script>' > page.html
cp page.html "$(printf 'safe\342\200\256gnp.svg')"; mkdir -p '<img src=x onerror=window.hacked=1>'
cp page.html '<img src=x onerror=window.hacked=1>/a "b" #?%41.html'; ln -s page.html link
"#;

#[tokio::test]
async fn hostile_names_and_output_do_nothing() {
    let farm = Farm::start(&[1]).await;
    let values = SCRIPTS.map(|script| format!("'{}'", script.replace('\'', r"'\''")));
    let print = format!("printf '%s\\n' {}", values.join(" "));
    let job = job(format!(
        "printf '%s\\n' {}\n{OUTPUT}{FILES}exit 1",
        values.join(" ")
    ))
    .atomizer(print)
    .with("max_executors", 1);
    let repository = Repository::of(&job);
    repository.git(&["branch", "--quiet", "x<img-src=x-onerror=window.hacked=1>"]);
    let mut request = repository.request();
    request["branch"] = "x<img-src=x-onerror=window.hacked=1>".into();
    let over = farm.run(&request).await;
    assert_eq!(over.num_atoms_failed, SCRIPTS.len() as u64);
    // A job with such a name ends in an error that tells of the name.
    let name = format!("{} \u{202e}gnp", SCRIPTS[1]);
    let mut unknown = repository.request();
    unknown["job_name"] = name.into();
    let unknown = farm.run(&unknown).await;

    let browser = Browser::at(&farm, "/ui/").await;
    browser
        .wait("document.querySelectorAll('.build').length === 2")
        .await;
    does_nothing(&browser).await;
    browser.go(&format!("/ui/builds/{}", unknown.id)).await;
    browser.wait("document.querySelector('.message')").await;
    browser.wait_for_text(r"\u{202e}gnp").await;
    does_nothing(&browser).await;
    browser.go(&format!("/ui/builds/{}", over.id)).await;
    for script in SCRIPTS {
        browser.wait_for_text(script).await;
    }
    browser.wait_for_text("3 files").await;
    does_nothing(&browser).await;
    let path = format!("/ui/builds/{}/subjobs/0/atoms/0", over.id);
    browser.go(&path).await;
    browser.wait_for_text("3 files").await;
    browser.wait_for_text("100% done").await;
    does_nothing(&browser).await;
    let text = "return document.querySelector('.lines').innerText";
    let shown = browser.run(text).await;
    let shown = shown.as_str().unwrap();
    for part in [
        SCRIPTS[0],
        "click and a link",
        r"safe\u{202e}gnp.exe",
        "980,000 more characters",
        "\nend\n",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown:.3000}");
    }
    assert!(!shown.contains("50%"), "{shown:.3000}");
    let links = "return [...document.querySelectorAll('.text a')].map((a) => a.href)";
    let expected = json!(["https://example.org/?a=1&b=2"]);
    assert_eq!(browser.run(links).await, expected);
    let lines = browser
        .run("return document.querySelectorAll('.line').length")
        .await;
    assert_eq!(lines, SCRIPTS.len() + 10);
    files_do_nothing(&browser).await;
    browser.ends_content(&[]).await;
}

async fn does_nothing(browser: &Browser) {
    let found = browser
        .run(
            "return [window.hacked ?? null, document.title.includes('title'), \
             document.querySelectorAll('main script, main img, main style, [onerror], [onload]').length, \
             [...document.links].filter((a) => !/^https?:/.test(a.protocol)).length, \
             document.documentElement.scrollWidth <= innerWidth]",
        )
        .await;
    assert_eq!(found, json!([null, false, 0, 0, true]));
    let is_seen = "return document.querySelector('h1').offsetHeight > 0";
    assert_eq!(browser.run(is_seen).await, Value::Bool(true));
}

/// The files of the atom whose console is shown: each is there, as text.
async fn files_do_nothing(browser: &Browser) {
    browser.wait_for_text("3 files").await;
    browser.click(".artifacts summary").await;
    browser.wait_for_text(r"safe\u{202e}gnp.svg").await;
    browser
        .wait_for_text("<img src=x onerror=window.hacked=1>/a \"b\" #?%41.html")
        .await;
    does_nothing(browser).await;
    let read = "return Promise.all([...document.querySelectorAll('.artifacts a')].map(async (a) => { const answer = await fetch(a.href); \
                return [answer.status, await answer.text(), answer.headers.get('content-type').startsWith('text/html')]; }))";
    let answers = browser.run(read).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 6);
    for answer in answers {
        let expected = json!([200, "<script>window.hacked = 1</script>", false]);
        assert_eq!(*answer, expected);
    }
    // A page of its own has no rights of this one, and its script does not run.
    let address = "return document.querySelector('.artifacts a[href$=\"page.html?view\"]').pathname + '?view'";
    let address = browser.run(address).await;
    browser.go(address.as_str().unwrap()).await;
    let shown = "return [window.hacked ?? null, self.origin, document.body.innerText]";
    let expected = json!([null, "null", "<script>window.hacked = 1</script>"]);
    assert_eq!(browser.run(shown).await, expected);
}
