//! The objects of version 2, by name, in the words of `crate::http::openapi::types`. docs/api.md tells what the fields mean.

/// The objects by name.
pub(super) const SCHEMAS: &[(&str, &str)] = &[
    (
        "Error",
        "error: string, status?: 'FAILURE', child_routes?: {string}, \
         code?: 'no_route'|'unknown_build'|'unknown_slave'|'unknown_template'|'unknown_instance'|'unknown_user'|'no_archive'|\
         'no_proof'|'invalid_token'|'unknown_slave_key'|'revoked_slave_key'|'invalid_join_token'|'address_of_other_key'|\
         'other_master'",
    ),
    // Builds.
    (
        "Build",
        "id: integer, status: 'QUEUED'|'BUILDING'|'FINISHED'|'ERROR'|'CANCELED', details: string|null, \
         error_message: string|null, num_atoms: integer|null, num_subjobs: integer, failed_atoms: [Atom]|null, \
         result: 'NO_FAILURES'|'FAILURE'|'CANCELED'|null, request_params: {any}, \
         state_timestamps: {any}, artifacts: string|null, commit: string|null, job_name: string|null, \
         num_atoms_completed: integer, num_atoms_failed: integer, num_atoms_in_progress: integer, \
         num_atoms_in_trouble: integer, num_atoms_flaky: integer, num_atoms_not_run: integer, failing: boolean, retry_of?: integer, project_id?: integer, started_by?: string, flaky_fails?: boolean, \
         warnings: [string], lacks_atoms?: boolean, seconds_left: number|null, finish?: Finish|null, \
         slaves_setting_up: [SettingUp], template?: string, children?: [Child], parent?: integer, matrix?: {any}",
    ),
    (
        "Child",
        "build_id: integer, name: string, matrix: {any}, status: 'QUEUED'|'BUILDING'|'FINISHED'|'ERROR'|'CANCELED', \
         result: 'NO_FAILURES'|'FAILURE'|'CANCELED'|null, error_message?: string, lacks_atoms?: boolean, \
         num_atoms: integer, num_atoms_completed: integer, num_atoms_failed: integer, num_atoms_flaky: integer",
    ),
    ("Finish", "median: number, low: number, high: number"),
    (
        "Plan",
        "build_id: integer, is_anew: boolean, num_atoms: integer, num_slaves: integer, executors_per_slave: integer, \
         choices: [PlanChoice], next_slave_saves: number|null, under: PlanChoice|null",
    ),
    (
        "PlanChoice",
        "num_slaves: integer, num_executors: integer, finish: Finish",
    ),
    (
        "SettingUp",
        "slave_id: integer, url: string, state: 'SETTING_UP'|'READY'|'TEARING_DOWN', since: number|null",
    ),
    (
        "Subjob",
        "id: integer, command: string, atoms: [Atom], slave: string|null",
    ),
    (
        "Atom",
        "command_string: string, name?: string, value?: string, expected_time: number|null, actual_time: number|null, \
         exit_code: integer|null, state: 'NOT_STARTED'|'IN_PROGRESS'|'COMPLETED'|'CANCELED'|'NOT_RUN', id: integer, \
         subjob_id: integer, trouble: string|null, started_at?: number, executor_id?: integer, attempt?: integer, \
         signal?: integer, timed_out_after?: integer, output_bytes?: integer, max_memory_bytes?: integer, \
         cpu_seconds?: number, failed_attempts?: [Attempt], is_flaky?: boolean, fails_as_flaky?: boolean, \
         worker?: 'ran'|'failed', batch_in_vain?: BatchInVain",
    ),
    (
        "BatchInVain",
        "started_at: number, actual_time: number, executor_id: integer, num_atoms: integer",
    ),
    (
        "Attempt",
        "attempt: integer, exit_code: integer, signal?: integer, trouble?: string, actual_time: number, \
         started_at?: number, slave_id: integer, slave_url?: string, executor_id?: integer",
    ),
    ("Artifact", "path: string, bytes: integer"),
    (
        "Test",
        "name: string, class: string|null, file: string|null, time: number|null, \
         outcome: 'passed'|'failed'|'skipped'|'flaky', atom: string, message: string|null, subjob_id: integer, \
         atom_id: integer",
    ),
    (
        "TestCounts",
        "passed: integer, failed: integer, skipped: integer, flaky: integer",
    ),
    (
        "History",
        "kind: 'atom'|'test', name: string, class: string|null, atom: string|null, project_id: integer, \
         project: string, job: string, runs: [Run], durations: Durations|null, flakiness: Flakiness, \
         first_failed: FailedIn|null, last_failed: FailedIn|null",
    ),
    (
        "Run",
        "build_id: integer, commit: string|null, outcome: 'passed'|'failed'|'skipped'|'flaky', \
         failed_attempts: integer, time: number",
    ),
    (
        "Durations",
        "p10: number, median: number, p90: number, max: number",
    ),
    (
        "Flakiness",
        "verdict: 'stable'|'suspicious'|'flaky', rate: number, low: number, high: number, trials: integer, \
         flakes: integer, hunted?: integer",
    ),
    (
        "Secret",
        "project: string, project_id: integer, url?: string, name: string, as_file: boolean, allow_forks: boolean, \
         set_at: number, set_by: string, trouble: string|null",
    ),
    (
        "AuditEntry",
        "number: integer, at: number, by: string, from: string|null, what: string",
    ),
    ("AuditFault", "number: integer, what: string"),
    (
        "Receiver",
        "name: string, kind: 'webhook'|'github'|'gitlab'|'gitea'|'command', events: [string], projects: [string], \
         waiting: integer, next_attempt_in: number|null, sent: integer, failed: integer, skipped: integer, \
         refused: integer, given_up: integer, last_sent: LastSent|null, last_failure: LastFailure|null",
    ),
    (
        "Pool",
        "name: string, provider: 'command'|'slurm'|'kubernetes', min_slaves: integer, max_slaves: integer, executors: integer, \
         labels: [string], wanted_slaves: integer, wanted_executors: integer, queued: integer, starting: integer, \
         idle: integer, busy: integer, leaving: integer, busy_executors: integer, failed: integer, reason: string, \
         why: string, last_failure: PoolFailure|null, slaves: [PoolSlave]",
    ),
    ("PoolFailure", "at: number, message: string"),
    (
        "PoolSlave",
        "name: string, state: string, slave_id: integer|null",
    ),
    ("LastSent", "at: number, build_id: integer, event: string"),
    (
        "LastFailure",
        "at: number, build_id: integer, event: string, attempt: integer, message: string",
    ),
    (
        "FailedIn",
        "build_id: integer, commit: string|null, at: number",
    ),
    (
        "Step",
        "id: integer, kind: 'fetch'|'atomizer'|'setup'|'teardown', slave_id: integer|null, slave_url: string|null, \
         state: 'IN_PROGRESS'|'COMPLETED'|'FAILED', exit_code: integer|null, trouble: string|null, \
         began_at: number|null, ended_at: number|null, output_bytes: integer|null",
    ),
    (
        "Explanation",
        "build_id: integer, is_over: boolean, seconds: number, parts: [ExplainedPart], num_executors: integer, \
         longest_atom: LongestAtom|null, hunting?: Hunting",
    ),
    (
        "Hunting",
        "runs: integer, executor_seconds: number, trials: integer, flakes: integer",
    ),
    ("ExplainedPart", "name: string, seconds: number"),
    (
        "LongestAtom",
        "subjob_id: integer, atom_id: integer, seconds: number",
    ),
    (
        "BuildRequest",
        "type?: string, retry_of?: integer|null, only_failed?: boolean, newest?: boolean, url?: string, \
         remote?: string|null, branch?: string|null, hash?: string|null, \
         project_directory?: string|null, job_name?: string|null, config?: any, atoms_override?: any, \
         quotes_atoms?: boolean|null, in_order?: boolean|null, remote_files?: any, env?: any, inherited_env?: any, retries?: integer|null, \
         max_fail?: integer|null, matrix?: any, working_tree?: any, build_project_directory?: any",
    ),
    (
        "Project",
        "id: integer, name: string, owner: string, description: string|null, is_private: boolean, url: string|null, \
         num_builds: integer, last_build: Build|null",
    ),
    // Slaves.
    (
        "Slave",
        "url: string, id: integer, session_id: string|null, num_executors: integer, num_executors_in_use: integer, \
         current_build_id: integer|null, current_build_state: 'SETTING_UP'|'READY'|'TEARING_DOWN'|null, \
         is_alive: boolean, is_in_shutdown_mode: boolean, labels: [string], is_drained: boolean, \
         is_quarantined: boolean, quarantine_reason: string|null, next_probe_at: number|null, is_in_doubt: boolean, \
         lost_reason?: string, is_stopped?: boolean, last_heard_at?: number, version?: string, load_of_last_hour?: [number|null], \
         isolation?: string, runs_containers?: boolean, key?: string",
    ),
    ("Master", "status: string, slaves: [Slave]"),
    (
        "MasterMark",
        "incarnation: string, session_id: string, position: integer, proof?: string",
    ),
    (
        "RunningAtom",
        "build_id: integer, subjob_id: integer, attempt: integer, atom_id: integer, executor_id: integer, \
         started_at_ms: integer",
    ),
    (
        "Heartbeat",
        "heartbeat: boolean, session_id?: string, running?: [RunningAtom]",
    ),
    (
        "StateReport",
        "state: 'SETUP_COMPLETE'|'SETUP_FAILED'|'IDLE'|'DISCONNECTED', build_id?: integer, session_id?: string, \
         reason?: string",
    ),
    (
        "InstanceReport",
        "id: integer, generation: integer, state: any, restarts?: integer",
    ),
    (
        "LogPiece",
        "id: integer, generation: integer, offset: integer, text: string, length: integer",
    ),
    // Templates, instances, apps.
    (
        "Template",
        "name: string, repository: string|null, build_id: integer, build_status: string|null, created: number, \
         modified: number|null, template: TemplateDetails|null",
    ),
    (
        "TemplateDetails",
        "id: integer, build_id: integer, commit: string|null, recipe: string|null, form: 'workspace'|'image', \
         digest: string, bytes: integer, is_damaged?: boolean, port: integer|null, command: [string], \
         processes: {string}, created: number",
    ),
    (
        "Instance",
        "id: integer, key: string, template: string, template_id: integer|null, \
         status: 'waiting'|'starting'|'up'|'crashed'|'stopped'|'failed', reason: string|null, path: string, \
         slave_id: integer|null, generation: integer, restarts: integer, command: [string], \
         max_memory_bytes: integer|null, cull_after: number|null, created: number, changed: number",
    ),
    (
        "App",
        "project_id: integer, id: string, owner: string|null, host: string|null, domains: [string], is_deployed: boolean, \
         release: Release, structure: {integer}, process_types: [string], processes: [AppProcess], config_keys: [string], created: number, \
         updated: number",
    ),
    (
        "AppConfig",
        "values: {any}, memory: {any}, cpu: {any}, tags: {any}",
    ),
    (
        "ChangeAppConfig",
        "values?: {any}, memory?: {any}, cpu?: {any}, tags?: {any}",
    ),
    (
        "Release",
        "version: integer, summary: string, by: string|null, created: number",
    ),
    (
        "AppProcess",
        "name: string, status: 'waiting'|'starting'|'up'|'crashed'|'stopped'|'failed', reason: string|null, \
         release: integer, slave_id: integer|null, instance_id: integer, restarts: integer",
    ),
    (
        "AppLogLine",
        "at: number, process: string|null, text: string",
    ),
    // Users.
    (
        "User",
        "name: string, email: string, first_name: string, last_name: string, is_superuser: boolean, \
         is_active: boolean, joined: number, last_login: number|null",
    ),
    (
        "Token",
        "id: integer, user: string, name: string, role: 'read'|'submit'|'admin', created: number, \
         expires: number|null, is_expired: boolean",
    ),
    (
        "SlaveKey",
        "key: string, fingerprint: string, address: string, joined: number, join_token: integer|null, \
         revoked: number|null, slave_id: integer|null",
    ),
    (
        "JoinToken",
        "id: integer, name: string, created: number, expires: number|null, is_expired: boolean, \
         address: string|null, uses: integer, used: integer",
    ),
    (
        "SessionUser",
        "name: string, is_superuser: boolean, role: 'read'|'submit'|'admin', is_operator: boolean",
    ),
];
