//! Instances: list them, launch one, stop one, read what one printed.

use super::accounts::Asking;
use super::error::ApiError;
use super::templates::{READ_ONLY, may_see};
use super::{Api, Path, shapes};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use clusterrunner_common::api::launching::{
    InstanceBody, InstanceLogBody, InstancesBody, LaunchInstance,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::InstanceId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::command::Command;
use clusterrunner_core::instances::instance::{Instance, InstanceRefusal, NewInstance};
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::templates::refusal::TemplateRefusal;
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// After how many seconds without a request an instance ends where the request does not say: an hour.
const CULL_AFTER: u64 = 60 * 60;

/// How many bytes of a log go in one answer.
const PART: usize = 1 << 20;

/// For how many seconds an answer waits for more of a log at most.
const LONGEST_WAIT: u64 = 30;

/// How often an instance is looked at while an answer waits: it may be over.
const LOOK: Duration = Duration::from_secs(1);

/// How long a slave may take, after an instance is over, to bring what it printed last: it has the time of its end for
/// that, too.
const ON_ITS_WAY: Duration = Duration::from_secs(15);

const NOT_YOURS: &str = "This instance is another user's, or the role of the token is read: only its owner, superusers and \
                         the holder of the farm's secret may stop it.";

/// The instances that the caller may see, by number.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<InstancesBody>, ApiError> {
    let look = move |cluster: &Cluster| {
        let seen = cluster
            .instances()
            .filter(|instance| asking.may(Subject::Instance(instance)) >= Access::Read);
        InstancesBody {
            instances: seen.map(shapes::instance).collect(),
        }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// One instance.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceBody>, ApiError> {
    let look = move |instance: &Instance| shapes::instance(instance);
    let instance = granted(&api, asking, id, Access::Read, look).await?;
    Ok(Json(InstanceBody { instance }))
}

/// What `look` sees of an instance, where the caller may do so much with it.
async fn granted<T: Send + 'static>(
    api: &Api,
    asking: Asking,
    id: InstanceId,
    needs: Access,
    look: impl FnOnce(&Instance) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let look = move |cluster: &Cluster| {
        let unknown = || Refusal::Instance(InstanceRefusal::Unknown(id));
        let instance = cluster.instance(id).ok_or_else(unknown)?;
        match asking.may(Subject::Instance(instance)) {
            Access::None => Err(unknown().into()),
            access if access < needs => Err(ApiError::Forbidden(NOT_YOURS)),
            _ => Ok(look(instance)),
        }
    };
    api.cluster.read(look).await?
}

/// Starts an instance of a template: answered once that is on disk.
pub(super) async fn launch(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Signed(body): Signed<LaunchInstance>,
) -> Result<(StatusCode, Json<InstanceBody>), ApiError> {
    if asking.may(Subject::Launch { is_open: false }) < Access::Use {
        return Err(ApiError::Forbidden(READ_ONLY));
    }
    let name = body.template.clone();
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&name);
        match known.is_some_and(|known| may_see(cluster, asking, known)) {
            true => Ok(()),
            false => Err(Refusal::Template(TemplateRefusal::UnknownTemplate { name })),
        }
    };
    api.cluster.read(look).await??;
    if body.max_memory_bytes == Some(0) {
        return Err(ApiError::invalid(
            "Field 'max_memory_bytes' must be 1 or more, or left out for no bound.",
        ));
    }
    let key = hex::encode(random_bytes::<16>());
    let cull_after = body.cull_after.unwrap_or(CULL_AFTER);
    let launch = NewInstance {
        key: key.clone(),
        template: body.template,
        command: body.command,
        environment: body.environment,
        max_memory_bytes: body.max_memory_bytes,
        cull_after_ms: (cull_after > 0).then(|| cull_after.saturating_mul(1000)),
    };
    let by = asking.actor();
    let launch = Box::new(launch);
    api.cluster.command(Command::Launch { by, launch }).await?;
    let look = move |cluster: &Cluster| cluster.instance_of_key(&key).map(shapes::instance);
    let instance = api.cluster.read(look).await?;
    let instance = instance.ok_or(crate::coordinator::Gone)?;
    Ok((StatusCode::CREATED, Json(InstanceBody { instance })))
}

/// Stops an instance. One that is over stays as it is.
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<InstanceId>,
    Signed(_): Signed<Value>,
) -> Result<Json<InstanceBody>, ApiError> {
    granted(&api, asking, id, Access::Own, |_| ()).await?;
    let stop = Command::StopInstance {
        by: asking.actor(),
        instance: id,
    };
    api.cluster.command(stop).await?;
    one(State(api), asking, Path(id)).await
}

/// A part of what an instance printed; waits for one where that is asked for.
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(id): Path<InstanceId>,
    RawQuery(query): RawQuery,
) -> Result<Json<InstanceLogBody>, ApiError> {
    let Wanted { offset, wait } = wanted(query.as_deref().unwrap_or_default())?;
    // Where too many wait already, this one asks again.
    let place = api.waiting.try_take();
    let until = Instant::now() + place.as_ref().map_or(Duration::ZERO, |_| wait);
    loop {
        let look = |instance: &Instance| instance.is_over().then_some(instance.changed);
        let over = granted(&api, asking, id, Access::Read, look).await?;
        // Begun before the log is read, so that nothing is missed.
        let mut length = api.instance_logs.length(id);
        length.mark_unchanged();
        let logs = api.instance_logs.clone();
        let read = spawn_blocking(move || logs.read(id, offset, PART)).await;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let part = read.map_err(|source| ApiError::Disk {
            what: "Reading what an instance printed",
            source,
        })?;
        let is_complete = part.text.is_empty()
            && over.is_some_and(|since| since.until(Timestamp::now()) >= ON_ITS_WAY);
        if !part.text.is_empty() || is_complete || Instant::now() >= until {
            return Ok(Json(InstanceLogBody {
                offset: part.offset,
                content: part.text,
                next_offset: part.next,
                is_complete,
            }));
        }
        let look_again = until.min(Instant::now() + LOOK);
        tokio::time::timeout_at(look_again, length.changed())
            .await
            .ok();
    }
}

/// Which part of a log is wanted, and how long to wait for it.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    offset: u64,
    wait: Duration,
}

/// Reads `offset` and `wait_s` of a query; other parameters mean nothing here.
fn wanted(query: &str) -> Result<Wanted, ApiError> {
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(key, _)| *key == name);
        let Some((_, value)) = named.next() else {
            return Ok(0);
        };
        value.parse::<u64>().map_err(|_| {
            let shown = value.chars().take(40).collect::<String>();
            ApiError::Invalid(format!(
                "'{name}' must be a whole number of 0 or more, not '{shown}'."
            ))
        })
    };
    Ok(Wanted {
        offset: number("offset")?,
        wait: Duration::from_secs(number("wait_s")?.min(LONGEST_WAIT)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_and_the_wait_are_read_from_the_query() {
        let parse = |query: &str| wanted(query).map_err(|error| error.to_string());
        let expected = |offset, seconds| {
            Ok(Wanted {
                offset,
                wait: Duration::from_secs(seconds),
            })
        };
        assert_eq!(parse(""), expected(0, 0));
        assert_eq!(parse("offset=7&wait_s=5&x=y"), expected(7, 5));
        assert_eq!(parse("wait_s=99999"), expected(0, LONGEST_WAIT));
        for wrong in ["offset=-1", "offset=x", "wait_s="] {
            let name = wrong.split('=').next().unwrap();
            assert!(parse(wrong).unwrap_err().contains(name), "{wrong}");
        }
    }
}
