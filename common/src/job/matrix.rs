//! The matrix of a job: variables with lists of values, whose combinations are builds. Pure.
//!
//! `include` and `exclude` mean what they mean in GitHub Actions: exclusions come first, and fit a combination that has
//! all that they name; an inclusion is added to each combination whose values it leaves as they were, and is a
//! combination of its own where there is none.

#[cfg(test)]
mod tests;

use crate::ids::BuildId;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The most combinations of a matrix: each is a build with a set-up of its own.
pub const MOST_COMBINATIONS: usize = 256;

/// The most combinations before those that are excluded are left out.
const MOST_BEFORE: usize = 4 * MOST_COMBINATIONS;

/// The most bytes of all names and values as they are written: each may be in all combinations.
const MOST_BYTES: usize = 64 << 10;

/// Variables and their values, in the order of the job file. Copies share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "IndexMap<String, String>")]
pub struct Combination(Arc<IndexMap<String, String>>);

impl Serialize for Combination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl From<IndexMap<String, String>> for Combination {
    fn from(variables: IndexMap<String, String>) -> Self {
        Self(Arc::new(variables))
    }
}

impl fmt::Display for Combination {
    /// `PYTHON=3.12 OS=linux`. Characters that a terminal obeys are as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let gap = if index > 0 { " " } else { "" };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Combination {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        variables.into_iter().collect::<IndexMap<_, _>>().into()
    }
}

impl Combination {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.0.iter();
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether it has all these variables with these values.
    #[must_use]
    pub fn has_all(&self, others: &Self) -> bool {
        let mut others = others.iter();
        others.all(|(name, value)| self.get(name) == Some(value))
    }

    /// Whether it sets the same variables to the same values, in whatever order.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// A name for a folder: no character that a path or a shell takes for something else.
    #[must_use]
    pub fn folder(&self) -> String {
        const LONGEST: usize = 100;
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '=' | '.' | '-' | '_');
        let text = self.to_string();
        let plain = text.chars().take(LONGEST).map(|c| match c {
            ' ' => ',',
            c if is_plain(&c) => c,
            _ => '_',
        });
        plain.collect()
    }
}

/// The name of the folder that each build of a matrix has where the results of all are in one directory.
#[must_use]
pub fn folders<'a>(builds: impl Iterator<Item = (BuildId, &'a Combination)>) -> Vec<String> {
    let mut names = BTreeSet::new();
    let folder = |(id, combination): (BuildId, &Combination)| {
        let name = combination.folder();
        // What is no part of a name may be all that tells two combinations apart.
        let name = match names.contains(&name) {
            true => format!("{name},{id}"),
            false => name,
        };
        names.insert(name.clone());
        name
    };
    builds.map(folder).collect()
}

/// Which build of a matrix a build is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The build that was split; none where this one runs a build of a matrix again alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BuildId>,
    /// Its variables.
    pub combination: Combination,
}

/// A combination that is to be built, where not all are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Variables that it has, with these values; others may have any value.
    pub variables: Combination,
    /// The atoms of its build, in place of those of the atomizers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atoms: Option<Vec<String>>,
    /// Whether just the combination of these variables is meant, and none that has others, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_exact: bool,
}

impl Chosen {
    /// Whether a combination is meant.
    #[must_use]
    pub fn fits(&self, combination: &Combination) -> bool {
        match self.is_exact {
            true => combination.is_same(&self.variables),
            false => combination.has_all(&self.variables),
        }
    }
}

/// A combination that is built, and the atoms that were chosen for it, if some were.
pub type Built<'a> = (&'a Combination, Option<&'a [String]>);

/// The combinations that are built, in their order, each with the atoms that were chosen for it. Where nothing is chosen
/// these are all.
///
/// # Errors
/// What was chosen and fits none: the place in `chosen`.
pub fn chosen<'a>(all: &'a [Combination], chosen: &'a [Chosen]) -> Result<Vec<Built<'a>>, usize> {
    if chosen.is_empty() {
        return Ok(all.iter().map(|one| (one, None)).collect());
    }
    let is_odd = |choice: &Chosen| !all.iter().any(|one| choice.fits(one));
    if let Some(odd) = chosen.iter().position(is_odd) {
        return Err(odd);
    }
    let of = |one| chosen.iter().find(|choice| choice.fits(one));
    let built = all
        .iter()
        .filter_map(|one| Some((one, of(one)?.atoms.as_deref())));
    Ok(built.collect())
}

