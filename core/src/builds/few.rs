//! One of something, as a rule, or several: without a list's place and piece of memory for the one.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;

/// A list that nearly always has one item, and is stored as a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Few<T> {
    /// A single value, without a list.
    One(T),
    /// Another number of them.
    Many(Box<[T]>),
}

impl<T> Few<T> {
    /// Without any value.
    #[must_use]
    pub fn none() -> Self {
        Self::Many(Box::default())
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Self {
        match (items.len(), items.pop()) {
            (1, Some(item)) => Self::One(item),
            (_, last) => {
                items.extend(last);
                Self::Many(items.into())
            }
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        let Some(first) = items.next() else {
            return Self::none();
        };
        match items.next() {
            None => Self::One(first),
            Some(second) => Self::Many([first, second].into_iter().chain(items).collect()),
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Serialize> Serialize for Few<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_of_any_length() {
        for items in [vec![], vec![1], vec![1, 2], vec![1, 2, 3]] {
            let few = Few::from(items.clone());
            assert_eq!(few.to_vec(), items);
            assert_eq!(matches!(few, Few::One(_)), items.len() == 1);
            assert_eq!(items.iter().copied().collect::<Few<i32>>(), few);
            let text = serde_json::to_string(&items).unwrap();
            assert_eq!(serde_json::to_string(&few).unwrap(), text);
            assert_eq!(serde_json::from_str::<Few<i32>>(&text).unwrap(), few);
        }
    }
}
