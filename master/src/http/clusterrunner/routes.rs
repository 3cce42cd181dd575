//! The master's routes.

use super::original::uploads as original_uploads;
use super::{
    Api, accounts, apps, artifacts, audit, badge, builds, console, downloads, events, explanation,
    health, history, hosting, instances, kept_setups, lists, openapi, plans, polls, pools,
    projects, reads, receivers, secrets, session, slave_keys, slaves, sources, steps, templates,
    tested, uploads, working_trees,
};
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use clusterrunner_common::http::clusterrunner::routes::{RouteTable, parent};
use std::sync::Arc;

/// Each route by its label, its path in version 1 and in version 2, and what it does.
pub(super) fn table() -> RouteTable<Arc<Api>> {
    let builds_and_slaves = slave_routes(step_routes(artifact_routes(sent_routes(build_routes(
        top(),
    )))));
    let of_users = account_routes(launching_routes(builds_and_slaves));
    let with_log = of_users.route("eventlog", "/eventlog", "/eventlog", get(reads::events));
    page_routes(with_log)
}

/// What the page and web pages elsewhere show. Not listed: the original has nothing like it.
fn page_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route("", "/events", "/events", get(events::of_farm))
        .route("", "/projects", "/projects", get(projects::list))
        .route(
            "",
            "/projects/[project_id]",
            "/projects/[project_id]",
            get(projects::one),
        )
        .route(
            "",
            "/projects/[project_id]/builds",
            "/projects/[project_id]/builds",
            get(projects::builds),
        )
        .route(
            "",
            "/projects/[project_id]/badge.svg",
            "/projects/[project_id]/badge.svg",
            get(badge::show),
        )
        .route(
            "",
            "/build/[build_id]/explanation",
            "/builds/[build_id]/explanation",
            get(explanation::show),
        )
        .route(
            "",
            "/build/[build_id]/plan",
            "/builds/[build_id]/plan",
            get(plans::show),
        )
        .route("", "/receivers", "/receivers", get(receivers::list))
        .route("", "/pools", "/pools", get(pools::list))
        .route("", "/audit", "/audit", get(audit::list))
        .route(
            "",
            "/audit/verification",
            "/audit/verification",
            get(audit::verify),
        )
        .route("", "/history", "/history", get(history::show))
        .route("", "/flaky", "/flaky", get(history::flaky))
        .route(
            "",
            "/build/[build_id]/tests",
            "/builds/[build_id]/tests",
            get(tested::list),
        )
        .route(
            "",
            "/build/[build_id]/junit.xml",
            "/builds/[build_id]/junit.xml",
            get(tested::junit),
        )
        .route(
            "",
            "/build/[build_id]/events",
            "/builds/[build_id]/events",
            get(events::of_build),
        )
}

fn top() -> RouteTable<Arc<Api>> {
    RouteTable::new(get(reads::master))
        .route("metrics", "/metrics", "/metrics", get(reads::metrics))
        .route("", "/healthz", "/healthz", get(health::alive))
        .route("", "/openapi.json", "/openapi.json", get(openapi::show))
        .route("", "/readyz", "/readyz", get(health::ready))
        .route("version", "/version", "/version", get(reads::version))
}

