//! What refusals of the core are in this API: a sentence and a status.

use axum::http::StatusCode;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::apps::command::AppRefusal;
use clusterrunner_core::instances::instance::InstanceRefusal;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::keys::KeyRefused;
use clusterrunner_core::templates::refusal::TemplateRefusal;

/// What a refusal of the core is called in this family's answers. Where the original has a sentence, it is that one.
pub(super) fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Account(refusal) => as_sentence(&refusal.to_string()),
        Refusal::UnknownBuild(build) => format!("Invalid build id: {build}."),
        Refusal::ForgottenBuild(build) => format!(
            "Invalid build id: {build}. This build was removed: a user deleted it, or it was beyond a bound of age, number or \
             size (settings keep_builds_days, keep_builds and keep_results_bytes)."
        ),
        Refusal::Unfit(unfit) => format!("It can not be said: {unfit}."),
        Refusal::UnknownSubjob(subjob) => format!("Invalid subjob id: {subjob}."),
        Refusal::UnknownSlave(slave) => format!("Invalid slave id: {slave}. Connect again."),
        Refusal::NoSuchSlave(slave) => {
            format!("Requested slave (slave_id={slave}) does not exist.")
        }
        Refusal::UnknownAddress(url) => {
            format!("Requested slave (slave_url={url}) does not exist.")
        }
        Refusal::AddressTaken(url) => format!(
            "A slave of protocol 2 is alive at {url}: end it before one of the original takes its address."
        ),
        Refusal::NotLegacy(slave) => format!(
            "Slave {slave} speaks protocol 2: its calls need the header ClusterRunner-Signature."
        ),
        Refusal::OtherIncarnation { current, given } => format!(
            "this master has incarnation {current}, the request is of {given}; drop it and connect again"
        ),
        Refusal::SessionExpired(session) => {
            format!("Specified session id: {session} has expired and is invalid.")
        }
        Refusal::StaleAttempt { .. } | Refusal::OthersHandOut { .. } => {
            format!("{refusal}; drop it")
        }
        Refusal::Key(refusal) => as_sentence(&refusal.to_string()),
        Refusal::Status(refusal) => refusal.to_string(),
        Refusal::Template(refusal) => as_sentence(&refusal.to_string()),
        Refusal::Instance(refusal) => as_sentence(&refusal.to_string()),
        Refusal::App(refusal) => as_sentence(&refusal.to_string()),
    }
}

/// A refusal as a sentence.
fn as_sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase());
    let first = first.into_iter().flatten();
    first.chain(characters).chain(['.']).collect()
}

/// The status of a refusal of the core.
pub(super) fn refused_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownBuild(_)
        | Refusal::ForgottenBuild(_)
        | Refusal::UnknownSubjob(_)
        | Refusal::UnknownSlave(_)
        | Refusal::NoSuchSlave(_)
        | Refusal::UnknownAddress(_)
        | Refusal::Account(
            AccountRefusal::UnknownUser(_)
            | AccountRefusal::UnknownToken(_)
            | AccountRefusal::UnknownKey(_)
            | AccountRefusal::UnknownProject(_)
            | AccountRefusal::UnknownSecret(_)
            | AccountRefusal::NothingToMark
            | AccountRefusal::NeverBookmarked,
        )
        | Refusal::Template(TemplateRefusal::UnknownTemplate { .. })
        | Refusal::Instance(InstanceRefusal::Unknown(_)) => StatusCode::NOT_FOUND,
        Refusal::SessionExpired(_) => StatusCode::PRECONDITION_FAILED,
        Refusal::NotLegacy(_) | Refusal::Key(KeyRefused::UnknownKey | KeyRefused::RevokedKey) => {
            StatusCode::UNAUTHORIZED
        }
        Refusal::OthersHandOut { .. } | Refusal::Key(KeyRefused::OtherSlaves(_)) => {
            StatusCode::FORBIDDEN
        }
        Refusal::Key(KeyRefused::UnknownToken(_)) => StatusCode::NOT_FOUND,
        Refusal::Key(KeyRefused::InvalidName | KeyRefused::TooFarAhead) => StatusCode::BAD_REQUEST,
        Refusal::StaleAttempt { .. }
        | Refusal::OtherIncarnation { .. }
        | Refusal::AddressTaken(_)
        | Refusal::Key(
            KeyRefused::InUse(_)
            | KeyRefused::AddressOfOther { .. }
            | KeyRefused::TooManyTokens
            | KeyRefused::UsedUp(_),
        )
        | Refusal::Account(
            AccountRefusal::UserNameTaken(_)
            | AccountRefusal::ProjectNameTaken(_)
            | AccountRefusal::TooManyProjects(_)
            | AccountRefusal::TooManyCollaborators(_)
            | AccountRefusal::TooManyBookmarks(_)
            | AccountRefusal::TooManySecrets(_)
            | AccountRefusal::CodeElsewhere(_)
            | AccountRefusal::LastSuperuser(_)
            | AccountRefusal::TooManyUsers(_)
            | AccountRefusal::Deactivated(_)
            | AccountRefusal::PasswordChanged(_)
            | AccountRefusal::TokenNameTaken(_)
            | AccountRefusal::TooManyTokens(_)
            | AccountRefusal::KeyTaken
            | AccountRefusal::KeyIdTaken(_)
            | AccountRefusal::TooManyKeys(_),
        )
        | Refusal::Status(_)
        | Refusal::Template(
            TemplateRefusal::AlreadyBuilding { .. }
            | TemplateRefusal::InUse { .. }
            | TemplateRefusal::TooManyNames(_),
        )
        | Refusal::Instance(InstanceRefusal::TooMany(_)) => StatusCode::CONFLICT,
        Refusal::App(refusal) => app_status(refusal),
        Refusal::Account(
            AccountRefusal::ReservedUserName(_)
            | AccountRefusal::InvalidField { .. }
            | AccountRefusal::ExpiredToken
            | AccountRefusal::Unfit(_),
        )
        | Refusal::Unfit(_)
        | Refusal::Template(TemplateRefusal::InvalidName)
        | Refusal::Instance(InstanceRefusal::InvalidField { .. }) => StatusCode::BAD_REQUEST,
    }
}

fn app_status(refusal: &AppRefusal) -> StatusCode {
    match refusal {
        AppRefusal::UnknownApp(_)
        | AppRefusal::UnknownRelease(_)
        | AppRefusal::UnknownDomain(_) => StatusCode::NOT_FOUND,
        AppRefusal::InvalidId(_)
        | AppRefusal::InvalidDomain { .. }
        | AppRefusal::InvalidConfig { .. }
        | AppRefusal::InvalidField { .. }
        | AppRefusal::UnknownProcess(_)
        | AppRefusal::NoEarlierRelease => StatusCode::BAD_REQUEST,
        AppRefusal::IdTaken(_)
        | AppRefusal::ProjectDeployed(_)
        | AppRefusal::NoBuild
        | AppRefusal::NothingToRun(_)
        | AppRefusal::DomainTaken(_)
        | AppRefusal::NoSlave
        | AppRefusal::TooManyApps(_)
        | AppRefusal::TooManyReleases(_)
        | AppRefusal::TooManyInstances(_)
        | AppRefusal::FarmFull(_)
        | AppRefusal::TooManyDomains(_) => StatusCode::CONFLICT,
    }
}
