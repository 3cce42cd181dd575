//! The secrets of builds: list, set, remove. Values come in and never go out.

use super::accounts::Asking;
use super::error::ApiError;
use super::{Api, Path};
use crate::store::build_secrets::{BuildSecrets, SecretError};
use axum::Json;
use axum::extract::State;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::secrets::{
    LONGEST_SECRET, RemoveSecret, ResealSecrets, ResealedBody, SecretBody, SecretView, SecretsBody,
    SetSecret,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::process::variables::check_secret_name;
use clusterrunner_common::text::masking::SHORTEST;
use clusterrunner_common::work::SecretValue;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::owner::{BUILT_IN, Owner};
use clusterrunner_core::accounts::projects::{NewProject, Project};
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::accounts::secrets::{NamedSecret, NewSecret, SealedId};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::refusal::Refusal;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;

const NOT_YOURS: &str = "Only the owner of the project with a token whose role is admin, superusers and the holder of the \
                         farm's secret may set and remove its secrets.";

const ELSEWHERE: &str = "it was set when the project had another repository, and builds of this one do not get it (`secret confirm`)";

const NO_VALUE: &str = "Field 'value' must be given where 'as_file' or 'allow_forks' is true: without it the secret stays as it is.";

/// The secrets of the projects that the caller works on.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<SecretsBody>, ApiError> {
    let look = move |cluster: &Cluster| {
        let seen = cluster
            .projects()
            .filter(|project| asking.may(Subject::Project(project)) >= Access::Use);
        let secrets = seen.flat_map(|project| {
            let secrets = project.secrets.iter();
            secrets.map(|(name, secret)| {
                (
                    view(cluster, project, name, secret),
                    secret.set.sealed.clone(),
                )
            })
        });
        secrets.collect::<Vec<_>>()
    };
    let seen = api.cluster.read(look).await?;
    let secrets = blocking(&api.secrets, move |values| {
        let with_trouble = |(secret, sealed): (SecretView, SealedId)| {
            let opened = values.get(secret.project_id, &secret.name, &sealed);
            let closed = opened.err().map(|error| error.to_string());
            SecretView {
                trouble: closed.or(secret.trouble),
                ..secret
            }
        };
        let mut secrets: Vec<SecretView> = seen.into_iter().map(with_trouble).collect();
        secrets.sort_by(|one, other| (&one.project, &one.name).cmp(&(&other.project, &other.name)));
        Ok(secrets)
    });
    let secrets = secrets.await?;
    Ok(Json(SecretsBody { secrets }))
}

/// Sets a secret. Makes a project for a repository that has none. Without a value it stays as it is, and is for the repository that
/// the project has now.
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Signed(body): Signed<SetSecret>,
) -> Result<Json<SecretBody>, ApiError> {
    let SetSecret {
        project,
        name,
        value,
        as_file,
        allow_forks,
    } = body;
    check(&name, value.as_ref())?;
    let by = asking.actor();
    let id = match changed(&api, asking, &project).await? {
        Some(id) => id,
        None if value.is_none() => return Err(ApiError::NoSuchProject(project)),
        None => made(&api, asking, project).await?,
    };
    let _changing = api.secrets.change().await;
    let secret = match value {
        Some(value) => {
            let named = name.clone();
            let put = blocking(&api.secrets, move |values| values.put(id, &named, &value));
            NewSecret {
                sealed: put.await?,
                as_file,
                allow_forks,
                by,
            }
        }
        None if as_file || allow_forks => return Err(ApiError::Invalid(NO_VALUE.to_owned())),
        None => {
            let named = name.clone();
            let look = move |cluster: &Cluster| {
                let secret = cluster.project(id)?.secrets.get(&named)?;
                Some(secret.set.clone())
            };
            let known = api.cluster.read(look).await?;
            let unknown = || Refusal::Account(AccountRefusal::UnknownSecret(name.clone()));
            NewSecret {
                by,
                ..known.ok_or_else(unknown)?
            }
        }
    };
    let secret = Box::new(secret);
    let command = ProjectCommand::SetSecret {
        project: id,
        name: name.clone(),
        secret,
    };
    let told = api.cluster.command(Command::Project { by, command }).await;
    forget_others(&api).await?;
    told?;
    let look = move |cluster: &Cluster| {
        let project = cluster.project(id)?;
        let secret = project.secrets.get(&name)?;
        Some(view(cluster, project, &name, secret))
    };
    let unknown = || Refusal::Account(AccountRefusal::UnknownProject(id));
    let secret = api.cluster.read(look).await?.ok_or_else(unknown)?;
    Ok(Json(SecretBody { secret }))
}