fn build_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route(
            "builds",
            "/build",
            "/builds",
            get(lists::builds).post(builds::submit),
        )
        .route(
            "build",
            "/build/[build_id]",
            "/builds/[build_id]",
            get(reads::build).put(builds::change),
        )
        .route(
            "result",
            "/build/[build_id]/result",
            "/builds/[build_id]/result",
            get(downloads::redirect),
        )
        .route(
            "artifacts.tar.gz",
            "/build/[build_id]/artifacts.tar.gz",
            "/builds/[build_id]/artifacts.tar.gz",
            get(downloads::tar),
        )
        .route(
            "artifacts.zip",
            "/build/[build_id]/artifacts.zip",
            "/builds/[build_id]/artifacts.zip",
            get(downloads::zip),
        )
        .route(
            "subjobs",
            "/build/[build_id]/subjob",
            "/builds/[build_id]/subjobs",
            get(lists::subjobs),
        )
        .route(
            "all_atoms",
            "/build/[build_id]/atoms",
            "/builds/[build_id]/atoms",
            get(lists::atom_rows),
        )
        .route(
            "subjob",
            "/build/[build_id]/subjob/[subjob_id]",
            "/builds/[build_id]/subjobs/[subjob_id]",
            get(reads::subjob),
        )
        .route(
            "atoms",
            "/build/[build_id]/subjob/[subjob_id]/atom",
            "/builds/[build_id]/subjobs/[subjob_id]/atoms",
            get(reads::atoms),
        )
        .route(
            "atom",
            "/build/[build_id]/subjob/[subjob_id]/atom/[atom_id]",
            "/builds/[build_id]/subjobs/[subjob_id]/atoms/[atom_id]",
            get(reads::atom),
        )
        .route(
            "console",
            "/build/[build_id]/subjob/[subjob_id]/atom/[atom_id]/console",
            "/builds/[build_id]/subjobs/[subjob_id]/atoms/[atom_id]/console",
            get(console::console),
        )
        .route(
            "result",
            "/build/[build_id]/subjob/[subjob_id]/result",
            "/builds/[build_id]/subjobs/[subjob_id]/result",
            get(original_uploads::nothing_to_read)
                .merge(post(original_uploads::receive).layer(DefaultBodyLimit::disable())),
        )
        .route(
            "results",
            "/build/[build_id]/results",
            "/builds/[build_id]/results",
            parent()
                .post(uploads::receive)
                .layer(DefaultBodyLimit::disable()),
        )
        .route(
            "source",
            "/build/[build_id]/source",
            "/builds/[build_id]/source",
            parent().post(sources::give),
        )
        .route(
            "setup",
            "/build/[build_id]/setup",
            "/builds/[build_id]/setup",
            get(console::setup),
        )
        .route("queue", "/queue", "/queue", get(lists::queue))
}

/// Not listed: the original takes none.
fn sent_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route(
            "",
            "/working_trees",
            "/working_trees",
            parent()
                .post(working_trees::receive)
                .layer(DefaultBodyLimit::disable()),
        )
        .route(
            "missing",
            "/working_trees/missing",
            "/working_trees/missing",
            parent().post(working_trees::missing),
        )
}

fn artifact_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route(
            "artifacts",
            "/build/[build_id]/subjob/[subjob_id]/atom/[atom_id]/artifacts",
            "/builds/[build_id]/subjobs/[subjob_id]/atoms/[atom_id]/artifacts",
            get(artifacts::list),
        )
        .route(
            "artifact",
            "/build/[build_id]/subjob/[subjob_id]/atom/[atom_id]/artifacts/[artifact_path]",
            "/builds/[build_id]/subjobs/[subjob_id]/atoms/[atom_id]/artifacts/[artifact_path]",
            get(artifacts::one),
        )
}

fn step_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route(
            "steps",
            "/build/[build_id]/steps",
            "/builds/[build_id]/steps",
            get(steps::list).merge(post(steps::receive).layer(DefaultBodyLimit::disable())),
        )
        .route(
            "console",
            "/build/[build_id]/steps/[step_id]/console",
            "/builds/[build_id]/steps/[step_id]/console",
            get(steps::console),
        )
}

fn slave_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    table
        .route(
            "slaves",
            "/slave",
            "/slaves",
            get(reads::slaves).post(slaves::connect),
        )
        .route(
            "slave",
            "/slave/[slave_id]",
            "/slaves/[slave_id]",
            get(reads::slave).put(slaves::report),
        )
        .route(
            "shutdown",
            "/slave/shutdown",
            "/slaves/shutdown",
            parent().post(slaves::shut_down_some),
        )
        .route(
            "shutdown",
            "/slave/[slave_id]/shutdown",
            "/slaves/[slave_id]/shutdown",
            parent().post(slaves::shut_down),
        )
        .route(
            "drain",
            "/slave/[slave_id]/drain",
            "/slaves/[slave_id]/drain",
            parent().post(slaves::drain),
        )
        .route(
            "undrain",
            "/slave/[slave_id]/undrain",
            "/slaves/[slave_id]/undrain",
            parent().post(slaves::undrain),
        )
        .route(
            "heartbeat",
            "/slave/[slave_id]/heartbeat",
            "/slaves/[slave_id]/heartbeat",
            parent().post(slaves::heartbeat),
        )
        .route(
            "",
            "/slave/[slave_id]/instances",
            "/slaves/[slave_id]/instances",
            parent().post(hosting::report),
        )
        .route(
            "",
            "/slave/[slave_id]/instance_logs",
            "/slaves/[slave_id]/instance_logs",
            parent().post(hosting::logs),
        )
        .route(
            "",
            "/slave/[slave_id]/calls",
            "/slaves/[slave_id]/calls",
            parent().post(polls::next_call),
        )
        .route(
            "",
            "/slave/[slave_id]/calls/[call_id]",
            "/slaves/[slave_id]/calls/[call_id]",
            parent().post(polls::answer),
        )
}

