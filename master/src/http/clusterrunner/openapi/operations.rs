//! The operations of version 2, one a line: method, path, what it does, who may, parameters, body, answers, refusals.

use crate::http::openapi::Answer::{self, Json, JsonOrText, Nothing, Other};
use crate::http::openapi::Body;

/// What a route does for one method.
#[derive(Debug)]
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    /// Below `/v2`; variable parts in braces.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) who: Who,
    /// The parameters of the query, in the words of `crate::http::openapi::types`.
    pub(super) query: &'static str,
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
    /// The same, but for the page.
    Client,
    /// Holders of the secret.
    Operator,
    /// Slaves.
    Slave,
}

impl Operation {
    /// Which proofs are enough.
    pub(super) fn security(&self) -> &'static [&'static str] {
        match self.who {
            Who::Open | Who::Read => &["", "signature", "token", "session"],
            Who::Build => &["signature", "digest", "token", "session"],
            Who::Somebody => &["signature", "token", "session"],
            Who::Client => &["signature", "token"],
            Who::Operator => &["signature", "session"],
            Who::Slave => &["signature"],
        }
    }

    /// The statuses of all its refusals.
    pub(super) fn errors(&self) -> Vec<u16> {
        let is_read = self.method == "get";
        let mut errors = vec![405, 412, 500, 503];
        errors.extend(match is_read {
            true => &[304, 401, 403, 404][..],
            false => &[400, 401, 403, 404, 408, 413],
        });
        errors.extend(self.refusals);
        errors.sort_unstable();
        errors.dedup();
        errors
    }
}

/// A piece of an output.
const CONSOLE: &str = "offset_line: integer, num_lines: integer, total_num_lines: integer, content: string, \
                       num_bytes_cut?: integer";

/// An app with its latest releases, and what the caller may do with it.
const ONE_APP: &str = "app: App, releases: [Release], access: 'read'|'use'|'own'";

/// There is nothing else to say.
const DONE: &str = "status: 'SUCCESS'";

/// A form with a report, and the file that it is about.
const UPLOAD: Body = Body::Other("multipart/form-data");