/// Removes a secret.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(name): Path<String>,
    Signed(RemoveSecret { project }): Signed<RemoveSecret>,
) -> Result<Json<Success>, ApiError> {
    let found = changed(&api, asking, &project).await?;
    let project = found.ok_or(ApiError::NoSuchProject(project))?;
    let _changing = api.secrets.change().await;
    let command = ProjectCommand::RemoveSecret { project, name };
    let by = asking.actor();
    api.cluster
        .command(Command::Project { by, command })
        .await?;
    forget_others(&api).await?;
    Ok(Json(Success::default()))
}

/// Seals anew, under the farm's secret, what was sealed under a former one.
pub(super) async fn reseal(
    State(api): State<Arc<Api>>,
    Signed(ResealSecrets { former_secret }): Signed<ResealSecrets>,
) -> Result<Json<ResealedBody>, ApiError> {
    let former = Secret::new(former_secret.expose().to_owned());
    let wrong = |error| ApiError::Invalid(format!("Field 'former_secret' is wrong: {error}."));
    let former = former.map_err(wrong)?;
    let _changing = api.secrets.change().await;
    let look = |cluster: &Cluster| {
        let named = cluster.named_secrets().map(|(id, name, sealed)| {
            let project = cluster.project(id);
            let shown = project.map_or_else(String::new, |project| {
                let owner = cluster.owner_name(project.owner).unwrap_or(BUILT_IN);
                format!("{owner}/{} {name}", project.name())
            });
            (id, name.to_owned(), sealed.clone(), shown)
        });
        named.collect::<Vec<_>>()
    };
    let named = api.cluster.read(look).await?;
    let resealed = blocking(&api.secrets, move |values| {
        let mut body = ResealedBody {
            resealed: 0,
            closed: Vec::new(),
        };
        for (id, name, sealed, shown) in named {
            match values.reseal(&former, (id, &name, &sealed)) {
                Ok(is_new) => body.resealed += usize::from(is_new),
                Err(SecretError::Disk(source)) => return Err(source),
                Err(error) => {
                    tracing::warn!(project.id = %id, secret = name, %error, "a value was not sealed anew");
                    body.closed.push(shown);
                }
            }
        }
        Ok(body)
    });
    Ok(Json(resealed.await?))
}

fn check(name: &str, value: Option<&SecretValue>) -> Result<(), ApiError> {
    if let Err(right) = check_secret_name(name) {
        return Err(ApiError::Invalid(format!("Field 'name' must be {right}.")));
    }
    let Some(value) = value else {
        return Ok(());
    };
    let text = value.expose();
    let wrong = |what: String| Err(ApiError::Invalid(format!("Field 'value' must be {what}.")));
    // Blanks are in many texts.
    if text.trim().len() < SHORTEST {
        return wrong(format!(
            "a text of {SHORTEST} bytes or more: what is shorter can not be masked in what builds print"
        ));
    }
    match text.contains('\0') {
        true => wrong("text without NUL characters".to_owned()),
        false if text.len() > LONGEST_SECRET => {
            wrong(format!("a text of at most {} KiB", LONGEST_SECRET >> 10))
        }
        false => Ok(()),
    }
}

