//! The slave's routes.

use super::api::Api;
use super::{console, orders, reads};
use axum::routing::get;
use clusterrunner_common::http::clusterrunner::routes::{RouteTable, parent};

/// Each route by its label, its path in version 1 and in version 2, and what it does. That some
/// variable parts have no name is the original's doing.
pub(super) fn table() -> RouteTable<Api> {
    RouteTable::new(get(reads::status))
        .route("version", "/version", "/version", get(reads::version))
        .route("builds", "/build", "/builds", parent())
        .route("build", r"/build/(\d+)", r"/builds/(\d+)", parent())
        .route(
            "setup",
            r"/build/(\d+)/setup",
            r"/builds/(\d+)/setup",
            get(console::setup).post(orders::set_up),
        )
        .route(
            "teardown",
            r"/build/(\d+)/teardown",
            r"/builds/(\d+)/teardown",
            get(console::teardown).post(orders::tear_down),
        )
        // Not listed, as below.
        .route(
            "",
            r"/build/(\d+)/hunt",
            r"/builds/(\d+)/hunt",
            parent().post(orders::hunt),
        )
        .route(
            "subjobs",
            r"/build/(\d+)/subjob",
            r"/builds/(\d+)/subjobs",
            parent(),
        )
        // Ours: many at once. Version 2 has the plural for the route above.
        .route(
            "hand_outs",
            r"/build/(\d+)/subjobs",
            r"/builds/(\d+)/hand_outs",
            parent().post(orders::start_subjobs),
        )
        .route(
            "subjob",
            r"/build/(\d+)/subjob/[subjob_id]",
            r"/builds/(\d+)/subjobs/[subjob_id]",
            get(reads::nothing_to_read).post(orders::start_subjob),
        )
        .route(
            "atoms",
            r"/build/(\d+)/subjob/[subjob_id]/atom",
            r"/builds/(\d+)/subjobs/[subjob_id]/atoms",
            parent(),
        )
        .route(
            r"(\d+)",
            r"/build/(\d+)/subjob/[subjob_id]/atom/(\d+)",
            r"/builds/(\d+)/subjobs/[subjob_id]/atoms/(\d+)",
            parent(),
        )
        .route(
            "console",
            r"/build/(\d+)/subjob/[subjob_id]/atom/(\d+)/console",
            r"/builds/(\d+)/subjobs/[subjob_id]/atoms/(\d+)/console",
            get(console::console),
        )
        .route("executors", "/executor", "/executor", get(reads::executors))
        .route(
            "executor",
            "/executor/[executor_id]",
            "/executor/[executor_id]",
            get(reads::executor),
        )
        // Not listed: the original has none.
        .route(
            "",
            "/instances",
            "/instances",
            parent().put(orders::instances),
        )
        .route("eventlog", "/eventlog", "/eventlog", get(reads::events))
        .route("kill", "/kill", "/kill", parent().post(orders::kill))
}