/// The same in both versions, and not listed at the top: the original has no templates.
fn launching_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    let (one_template, one_instance) = ("/templates/[template_name]", "/instances/[instance_id]");
    let (logs, app_log) = ("/instances/[instance_id]/logs", "/app_logs/[app_name]");
    table
        .route(
            "",
            "/templates",
            "/templates",
            get(templates::list).post(templates::build),
        )
        .route(
            "template",
            one_template,
            one_template,
            get(templates::one).delete(templates::delete),
        )
        .route(
            "",
            "/instances",
            "/instances",
            get(instances::list).post(instances::launch),
        )
        .route(
            "instance",
            one_instance,
            one_instance,
            get(instances::one).delete(instances::stop),
        )
        .route("logs", logs, logs, get(instances::log))
        // Version 1 of `/apps` is the API of the Deis controller.
        .route("", "/app", "/apps", get(apps::list))
        .route(
            "",
            "/app/[app_name]",
            "/apps/[app_name]",
            get(apps::one).put(apps::change).delete(apps::delete),
        )
        .route(
            "",
            "/app/[app_name]/config",
            "/apps/[app_name]/config",
            get(apps::config),
        )
        .route("", app_log, app_log, get(apps::log))
        .route(
            "",
            "/snapshot",
            "/snapshot",
            parent().post(hosting::snapshot),
        )
        .route(
            "",
            "/kept_setup",
            "/kept_setup",
            parent().post(kept_setups::give),
        )
        .route(
            "",
            "/kept_setups",
            "/kept_setups",
            parent()
                .post(kept_setups::take)
                .layer(DefaultBodyLimit::disable()),
        )
}

/// The same in both versions, and not listed at the top: slaves of the original have no keys.
fn key_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    let tokens = get(slave_keys::tokens).post(slave_keys::create_token);
    let token = parent().delete(slave_keys::revoke_token);
    let (revoke, restore) = (
        "/slave_keys/[key_name]/revoke",
        "/slave_keys/[key_name]/restore",
    );
    let (one_key, one_token) = ("/slave_keys/[key_name]", "/join_tokens/[token_id]");
    table
        .route("", "/slave_keys", "/slave_keys", get(slave_keys::list))
        .route("key", one_key, one_key, parent().delete(slave_keys::forget))
        .route("revoke", revoke, revoke, parent().post(slave_keys::revoke))
        .route(
            "restore",
            restore,
            restore,
            parent().post(slave_keys::restore),
        )
        .route("", "/join_tokens", "/join_tokens", tokens)
        .route("token", one_token, one_token, token)
}

/// The same in both versions, and not listed at the top: the original has no users.
fn account_routes(table: RouteTable<Arc<Api>>) -> RouteTable<Arc<Api>> {
    let user = get(accounts::user)
        .put(accounts::change)
        .delete(accounts::delete);
    let renew = parent().post(accounts::renew_token);
    let tokens = get(accounts::tokens).post(accounts::create_token);
    let token = parent().delete(accounts::revoke_token);
    let (one_user, one_token) = ("/users/[user_name]", "/tokens/[token_id]");
    let of_user = "/users/[user_name]/token";
    key_routes(table)
        .route(
            "",
            "/users",
            "/users",
            get(accounts::users).post(accounts::create),
        )
        .route("user", one_user, one_user, user)
        .route("token", of_user, of_user, renew)
        .route("", "/tokens", "/tokens", tokens)
        .route(
            "",
            "/session",
            "/session",
            get(session::show).post(session::begin).delete(session::end),
        )
        .route(
            "",
            "/session/link",
            "/session/link",
            parent().post(session::link),
        )
        .route("token", one_token, one_token, token)
        .route(
            "",
            "/secrets",
            "/secrets",
            get(secrets::list).post(secrets::set),
        )
        .route(
            "",
            "/secrets/[secret_name]",
            "/secrets/[secret_name]",
            parent().delete(secrets::remove),
        )
        .route(
            "",
            "/resealed_secrets",
            "/resealed_secrets",
            parent().post(secrets::reseal),
        )
}
