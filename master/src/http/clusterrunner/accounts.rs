//! Users and their tokens: list, create, change, delete.

use super::error::ApiError;
use super::{Api, shapes};
use crate::http::accounts::{Demand, First, Registrant};
use crate::http::caller::actor;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::accounts::{
    ChangeUser, CreateToken, CreateUser, CreatedToken, RenewedToken, TokenRole, TokensBody,
    UserBody, UserView, UsersBody,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::peer::Peer;
use clusterrunner_common::ids::{TokenId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::accounts::users::{Role, User, UserChange};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

const NOT_YOURS: &str = "Only superusers and the holder of the farm's secret may do this, and users for themselves with a \
                         token whose role is admin.";

const NOT_FOR_USERS: &str = "Only superusers and the holder of the farm's secret may do this.";

/// A caller that is somebody: the holder of the secret, or a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking(Caller);

impl FromRequestParts<Arc<Api>> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, ApiError> {
        match parts.extensions.get() {
            Some(caller @ (Caller::Secret(_) | Caller::User(_))) => Ok(Self(*caller)),
            Some(
                Caller::BinderKey
                | Caller::ReadToken
                | Caller::Slave
                | Caller::SlaveKey(_)
                | Caller::JoinToken(_)
                | Caller::Nobody,
            )
            | None => Err(ApiError::WhoAsks),
        }
    }
}

impl Asking {
    pub(super) fn may(self, subject: Subject<'_>) -> Access {
        // Users are never open to strangers.
        access(self.0, subject, false)
    }

    fn manages_users(self) -> bool {
        self.may(Subject::Accounts) == Access::Admin
    }

    fn is(self, user: UserId) -> bool {
        matches!(self.0, Caller::User(caller) if caller.id == user)
    }

    pub(super) fn actor(self) -> Actor {
        actor(self.0)
    }
}

/// A user that the path names, and that the caller may change.
#[derive(Debug)]
pub(super) struct Managed {
    asking: Asking,
    user: UserId,
    name: String,
}

impl FromRequestParts<Arc<Api>> for Managed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let asking = Asking::from_request_parts(parts, api).await?;
        let Path(name) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|error| ApiError::invalid(error.body_text()))?;
        let user = granted(api, asking, &name, Access::Own).await?;
        Ok(Self { asking, user, name })
    }
}

/// The user with a name, where the caller may do something with it. Whoever may not is not told whether there is one.
async fn granted(api: &Api, asking: Asking, name: &str, needs: Access) -> Result<UserId, ApiError> {
    let named = name.to_owned();
    let look = move |cluster: &Cluster| Some(cluster.accounts().named(&named)?.id);
    match api.cluster.read(look).await? {
        Some(user) if asking.may(Subject::User(user)) >= needs => Ok(user),
        None if asking.manages_users() => Err(ApiError::NoSuchUser(name.to_owned())),
        Some(_) | None => Err(ApiError::Forbidden(NOT_YOURS)),
    }
}

/// The users that the caller may see.
pub(super) async fn users(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<UsersBody>, ApiError> {
    let look = move |cluster: &Cluster| {
        let all = cluster.accounts().users();
        let seen = all.filter(|user| asking.may(Subject::User(user.id)) >= Access::Read);
        let mut users: Vec<UserView> = seen.map(shapes::user).collect();
        users.sort_by_cached_key(|user| user.name.to_lowercase());
        let caller = match asking.0 {
            Caller::User(caller) => cluster.accounts().user(caller.id),
            _ => None,
        };
        UsersBody {
            users,
            caller: caller.map(|user| user.name.clone()),
        }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// One user.
pub(super) async fn user(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(name): Path<String>,
) -> Result<Json<UserBody>, ApiError> {
    let user = granted(&api, asking, &name, Access::Read).await?;
    view(&api, user).await
}

async fn view(api: &Api, id: UserId) -> Result<Json<UserBody>, ApiError> {
    let look = move |cluster: &Cluster| cluster.accounts().user(id).map(shapes::user);
    let user = api.cluster.read(look).await?;
    let unknown = || Refusal::Account(AccountRefusal::UnknownUser(id));
    let user = user.ok_or_else(unknown)?;
    Ok(Json(UserBody { user }))
}

/// Creates a user: for those who manage users, and for everybody where registration is open.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    axum::Extension(caller): axum::Extension<Caller>,
    Peer(from): Peer,
    headers: HeaderMap,
    Signed(body): Signed<CreateUser>,
) -> Result<(StatusCode, Json<UserBody>), ApiError> {
    let new = Registrant {
        name: body.name,
        password: body.password,
        email: body.email,
        first_name: body.first_name,
        last_name: body.last_name,
        is_superuser: body.is_superuser,
        ..Registrant::default()
    };
    let user = match Asking(caller).manages_users() {
        true => api.accounts.create(actor(caller), new).await?,
        false if new.is_superuser => return Err(ApiError::Forbidden(NOT_FOR_USERS)),
        false => {
            let is_of_page = headers.contains_key(header::ORIGIN);
            let first = First::LikeOthers;
            api.accounts.register(new, from, is_of_page, first).await?
        }
    };
    Ok((StatusCode::CREATED, view(&api, user).await?))
}

/// Changes a user.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Managed { asking, user, name }: Managed,
    Peer(from): Peer,
    Signed(body): Signed<ChangeUser>,
) -> Result<Json<UserBody>, ApiError> {
    let gives_rights = body.is_superuser.is_some() || body.is_active.is_some();
    if gives_rights && !asking.manages_users() {
        return Err(ApiError::Forbidden(NOT_FOR_USERS));
    }
    if body.password.is_some() && asking.is(user) {
        // A token that somebody found must not be enough.
        let present = body.old_password.unwrap_or_default();
        api.accounts.check_present(&name, present, from).await?;
    }
    let order = UserOrder {
        said: UserChange {
            email: body.email,
            first_name: body.first_name,
            last_name: body.last_name,
        },
        is_superuser: body.is_superuser,
        is_active: body.is_active,
        password: None,
    };
    let by = asking.actor();
    let password = body.password.map(|password| (password, Demand::Long));
    api.accounts.change(by, user, order, password).await?;
    view(&api, user).await
}

/// Deletes a user and all that is the user's.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Managed { asking, user, .. }: Managed,
    _: Signed<Empty>,
) -> Result<Json<Success>, ApiError> {
    let delete = AccountCommand::Delete { user };
    api.accounts.tell(asking.actor(), delete).await?;
    Ok(Json(Success::default()))
}

