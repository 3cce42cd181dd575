//! Why an order about templates means nothing now.

/// Why an order about templates means nothing now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateRefusal {
    /// A build of the name is under way.
    #[error("a build of the template {name} is under way")]
    AlreadyBuilding {
        /// The name.
        name: String,
    },
    /// There is no such name, or no build of it has left a template yet.
    #[error("there is no template {name}")]
    UnknownTemplate {
        /// The name.
        name: String,
    },
    /// Something runs it, or is based on it.
    #[error("the template {name} is in use by {by}")]
    InUse {
        /// The name.
        name: String,
        /// What uses it.
        by: String,
    },
    /// No template can have the name.
    #[error(
        "the name of a template must be 1 to 128 letters (a-z, A-Z), digits, '.', '_' and '-', not digits alone"
    )]
    InvalidName,
    /// The farm has as many names as it may have.
    #[error("the farm has {0} names of templates, which is the most; delete builds first")]
    TooManyNames(usize),
}