/// The project that a text names, where the caller may change its secrets; none where there is none. Whoever may not see it is
/// not told whether it is there.
async fn changed(api: &Api, asking: Asking, named: &str) -> Result<Option<ProjectId>, ApiError> {
    let text = named.to_owned();
    let look = move |cluster: &Cluster| {
        let project = found(cluster, Owner::of(asking.actor()), &text)?;
        Some((project.id, asking.may(Subject::Project(project))))
    };
    match api.cluster.read(look).await? {
        Some((id, access)) if access >= Access::Own => Ok(Some(id)),
        Some((_, access)) if access >= Access::Read => Err(ApiError::Forbidden(NOT_YOURS)),
        Some(_) => Err(ApiError::NoSuchProject(named.to_owned())),
        None => Ok(None),
    }
}

fn found<'c>(cluster: &'c Cluster, own: Owner, text: &str) -> Option<&'c Project> {
    if let Ok(id) = text.parse() {
        return cluster.project(ProjectId(id));
    }
    let of_owner = || {
        let (owner, name) = text.split_once('/')?;
        cluster.project_named(cluster.owner_named(owner)?, name)
    };
    cluster
        .project_named(own, text)
        .or_else(|| cluster.project_from(own, text))
        .or_else(of_owner)
}

/// Makes a project for a repository, so that its secrets are there before its first build.
async fn made(api: &Api, asking: Asking, url: String) -> Result<ProjectId, ApiError> {
    let is_url = url.contains(':') && GitUrl::parse(&url, false).is_ok();
    if !is_url {
        return Err(ApiError::NoSuchProject(url));
    }
    let by = asking.actor();
    let owner = Owner::of(by);
    let named = url.clone();
    let name = move |cluster: &Cluster| cluster.free_project_name(owner, &named);
    let project = NewProject {
        name: api.cluster.read(name).await?,
        description: None,
        tags: None,
        is_public: true,
        git_url: Some(url.clone()),
    };
    // A token may let its user do less than an owner may.
    let wanted = Project::made(ProjectId(0), owner, project.clone(), Timestamp::now());
    if asking.may(Subject::Project(&wanted)) < Access::Own {
        return Err(ApiError::Forbidden(NOT_YOURS));
    }
    let command = ProjectCommand::Create(Box::new(project));
    api.cluster
        .command(Command::Project { by, command })
        .await?;
    let look = {
        let url = url.clone();
        move |cluster: &Cluster| Some(cluster.project_from(owner, &url)?.id)
    };
    let made = api.cluster.read(look).await?;
    made.ok_or(ApiError::NoSuchProject(url))
}

/// Removes the values that no secret has any more. To be called while nobody else changes any.
async fn forget_others(api: &Api) -> Result<(), ApiError> {
    let named = |cluster: &Cluster| cluster.sealed_secrets().cloned().collect::<BTreeSet<_>>();
    let named = api.cluster.read(named).await?;
    let removed = blocking(&api.secrets, move |values| {
        values.keep_only(&named);
        Ok(())
    });
    removed.await
}

async fn blocking<T: Send + 'static>(
    secrets: &BuildSecrets,
    work: impl FnOnce(&BuildSecrets) -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let secrets = secrets.clone();
    let done = spawn_blocking(move || work(&secrets)).await;
    let done = done.map_err(io::Error::other).and_then(|done| done);
    done.map_err(|source| ApiError::Disk {
        what: "Keeping a secret",
        source,
    })
}

fn view(cluster: &Cluster, project: &Project, name: &str, secret: &NamedSecret) -> SecretView {
    let owner = cluster.owner_name(project.owner).unwrap_or(BUILT_IN);
    let url = project
        .git_url()
        .and_then(|url| GitUrl::parse(url, true).ok());
    let set_by = match secret.set.by {
        Actor::User(user) => match cluster.accounts().user(user) {
            Some(user) => user.name.clone(),
            None => format!("user {user}"),
        },
        _ => "the secret".to_owned(),
    };
    SecretView {
        project: format!("{owner}/{}", project.name()),
        project_id: project.id,
        url: url.map(|url| url.without_credentials()),
        name: name.to_owned(),
        as_file: secret.set.as_file,
        allow_forks: secret.set.allow_forks,
        set_at: secret.at.as_unix_seconds(),
        set_by,
        trouble: (!secret.is_for(&project.source)).then(|| ELSEWHERE.to_owned()),
    }
}
