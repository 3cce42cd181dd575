//! The operations of version 2, one a line: method, path, what it does, who may, parameters, body, answers, refusals.

/// What a route does for one method.
#[derive(Debug)]
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    /// Below `/v2`; variable parts in braces.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) who: Who,
    /// The names of parameters of the query.
    pub(super) query: &'static [&'static str],
    pub(super) body: Body,
    /// The answers that are no refusals.
    pub(super) answers: &'static [(u16, Answer)],
    /// The statuses of refusals that not all operations of this kind have.
    refusals: &'static [u16],
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody who reaches the port.
    Open,
    /// Everybody; with `require_signed_reads` those who prove something.
    Read,
    /// Holders of the secret, by signature or digest of the body, and users.
    Build,
    /// Holders of the secret and users.
    Somebody,
    /// Holders of the secret.
    Operator,
    /// Slaves.
    Slave,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    None,
    Json,
    Bytes,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// JSON with these fields at least.
    Object(&'static [&'static str]),
    /// Of this media type.
    Other(&'static str),
    Nothing,
}

impl Operation {
    /// Which proofs are enough; an empty object: none is needed.
    pub(super) fn security(&self) -> serde_json::Value {
        let (signature, digest) = (
            serde_json::json!({"signature": []}),
            serde_json::json!({"digest": []}),
        );
        let (token, session) = (
            serde_json::json!({"token": []}),
            serde_json::json!({"session": []}),
        );
        let nothing = serde_json::json!({});
        match self.who {
            Who::Open | Who::Read => serde_json::json!([nothing, signature, token, session]),
            Who::Build => serde_json::json!([signature, digest, token, session]),
            Who::Somebody => serde_json::json!([signature, token, session]),
            Who::Operator => serde_json::json!([signature, session]),
            Who::Slave => serde_json::json!([signature]),
        }
    }

    /// The statuses of all its refusals.
    pub(super) fn errors(&self) -> Vec<u16> {
        let is_read = self.method == "get";
        let mut errors = vec![405, 412, 500, 503];
        errors.extend(match is_read {
            true => &[304, 401, 404][..],
            false => &[400, 401, 403, 404, 408, 413],
        });
        errors.extend(self.refusals);
        errors.sort_unstable();
        errors.dedup();
        errors
    }
}

use Answer::{Nothing, Object, Other};

const fn operation(
    (method, path, summary): (&'static str, &'static str, &'static str),
    who: Who,
    query: &'static [&'static str],
    body: Body,
    answers: &'static [(u16, Answer)],
    refusals: &'static [u16],
) -> Operation {
    Operation {
        method,
        path,
        summary,
        who,
        query,
        body,
        answers,
        refusals,
    }
}