/// Gives a user another API token.
pub(super) async fn renew_token(
    State(api): State<Arc<Api>>,
    Managed { asking, user, .. }: Managed,
    _: Signed<Empty>,
) -> Result<Json<RenewedToken>, ApiError> {
    let token = api.accounts.renew_api_token(asking.actor(), user).await?;
    Ok(Json(RenewedToken { token }))
}

/// The named tokens that the caller may see.
pub(super) async fn tokens(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<TokensBody>, ApiError> {
    let now = Timestamp::now();
    let look = move |cluster: &Cluster| {
        let all = cluster.accounts().users();
        let seen = all.filter(|user| asking.may(Subject::User(user.id)) >= Access::Read);
        let tokens = seen.flat_map(|user| {
            let tokens = user.tokens.iter();
            tokens.map(|(id, token)| shapes::token(*id, user, token, now))
        });
        let mut tokens: Vec<_> = tokens.collect();
        tokens.sort_by_key(|token| token.id);
        TokensBody { tokens }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// Creates a named token. The answer is the only one that has the token itself.
pub(super) async fn create_token(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Signed(body): Signed<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    let user = match (&body.user, asking.0) {
        (Some(name), _) => granted(&api, asking, name, Access::Own).await?,
        (None, Caller::User(caller)) if asking.may(Subject::User(caller.id)) >= Access::Own => {
            caller.id
        }
        (None, Caller::User(_)) => return Err(ApiError::Forbidden(NOT_YOURS)),
        (None, _) => {
            return Err(ApiError::invalid(
                "Field 'user' must have the name of a user.",
            ));
        }
    };
    let role = match body.role {
        TokenRole::Read => Role::Read,
        TokenRole::Submit => Role::Submit,
        TokenRole::Admin => Role::Admin,
    };
    if body.expires_in == Some(0) {
        return Err(ApiError::invalid(
            "Field 'expires_in' must be a number of seconds, 1 or more.",
        ));
    }
    let expires_in = body.expires_in.map(Duration::from_secs);
    let by = asking.actor();
    let created = api
        .accounts
        .create_token(by, user, body.name, role, expires_in);
    let (id, text) = created.await?;
    let now = Timestamp::now();
    let look = move |cluster: &Cluster| {
        let user = cluster.accounts().user(user)?;
        Some(shapes::token(id, user, user.tokens.get(&id)?, now))
    };
    let token = api.cluster.read(look).await?;
    let unknown = || Refusal::Account(AccountRefusal::UnknownToken(id));
    let token = token.ok_or_else(unknown)?;
    Ok((StatusCode::CREATED, Json(CreatedToken { token, text })))
}

/// Ends a named token.
pub(super) async fn revoke_token(
    State(api): State<Arc<Api>>,
    asking: Asking,
    super::Path(token): super::Path<TokenId>,
    _: Signed<Empty>,
) -> Result<Json<Success>, ApiError> {
    let look = move |cluster: &Cluster| {
        cluster
            .accounts()
            .owner_of(token)
            .map(|user: &User| user.id)
    };
    let owner = api.cluster.read(look).await?;
    let user = match owner {
        Some(user) if asking.may(Subject::User(user)) >= Access::Own => user,
        None if asking.manages_users() => {
            return Err(Refusal::Account(AccountRefusal::UnknownToken(token)).into());
        }
        Some(_) | None => return Err(ApiError::Forbidden(NOT_YOURS)),
    };
    let revoke = AccountCommand::RevokeToken { user, token };
    api.accounts.tell(asking.actor(), revoke).await?;
    Ok(Json(Success::default()))
}

/// A body that says nothing.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}
