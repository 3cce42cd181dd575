//! Workspaces as users write them, and as they should not.

mod dockerfiles;

use super::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A workspace, and where the template goes.
struct Bench {
    folder: tempfile::TempDir,
    recipe: Recipe,
    runtime: Option<ContainerRuntime>,
    bases: Vec<GivenBase>,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            folder,
            recipe: Recipe::default(),
            runtime: None,
            bases: Vec::new(),
        };
        for directory in ["work", "artifacts"] {
            fs::create_dir(bench.path(directory)).unwrap();
        }
        for (name, content) in files {
            let path = bench.path("work").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        bench
    }

    fn given(recipe: Recipe, files: &[(&str, &str)]) -> Self {
        Self {
            recipe,
            ..Self::new(files)
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn build(&self) -> Result<(), String> {
        let surroundings = Surroundings {
            recipe: self.recipe.clone(),
            workspace: self.path("work"),
            artifacts: self.path("artifacts"),
            templates_path: self.path("templates"),
            runtime: self.runtime.clone(),
            bases: self.bases.clone(),
        };
        let built = build(&surroundings).map_err(|error| error.to_string());
        // Whatever came of it.
        let left = fs::read_dir(self.path("templates"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
        built
    }

    /// The description, and all files of the snapshot.
    fn built(&self) -> (TemplateDescription, BTreeMap<String, String>) {
        self.build().unwrap();
        let text = fs::read(self.path("artifacts").join(DESCRIPTION)).unwrap();
        let snapshot = fs::File::open(self.path("artifacts").join(SNAPSHOT)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(snapshot));
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let name = entry.path().unwrap().display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                files.insert(name, String::from_utf8_lossy(&content).into_owned());
            }
        }
        (serde_json::from_slice(&text).unwrap(), files)
    }

    fn check_fails(&self, sentence: &str) {
        let error = self.build().unwrap_err();
        assert!(error.contains(sentence), "{error}");
        assert!(!self.path("artifacts").join(DESCRIPTION).exists());
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn a_bare_repository_is_a_template_as_it_is() {
    let bench = Bench::new(&[
        ("Procfile", "web: ./serve $PORT\n"),
        ("a/b", "text"),
        (".git/config", ""),
    ]);
    let (description, files) = bench.built();
    let processes = BTreeMap::from([("web".to_owned(), "./serve $PORT".to_owned())]);
    let root = description.root.clone().unwrap();
    assert_eq!(Path::new(&root).parent().unwrap(), bench.path("templates"));
    let expected = TemplateDescription {
        form: Form::Workspace,
        root: Some(root),
        image: None,
        recipe: None,
        port: None,
        command: Vec::new(),
        processes,
        environment: BTreeMap::new(),
        directory: String::new(),
    };
    assert_eq!(description, expected);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["source/Procfile", "source/a/b"]);
}

#[test]
fn given_steps_run_in_a_copy_of_the_workspace() {
    let recipe = Recipe {
        steps: Some(owned(&[
            "X=1; pwd > made",
            "cat made a > b; echo \"${X:-unset} $PROJECT_DIR\" >> b",
        ])),
        variables: owned(&["CARGO_MANIFEST_DIR", "NOT_THERE"]),
        context: Some("sub".to_owned()),
        ..Recipe::default()
    };
    let bench = Bench::given(recipe, &[("sub/a", "text\n"), ("Dockerfile", "no")]);
    let (description, files) = bench.built();
    let root = description.root.clone().unwrap();
    let expected = format!("{root}/source/sub\ntext\nunset {root}/source/sub\n");
    assert_eq!(files["source/sub/b"], expected);
    assert_eq!(description.recipe, None);
    assert_eq!(description.directory, "sub");
    let variables: Vec<_> = description.environment.into_iter().collect();
    let here = env!("CARGO_MANIFEST_DIR").to_owned();
    assert_eq!(variables, [("CARGO_MANIFEST_DIR".to_owned(), here)]);
    assert!(!bench.path("work/sub/made").exists());
}

#[test]
fn the_step_that_fails_is_named() {
    let recipe = |steps: &[&str]| Recipe {
        steps: Some(owned(steps)),
        ..Recipe::default()
    };
    let check = |steps: &[&str], sentence| Bench::given(recipe(steps), &[]).check_fails(sentence);
    check(
        &["true", "echo 'b c'; exit 3", "echo never"],
        "Build step 2 failed with exit code 3: echo 'b c'; exit 3",
    );
    check(
        &["kill -9 $$"],
        "Build step 1 failed with exit code 137: kill -9 $$",
    );
    check(
        &["if true; then\n  exit 7\nfi"],
        ": if true; then exit 7 fi",
    );
    let image = Recipe {
        image: Some("busybox:1".to_owned()),
        needs_image: true,
        ..recipe(&["true"])
    };
    Bench::given(image, &[]).check_fails("The image busybox:1 was not used");
}

#[test]
fn a_workspace_can_be_copied_below_itself() {
    let text = "FROM scratch\nWORKDIR /app\nCOPY . .\nCOPY . .\nCMD serve $PORT\n";
    let bench = Bench::new(&[("Dockerfile", text), ("app/main", "m"), ("x", "x")]);
    let (description, files) = bench.built();
    assert_eq!(files["source/app/app/main"], "m");
    assert_eq!(files["source/app/x"], "x");
    assert!(!files.contains_key("source/app/app/x"));
    let command = owned(&["/bin/sh", "-c", "serve $PORT"]);
    assert_eq!(description.command, command);
}

#[test]
fn no_link_of_a_workspace_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let linked = |text: &str| {
        let bench = Bench::new(&[("Dockerfile", text), ("file", "x")]);
        symlink(outside.path(), bench.path("work").join("out")).unwrap();
        symlink("/etc/passwd", bench.path("work").join("passwd")).unwrap();
        bench
    };
    for (text, sentence) in [
        (
            "FROM a\nCOPY passwd .",
            "line 2: COPY of passwd: it leads out",
        ),
        (
            "FROM a\nCOPY out/secret .",
            "line 2: COPY of out/secret: it leads out",
        ),
        ("FROM a\nCOPY out .", "line 2: COPY of out: it leads out"),
        ("FROM a\nCOPY file out/x", "could not copy"),
        ("FROM a\nCOPY file /out/", "could not copy"),
        ("FROM a\nWORKDIR /out/x", "line 2: /out/x could not be made"),
    ] {
        let error = linked(text).build().unwrap_err();
        let found = error.to_lowercase();
        assert!(found.contains(&sentence.to_lowercase()), "{error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    // In a tree they stay links.
    let (_, files) = linked("FROM a\nCOPY . /all/\n").built();
    assert!(!files.values().any(|content| content.contains("root:")));
    for name in ["Dockerfile", "Procfile", "requirements.txt"] {
        let bench = Bench::new(&[]);
        symlink("/etc/hostname", bench.path("work").join(name)).unwrap();
        bench.check_fails(&format!(
            "{name} is a link that leads out of the repository."
        ));
        fs::remove_file(bench.path("work").join(name)).unwrap();
        symlink("nowhere", bench.path("work").join(name)).unwrap();
        bench.check_fails(&format!("{name} is a link that leads nowhere."));
        fs::remove_file(bench.path("work").join(name)).unwrap();
        fs::create_dir(bench.path("work").join(name)).unwrap();
        bench.check_fails(&format!("{name} is no file."));
    }
}

#[test]
fn a_requirement_that_does_not_exist_fails_the_build() {
    let bench = Bench::new(&[("requirements.txt", "./no-such-directory\n")]);
    bench.check_fails("pip install -r requirements.txt failed with exit code 1.");
}

#[test]
fn requirements_are_installed_where_they_are_found_later() {
    let setup =
        "from setuptools import setup\nsetup(name='own', version='1', py_modules=['own'])\n";
    let bench = Bench::new(&[
        ("requirements.txt", "# nothing is needed\n"),
        ("own/setup.py", setup),
    ]);
    let (description, files) = bench.built();
    assert_eq!(description.recipe.as_deref(), Some("requirements.txt"));
    let environment = format!("{}/environment", description.root.unwrap());
    assert_eq!(description.environment["VIRTUAL_ENV"], environment);
    assert!(files["environment/bin/pip"].contains(&environment));
}

#[test]
fn an_environment_needs_conda() {
    if std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|place| place.join("conda").is_file()))
    {
        return;
    }
    let bench = Bench::new(&[("environment.yml", "name: x\n")]);
    bench.check_fails("environment.yml needs conda, which is not on this slave");
}

#[test]
fn what_steps_leave_under_our_names_is_replaced() {
    let bench = Bench::new(&[("a", "x")]);
    symlink("/etc/passwd", bench.path("artifacts").join(DESCRIPTION)).unwrap();
    symlink("/dev/null", bench.path("artifacts").join(SNAPSHOT)).unwrap();
    assert_eq!(bench.built().1["source/a"], "x");
}

#[test]
fn a_runtime_builds_images_and_given_steps_in_them() {
    let Some(place) = crate::containers::tests::place() else {
        return;
    };
    let busybox = |bench: &Bench| {
        fs::copy("/bin/busybox", bench.path("work").join("busybox")).unwrap();
    };
    let with_runtime = |recipe: Recipe, files: &[(&str, &str)]| Bench {
        runtime: Some(place.runtime.clone()),
        ..Bench::given(recipe, files)
    };
    let text = "FROM scratch\nCOPY busybox /bin/sh\nEXPOSE 8081/tcp\nCMD [\"/bin/sh\"]\n";
    let bench = with_runtime(Recipe::default(), &[("Dockerfile", text)]);
    busybox(&bench);
    bench.build().unwrap();
    let description = fs::read(bench.path("artifacts").join(DESCRIPTION)).unwrap();
    let description: TemplateDescription = serde_json::from_slice(&description).unwrap();
    assert_eq!(
        (description.form, description.port),
        (Form::Image, Some(8081))
    );
    let image = description.image.unwrap();
    assert!(!place.runtime.has_image(&image), "{image} stayed");
    let base = "localhost/base:1";
    let snapshot = bench.path("artifacts").join(SNAPSHOT);
    place.runtime.load(&snapshot, base).unwrap();
    assert!(place.runtime.has_image(base));
    let recipe = Recipe {
        image: Some(base.to_owned()),
        steps: Some(owned(&["pwd; read -r x < file; echo $x", "exit 3"])),
        ..Recipe::default()
    };
    with_runtime(recipe, &[("file", "x\n")])
        .check_fails("Build step 2 failed with exit code 3: exit 3");
    let wrong = with_runtime(
        Recipe::default(),
        &[("Dockerfile", "FROM scratch\nRUNN x\n")],
    );
    wrong.check_fails("Dockerfile line 2: unknown instruction `RUNN`. Did you mean RUN?");
    let bench = Bench {
        bases: vec![given_base("app:latest", Form::Image, base)],
        ..with_runtime(
            Recipe::default(),
            &[(
                "Dockerfile",
                "FROM app:latest\nRUN [\"/bin/sh\", \"-c\", \"echo x > /made\"]\n",
            )],
        )
    };
    bench.build().unwrap();
    let steps = Recipe {
        image: Some("app:latest".to_owned()),
        steps: Some(owned(&["pwd"])),
        ..Recipe::default()
    };
    let bench = Bench {
        bases: bench.bases.clone(),
        ..with_runtime(steps, &[("file", "x\n")])
    };
    bench.build().unwrap();
    place.runtime.remove_image(base).unwrap();
}

fn given_base(reference: &str, form: Form, place: &str) -> GivenBase {
    let description = json!({"form": form});
    GivenBase {
        reference: reference.to_owned(),
        description: serde_json::from_value(description).unwrap(),
        place: place.to_owned(),
    }
}

impl Bench {
    /// With a workspace template `app` to be based on: a file, and a program that is installed for it.
    fn with_base(mut self) -> Self {
        let (base, old) = (self.path("base"), self.path("templates/0123456789abcdef"));
        let old = old.display().to_string();
        fs::create_dir_all(base.join("source")).unwrap();
        fs::create_dir_all(base.join("environment/bin")).unwrap();
        fs::write(base.join("source/of-base"), "of the base").unwrap();
        fs::write(base.join("source/own"), "of the base").unwrap();
        let tool = base.join("environment/bin/tool");
        fs::write(&tool, format!("#!/bin/sh\necho {old}/environment\n")).unwrap();
        fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        let mut given = given_base("app", Form::Workspace, &base.display().to_string());
        given.description.environment =
            BTreeMap::from([("VIRTUAL_ENV".to_owned(), format!("{old}/environment"))]);
        given.description.root = Some(old);
        given.description.command = owned(&["tool"]);
        given.description.processes = BTreeMap::from([("web".to_owned(), "tool".to_owned())]);
        self.bases = vec![given];
        self
    }

    fn check_based(&self) -> TemplateDescription {
        let (description, files) = self.built();
        let root = description.root.clone().unwrap();
        let environment = format!("{root}/environment");
        assert_eq!(description.environment["VIRTUAL_ENV"], environment);
        assert_eq!(description.processes["web"], "tool");
        assert_eq!(files["source/of-base"], "of the base");
        assert_eq!(files["source/own"], "of the repository");
        assert_eq!(files["source/made"], format!("{environment}\nof the base"));
        assert!(files["environment/bin/tool"].contains(&environment));
        description
    }
}

#[test]
fn a_workspace_is_a_base_where_steps_are_processes() {
    let own = ("own", "of the repository");
    let step = "tool > made && cat of-base >> made";
    let text = format!("FROM app AS one\nRUN {step}\nFROM one\nCMD [\"other\"]\n");
    let bench = Bench::new(&[("Dockerfile", &text), own]).with_base();
    assert_eq!(bench.check_based().command, ["other"]);
    let steps = Recipe {
        image: Some("app".to_owned()),
        steps: Some(owned(&[step])),
        needs_image: true,
        ..Recipe::default()
    };
    let bench = Bench::given(steps, &[own]).with_base();
    assert_eq!(bench.check_based().command, ["tool"]);
}

#[test]
fn an_image_is_no_base_where_steps_are_processes() {
    let mut bench = Bench::new(&[("Dockerfile", "FROM app\n")]);
    bench.bases = vec![given_base("app", Form::Image, "")];
    bench.check_fails(
        "The template app is an image: only a slave with podman or docker can build on it.",
    );
}
