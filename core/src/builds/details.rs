//! What users say of a build: a name, a description, tags.
//!
//! Details are of the cluster and not of the build: so a build that is archived is described in the same way as one that
//! runs, and its archived form stays as it is. Few builds have any.

use clusterrunner_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// How many characters a name has at most.
pub const MAX_NAME: usize = 256;

/// How many characters a description has at most.
pub const MAX_DESCRIPTION: usize = 10_000;

/// How many tags a build or a project has at most.
pub const MAX_TAGS: usize = 100;

/// How many characters a tag has at most.
pub const MAX_TAG: usize = 100;

/// What is said of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Its name, which no other build of its project has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags, each once; none where nobody ever gave any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// When it was last described.
    pub changed: Option<Timestamp>,
}

/// What is to be said of a build from now on; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewDetails {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

impl NewDetails {
    /// Whether nothing is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// What becomes of the tags that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// New tags take their place.
    #[default]
    Replace,
    /// New tags come beside them.
    Add,
}

/// Why something can not be said of a build or of a project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The name has other characters than names have, or none.
    #[error("a name has letters, digits, `-` and `_` only")]
    NoName,
    /// The name is too long.
    #[error("a name has at most {MAX_NAME} characters")]
    LongName,
    /// Another build of the project, or another project of the owner, has the name.
    #[error("the name is taken")]
    NameTaken,
    /// The description is too long.
    #[error("a description has at most {MAX_DESCRIPTION} characters")]
    LongDescription,
    /// There are too many tags.
    #[error("there are at most {MAX_TAGS} tags")]
    ManyTags,
    /// A tag is too long.
    #[error("a tag has at most {MAX_TAG} characters")]
    LongTag,
    /// A tag is empty.
    #[error("a tag has at least one character")]
    EmptyTag,
}

/// Checks a description.
pub(crate) fn check_description(description: Option<&str>) -> Result<(), Unfit> {
    let length = description.map_or(0, |text| text.chars().count());
    match length > MAX_DESCRIPTION {
        true => Err(Unfit::LongDescription),
        false => Ok(()),
    }
}

/// The tags that come of new ones and of those that are there: each once, in the order in which they came.
pub(crate) fn tags(
    new: Vec<String>,
    present: Option<&[String]>,
    merge: Merge,
) -> Result<Vec<String>, Unfit> {
    let mut tags = match (merge, present) {
        (Merge::Add, Some(present)) => present.to_vec(),
        (Merge::Add, None) | (Merge::Replace, _) => Vec::new(),
    };
    for tag in new {
        if tag.is_empty() {
            return Err(Unfit::EmptyTag);
        }
        if tag.chars().count() > MAX_TAG {
            return Err(Unfit::LongTag);
        }
        // There are few: a list that is too long ends here.
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > MAX_TAGS {
            return Err(Unfit::ManyTags);
        }
    }
    Ok(tags)
}

/// A name that `is_part` says the characters of.
pub(crate) fn check_name(name: &str, is_part: fn(char) -> bool) -> Result<(), Unfit> {
    if name.is_empty() || !name.chars().all(is_part) {
        return Err(Unfit::NoName);
    }
    match name.chars().count() > MAX_NAME {
        true => Err(Unfit::LongName),
        false => Ok(()),
    }
}

pub(super) fn is_part_of_a_build_name(part: char) -> bool {
    part.is_ascii_alphanumeric() || matches!(part, '-' | '_')
}

impl NewDetails {
    /// Only what changes something.
    pub(super) fn without_known(self, known: Option<&Details>) -> Self {
        let Some(known) = known else {
            return self;
        };
        Self {
            name: self.name.filter(|name| known.name.as_ref() != Some(name)),
            description: self
                .description
                .filter(|text| known.description.as_ref() != Some(text)),
            tags: self.tags.filter(|tags| known.tags.as_ref() != Some(tags)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn tags_are_merged_in_order_and_each_is_there_once() {
        let present = texts(&["a", "b"]);
        let check = |new: &[&str], merge, expected: &[&str]| {
            let found = tags(texts(new), Some(&present), merge).unwrap();
            assert_eq!(found, texts(expected));
        };
        check(&["c", "a", "c"], Merge::Replace, &["c", "a"]);
        check(&["c", "a", "c"], Merge::Add, &["a", "b", "c"]);
        check(&[], Merge::Replace, &[]);
        check(&[], Merge::Add, &["a", "b"]);
        assert_eq!(tags(texts(&["x"]), None, Merge::Add), Ok(texts(&["x"])));
    }

    #[test]
    fn there_are_not_too_many_tags_and_none_is_too_long() {
        let many = |number: usize| (0..number).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(
            tags(many(MAX_TAGS), None, Merge::Replace).map(|tags| tags.len()),
            Ok(MAX_TAGS)
        );
        let more = tags(many(MAX_TAGS + 1), None, Merge::Replace);
        assert_eq!(more, Err(Unfit::ManyTags));
        let added = tags(texts(&["new"]), Some(&many(MAX_TAGS)), Merge::Add);
        assert_eq!(added, Err(Unfit::ManyTags));
        let tag = |length: usize| tags(vec!["ü".repeat(length)], None, Merge::Replace).map(drop);
        assert_eq!(tag(MAX_TAG), Ok(()));
        assert_eq!(tag(MAX_TAG + 1), Err(Unfit::LongTag));
        assert_eq!(tag(0), Err(Unfit::EmptyTag));
    }

    #[test]
    fn names_and_descriptions_have_their_bounds() {
        let name = |name: &str| check_name(name, is_part_of_a_build_name);
        assert_eq!(name("A-z_9"), Ok(()));
        for odd in ["", "a b", "ä", "a/b", "a\n"] {
            assert_eq!(name(odd), Err(Unfit::NoName), "{odd:?}");
        }
        assert_eq!(name(&"x".repeat(MAX_NAME)), Ok(()));
        assert_eq!(name(&"x".repeat(MAX_NAME + 1)), Err(Unfit::LongName));
        let description = |length: usize| check_description(Some(&"é".repeat(length)));
        assert_eq!(description(MAX_DESCRIPTION), Ok(()));
        assert_eq!(
            description(MAX_DESCRIPTION + 1),
            Err(Unfit::LongDescription)
        );
    }
}
