//! Dockerfiles that are carried out in a workspace.

use super::*;

fn check_dockerfile(text: &str, sentence: &str) {
    Bench::new(&[("Dockerfile", text), ("file", "x")]).check_fails(sentence);
}

#[test]
fn a_dockerfile_is_carried_out_in_the_workspace() {
    let text = "ARG BASE=debian\nFROM ${BASE}:12 AS build\nARG WHO=you\nENV GREETING=\"hello $WHO\" N=1\nENV LONG one two\n\
                WORKDIR /app\nCOPY *.txt sub/deep ./\nADD data.tar.gz /data\n\
                RUN echo \"$GREETING $WHO $N\" > said && \\\n    pwd >> said\nRUN [\"cp\", \"said\", \"copied\"]\n\
                COPY <<\"END\" /app/run.sh\necho $HOME\nEND\nRUN <<END\ncat > here < /dev/null\necho x >> here\nEND\n\
                FROM build\nCOPY --from=0 /app/said /final/\nWORKDIR final\nEXPOSE 8080/tcp 9000\nUSER nobody\n\
                ENTRYPOINT [\"python3\"]\nCMD [\"-m\", \"http.server\"]\n";
    let bench = Bench::new(&[
        ("Dockerfile", text),
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("sub/deep/c", "c"),
        ("app/app/inner", "i"),
    ]);
    let work = bench.path("work");
    let packed = std::process::Command::new("tar")
        .args(["-czf", "data.tar.gz", "a.txt"])
        .current_dir(&work)
        .status();
    assert!(packed.unwrap().success());
    let (description, files) = bench.built();
    let root = description.root.clone().unwrap();
    assert_eq!(files["source/app/a.txt"], "a");
    assert_eq!(files["source/app/c"], "c");
    assert_eq!(files["source/data/a.txt"], "a");
    let said = format!("hello you you 1\n{root}/source/app\n");
    assert_eq!(files["source/app/copied"], said);
    assert_eq!(files["source/final/said"], said);
    assert_eq!(files["source/app/run.sh"], "echo $HOME\n");
    assert_eq!(files["source/app/here"], "x\n");
    let command = owned(&["python3", "-m", "http.server"]);
    assert_eq!(description.command, command);
    assert_eq!(description.port, Some(8080));
    assert_eq!(description.directory, "app/final");
    assert_eq!(description.recipe.as_deref(), Some("Dockerfile"));
    let variables: Vec<_> = description.environment.iter().collect();
    let expected = [("GREETING", "hello you"), ("LONG", "one two"), ("N", "1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        variables,
        expected.iter().map(|(n, v)| (n, v)).collect::<Vec<_>>()
    );
}

#[test]
fn what_a_dockerfile_can_not_do_here_is_said_with_its_line() {
    for (text, sentence) in [
        (
            "FROM a\nRUNN x",
            "Dockerfile line 2: unknown instruction `RUNN`. Did you mean RUN?",
        ),
        (
            "FROM a\n\nCOPY ../secret .",
            "Dockerfile line 3: COPY of ../secret: it leads out of the repository.",
        ),
        ("FROM a\nCOPY a/../../x .", "line 2: COPY of a/../../x"),
        (
            "FROM a\nCOPY none .",
            "line 2: there is no none in the repository.",
        ),
        ("FROM a\nCOPY *.none .", "line 2: there is no *.none"),
        (
            "FROM a\nCOPY file",
            "line 2: COPY needs a source and a destination.",
        ),
        (
            "FROM a\nADD https://x/y .",
            "an address needs a container runtime.",
        ),
        (
            "FROM a\nCOPY --from=nginx /x .",
            "nginx is no earlier stage",
        ),
        (
            "FROM a\nRUN true\nRUN echo 'b  c' \\\n && exit 4",
            "Dockerfile line 3: RUN failed with exit code 4: echo 'b c' && exit 4",
        ),
        ("FROM a\nENV x", "line 2: ENV takes names and values"),
        ("FROM a\nENV =x", "line 2: it names no variable."),
        ("FROM a\nENV x='y", "line 2: a single quote is not closed."),
        ("FROM a\nEXPOSE http", "line 2: EXPOSE names no port."),
        ("FROM a b", "line 1: FROM takes an image"),
        ("FROM a\nSHELL bash", "line 2: SHELL takes a list"),
        ("FROM a\nRUN []", "line 2: RUN needs arguments."),
        (
            "FROM a\nRUN [\"/none\"]",
            "line 2: /none could not be started",
        ),
    ] {
        check_dockerfile(text, sentence);
    }
    let needs = Recipe {
        needs_image: true,
        ..Recipe::default()
    };
    let bench = Bench::given(needs, &[("Dockerfile", "FROM debian:12\nRUN exit 9")]);
    bench.check_fails("The image debian:12 was not used");
}

#[test]
fn a_given_dockerfile_and_context_are_used() {
    let recipe = Recipe {
        dockerfile: Some("docker/Web".to_owned()),
        context: Some("web".to_owned()),
        ..Recipe::default()
    };
    let text = "FROM scratch\nCOPY index /srv/\nWORKDIR /srv\n";
    let bench = Bench::given(
        recipe.clone(),
        &[
            ("docker/Web", text),
            ("web/index", "i"),
            ("Dockerfile", "no"),
        ],
    );
    let (description, files) = bench.built();
    assert_eq!(files["source/web/srv/index"], "i");
    assert_eq!(description.directory, "web/srv");
    assert_eq!(description.recipe.as_deref(), Some("docker/Web"));
    Bench::given(recipe.clone(), &[("web/index", "i")])
        .check_fails("There is no docker/Web in the repository.");
    Bench::given(recipe, &[("docker/Web", text)])
        .check_fails("The context web is no directory of the repository.");
}
