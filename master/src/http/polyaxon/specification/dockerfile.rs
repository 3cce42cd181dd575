//! The recipe of a build in the form of a Dockerfile, as Polyaxon writes it, whether or not anything reads it.

use super::{LOCALE, Specification};
use std::fmt::Write as _;

/// The locale where nothing is said.
const USUAL_LOCALE: &str = "en_US.UTF-8";

/// Where the code is in the image.
const WORKSPACE: &str = "/code";

/// The name of the directory with the code beside the Dockerfile.
const CODE: &str = "build";

/// The recipe; none without an image.
pub(in crate::http::polyaxon) fn dockerfile(specification: &Specification) -> Option<String> {
    let image = specification.image.as_ref()?;
    let locale = specification.lang_env.as_deref().unwrap_or(USUAL_LOCALE);
    let mut text = format!("\nFROM {image}\n\n");
    for name in LOCALE {
        line(&mut text, &format!("ENV {name} {locale}"));
    }
    line(&mut text, "# Use bash as default shell, rather than sh");
    line(&mut text, "ENV SHELL /bin/bash\n");
    for (name, value) in &specification.env_vars {
        line(&mut text, &format!("ENV {name} {value}"));
    }
    line(&mut text, &format!("WORKDIR {WORKSPACE}\n"));
    for step in &specification.build_steps {
        line(&mut text, &format!("RUN {step}"));
    }
    text.push_str(&format!("COPY {CODE} {WORKSPACE}"));
    Some(text)
}

fn line(text: &mut String, line: &str) {
    // Writing to a text does not fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(specification: &Specification, expected: &str) {
        assert_eq!(dockerfile(specification).as_deref(), Some(expected));
    }

    #[test]
    fn the_recipe_has_polyaxon_s_form() {
        let image = Some("tensorflow/tensorflow:1.4.1-py3".to_owned());
        let plain = Specification {
            image: image.clone(),
            ..Specification::default()
        };
        check(
            &plain,
            "\nFROM tensorflow/tensorflow:1.4.1-py3\n\nENV LC_ALL en_US.UTF-8\nENV LANG en_US.UTF-8\n\
             ENV LANGUAGE en_US.UTF-8\n# Use bash as default shell, rather than sh\nENV SHELL /bin/bash\n\n\
             WORKDIR /code\n\nCOPY build /code",
        );
        let full = Specification {
            build_steps: vec!["pip install -r requirements.txt".into(), "make".into()],
            env_vars: vec![("A".into(), "1".into()), ("B".into(), "two words".into())],
            lang_env: Some("C.UTF-8".into()),
            ..plain
        };
        check(
            &full,
            "\nFROM tensorflow/tensorflow:1.4.1-py3\n\nENV LC_ALL C.UTF-8\nENV LANG C.UTF-8\nENV LANGUAGE C.UTF-8\n\
             # Use bash as default shell, rather than sh\nENV SHELL /bin/bash\n\nENV A 1\nENV B two words\n\
             WORKDIR /code\n\nRUN pip install -r requirements.txt\nRUN make\nCOPY build /code",
        );
        assert_eq!(dockerfile(&Specification::default()), None);
    }
}
