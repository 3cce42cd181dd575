// Reads all atoms of a build from the master.

import { ApiError, read } from "../api.js";

/** How many atoms one answer has: few enough that to read them is no long task. */
const PAGE = 5000;
/** How many subjobs one answer of an older master has. */
const SUBJOBS = 200;
const COLUMNS = ["subjob_id", "atom_id", "name", "value", "state", "exit_code", "trouble", "slave_id", "slave_url",
  "executor_id", "started_at", "actual_time", "expected_time"];

/**
 * Reads all atoms into `atoms`, telling of each page.
 * @param {number} build
 * @param {import("./atoms.js").Atoms} atoms
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export async function readAtoms(build, atoms, changed, signal) {
  for (let offset = 0; ; offset += PAGE) {
    let page;
    try {
      page = await read(`/v2/builds/${build}/atoms?offset=${offset}&limit=${PAGE}`, signal);
    } catch (error) {
      const isOlder = error instanceof ApiError && error.status === 404 && offset === 0;
      if (!isOlder) throw error;
      return readSubjobs(build, atoms, changed, signal);
    }
    atoms.put(page.columns, page.rows);
    changed();
    if (!page.rows.length || offset + page.rows.length >= page.total) return;
  }
}

/** Reads them from the list of subjobs, which masters without the list of atoms have. */
async function readSubjobs(build, atoms, changed, signal) {
  const { slaves } = await read("/v2/slaves", signal);
  const ids = new Map(slaves.map((slave) => [slave.url, slave.id]));
  for (let offset = 0; ; offset += SUBJOBS) {
    const { subjobs } = await read(`/v2/builds/${build}/subjobs?offset=${offset}&limit=${SUBJOBS}`, signal);
    atoms.put(COLUMNS, subjobs.flatMap((subjob) => subjob.atoms.map((atom) => row(subjob, atom, ids))));
    changed();
    if (subjobs.length < SUBJOBS) return;
  }
}

function row(subjob, atom, ids) {
  const slave = subjob.slave;
  // Slaves that are gone have no number any more: each address gets one of its own.
  if (slave && !ids.has(slave)) ids.set(slave, 1e9 + ids.size);
  return [atom.subjob_id, atom.id, atom.name ?? null, atom.value ?? atom.command_string, atom.state, atom.exit_code, atom.trouble,
    ids.get(slave) ?? null, slave, atom.executor_id ?? null, atom.started_at ?? null, atom.actual_time, atom.expected_time];
}
