use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(value: Value) -> Specification {
    Specification::of_value(value).unwrap()
}

fn check_refused(value: Value, reason: &str) {
    let error = Specification::of_value(value.clone())
        .unwrap_err()
        .to_string();
    assert!(error.contains(reason), "{value}: {error}");
}

fn build(part: &str, value: Value) -> Value {
    let mut build = json!({"image": "busybox"});
    build[part] = value;
    json!({"version": 1, "kind": "build", "build": build})
}

#[test]
fn a_specification_of_each_version_is_read() {
    let expected = Specification {
        image: Some("tensorflow/tensorflow:1.4.1-py3".into()),
        build_steps: vec!["pip install x".into(), "make".into()],
        env_vars: vec![
            ("A".into(), "text".into()),
            ("B".into(), "2".into()),
            ("C".into(), "True".into()),
        ],
        commit: Some("abcd".into()),
        has_no_cache: true,
        config: Map::new(),
        ..Specification::default()
    };
    let parts = json!({
        "image": "tensorflow/tensorflow:1.4.1-py3", "build_steps": ["pip install x", "make"],
        "env_vars": [["A", "text"], ["B", 2], ["C", true]], "nocache": true, "commit": "abcd", "git": null,
    });
    let below = json!({"version": 1, "kind": "build", "build": parts, "logging": null});
    let text = "---\nversion: 1\nkind: build\nimage: tensorflow/tensorflow:1.4.1-py3\nbuild_steps:\n- pip install x\n\
                - make\nenv_vars:\n- [A, text]\n- [B, 2]\n- [C, true]\nnocache: true\ncommit: abcd\n";
    let echo = json!({"version": 1, "kind": "build", "build": {
        "image": "tensorflow/tensorflow:1.4.1-py3", "build_steps": ["pip install x", "make"],
        "env_vars": [["A", "text"], ["B", 2], ["C", true]], "nocache": true, "commit": "abcd",
    }});
    for found in [
        read(below.clone()),
        Specification::of_text(&below.to_string()).unwrap(),
        Specification::of_text(text).unwrap(),
    ] {
        assert_eq!(Value::Object(found.config.clone()), echo);
        assert_eq!(Specification::stored(&found.config), found);
        assert_eq!(
            Specification {
                config: Map::new(),
                ..found
            },
            expected
        );
    }
    let variables = expected.variables();
    assert_eq!(
        variables.iter().collect::<Vec<_>>(),
        [("A", "text"), ("B", "2"), ("C", "True")]
    );
}