/// All of them. As a table, which is easier to read than a column.
#[rustfmt::skip]
pub(super) const OPERATIONS: &[Operation] = &[
    operation(("get", "", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("get", "/metrics", "What is measured, for Prometheus"), Who::Read, &[], Body::None, &[(200, Other("text/plain"))], &[]),
    operation(("get", "/healthz", "Whether the process answers"), Who::Open, &[], Body::None, &[(200, Object(&["status"]))], &[]),
    operation(("get", "/readyz", "Whether the master takes work"), Who::Open, &[], Body::None, &[(200, Object(&["status"]))], &[]),
    operation(("get", "/version", "The version of the program"), Who::Read, &[], Body::None, &[(200, Object(&["version", "api_version"]))], &[]),
    operation(("get", "/openapi.json", "This description"), Who::Read, &[], Body::None, &[(200, Other("application/openapi+json"))], &[]),
    operation(("get", "/builds", "List builds"), Who::Read, &["offset", "limit", "newest_first", "before"], Body::None, &[(200, Object(&["builds"]))], &[400]),
    operation(("post", "/builds", "Submit a build"), Who::Build, &[], Body::Json, &[(202, Object(&["build_id"]))], &[507]),
    operation(("get", "/builds/{build_id}", "One build"), Who::Read, &[], Body::None, &[(200, Object(&["build"]))], &[404]),
    operation(("put", "/builds/{build_id}", "Cancel a build, or add a message to its warnings"), Who::Build, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/builds/{build_id}/result", "The way to the archive"), Who::Read, &[], Body::None, &[(302, Nothing), (202, Nothing)], &[404, 410]),
    operation(("get", "/builds/{build_id}/artifacts.tar.gz", "All artifacts; takes ranges"), Who::Read, &[], Body::None, &[(200, Other("application/x-gzip")), (206, Other("application/x-gzip")), (202, Nothing)], &[404, 410, 416]),
    operation(("get", "/builds/{build_id}/artifacts.zip", "All artifacts"), Who::Read, &[], Body::None, &[(200, Other("application/zip")), (202, Nothing)], &[404, 410]),
    operation(("get", "/builds/{build_id}/subjobs", "List the subjobs of a build"), Who::Read, &["offset", "limit", "state"], Body::None, &[(200, Object(&["subjobs"]))], &[400, 404]),
    operation(("get", "/builds/{build_id}/atoms", "All atoms of a build as rows"), Who::Read, &["offset", "limit"], Body::None, &[(200, Object(&["columns", "rows", "total"]))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}", "One subjob"), Who::Read, &[], Body::None, &[(200, Object(&["subjob"]))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms", "List the atoms of a subjob"), Who::Read, &["offset", "limit"], Body::None, &[(200, Object(&["atoms"]))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}", "One atom"), Who::Read, &[], Body::None, &[(200, Object(&["atom"]))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/console", "What an atom printed"), Who::Read, &["max_lines", "offset_line", "offset_byte"], Body::None, &[(200, Object(&[]))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/artifacts", "List the files that an atom left"), Who::Read, &["offset", "limit"], Body::None, &[(200, Object(&["artifacts", "total"]))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/artifacts/{artifact_path}", "A file that an atom left"), Who::Read, &["view"], Body::None, &[(200, Other("application/octet-stream"))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/result", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/builds/{build_id}/subjobs/{subjob_id}/result", "Deliver a result, as slaves of the original do"), Who::Slave, &[], Body::Bytes, &[(200, Object(&[]))], &[404, 408, 409, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/results", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/builds/{build_id}/results", "Deliver results, as slaves do"), Who::Slave, &[], Body::Bytes, &[(200, Object(&[]))], &[404, 408, 409, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/source", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/builds/{build_id}/source", "Get the project, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Other("application/octet-stream"))], &[404, 409]),
    operation(("get", "/builds/{build_id}/setup", "What setup_build prints"), Who::Read, &["slave", "max_lines", "offset_line"], Body::None, &[(200, Object(&[]))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/steps", "What is done of a build beside its atoms"), Who::Read, &[], Body::None, &[(200, Object(&["steps"]))], &[404]),
    operation(("post", "/builds/{build_id}/steps", "Deliver what a step printed, as slaves do"), Who::Slave, &[], Body::Bytes, &[(200, Object(&[]))], &[404, 408, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/steps/{step_id}/console", "What a step printed"), Who::Read, &["max_lines", "offset_line", "offset_byte"], Body::None, &[(200, Object(&[]))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/explanation", "Where the time of a build went"), Who::Read, &[], Body::None, &[(200, Object(&["explanation"]))], &[404]),
    operation(("get", "/builds/{build_id}/events", "The build and its atoms as they change"), Who::Read, &[], Body::None, &[(200, Other("text/event-stream"))], &[400, 404]),
    operation(("get", "/events", "What changes on the farm"), Who::Read, &[], Body::None, &[(200, Other("text/event-stream"))], &[400]),
    operation(("get", "/queue", "List the builds that are not over"), Who::Read, &[], Body::None, &[(200, Object(&["queue"]))], &[]),
    operation(("get", "/eventlog", "The latest events"), Who::Read, &["since_id", "since_timestamp"], Body::None, &[(200, Object(&["events"]))], &[400]),
    operation(("get", "/projects/{project_id}/badge.svg", "How the latest build of a project stands"), Who::Read, &[], Body::None, &[(200, Other("image/svg+xml"))], &[404]),
    operation(("get", "/slaves", "List the slaves"), Who::Read, &[], Body::None, &[(200, Object(&["slaves"]))], &[]),
    operation(("post", "/slaves", "Connect, as slaves do"), Who::Slave, &[], Body::Json, &[(201, Object(&[]))], &[409]),
    operation(("get", "/slaves/{slave_id}", "One slave"), Who::Read, &[], Body::None, &[(200, Object(&["slave"]))], &[404]),
    operation(("put", "/slaves/{slave_id}", "Report a state, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/slaves/shutdown", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/shutdown", "End several slaves"), Who::Operator, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/slaves/{slave_id}/shutdown", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/shutdown", "End a slave once it has finished its work"), Who::Operator, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/slaves/{slave_id}/drain", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/drain", "Give a slave no new work"), Who::Operator, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/slaves/{slave_id}/undrain", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/undrain", "Give a slave work again"), Who::Operator, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/slaves/{slave_id}/heartbeat", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/heartbeat", "Be alive, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/slaves/{slave_id}/instances", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/instances", "Say which instances the slave has, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/slaves/{slave_id}/instance_logs", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/slaves/{slave_id}/instance_logs", "Bring what instances print, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/templates", "List the templates"), Who::Somebody, &[], Body::None, &[(200, Object(&["templates"]))], &[]),
    operation(("post", "/templates", "Build a template"), Who::Somebody, &[], Body::Json, &[(202, Object(&["build_id", "name"]))], &[409, 507]),
    operation(("get", "/templates/{template}", "One template"), Who::Somebody, &[], Body::None, &[(200, Object(&["template"]))], &[404]),
    operation(("delete", "/templates/{template}", "Delete a template"), Who::Somebody, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/instances", "List the instances"), Who::Somebody, &[], Body::None, &[(200, Object(&["instances"]))], &[]),
    operation(("post", "/instances", "Launch an instance"), Who::Somebody, &[], Body::Json, &[(201, Object(&["instance"]))], &[404, 409]),
    operation(("get", "/instances/{instance_id}", "One instance"), Who::Somebody, &[], Body::None, &[(200, Object(&["instance"]))], &[404]),
    operation(("delete", "/instances/{instance_id}", "Stop an instance"), Who::Somebody, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/instances/{instance_id}/logs", "What an instance printed"), Who::Somebody, &["offset", "wait_s"], Body::None, &[(200, Object(&["content"]))], &[400, 404]),
    operation(("get", "/apps", "List the apps"), Who::Somebody, &[], Body::None, &[(200, Object(&["apps"]))], &[]),
    operation(("get", "/apps/{app_name}", "One app"), Who::Somebody, &[], Body::None, &[(200, Object(&["app", "releases"]))], &[404]),
    operation(("get", "/app_logs/{app_name}", "The log of an app"), Who::Somebody, &["last", "first", "wait_s"], Body::None, &[(200, Object(&["lines"]))], &[400, 404]),
    operation(("get", "/snapshot", "What is below it"), Who::Read, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/snapshot", "Get the snapshot of a template, as slaves do"), Who::Slave, &[], Body::Json, &[(200, Other("application/octet-stream"))], &[404, 409]),
    operation(("get", "/users", "List the users"), Who::Somebody, &[], Body::None, &[(200, Object(&["users"]))], &[]),
    operation(("post", "/users", "Create a user"), Who::Somebody, &[], Body::Json, &[(201, Object(&["user"]))], &[409, 429]),
    operation(("get", "/users/{user_name}", "One user"), Who::Somebody, &[], Body::None, &[(200, Object(&["user"]))], &[404]),
    operation(("put", "/users/{user_name}", "Change a user"), Who::Somebody, &[], Body::Json, &[(200, Object(&["user"]))], &[404, 409, 429]),
    operation(("delete", "/users/{user_name}", "Delete a user"), Who::Somebody, &[], Body::Json, &[(200, Object(&[]))], &[404, 409]),
    operation(("get", "/users/{user_name}/token", "What is below it"), Who::Somebody, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/users/{user_name}/token", "Give a user another API token"), Who::Somebody, &[], Body::Json, &[(200, Object(&["token"]))], &[404]),
    operation(("get", "/tokens", "List the named tokens"), Who::Somebody, &[], Body::None, &[(200, Object(&["tokens"]))], &[]),
    operation(("post", "/tokens", "Create a token"), Who::Somebody, &[], Body::Json, &[(201, Object(&["token", "text"]))], &[404, 409]),
    operation(("get", "/tokens/{token_id}", "What is below it"), Who::Somebody, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("delete", "/tokens/{token_id}", "Revoke a token"), Who::Somebody, &[], Body::Json, &[(200, Object(&[]))], &[404]),
    operation(("get", "/session", "Who is signed in to the page"), Who::Open, &[], Body::None, &[(200, Object(&["user", "csrf_token"]))], &[]),
    operation(("post", "/session", "Sign in"), Who::Open, &[], Body::Json, &[(200, Object(&["user", "csrf_token"]))], &[400, 401, 403, 429]),
    operation(("delete", "/session", "Sign out"), Who::Open, &[], Body::Json, &[(200, Object(&[]))], &[400]),
    operation(("get", "/session/link", "What is below it"), Who::Somebody, &[], Body::None, &[(200, Object(&[]))], &[]),
    operation(("post", "/session/link", "Make a link that signs in once"), Who::Somebody, &[], Body::Json, &[(200, Object(&["link", "expires_in"]))], &[]),
];
