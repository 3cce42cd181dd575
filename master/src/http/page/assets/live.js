// Keeps a view up to date: by the master's events where it sends them, else by asking again and again.

import { ApiError } from "./api.js";

/** How often a master without events is asked, in milliseconds. */
const ASKED_EVERY = 2000;
/** How often a page is refreshed that nobody looks at: its stream is closed, since a browser opens six for each master. */
const HIDDEN_EVERY = 10000;
/** Pauses before the master is tried again. */
const PAUSES = [250, 500, 1000, 2000, 4000];
/** How long changes are collected that are read together, in milliseconds. */
const SOON = 200;
/** How long a master without events is not tried for them. */
const WITHOUT_EVENTS = 10000;

/** How the page hears of changes: `live`, `asking`, `lost` (the master does not answer) or `idle`. */
export const connection = { state: "idle" };

/** Says how the page hears of changes now. */
export function connected(state) {
  if (connection.state === state) return;
  connection.state = state;
  window.dispatchEvent(new Event("connection"));
}

/**
 * Follows something until `signal` ends it.
 * @param {object} of
 * @param {string} of.events the path of its events
 * @param {() => Promise<void>} of.load reads all of it anew; called first, and whenever events may have been missed
 * @param {Record<string, (data: any) => void>} of.on what to do with an event, by its name
 * @param {AbortSignal} of.signal
 * @param {() => boolean} [of.isOver] whether nothing changes any more
 * @param {() => number} [of.pause] milliseconds between two questions to a master without events
 */
export async function follow({ events, load, on, signal, isOver = () => false, pause = () => ASKED_EVERY }) {
  let failures = 0;
  let eventsFrom = 0;
  while (!signal.aborted) {
    try {
      const isWatched = !document.hidden && Date.now() >= eventsFrom;
      // The stream is opened before the state is read, so that no change falls between them.
      const stream = isWatched && !isOver() ? await open(events, on, signal) : null;
      try {
        await load();
        failures = 0;
        if (isOver()) {
          connected("idle");
          stream?.close();
          await until(signal, [[window, "reload-view"]]);
          continue;
        }
        if (stream) {
          connected("live");
          await stream.broken();
        } else {
          if (isWatched) eventsFrom = Date.now() + WITHOUT_EVENTS;
          connected("asking");
          const wait = document.hidden ? HIDDEN_EVERY : pause();
          await until(signal, [[document, "visibilitychange"]], wait);
        }
      } finally {
        stream?.close();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status < 500)) throw error;
      connected("lost");
      await until(signal, [[window, "online"]], PAUSES[Math.min(failures, PAUSES.length - 1)]);
      failures += 1;
    }
  }
}

/**
 * Opens a stream of events; null where the master has none. It is open when the master says that all is told from here on,
 * and its events wait until `broken` is asked.
 */
function open(path, on, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(path);
    const waiting = [];
    let deliver = (name, data) => waiting.push([name, data]);
    let end = () => {};
    const close = () => {
      source.close();
      end();
    };
    const stream = {
      close,
      /** Delivers events until the stream breaks off, the page is hidden, or all is to be read anew. */
      broken: () => new Promise((broken) => {
        const done = () => {
          if (document.hidden || source.readyState === EventSource.CLOSED) broken();
        };
        end = broken;
        deliver = (name, data) => on[name]?.(data);
        for (const [name, data] of waiting.splice(0)) deliver(name, data);
        document.addEventListener("visibilitychange", done, { signal });
        done();
      }),
    };
    for (const name of [...Object.keys(on), "reload", "end"]) {
      source.addEventListener(name, (event) => {
        if (name === "reload" || name === "end") close();
        else deliver(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("begin", () => resolve(stream), { once: true });
    source.addEventListener("error", () => {
      close();
      resolve(null);
    });
    signal.addEventListener("abort", () => {
      close();
      resolve(null);
    }, { once: true });
  });
}

/**
 * Gives a function that has `load` called soon, once for all that happens meanwhile, and not again before it is done. For
 * events that say only that something has changed. `pause`: how long changes are collected, in milliseconds.
 */
export function soon(load, signal, pause = SOON) {
  let [isDue, isAsking] = [false, false];
  return async () => {
    isDue = true;
    if (isAsking) return;
    isAsking = true;
    while (isDue && !signal.aborted) {
      await until(signal, [], pause);
      isDue = false;
      try {
        if (!signal.aborted) await load();
      } catch (error) {
        // What is wrong with the master is seen by who follows it. Of what is gone, or not shown any more, the page says so.
        if (error instanceof ApiError && error.status > 0 && error.status < 500) window.dispatchEvent(new Event("reload-page"));
      }
    }
    isAsking = false;
  };
}

/** Waits for one of some events, or so many milliseconds. */
export function until(signal, targets, milliseconds) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const done = () => {
      over.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = milliseconds === undefined ? undefined : setTimeout(done, milliseconds);
    for (const [target, name] of [...targets, [signal, "abort"]]) {
      target.addEventListener(name, done, { signal: over.signal });
    }
    if (signal.aborted) done();
  });
}
