// Numbers, times and states as people read them. Pure.

import { webAddress } from "./text.js";

/** A duration in seconds, with two units at most: `0.4 s`, `12 s`, `3 min 20 s`, `1 h 5 min`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return "0 s";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(whole / 3600);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

/** A number of bytes: `812 B`, `1.4 MB`. */
export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 999.5 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit && number < 9.95 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

/** A count with its noun: `1 atom`, `10,000 atoms`. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** A moment, in seconds since 1970, in the reader's time zone. */
export function moment(seconds) {
  if (!seconds) return "–";
  return new Date(seconds * 1000).toLocaleString(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
}

/** How long ago a moment is: `just now`, `5 min ago`. */
export function ago(seconds, now) {
  if (!seconds) return "–";
  const past = Math.max(0, now - seconds);
  if (past < 10) return "just now";
  if (past < 60) return `${Math.round(past)} s ago`;
  if (past < 3600) return `${Math.round(past / 60)} min ago`;
  if (past < 48 * 3600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} d ago`;
}

/** States as they are shown: a key for colours and icons, and a word. */
const STATES = {
  waiting: "Waiting", preparing: "Preparing", running: "Running", failing: "Failing", passed: "Passed",
  failed: "Failed", error: "Error", canceled: "Canceled", atomless: "No atoms",
};

function state(key) {
  return { key, word: STATES[key] };
}

/** The state of a build of `/v2/builds`. */
export function buildState(build) {
  switch (build.status) {
    case "QUEUED": return state(build.state_timestamps?.preparing && !build.state_timestamps?.prepared ? "preparing" : "waiting");
    case "BUILDING": return state(build.num_atoms_failed ? "failing" : "running");
    case "FINISHED":
      if (build.lacks_atoms) return state("atomless");
      return state(build.result === "NO_FAILURES" ? "passed" : "failed");
    case "CANCELED": return state("canceled");
    default: return state("error");
  }
}

/** Whether a build is over. */
export function isOver(build) {
  return build.status !== "QUEUED" && build.status !== "BUILDING";
}

/** When a build was queued, and when it ended or null, in seconds since 1970. */
export function span(build) {
  const times = build.state_timestamps ?? {};
  const end = times.finished ?? times.error ?? times.canceled ?? null;
  return { began: times.queued ?? null, ended: isOver(build) ? end : null };
}

/** How a command ended, in words: `exit code 3`, `killed by SIGKILL`, `timed out after 600 s`. */
export function ending({ exit_code: code, signal, trouble, flaky }) {
  if (trouble) return trouble;
  if (flaky) return "passed when run again";
  const number = signal ?? (code !== null && code < 0 ? -code : null);
  if (number) return `killed by ${SIGNALS[number] ?? `signal ${number}`}`;
  return code === null || code === undefined ? "" : `exit code ${code}`;
}

const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
  9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ" };

/** What a build builds: a template, or the last part of its repository or directory. */
export function projectOf(build) {
  if (build.template) return `template ${build.template}`;
  const params = build.request_params ?? {};
  const place = String(params.url ?? params.project_directory ?? "").replace(/\/+$/, "").replace(/\.git$/, "").replace(/^(sent:\/\/.+)-[0-9a-f]{16}$/, "$1");
  return place.slice(Math.max(place.lastIndexOf("/"), place.lastIndexOf(":")) + 1) || `build ${build.id}`;
}

/** What is said of a build of a working tree: `working tree of 1a2b3c4 + 3 files`; null for others. */
export function workingTreeOf(build) {
  const tree = build.request_params?.working_tree;
  if (!tree) return null;
  const files = tree.files === 1 ? "1 file" : `${tree.files} files`;
  const base = typeof tree.base === "string" ? tree.base.slice(0, 7) : null;
  if (!base) return `working tree of ${files}`;
  return tree.files === 0 ? `unpushed commit ${base}` : `working tree of ${base} + ${files}`;
}

/** The job of a build, if it is known and somebody chose it. */
export function jobOf(build) {
  if (build.template) return null;
  return build.job_name ?? build.request_params?.job_name ?? null;
}

/** Where a known host shows a commit; null for others. */
export function commitAddress(repository, commit) {
  if (typeof repository !== "string" || !/^[0-9a-f]{7,64}$/i.test(commit ?? "")) return null;
  const found = /^(?:https?:\/\/(?:[^/@]*@)?|ssh:\/\/(?:[^/@]*@)?|[^/@:]+@)([a-z0-9.-]+)(?::\d+)?[/:](.+?)(?:\.git)?\/*$/i.exec(repository);
  if (!found) return null;
  const [, host, path] = found;
  if (!/^[\w.~/+-]+$/.test(path) || path.split("/").includes("..")) return null;
  const kinds = { "github.com": "commit", "codeberg.org": "commit", "gitea.com": "commit", "bitbucket.org": "commits", "git.sr.ht": "commit" };
  const isGitlab = /^gitlab\./.test(host.toLowerCase()) || host.toLowerCase() === "salsa.debian.org";
  const kind = isGitlab ? "-/commit" : kinds[host.toLowerCase()];
  return kind ? webAddress(`https://${host}/${path}/${kind}/${commit}`) : null;
}
