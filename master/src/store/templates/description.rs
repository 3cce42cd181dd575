//! What a build says of its template, which its own commands may have written: read with bounds.

use clusterrunner_common::process::variables;
use clusterrunner_common::templates::{Form, TemplateDescription};
use clusterrunner_common::text::json;
use clusterrunner_common::text::printable::is_obeyed;
use std::io::{self, Read};
use std::path::{Component, Path};

/// The most bytes of a description: orders to slaves carry it once for each instance.
const MOST: u64 = 32 << 10;

/// The most bytes of a path or of a name in it.
const LONGEST: usize = 1024;

/// The most bytes of the path at which a template lies: it stands in the first lines of scripts, which are short.
const LONGEST_ROOT: usize = 100;

/// How many hexadecimal digits the last part of that path has.
const ROOT_DIGITS: usize = 16;

/// What is wrong with a description. The text goes to the build's user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DescriptionError {
    /// It is too long.
    #[error("at most {MOST} bytes are read")]
    TooLong,
    /// It is no JSON of this form.
    #[error("{0}")]
    Malformed(String),
    /// A field can not be as it is.
    #[error("field '{field}' must be {expected}")]
    Field {
        /// The field.
        field: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Reads a description.
///
/// # Errors
/// The content can not be read. What is wrong with the description itself comes inside.
pub(super) fn read(
    content: &mut dyn Read,
) -> io::Result<Result<TemplateDescription, DescriptionError>> {
    let mut text = Vec::new();
    content.take(MOST + 1).read_to_end(&mut text)?;
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> Result<TemplateDescription, DescriptionError> {
    if text.len() as u64 > MOST {
        return Err(DescriptionError::TooLong);
    }
    let parsed = json::from_slice::<TemplateDescription>(text);
    let description = parsed.map_err(|error| DescriptionError::Malformed(error.to_string()))?;
    check(&description)?;
    Ok(description)
}

fn check(description: &TemplateDescription) -> Result<(), DescriptionError> {
    let TemplateDescription {
        form,
        root,
        image,
        recipe,
        port,
        command,
        processes,
        environment,
        directory,
    } = description;
    match form {
        Form::Workspace => {
            let is_right = root.as_deref().is_some_and(is_root);
            let expected = "the path at which the template was built: /<directories>/<16 hexadecimal digits>, at most 100 \
                            bytes";
            ensure(is_right, "root", expected)?;
            ensure(image.is_none(), "image", "left out for a workspace")?;
        }
        Form::Image => {
            let is_right = image.as_deref().is_some_and(is_image);
            ensure(is_right, "image", "the name of the image in its archive")?;
            ensure(root.is_none(), "root", "left out for an image")?;
        }
    }
    let is_named = recipe.as_deref().is_none_or(is_inside);
    ensure(is_named, "recipe", "a path inside the repository")?;
    ensure(*port != Some(0), "port", "from 1 to 65535")?;
    let is_inside_workspace = match form {
        Form::Workspace => directory.is_empty() || is_inside(directory),
        Form::Image => is_text(directory),
    };
    ensure(
        is_inside_workspace,
        "directory",
        "a path inside the workspace",
    )?;
    let without_nul = |text: &String| !text.contains('\0');
    ensure(
        command.iter().all(without_nul),
        "command",
        "without NUL characters",
    )?;
    for (name, text) in processes {
        let is_right = is_process_type(name) && !text.trim().is_empty() && without_nul(text);
        ensure(
            is_right,
            &format!("processes.{name}"),
            "the command of a process type, whose name has letters, digits, '-' and '_' only",
        )?;
    }
    for (name, value) in environment {
        if let Err(expected) = variables::check(name, value) {
            ensure(false, &format!("environment.{name}"), expected)?;
        }
    }
    Ok(())
}

fn ensure(is_right: bool, field: &str, expected: &'static str) -> Result<(), DescriptionError> {
    match is_right {
        true => Ok(()),
        false => Err(DescriptionError::Field {
            field: field.chars().take(LONGEST).collect(),
            expected,
        }),
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= LONGEST && !text.contains(is_obeyed)
}

/// An absolute path without detours that ends in 16 hexadecimal digits.
fn is_root(root: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let Some((above, last)) = root
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'))
    else {
        return false;
    };
    root.len() <= LONGEST_ROOT
        && is_inside(above)
        && last.len() == ROOT_DIGITS
        && last.bytes().all(is_digit)
}

/// A relative path that is not empty and leads downwards only.
fn is_inside(path: &str) -> bool {
    let is_plain = |part| matches!(part, Component::Normal(_));
    !path.is_empty() && is_text(path) && Path::new(path).components().all(is_plain)
}

/// As registries write them: `localhost/name:tag`.
fn is_image(name: &str) -> bool {
    let is_fine = |sign: char| sign.is_ascii_alphanumeric() || "._-/:@".contains(sign);
    let begins = name.starts_with(|sign: char| sign.is_ascii_alphanumeric());
    begins && name.len() <= LONGEST && name.chars().all(is_fine)
}

fn is_process_type(name: &str) -> bool {
    let is_fine = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_');
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn workspace() -> Value {
        json!({"form": "workspace", "root": "/var/tmp/clusterrunner/0123456789abcdef"})
    }

    /// What a workspace is called with one field more.
    fn with(field: &str, value: Value) -> Result<TemplateDescription, DescriptionError> {
        let mut description = workspace();
        description[field] = value;
        parse(description.to_string().as_bytes())
    }

    #[test]
    fn whole_descriptions_are_read() {
        for (field, value) in [
            ("port", json!(8888)),
            ("recipe", json!("docs/requirements.txt")),
            ("command", json!(["python", "-m", "http.server", "$PORT"])),
            ("processes", json!({"web": "python -m http.server $PORT"})),
            ("environment", json!({"PATH": "/x/bin:/bin"})),
            ("directory", json!("app/src")),
        ] {
            let read = with(field, value.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap()[field], value);
        }
        let image = json!({"form": "image", "image": "localhost/app:1", "directory": "/app"});
        assert!(parse(image.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn what_can_not_be_is_named() {
        for (field, value) in [
            ("root", json!("/0123456789abcdef")),
            ("root", json!("/var/../0123456789abcdef")),
            ("root", json!("/var//tmp/0123456789abcdeg")),
            ("root", json!("var/tmp/0123456789abcdef")),
            (
                "root",
                json!(format!("/{}/0123456789abcdef", "x".repeat(100))),
            ),
            ("root", Value::Null),
            ("image", json!("a")),
            ("port", json!(0)),
            ("recipe", json!("../Dockerfile")),
            ("directory", json!("/etc")),
            ("directory", json!("a/../..")),
            ("command", json!(["a\0b"])),
            ("processes", json!({"web server": "x"})),
            ("processes", json!({"web": " "})),
            ("environment", json!({"A=B": "x"})),
            ("environment", json!({"PROJECT_DIR": "x"})),
        ] {
            let failure = with(field, value.clone()).unwrap_err();
            let DescriptionError::Field { field: named, .. } = failure else {
                panic!("{field} = {value}: {failure}");
            };
            assert!(named.starts_with(field), "{field} = {value}: {named}");
        }
        for image in [Value::Null, json!("--privileged"), json!("a b"), json!("")] {
            let description = json!({"form": "image", "image": image});
            parse(description.to_string().as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_description_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"form": "tarball"}"#,
            r#"{"form":"image","form":"image"}"#,
        ] {
            let failure = parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(failure, DescriptionError::Malformed(_)),
                "{text}: {failure}"
            );
        }
        let long = with("command", json!(["x".repeat(40_000)])).unwrap_err();
        assert_eq!(long, DescriptionError::TooLong);
    }
}
