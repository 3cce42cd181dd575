//! Which version of the API a request speaks. Pure.

use axum::http::HeaderValue;

/// A version of the API. It decides what an answer calls itself and which child routes it lists;
/// which handler runs, and whether lists come in pages, is decided by the path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// Singular paths below `/v1`.
    V1,
    /// Plural paths without a prefix, or below `/v2`.
    V2,
}

/// What an `Accept` header says before the number of the version it wants.
const MEDIA_TYPE: &str = "application/vnd.clusterrunner.v";

impl ApiVersion {
    /// The number in the header `Api-Version` and in `GET /version`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The header `Api-Version`.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }

    /// What a path speaks where no header says otherwise.
    #[must_use]
    pub(crate) fn of_path(path: &str) -> Self {
        match path.split('/').find(|part| !part.is_empty()) {
            Some("v1") => Self::V1,
            _ => Self::V2,
        }
    }

    /// What an `Accept` header asks for; versions that do not exist are not heard.
    #[must_use]
    pub fn accepted(accept: &str) -> Option<Self> {
        let accept = accept.to_ascii_lowercase();
        accept.split(MEDIA_TYPE).skip(1).find_map(|rest| {
            let (number, _) = rest.split_once("+json")?;
            match number {
                "1" => Some(Self::V1),
                "2" => Some(Self::V2),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Recorded from the original.
    #[test]
    fn versions_are_negotiated_as_in_the_original() {
        let vectors = include_str!("../../../testdata/vectors/api_version.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let (uri, accept) = (case["uri"].as_str().unwrap(), case["accept"].as_str());
            let of_path = ApiVersion::of_path(uri);
            let found = accept.and_then(ApiVersion::accepted).unwrap_or(of_path);
            assert_eq!(found.number(), case["version"], "{case}");
        }
    }
}