#[test]
fn what_is_said_of_the_build_and_what_is_not_used_is_taken() {
    let found = read(json!({
        "version": 1.0, "kind": "build", "name": "nightly", "description": "d", "tags": ["a", "b"],
        "environment": {"resources": {"cpu": {"requests": 1}}}, "logging": {"level": "INFO"},
        "build_steps": ["make"], "ref": "master", "branch": "other", "lang_env": "C.UTF-8", "backend": "kaniko",
        "context": "sub", "params": {"x": 1},
    }));
    assert_eq!(found.name.as_deref(), Some("nightly"));
    assert_eq!(found.description.as_deref(), Some("d"));
    assert_eq!(found.tags, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(found.reference.as_deref(), Some("master"));
    assert_eq!(found.lang_env.as_deref(), Some("C.UTF-8"));
    assert_eq!(
        read(build("branch", json!("other"))).reference.as_deref(),
        Some("other")
    );
    let dockerfile = json!({"version": 1, "kind": "build", "dockerfile": "sub/Dockerfile"});
    assert_eq!(
        read(dockerfile).dockerfile.as_deref(),
        Some("sub/Dockerfile")
    );
}

#[test]
fn images_are_named_as_docker_names_them() {
    let image = |image: &str| Specification::of_value(build("image", json!(image)));
    for fine in [
        "busybox",
        "busybox:1.2",
        "registry.example.org/my/image",
        "registry.example.org:4567/image",
        "registry.example.org:4567/my/image:1",
    ] {
        assert_eq!(image(fine).unwrap().image.as_deref(), Some(fine));
    }
    for wrong in [
        "a:b:c",
        "a:b:c:d",
        "host/a:b:c",
        "a b",
        "a /b:c",
        "a\nRUN x",
        "host:/a:b",
        "host:1:2/a",
    ] {
        assert!(image(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_no_specification_of_a_build_is_refused() {
    check_refused(json!([1]), "must be an object");
    check_refused(json!("x"), "must be an object");
    check_refused(json!({}), "`version` must be specified");
    check_refused(
        json!({"version": 2, "kind": "build"}),
        "`version` must be 1",
    );
    check_refused(
        json!({"version": "1", "kind": "build"}),
        "`version` must be 1",
    );
    check_refused(json!({"version": 1}), "`kind` must be specified");
    check_refused(
        json!({"version": 1, "kind": "experiment"}),
        "`kind` must be build",
    );
    check_refused(
        json!({"version": 1, "kind": "build"}),
        "no specification of a build",
    );
    check_refused(
        json!({"version": 1, "kind": "build", "build": {}}),
        "no specification of a build",
    );
    check_refused(
        json!({"version": 1, "kind": "build", "build": "image"}),
        "`build` must be an object",
    );
    check_refused(
        json!({"version": 1, "kind": "build", "image": "a", "build": {"image": "b"}}),
        "there twice",
    );
    check_refused(
        json!({"version": 1, "kind": "build", "image": "a", "run": {}}),
        "Unexpected section `run`",
    );
}

#[test]
fn a_part_that_is_wrong_is_refused_by_its_name() {
    check_refused(
        build("build_step", json!([])),
        "Did you mean `build_steps`?",
    );
    check_refused(
        build("image", json!(7)),
        "`image` must be a text, not a number",
    );
    check_refused(build("dockerfile", json!("Dockerfile")), "give one of them");
    check_refused(
        build("context", json!("../x")),
        "`context` must be a path in the code",
    );
    check_refused(
        build("nocache", json!("yes")),
        "`nocache` must be true or false",
    );
    check_refused(build("commit", json!(1234)), "`commit` must be a text");
    check_refused(
        build("build_steps", json!("make")),
        "`build_steps` must be a list, not a text",
    );
    check_refused(
        build("build_steps", json!(["a", 1])),
        "`build_steps[1]` must be a text",
    );
    check_refused(
        build("build_steps", json!(["a\u{0}b"])),
        "`build_steps[0]` has a NUL",
    );
    check_refused(
        build("build_steps", json!(["x".repeat(200_000)])),
        "98304 are taken",
    );
    check_refused(
        build("build_steps", json!(vec!["x"; 1001])),
        "1000 are taken",
    );
    check_refused(
        build("env_vars", json!({"A": "b"})),
        "`env_vars` must be a list",
    );
    check_refused(
        build("env_vars", json!([["A"]])),
        "`env_vars[0]` must be a pair",
    );
    check_refused(
        build("env_vars", json!([["A", "b", "c"]])),
        "`env_vars[0]` must be a pair",
    );
    check_refused(
        build("env_vars", json!([["A", null]])),
        "must be a text, a number or a truth value",
    );
    check_refused(
        build("env_vars", json!([[7, "a"]])),
        "`env_vars[0]` must be a pair",
    );
    check_refused(build("env_vars", json!([["A=B", "secret"]])), "without '='");
    check_refused(
        build("env_vars", json!([["PROJECT_DIR", "x"]])),
        "sets this variable itself",
    );
    let long = vec![json!(["A", "x".repeat(100_000)]); 6];
    check_refused(build("env_vars", json!(long)), "512 KiB");
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    check_refused(
        json!({"version": 1, "kind": "build", "image": "a", "params": deep}),
        "nested too deeply",
    );
}

#[test]
fn a_text_that_can_not_be_read_is_refused() {
    let refused = |text: &str| Specification::of_text(text).unwrap_err().to_string();
    for text in [
        "",
        "{",
        "a: [",
        "- x",
        "\u{0}",
        "{\"version\": 1, \"version\": 1}",
    ] {
        assert!(!refused(text).is_empty(), "{text}");
    }
    assert!(refused(&"x".repeat(2 << 20)).contains("1048576 are taken"));
    assert!(refused(&"[".repeat(500_000)).contains("neither JSON nor YAML"));
    assert!(refused(&"{\"a\":".repeat(200_000)).contains("can"));
    let laughs = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                  d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    assert!(refused(laughs).contains("neither JSON nor YAML"));
    // Flow style of YAML, which begins as JSON does.
    Specification::of_text("{version: 1, kind: build, image: a}").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No text brings the reader down, and what is accepted is read again as it was.
    #[test]
    fn any_text_is_read_or_refused(
        text in "(version: 1\nkind: build\n)?(image: [a-z:/ ]{0,6}\n)?(build_steps: ?(\\[[a-z, '\"]{0,8}\\])?\n)?[a-z:\\[\\]{}&*!|>#\n -]{0,20}"
    ) {
        if let Ok(found) = Specification::of_text(&text) {
            let again = Specification::of_value(Value::Object(found.config.clone()));
            prop_assert_eq!(again, Ok(found));
        }
    }
}
