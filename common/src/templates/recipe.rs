//! In which way a template is made from a workspace, as the one who asks for it says.

use crate::process::variables::Variables;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Component, Path};

/// The Dockerfile of a workspace that says nothing else.
pub const DOCKERFILE: &str = "Dockerfile";

/// How a workspace becomes a template. The usual recipe, with nothing given, takes what the workspace itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The container image in which the steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The path of a Dockerfile in the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The directory of the workspace that the recipe is about; all of it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Shell texts, run one after the other; those of the workspace's own recipe where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// The names of those variables of the build that the template's processes have, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Whether nothing that was built before is used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_no_cache: bool,
    /// Whether the build fails where an image can not be used, and its steps do not run as plain processes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_image: bool,
}

/// What is wrong with the text of a recipe.
#[derive(Debug, thiserror::Error)]
pub enum WrongRecipe {
    /// It is no JSON of a recipe.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A path leads out of the workspace.
    #[error("{0} is no path in the workspace")]
    Outside(String),
}

impl Recipe {
    /// The recipe as one line of JSON; empty for the usual one.
    #[must_use]
    #[expect(clippy::expect_used, reason = "texts and truth values are JSON")]
    pub fn to_text(&self) -> String {
        match *self == Self::default() {
            true => String::new(),
            false => serde_json::to_string(self).expect("texts and truth values are JSON"),
        }
    }

    /// Reads it back. What leads out of the workspace is refused.
    ///
    /// # Errors
    /// See [`WrongRecipe`].
    pub fn from_text(text: &str) -> Result<Self, WrongRecipe> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let recipe: Self = serde_json::from_str(text)?;
        for path in [&recipe.dockerfile, &recipe.context].into_iter().flatten() {
            if !is_inside(path) {
                return Err(WrongRecipe::Outside(path.clone()));
            }
        }
        Ok(recipe)
    }

    /// The image in which its steps are carried out, if it has steps and an image.
    #[must_use]
    pub fn image_of_steps(&self) -> Option<&str> {
        let has_steps = self.steps.is_some() && self.dockerfile.is_none();
        self.image.as_deref().filter(|_| has_steps)
    }

    /// Where in the workspace the Dockerfile is that it takes, if there is one.
    #[must_use]
    pub fn dockerfile_path(&self) -> Option<String> {
        match (&self.dockerfile, &self.steps) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(_)) => None,
            (None, None) => {
                let context = Path::new(self.context.as_deref().unwrap_or_default());
                Some(context.join(DOCKERFILE).display().to_string())
            }
        }
    }

    /// A name for the recipe and the variables that its steps have: another for others.
    #[must_use]
    pub fn digest_with(&self, variables: &Variables) -> String {
        let mut digest = Sha256::new();
        digest.update(self.to_text());
        for (name, value) in variables.iter() {
            digest.update([0]);
            digest.update(name);
            digest.update([0]);
            digest.update(value);
        }
        hex::encode(digest.finalize())
    }
}

/// Whether a relative path leads nowhere else, as far as its words say.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_read_as_it_was_written() {
        assert_eq!(Recipe::default().to_text(), "");
        assert_eq!(Recipe::from_text(" \n").unwrap(), Recipe::default());
        let full = Recipe {
            image: Some("busybox:1".to_owned()),
            dockerfile: Some("sub/Dockerfile".to_owned()),
            context: Some("./sub".to_owned()),
            steps: Some(vec!["echo 'a'\n".to_owned()]),
            variables: vec!["A".to_owned()],
            has_no_cache: true,
            needs_image: true,
        };
        assert_eq!(Recipe::from_text(&full.to_text()).unwrap(), full);
        assert!(!full.to_text().contains('\n'));
    }

    #[test]
    fn what_leads_out_is_refused() {
        for path in ["../x", "/etc", "a/../../b"] {
            let text = format!("{{\"context\": \"{path}\"}}");
            let refused = Recipe::from_text(&text).unwrap_err();
            assert!(matches!(refused, WrongRecipe::Outside(named) if named == path));
        }
        Recipe::from_text("{\"contexts\": \"x\"}").unwrap_err();
        Recipe::from_text("[1]").unwrap_err();
    }
}
