//! The page of a build: its answer, written out once however many poll it.

use super::shapes;
use axum::body::Bytes;
use axum::http::HeaderValue;
use clusterrunner_common::api::{BuildBody, BuildView, FinishView};
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use std::sync::OnceLock;

/// How many failed atoms an archived build may have that stays published: it stays long.
const FAILED_HELD: usize = 100;

/// A build as it stood at a moment; its bytes are made by the first who reads them.
#[derive(Debug)]
pub(crate) struct BuildPage {
    build: BuildView,
    /// By the version of the path and the version that is asked for, which decide what is listed as
    /// below it.
    written: [OnceLock<Written>; 4],
}

/// The bytes of an answer, and their ETag.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// The whole body.
    pub(super) body: Bytes,
    /// See [`rules::etag_of`].
    pub(super) etag: HeaderValue,
}

impl BuildPage {
    pub(super) fn new(build: BuildView) -> Self {
        Self {
            build,
            written: Default::default(),
        }
    }

    /// The page of a build in the cluster.
    #[must_use]
    pub(crate) fn of(cluster: &Cluster, build: &Build) -> Self {
        Self::new(shapes::build_of(cluster, build))
    }

    /// Whether it tells how long the build will take, which is another time at each moment.
    pub(super) fn tells_what_is_left(&self) -> bool {
        self.build.seconds_left.is_some()
    }

    /// Whether it is foretold when the build will end.
    pub(super) fn is_foretold(&self) -> bool {
        shapes::is_foretold(&self.build)
    }

    /// The same with when the build will end.
    pub(super) fn with_finish(&self, finish: Option<FinishView>) -> Self {
        let finish = Some(finish);
        Self::new(BuildView {
            finish,
            ..self.build.clone()
        })
    }

    /// Whether it is so large that it does not stay in memory for long.
    pub(super) fn is_large(&self) -> bool {
        let failed = self.build.failed_atoms.as_ref();
        failed.map_or(0, Vec::len) > FAILED_HELD
    }

    /// The answer to a request that has reached `reached` and speaks `version`.
    ///
    /// # Errors
    /// The build can not be written as JSON.
    pub(super) fn written(
        &self,
        reached: &Reached,
        version: ApiVersion,
    ) -> Result<Written, serde_json::Error> {
        let index = |version| match version {
            ApiVersion::V1 => 0,
            ApiVersion::V2 => 1,
        };
        let written = &self.written[2 * index(reached.version()) + index(version)];
        if let Some(written) = written.get() {
            return Ok(written.clone());
        }
        let mut build = self.build.clone();
        build.finish.get_or_insert(None);
        let build = shapes::in_version(build, version);
        let body = serde_json::to_vec(&BuildBody { build })?;
        let body = rules::with_children(&body, reached.children(version));
        let etag = rules::etag_of(&body);
        Ok(written.get_or_init(|| Written { body, etag }).clone())
    }
}
