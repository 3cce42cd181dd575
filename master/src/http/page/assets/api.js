// Requests to the master, and who asks.

/** An answer that is no success. */
export class ApiError extends Error {
  /** @param {number} status 0 where the master was not reached @param {string} message */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/**
 * Who is signed in: a user's name or null, whether builds may be started and stopped, whether slaves may be told
 * something, and what proves that a change comes from this page.
 */
export const session = { user: null, mayBuild: false, isOperator: false, csrf: null };

async function ask(method, path, { body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.csrf) headers["X-CSRF-Token"] = session.csrf;
  let response;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: text, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The master does not answer.");
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    const body = await response.json();
    if (typeof body.error === "string") return body.error;
  } catch {
    // Not every answer has a body.
  }
  return `The master answered with status ${response.status}.`;
}

/** Reads JSON. @param {string} path @param {AbortSignal} [signal] */
export async function read(path, signal) {
  return (await ask("GET", path, { signal })).json();
}

/** Reads JSON, or gives `other` where the master has no such route or thing. */
export async function readOr(other, path, signal) {
  try {
    return await read(path, signal);
  } catch (error) {
    if (error instanceof ApiError && [404, 405].includes(error.status)) return other;
    throw error;
  }
}

/** Reads a build. */
export async function readBuild(id, signal) {
  const found = await readOr(null, `/v2/builds/${id}`, signal);
  if (!found) throw new ApiError(404, `There is no build ${id}.`);
  return found.build;
}

/** Reads a body piece by piece. */
export async function stream(path, signal) {
  return (await ask("GET", path, { signal })).body;
}

/** Asks the master for a change. */
export async function change(method, path, body = {}) {
  const response = await ask(method, path, { body });
  const text = await response.text();
  return text ? JSON.parse(text) : {};
}

/** Learns who is signed in. Masters without sessions let nobody in. */
export async function learnSession() {
  const found = await readOr({ user: null, csrf_token: null }, "/v2/session");
  take(found);
}

/** Signs in with `{username, password}`, `{token}` or `{link}`. */
export async function signIn(proof) {
  take(await change("POST", "/v2/session", proof));
}

/** Ends the session. */
export async function signOut() {
  await change("DELETE", "/v2/session");
  take({ user: null, csrf_token: null });
}

function take(found) {
  const { user } = found;
  session.user = user?.name ?? null;
  session.mayBuild = user?.role === "submit" || user?.role === "admin";
  session.isOperator = user?.is_operator ?? false;
  session.csrf = found.csrf_token ?? null;
  window.dispatchEvent(new Event("session"));
}