/// A matrix as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Each variable and its values, none of which is there twice.
    pub variables: IndexMap<String, Vec<String>>,
    /// Combinations that are left out.
    pub exclude: Vec<Combination>,
    /// Combinations that are added.
    pub include: Vec<Combination>,
}

/// Why a matrix has no combinations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// Its names and values are too long together.
    #[error("is too long: its names and values have {0} bytes, more than {MOST_BYTES}")]
    TooLong(usize),
    /// There are too many combinations: how many, and how many there may be.
    #[error("has {0} combinations, more than {1}")]
    TooMany(u128, usize),
    /// No combination is left.
    #[error("has no combination: all are excluded")]
    NoneLeft,
    /// An exclusion, by its place in the list, fits no combination.
    #[error("has no combination that fits its exclude {1}")]
    ExcludesNothing(usize, Combination),
    /// A combination is there twice.
    #[error("has the combination {0} twice")]
    Twice(Combination),
}

impl Matrix {
    /// All combinations: the last variable changes fastest, those of `include` that are of their own come last.
    ///
    /// # Errors
    /// There is none, there are too many, one is there twice, or an exclusion has no effect.
    pub fn combinations(&self) -> Result<Vec<Combination>, MatrixError> {
        let size = self.size();
        if size > MOST_BYTES {
            return Err(MatrixError::TooLong(size));
        }
        let numbers = self.variables.values().map(|values| values.len() as u128);
        let number = numbers.fold(1, u128::saturating_mul);
        if number > MOST_BEFORE as u128 {
            return Err(MatrixError::TooMany(number, MOST_BEFORE));
        }
        let mut found = match self.variables.is_empty() {
            true => Vec::new(),
            false => vec![Combination::default()],
        };
        for (name, values) in &self.variables {
            let longer = |before: &Combination, value: &String| {
                let mut longer = before.clone();
                Arc::make_mut(&mut longer.0).insert(name.clone(), value.clone());
                longer
            };
            let all = found.iter();
            found = all
                .flat_map(|before| values.iter().map(move |value| longer(before, value)))
                .collect();
        }
        let all = found.clone();
        for (index, excluded) in self.exclude.iter().enumerate() {
            if !all.iter().any(|one| one.has_all(excluded)) {
                return Err(MatrixError::ExcludesNothing(index, excluded.clone()));
            }
            found.retain(|one| !one.has_all(excluded));
        }
        self.add_included(&mut found);
        for (index, one) in found.iter().enumerate() {
            if found.iter().take(index).any(|other| other.is_same(one)) {
                return Err(MatrixError::Twice(one.clone()));
            }
        }
        match found.len() {
            0 => Err(MatrixError::NoneLeft),
            number if number > MOST_COMBINATIONS => {
                Err(MatrixError::TooMany(number as u128, MOST_COMBINATIONS))
            }
            _ => Ok(found),
        }
    }

    fn size(&self) -> usize {
        let lists = self.variables.iter();
        let lists =
            lists.map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>());
        let combinations = self.include.iter().chain(&self.exclude);
        let pairs = combinations.flat_map(Combination::iter);
        let pairs = pairs.map(|(name, value)| name.len() + value.len());
        lists.sum::<usize>() + pairs.sum::<usize>()
    }

    /// An inclusion never changes a value of the lists, but one that another inclusion has added.
    fn add_included(&self, found: &mut Vec<Combination>) {
        let from_lists = found.len();
        for included in &self.include {
            let fits = |one: &&mut Combination| {
                let mut own = one.0.iter();
                own.all(|(name, value)| {
                    let is_of_list = self.variables.contains_key(name);
                    !is_of_list || included.get(name).is_none_or(|new| new == value)
                })
            };
            let mut is_alone = true;
            for one in found.iter_mut().take(from_lists).filter(fits) {
                is_alone = false;
                let added = included.0.iter();
                let added = added.map(|(name, value)| (name.clone(), value.clone()));
                Arc::make_mut(&mut one.0).extend(added);
            }
            if is_alone {
                found.push(included.clone());
            }
        }
    }
}