const fn operation(
    (method, path, summary): (&'static str, &'static str, &'static str),
    who: Who,
    query: &'static str,
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
    operation(("get", "", "What is below it"), Who::Read, "", Body::None, &[(200, Json("master?: Master"))], &[]),
    operation(("get", "/metrics", "What is measured, for Prometheus"), Who::Read, "", Body::None, &[(200, Other("text/plain"))], &[]),
    operation(("get", "/healthz", "Whether the process answers"), Who::Open, "", Body::None, &[(200, Json("status: 'ok'"))], &[]),
    operation(("get", "/readyz", "Whether the master takes work"), Who::Open, "", Body::None, &[(200, Json("status: 'ok'"))], &[]),
    operation(("get", "/version", "The version of the program"), Who::Read, "", Body::None, &[(200, Json("version: string, api_version: integer"))], &[]),
    operation(("get", "/openapi.json", "This description"), Who::Read, "", Body::None, &[(200, Other("application/openapi+json"))], &[]),
    operation(("get", "/builds", "List builds"), Who::Read, "offset?: integer, limit?: integer, newest_first?: boolean, before?: integer", Body::None, &[(200, Json("builds: [Build]"))], &[400]),
    operation(("post", "/builds", "Submit a build"), Who::Build, "", Body::Of("BuildRequest"), &[(202, Json("build_id: integer, status: 'SUCCESS', STATUS: 'SUCCESS', warnings?: [string]"))], &[409, 507]),
    operation(("get", "/builds/{build_id}", "One build"), Who::Read, "wait_s?: integer", Body::None, &[(200, Json("build: Build"))], &[400, 404]),
    operation(("put", "/builds/{build_id}", "Cancel a build, or add a message to its warnings"), Who::Build, "", Body::Json("status?: 'canceled', note?: string"), &[(200, Json(DONE))], &[404]),
    operation(("get", "/builds/{build_id}/result", "The way to the archive"), Who::Read, "", Body::None, &[(302, Nothing), (202, Nothing)], &[404, 410]),
    operation(("get", "/builds/{build_id}/artifacts.tar.gz", "All artifacts; takes ranges"), Who::Read, "", Body::None, &[(200, Other("application/x-tar")), (206, Other("application/x-tar")), (202, Nothing)], &[404, 410, 416]),
    operation(("get", "/builds/{build_id}/artifacts.zip", "All artifacts"), Who::Read, "", Body::None, &[(200, Other("application/zip")), (202, Nothing)], &[404, 410]),
    operation(("get", "/builds/{build_id}/subjobs", "List the subjobs of a build"), Who::Read, "offset?: integer, limit?: integer, state?: 'in_progress'|'failed'", Body::None, &[(200, Json("subjobs: [Subjob]"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/atoms", "All atoms of a build as rows"), Who::Read, "offset?: integer, limit?: integer, state?: 'in_progress'", Body::None, &[(200, Json("columns: [string], rows: [[any]], total: integer"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/tests", "The tests of a build, as reports name them"), Who::Read, "offset?: integer, limit?: integer, outcome?: string, q?: string, sort?: 'slowest'", Body::None, &[(200, Json("tests: [Test], total: integer, counts: TestCounts"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/junit.xml", "All tests of a build as one JUnit report"), Who::Read, "", Body::None, &[(200, Other("application/xml"))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}", "One subjob"), Who::Read, "", Body::None, &[(200, Json("subjob: Subjob"))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms", "List the atoms of a subjob"), Who::Read, "offset?: integer, limit?: integer", Body::None, &[(200, Json("atoms: [Atom]"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}", "One atom"), Who::Read, "", Body::None, &[(200, Json("atom: Atom"))], &[404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/console", "What an atom printed"), Who::Read, "max_lines?: integer, offset_line?: integer, offset_byte?: integer, attempt?: integer", Body::None, &[(200, JsonOrText(CONSOLE))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/artifacts", "List the files that an atom left"), Who::Read, "offset?: integer, limit?: integer, attempt?: integer", Body::None, &[(200, Json("artifacts: [Artifact], total: integer"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/atoms/{atom_id}/artifacts/{artifact_path}", "A file that an atom left"), Who::Read, "view?: string, attempt?: integer", Body::None, &[(200, Other("*/*"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/subjobs/{subjob_id}/result", "What is below it"), Who::Read, "", Body::None, &[(200, Json("status: string"))], &[]),
    operation(("post", "/builds/{build_id}/subjobs/{subjob_id}/result", "Deliver a result, as slaves of the original do"), Who::Slave, "", UPLOAD, &[(200, Json(DONE))], &[404, 408, 409, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/results", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/builds/{build_id}/results", "Deliver results, as slaves do"), Who::Slave, "", UPLOAD, &[(200, Json("status: 'SUCCESS', position?: integer, proof?: string, rejected?: [any]"))], &[404, 408, 409, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/source", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/builds/{build_id}/source", "Get the project, as slaves do"), Who::Slave, "", Body::Json("slave_id: integer, session_id: string, submodule?: [string], have?: [string]"), &[(200, Other("application/octet-stream"))], &[404, 409]),
    operation(("get", "/builds/{build_id}/setup", "What setup_build prints"), Who::Read, "slave?: integer, max_lines?: integer, offset_line?: integer", Body::None, &[(200, Json(CONSOLE))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/steps", "What is done of a build beside its atoms"), Who::Read, "", Body::None, &[(200, Json("steps: [Step]"))], &[404]),
    operation(("post", "/builds/{build_id}/steps", "Deliver what a step printed, as slaves do"), Who::Slave, "", UPLOAD, &[(200, Json(DONE))], &[404, 408, 411, 413, 507]),
    operation(("get", "/builds/{build_id}/steps/{step_id}/console", "What a step printed"), Who::Read, "max_lines?: integer, offset_line?: integer, offset_byte?: integer", Body::None, &[(200, JsonOrText(CONSOLE))], &[400, 404, 502]),
    operation(("get", "/builds/{build_id}/explanation", "Where the time of a build went"), Who::Read, "", Body::None, &[(200, Json("explanation: Explanation"))], &[404]),
    operation(("get", "/builds/{build_id}/plan", "How long a build takes with how many slaves"), Who::Read, "slaves?: integer, under?: number", Body::None, &[(200, Json("plan: Plan"))], &[400, 404]),
    operation(("get", "/builds/{build_id}/events", "The build and its atoms as they change"), Who::Read, "", Body::None, &[(200, Other("text/event-stream"))], &[400, 404]),
    operation(("get", "/history", "What earlier builds say of an atom or a test"), Who::Read, "atom?: string, test?: string, name?: string, project?: string, job?: string", Body::None, &[(200, Json("history: [History]"))], &[400]),
    operation(("get", "/flaky", "The atoms and tests that are flaky or may be"), Who::Read, "project?: string, job?: string, offset?: integer, limit?: integer", Body::None, &[(200, Json("flaky: [History], total: integer"))], &[400]),
    operation(("get", "/audit", "Who asked for what, when and from where"), Who::Somebody, "before?: integer, limit?: integer, by?: string", Body::None, &[(200, Json("entries: [AuditEntry]"))], &[400]),
    operation(("get", "/audit/verification", "Whether the audit log is as it was written"), Who::Somebody, "head?: string", Body::None, &[(200, Json("entries: integer, first: integer, head: string, has_expected: boolean|null, fault: AuditFault|null"))], &[400]),
    operation(("get", "/receivers", "Those who are told of builds, and how it goes with them"), Who::Read, "", Body::None, &[(200, Json("receivers: [Receiver]"))], &[]),
    operation(("get", "/pools", "Slaves on demand, and how it goes with them"), Who::Read, "", Body::None, &[(200, Json("pools: [Pool]"))], &[]),
    operation(("get", "/events", "What changes on the farm"), Who::Read, "", Body::None, &[(200, Other("text/event-stream"))], &[400]),
    operation(("get", "/working_trees", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/working_trees", "Send a working tree as a pack, for a build of it"), Who::Client, "url: string, commit: string, after?: string", Body::Other("application/x-git-pack"), &[(201, Json("status: 'SUCCESS', objects: integer"))], &[408, 411, 413, 507]),
    operation(("get", "/working_trees/missing", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/working_trees/missing", "Ask which objects of a working tree are to be sent"), Who::Client, "", Body::Json("url: string, commit: string, objects: [string]"), &[(200, Json("is_here: boolean, max_bytes: integer, after?: string, missing?: [string]"))], &[]),
    operation(("get", "/queue", "List the builds that are not over"), Who::Read, "", Body::None, &[(200, Json("queue: [Build]"))], &[]),
    operation(("get", "/eventlog", "The latest events"), Who::Read, "since_id?: integer, since_timestamp?: number", Body::None, &[(200, Json("events: [{any}]"))], &[400]),
    operation(("get", "/projects", "List projects, those with the newest builds first"), Who::Read, "offset?: integer, limit?: integer", Body::None, &[(200, Json("projects: [Project], total: integer"))], &[400]),
    operation(("get", "/projects/{project_id}", "One project"), Who::Read, "", Body::None, &[(200, Json("project: Project"))], &[404]),
    operation(("get", "/projects/{project_id}/builds", "List builds of a project, the newest first"), Who::Read, "before?: integer, limit?: integer", Body::None, &[(200, Json("builds: [Build]"))], &[400, 404]),
    operation(("get", "/projects/{project_id}/badge.svg", "How the latest build of a project stands"), Who::Read, "", Body::None, &[(200, Other("image/svg+xml"))], &[404]),
    operation(("get", "/slaves", "List the slaves"), Who::Read, "", Body::None, &[(200, Json("slaves: [Slave]"))], &[]),
    operation(("post", "/slaves", "Connect, as slaves do"), Who::Slave, "", Body::Json("slave: string, num_executors: integer|string, session_id?: string|null, protocol?: integer|null, slave_id?: integer|null, labels?: [string], finished?: [any], seen?: [any], version?: string|null, isolation?: string|null"), &[(201, Json("status: 'SUCCESS', slave_id: string, protocol?: integer, resumed: boolean, wanted?: [[integer]], master?: MasterMark"))], &[409]),
    operation(("get", "/slaves/{slave_id}", "One slave"), Who::Read, "", Body::None, &[(200, Json("slave: Slave"))], &[404]),
    operation(("put", "/slaves/{slave_id}", "Report a state, as slaves do"), Who::Slave, "", Body::Json("slave: StateReport"), &[(200, Json("status: 'SUCCESS', slave?: Slave"))], &[404, 409]),
    operation(("get", "/slaves/shutdown", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/shutdown", "End several slaves"), Who::Operator, "", Body::Json("shutdown_all?: any, slaves?: any"), &[(200, Json(DONE))], &[404]),
    operation(("get", "/slaves/{slave_id}/shutdown", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/shutdown", "End a slave once it has finished its work"), Who::Operator, "", Body::Json(""), &[(200, Json(DONE))], &[404]),
    operation(("get", "/slaves/{slave_id}/drain", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/drain", "Give a slave no new work"), Who::Operator, "", Body::Json(""), &[(200, Json("status: 'SUCCESS', slave: Slave, is_released: boolean"))], &[404]),
    operation(("get", "/slaves/{slave_id}/undrain", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/undrain", "Give a slave work again"), Who::Operator, "", Body::Json(""), &[(200, Json("status: 'SUCCESS', slave: Slave, is_released: boolean"))], &[404]),
    operation(("get", "/slaves/{slave_id}/heartbeat", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/heartbeat", "Be alive, as slaves do"), Who::Slave, "", Body::Json("slave: Heartbeat"), &[(200, Json("is_alive: boolean, now_ms?: integer"))], &[404, 409]),
    operation(("get", "/slaves/{slave_id}/instances", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/instances", "Say which instances the slave has, as slaves do"), Who::Slave, "", Body::Json("session_id: string, number: integer, max_instances: integer, runs_images: boolean, instances: [InstanceReport], snapshots?: [string]"), &[(200, Json(DONE))], &[404, 409]),
    operation(("get", "/slaves/{slave_id}/instance_logs", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/instance_logs", "Bring what instances print, as slaves do"), Who::Slave, "", Body::Json("session_id: string, logs: [LogPiece]"), &[(200, Json("ends: [integer|null]"))], &[404, 409]),
    operation(("get", "/slaves/{slave_id}/calls", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/calls", "Poll for a call, as slaves do that can not be called"), Who::Slave, "", Body::Json("session_id: string, wait_ms: integer"), &[(200, Other("application/octet-stream")), (204, Json(""))], &[404, 412]),
    operation(("get", "/slaves/{slave_id}/calls/{call_id}", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slaves/{slave_id}/calls/{call_id}", "Bring a piece of the answer to a call, as slaves do that can not be called"), Who::Slave, "piece: integer, last: boolean", Body::Other("application/octet-stream"), &[(200, Json("is_wanted: boolean, is_taken: boolean"))], &[400, 404, 408, 411, 413]),
    operation(("get", "/templates", "List the templates"), Who::Somebody, "", Body::None, &[(200, Json("templates: [Template]"))], &[]),
    operation(("post", "/templates", "Build a template"), Who::Somebody, "", Body::Json("repository: string, branch?: string|null, commit?: string|null, force?: boolean"), &[(202, Json("build_id: integer, name: string"))], &[409, 507]),
    operation(("get", "/templates/{template_name}", "One template"), Who::Somebody, "", Body::None, &[(200, Json("template: Template"))], &[404]),
    operation(("delete", "/templates/{template_name}", "Delete a template"), Who::Somebody, "", Body::Json(""), &[(200, Json("template: Template"))], &[404, 409]),
    operation(("get", "/instances", "List the instances"), Who::Somebody, "", Body::None, &[(200, Json("instances: [Instance]"))], &[]),
    operation(("post", "/instances", "Launch an instance"), Who::Somebody, "", Body::Json("template: string, command?: [string], environment?: {string}, max_memory_bytes?: integer|null, cull_after?: integer|null"), &[(201, Json("instance: Instance"))], &[404, 409]),
    operation(("get", "/instances/{instance_id}", "One instance"), Who::Somebody, "", Body::None, &[(200, Json("instance: Instance"))], &[404]),
    operation(("delete", "/instances/{instance_id}", "Stop an instance"), Who::Somebody, "", Body::Json(""), &[(200, Json("instance: Instance"))], &[404]),
    operation(("get", "/instances/{instance_id}/logs", "What an instance printed"), Who::Somebody, "offset?: integer, wait_s?: integer", Body::None, &[(200, Json("offset: integer, content: string, next_offset: integer, is_complete: boolean"))], &[400, 404]),
    operation(("get", "/apps", "List the apps"), Who::Somebody, "", Body::None, &[(200, Json("apps: [App]"))], &[]),
    operation(("get", "/apps/{app_name}", "One app"), Who::Somebody, "", Body::None, &[(200, Json(ONE_APP))], &[404]),
    operation(("put", "/apps/{app_name}", "Scale, configure or roll back an app"), Who::Somebody, "", Body::Json("structure?: {integer}|null, config?: ChangeAppConfig|null, roll_back_to?: integer|null"), &[(200, Json(ONE_APP))], &[404, 409]),
    operation(("delete", "/apps/{app_name}", "Delete an app"), Who::Somebody, "", Body::Json(""), &[(200, Json(DONE))], &[404]),
    operation(("get", "/apps/{app_name}/config", "The config of an app, with what the variables are"), Who::Somebody, "", Body::None, &[(200, Json("config: AppConfig"))], &[404]),
    operation(("get", "/app_logs/{app_name}", "The log of an app"), Who::Somebody, "last?: integer, first?: integer, wait_s?: integer", Body::None, &[(200, Json("first: integer, lines: [AppLogLine], next: integer"))], &[400, 404]),
    operation(("get", "/snapshot", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/snapshot", "Get the snapshot of a template, as slaves do"), Who::Slave, "", Body::Json("slave_id: integer, session_id: string, digest: string, offset?: integer, is_damaged?: boolean"), &[(200, Other("application/octet-stream"))], &[404, 409]),
    operation(("get", "/kept_setup", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/kept_setup", "Get what a set-up on another slave has made, as slaves do"), Who::Slave, "", Body::Json("slave_id: integer, session_id: string, key: string"), &[(200, Other("application/octet-stream"))], &[404]),
    operation(("get", "/kept_setups", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/kept_setups", "Bring what a set-up has made, as slaves do"), Who::Slave, "", UPLOAD, &[(200, Json(DONE))], &[404, 408, 411, 413, 507]),
    operation(("get", "/users", "List the users"), Who::Somebody, "", Body::None, &[(200, Json("users: [User], caller?: string"))], &[]),
    operation(("post", "/users", "Create a user"), Who::Somebody, "", Body::Json("name: string, password: string, email?: string, first_name?: string, last_name?: string, is_superuser?: boolean"), &[(201, Json("user: User"))], &[409, 429]),
    operation(("get", "/users/{user_name}", "One user"), Who::Somebody, "", Body::None, &[(200, Json("user: User"))], &[404]),
    operation(("put", "/users/{user_name}", "Change a user"), Who::Somebody, "", Body::Json("email?: string|null, first_name?: string|null, last_name?: string|null, is_superuser?: boolean|null, is_active?: boolean|null, password?: string|null, old_password?: string|null"), &[(200, Json("user: User"))], &[404, 409, 429]),
    operation(("delete", "/users/{user_name}", "Delete a user"), Who::Somebody, "", Body::Json(""), &[(200, Json(DONE))], &[404, 409]),
    operation(("get", "/users/{user_name}/token", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/users/{user_name}/token", "Give a user another API token"), Who::Somebody, "", Body::Json(""), &[(200, Json("token: string"))], &[404]),
    operation(("get", "/secrets", "List the secrets of builds, without their values"), Who::Somebody, "", Body::None, &[(200, Json("secrets: [Secret]"))], &[]),
    operation(("post", "/secrets", "Set a secret of builds"), Who::Somebody, "", Body::Json("project: string, name: string, value?: string, as_file?: boolean, allow_forks?: boolean"), &[(200, Json("secret: Secret"))], &[404, 409]),
    operation(("get", "/secrets/{secret_name}", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("delete", "/secrets/{secret_name}", "Remove a secret of builds"), Who::Somebody, "", Body::Json("project: string"), &[(200, Json(DONE))], &[404]),
    operation(("get", "/resealed_secrets", "What is below it"), Who::Read, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/resealed_secrets", "Seal all secrets of builds anew after the farm's secret was changed"), Who::Operator, "", Body::Json("former_secret: string"), &[(200, Json("resealed: integer, closed: [string]"))], &[]),
    operation(("get", "/tokens", "List the named tokens"), Who::Somebody, "", Body::None, &[(200, Json("tokens: [Token]"))], &[]),
    operation(("post", "/tokens", "Create a token"), Who::Somebody, "", Body::Json("user?: string|null, name: string, role: 'read'|'submit'|'admin', expires_in?: integer|null"), &[(201, Json("token: Token, text: string"))], &[404, 409]),
    operation(("get", "/tokens/{token_id}", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("delete", "/tokens/{token_id}", "Revoke a token"), Who::Somebody, "", Body::Json(""), &[(200, Json(DONE))], &[404]),
    operation(("get", "/slave_keys", "List the keys of slaves"), Who::Somebody, "", Body::None, &[(200, Json("keys: [SlaveKey]"))], &[]),
    operation(("get", "/slave_keys/{key_name}", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("delete", "/slave_keys/{key_name}", "Forget the key of a slave that is gone"), Who::Somebody, "", Body::Json(""), &[(200, Json(DONE))], &[409]),
    operation(("get", "/slave_keys/{key_name}/revoke", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slave_keys/{key_name}/revoke", "Revoke the key of a slave"), Who::Somebody, "", Body::Json(""), &[(200, Json("key: SlaveKey"))], &[]),
    operation(("get", "/slave_keys/{key_name}/restore", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/slave_keys/{key_name}/restore", "Take the revocation of a key back"), Who::Somebody, "", Body::Json(""), &[(200, Json("key: SlaveKey"))], &[409]),
    operation(("get", "/join_tokens", "List the tokens with which slaves join"), Who::Somebody, "", Body::None, &[(200, Json("tokens: [JoinToken]"))], &[]),
    operation(("post", "/join_tokens", "Create a token with which slaves join"), Who::Somebody, "", Body::Json("name: string, expires_in?: integer|null, address?: string|null, uses?: integer|null"), &[(201, Json("token: JoinToken, text: string"))], &[409]),
    operation(("get", "/join_tokens/{token_id}", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("delete", "/join_tokens/{token_id}", "Revoke a join token"), Who::Somebody, "", Body::Json(""), &[(200, Json(DONE))], &[404]),
    operation(("get", "/session", "Who is signed in to the page"), Who::Open, "", Body::None, &[(200, Json("user: SessionUser|null, csrf_token: string|null, expires: number|null"))], &[]),
    operation(("post", "/session", "Sign in"), Who::Open, "", Body::Json("username?: string|null, password?: string|null, token?: string|null, link?: string|null"), &[(200, Json("user: SessionUser|null, csrf_token: string|null, expires: number|null"))], &[400, 401, 403, 429]),
    operation(("delete", "/session", "Sign out"), Who::Open, "", Body::Json(""), &[(200, Json("user: SessionUser|null, csrf_token: string|null, expires: number|null"))], &[400]),
    operation(("get", "/session/link", "What is below it"), Who::Somebody, "", Body::None, &[(200, Json(""))], &[]),
    operation(("post", "/session/link", "Make a link that signs in once"), Who::Somebody, "", Body::Json(""), &[(200, Json("link: string, expires_in: integer"))], &[]),
];
