// Cases of the pure modules. Gives how many there are, and those that failed.
return (async () => {
  const read = (name) => import(`/ui/assets/${name}.js`);
  const [{ Line }, ansi, text, format, router, links, heights, search, atoms, layout, submit, progress, why, apps, artifacts, scale, variables, load, projects, paint, history] = await Promise.all(
    ["console/source", "console/ansi", "text", "format", "router", "console/line_link", "console/heights", "console/search", "build/atoms", "build/layout",
      "submit_request", "progress", "build/why", "apps", "build/artifacts", "app/scale", "app/variables", "load_chart", "projects", "console/paint", "views/history"].map(read));
  const failed = [];
  let cases = 0;
  const is = (found, expected, what) => {
    cases += 1;
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
    if (one !== other) failed.push(`${what ?? ""} ${one} is not ${other}`);
  };
  const E = "\u001b";

  // Lines of a terminal.
  const line = (raw) => ansi.readLine(raw).pieces.map(({ text: shown, look }) => [shown, ...Object.entries(look).filter(([, value]) => value || value === 0).map(([key, value]) => (value === true ? key : `${key} ${value}`))]);
  is(line("plain"), [["plain"]]);
  is(line(""), []);
  is(line(`${E}[31mred${E}[0m not`), [["red", "fg 1"], [" not"]]);
  is(line(`${E}[1;4;38;5;208mx`), [["x", "fg 208", "bold", "underline"]]);
  is(line(`${E}[38;2;1;2;3mx`), [["x", `fg ${2 ** 24 + 66051}`]]);
  is(line(`${E}[38:2::1:2:3mx`), [["x", `fg ${2 ** 24 + 66051}`]]);
  is(line(`${E}[48;5;300mx`), [["x"]], "a colour that there is not");
  is(line(`${E}[7;9mx${E}[27mx${E}[29mx`), [["x", "inverse", "strike"], ["x", "strike"], ["x"]]);
  is(line(`${E}[95mx${E}[39m${E}[104mx`), [["x", "fg 13"], ["x", "bg 12"]]);
  is(line("10%\r50%\r100%"), [["100%"]]);
  is(line("longer\rabc"), [["abcger"]]);
  is(line(`longer\r${E}[Kabc`), [["abc"]]);
  is(line("ab\b\bc"), [["cb"]]);
  is(line(`a${E}[3Cb`), [["a   b"]]);
  is(ansi.readLine(`a${E}[999999999Cb`).cut, 1);
  is(line(`${E}]8;;https://example.org/${E}\\link${E}]8;;${E}\\`), [["link", "link https://example.org/"]]);
  is(line(`${E}]8;;javascript:alert(1)\u0007link`), [["link"]]);
  is(line(`${E}]0;title\u0007x${E}(By${E}7z`), [["xyz"]]);
  is(line(`a${E}]unfinished`), [["a"]]);
  is(line(`a${E}[`), [["a"]]);
  is(line("a\u202eb\u0000c"), [["a\\u{202e}b\\u{0}c"]]);
  is(line("🎉\r🎈"), [["🎈"]]);
  is(ansi.readLine("x".repeat(30000)).cut, 10000);
  is(ansi.readLine(`${E}[32m`).look.fg, 2);
  is(ansi.rgb(196), [255, 0, 0]);
  is(ansi.rgb(232), [8, 8, 8]);
  is(ansi.plainLine(`${E}[1mneed${E}[0mle`), "needle");

  // Long lines.
  is([new Line("x".repeat(70000)).cut, new Line("x".repeat(70000)).text.length], [4464, 65536]);
  is(new Line(`${"5%\r".repeat(40000)}done`).text.endsWith("\rdone"), true);

  // Texts and addresses.
  is(text.visible("a\u202eb\tc\n"), "a\\u{202e}b\tc\n");
  is(text.short("a  b\nc", 4), "a b…");
  is(["https://a.b/c", "javascript:x", "//a.b", "ftp://a", "https://"].map(text.webAddress), ["https://a.b/c", null, null, null, null]);
  is([0, 0.004, 2.34, 59.4, 59.6, 200, 3599.7, 7260, 200000].map(format.duration), ["0 ms", "4 ms", "2.3 s", "59 s", "1 min", "3 min 20 s", "1 h", "2 h 1 min", "2 d 8 h"]);
  is(format.duration(null), "–");
  is([0, 999, 1500, 12345678].map(format.bytes), ["0 B", "999 B", "1.5 kB", "12 MB"]);
  const commit = "0123456789abcdef0123456789abcdef01234567";
  is(format.commitAddress("git@github.com:a/b.git", commit), `https://github.com/a/b/commit/${commit}`);
  is(format.commitAddress("https://user:word@gitlab.example.org/a/b/c.git", commit), `https://gitlab.example.org/a/b/c/-/commit/${commit}`);
  is(format.commitAddress("https://example.org/a/b", commit), null);
  is(format.commitAddress("https://github.com/a/../b", commit), null);
  is(format.commitAddress("https://github.com/a/b", "main"), null);
  is(format.ending({ exit_code: -9 }), "killed by SIGKILL");
  is(format.ending({ exit_code: 124, trouble: "timed out after 600 s" }), "timed out after 600 s");
  is(format.buildState({ status: "FINISHED", result: "NO_FAILURES", lacks_atoms: true }).key, "atomless");
  is(format.projectOf({ id: 1, request_params: { url: "git@example.org:a/tool.git" } }), "tool");

  // Addresses of the page.
  is(router.route("/ui/builds/12/subjobs/3/atoms/0"), { view: "atom", params: { build: 12, subjob: 3, atom: 0 } });
  is(router.route("/ui/").view, "builds");
  is(router.route("/ui/builds/x").view, "missing");
  is(router.route(new URL(router.to.tests(4, "failed"), location.href).pathname), { view: "tests", params: { build: 4 } });
  is(router.route(router.to.app("7-hills")), { view: "app", params: { app: "7-hills" } });
  is(router.route("/ui/apps/Hill").view, "missing");
  is(router.route(router.to.step(4, 2)), { view: "step", params: { build: 4, step: 2 } });
  is(["#L3", "#L9-L7", "#L0", "#x", ""].map(links.linesOf), [[2, 2], [6, 8], null, null, null]);
  is(links.hashOf(2, 4), "#L3-L5");

  // Heights of blocks.
  const blocks = new heights.Heights(100);
  blocks.resize(3, 40);
  is([blocks.total, blocks.at(0), blocks.at(150), blocks.at(230), blocks.at(9999)], [240, 0, 1, 2, 2]);
  is([blocks.set(0, 130), blocks.top(1), blocks.total], [30, 130, 270]);
  blocks.resize(5, 60);
  is([blocks.top(3), blocks.total], [330, 490]);
  blocks.forget();
  is(blocks.total, 460);

  // Search.
  is(search.occurrences("aAaA", "aa"), 2);
  is(search.placesIn("one two One", "one"), [[0, 3], [8, 11]]);

  // Atoms and their waterfall.
  const all = new atoms.Atoms();
  const columns = ["subjob_id", "atom_id", "value", "state", "exit_code", "slave_id", "slave_url", "executor_id", "started_at", "actual_time", "expected_time"];
  all.put(columns, [
    [0, 0, "b", "COMPLETED", 0, 2, "s2", 0, 100, 5, null], [1, 0, "a", "COMPLETED", 1, 2, "s2", 1, 100, 2, null],
    [2, 0, "c", "IN_PROGRESS", null, 2, "s2", 1, 103, null, 4], [3, 0, "d", "NOT_STARTED", null, null, null, null, null, null, 3],
    [4, 0, "e", "NOT_STARTED", null, null, null, null, null, null, null]]);
  is(all.counts, [1, 1, 0, 0, 1, 2]);
  is([...all.ordered({ sort: "value" })], [1, 0, 2, 3, 4]);
  is([...all.ordered({ sort: "actual_time", isDown: true })], [0, 1, 2, 3, 4], "what is not known is last");
  is([...all.ordered({ state: atoms.WAITING })], [3, 4]);
  is([...all.ordered({ text: "s2 A" })], [1]);
  const lanes = new layout.Rows();
  lanes.take(all, all.takeChanged());
  const rows = lanes.list([]);
  is(rows.map(({ kind, executor, places }) => [kind, executor ?? null, places ? [...places] : null]), [["slave", null, null], ["lane", 0, [0]], ["lane", 1, [1, 2]]]);
  is(layout.predict(all, rows, 105), [{ row: 2, place: 2, from: 105, to: 107 }, { row: 1, place: 3, from: 105, to: 108 }, { row: 2, place: 4, from: 107, to: 112 }]);
  all.put(undefined, [[2, 0, "c", "COMPLETED", 0, 2, "s2", 1, 103, 1, 4]]);
  is([all.size, all.counts[atoms.PASSED], all.failed], [5, 2, [1]]);
  all.put(undefined, [[1, 0, "a", "IN_PROGRESS", null, 2, "s2", 0, 99, null, null]]);
  lanes.take(all, all.takeChanged());
  is([all.failed, lanes.list([]).map(({ places }) => places ?? null)], [[], [null, [1, 0], [2]]], "an atom runs again elsewhere");
  is([all.word(atoms.WAITING), (all.buildEnded(), all.word(atoms.WAITING)), all.word(atoms.PASSED)], ["Waiting", "Not run", "Passed"]);
  is([layout.tickStep(100, 10), layout.tickText(65, 5), layout.tickText(0.25, 0.05), layout.tickText(7200, 3600)], [10, "1:05", "0.25 s", "2:00:00"]);

  // Atoms that were run again.
  const again = new atoms.Atoms();
  const tried = { attempt: 1, exit_code: 3, started_at: 90, actual_time: 4, slave_id: 1, slave_url: "s1", executor_id: 0 };
  again.put([...columns, "is_flaky", "failed_attempts", "fails_as_flaky"], [
    [0, 0, "a", "COMPLETED", 0, 2, "s2", 0, 100, 5, null, true, [tried], false], [1, 0, "b", "COMPLETED", 0, 2, "s2", 0, 106, 5, null, true, [tried], true],
    [2, 0, "c", "NOT_STARTED", null, null, null, null, null, null, null, false, [{ ...tried, started_at: 80 }], false]]);
  is([...again.states.slice(0, 3)], [atoms.FLAKY, atoms.FAILED, atoms.WAITING]);
  is([format.ending(again.end(0)), format.ending(again.end(1))], ["passed when run again", "passed when run again"]);
  const tries = new layout.Rows();
  tries.take(again, again.takeChanged());
  again.put(undefined, [[2, 0, "c", "NOT_STARTED", null, null, null, null, null, null, null, false, [{ ...tried, started_at: 80 }, { ...tried, attempt: 2, started_at: 95 }], false]]);
  tries.take(again, again.takeChanged());
  is(tries.list([]).map(({ slave, places, tries }) => [slave, places?.length ?? 0, tries?.map(({ place, number, from, to }) => [place, number, from, to]) ?? null]),
    [[1, 0, null], [1, 0, [[2, 1, 80, 84], [0, 1, 90, 94], [1, 1, 90, 94], [2, 2, 95, 99]]], [2, 0, null], [2, 2, []]]);
  is(layout.predict(again, tries.list([]), 200).map(({ place, from }) => [place, from]), [[2, 200]]);

  // Batches that did not settle all of their atoms.
  const batched = new atoms.Atoms();
  const batch = { started_at: 90, actual_time: 4, executor_id: 1, num_atoms: 3 };
  batched.put([...columns, "batch_in_vain"], [
    [0, 0, "a", "COMPLETED", 0, 2, "s2", 0, 100, 5, null, batch], [1, 0, "b", "COMPLETED", 1, 2, "s2", 0, 106, 5, null, batch],
    [2, 0, "c", "COMPLETED", 0, 2, "s2", 0, 90, 1, null, null]]);
  const inVain = new layout.Rows();
  inVain.take(batched, batched.takeChanged());
  batched.put(undefined, [[1, 0, "b", "COMPLETED", 1, 2, "s2", 0, 106, 5, null, batch]]);
  inVain.take(batched, batched.takeChanged());
  is(inVain.list([]).map(({ executor, places, batches }) => [executor ?? null, places?.length ?? 0, batches ?? []]),
    [[null, 0, []], [0, 3, []], [1, 0, [{ from: 90, to: 94, size: 3, again: 2 }]]], "one bar for all that were in a batch");

  // Addresses in what atoms print.
  const addresses = (line) => [...paint.paint(line, null).element.querySelectorAll("a")].map((link) => link.href);
  is(addresses("see https://example.org/a?b=c, (http://x.test/y) and \u001b[31mhttps://red.test/.\u001b[0m"), ["https://example.org/a?b=c", "http://x.test/y", "https://red.test/"]);
  is(addresses("javascript:alert(1) ftp://example.org http:// https://"), []);
  is(paint.paint("at https://example.org.", null).element.textContent, "at https://example.org.");

  // Requests and explanations.
  is(Object.keys(submit.mistakes({ type: "git", url: "", hash: "1", env: "A=b\nc", config: "{" })), ["url", "hash", "env", "config"]);
  for (const url of ["/srv/project", "file:///srv/project", "git@example.org:a/b.git", "ssh://example.org/a"]) is(submit.mistakes({ type: "git", url }), {}, "the master judges paths");
  for (const url of ["project", "https://example.org/a b"]) is(Object.keys(submit.mistakes({ type: "git", url })), ["url"]);
  is(submit.mistakes({ type: "git", url: "/p", env: "A=b\n\nc\n  \nd=\n1=2" }).env, "Lines 3, 6 are not of the form NAME=value.");
  is(["Field 'job_name': no such job", "no"].map(submit.refusal), [["job_name", "no such job"], [null, "no"]]);
  is(submit.requestOf({ type: "directory", project_directory: "/p", env: "A=b=c", job_name: "" }), { type: "directory", project_directory: "/p", env: { A: "b=c" } });
  is(history.saidOf({ trials: 0, flakes: 0 }), "no run that says how flaky it is");
  is(progress.parts({ num_atoms: 9, num_atoms_completed: 4, num_atoms_failed: 1, num_atoms_in_progress: 2 }), { failed: 1, flaky: 0, passed: 3, running: 2, waiting: 3, total: 9 });
  const flaky = { num_atoms: 9, num_atoms_completed: 9, num_atoms_failed: 2, num_atoms_flaky: 1 };
  is([flaky, { ...flaky, flaky_fails: true }].map((build) => progress.words(progress.parts(build), true)), ["9 atoms: 2 failed, 1 flaky, 6 passed", "9 atoms: 2 failed, 7 passed"]);
  is(progress.words(progress.partsOf([1, 0, 0, 2, 0, 4]), true), "7 atoms: 1 failed, 2 canceled, 4 not run");
  is(why.partsOf({ seconds: 4, parts: [{ name: "queue", seconds: 1 }, { name: "retries", seconds: 0 }, { name: "new_one", seconds: 3 }] }).map(({ word, share }) => [word, share]), [["Waiting for its turn", 0.25], ["new one", 0.75]]);

  // Apps.
  const process = (name, status, release = 2) => ({ name, status, release });
  const app = (structure, ...processes) => ({ id: "hill", host: "hill.example.org", domains: ["www.example.net"], is_deployed: true, release: { version: 2 }, structure, processes });
  const keyOf = (...of) => apps.stateOf(app(...of)).key;
  is(apps.stateOf({ ...app({}), is_deployed: false }).word, "Not deployed");
  is(keyOf({ web: 0 }), "canceled");
  is(keyOf({ web: 1 }), "running", "its process is about to be there");
  is(keyOf({ web: 1 }, process("web.1", "up")), "passed");
  is(keyOf({ web: 1 }, process("web.1", "up", 1), process("web.1", "starting")), "running", "a release takes the place of another");
  is(keyOf({ web: 2 }, process("web.1", "up"), process("web.2", "waiting")), "waiting");
  is(keyOf({ web: 2 }, process("web.1", "crashed"), process("web.2", "waiting")), "failed");
  is(keyOf({ web: 1 }, process("web.1", "up"), process("web.1", "failed", 1)), "passed", "what failed is an old release");
  is(apps.reasonOf(app({ web: 2 }, process("web.1", "up"), { ...process("web.2", "waiting"), reason: "no slot" })), "no slot");
  const two = app({ web: 1, "web.b": 2, worker: 0 }, process("web.1", "up", 1), process("web.1", "up"), process("web.b.1", "up"));
  is(apps.typesOf(two).map(({ type, up, wanted }) => `${type} ${up}/${wanted}`), ["web 1/1", "web.b 1/2"]);
  is(apps.addressesOf(two, new URL("http://farm:43000/")).map(({ href }) => href), ["http://hill.example.org:43000/", "http://www.example.net:43000/"]);
  is(apps.addressesOf({ ...two, host: null, domains: [] }, new URL("https://farm/")), []);
  is([[1, "failed"], [2, "failed"], [1, "up"]].map(([release, status]) => apps.isReplaced(two, process("web.1", status, release))), [true, false, false]);
  is(scale.wantedOf({ process_types: ["web", "worker"], structure: { web: 2, old: 1 } }), [["old", 1], ["web", 2], ["worker", 0]]);
  is(["", "A", "A B", "A=B"].map((key) => Boolean(variables.faultOf(key))), [true, false, true, true]);

  // Files of atoms.
  is(artifacts.addressOf("/v2/x", "a b/\u202e?#%41"), "/v2/x/artifacts/a%20b/%E2%80%AE%3F%23%2541");
  is(["a.xml", "shots/1.png", "core", "a.core", "x.tar.GZ"].map((path) => artifacts.canBeShown({ path, bytes: 9 })), [true, true, true, false, false]);
  is(artifacts.canBeShown({ path: "a.txt", bytes: 1e9 }), false);

  // The load of slaves.
  is([0, 0.004, 0.125, 0.996, 1].map(load.percent), ["0 %", "under 1 %", "13 %", "99 %", "100 %"]);
  is([[null, null], [null, 0.5], [null, 0.5, 1], [0, 1]].map(load.words), ["Load: not known yet", "Load of the last minute: 50 %", "Load of the last 2 minutes: 75 %", "Load of the last hour: 50 %"]);

  // Projects.
  is(projects.badgeMarkdown("http://farm:1", { id: 7, name: "a](x) <b>\u202e" }), "[![a\\](x) \\<b\\>\\\\u{202e}](http://farm:1/v2/projects/7/badge.svg)](http://farm:1/ui/projects/7)");
  is([router.route("/ui/projects").view, router.route("/ui/projects/7").params.project], ["projects", 7]);

  // Builds of templates.
  const pushed = { id: 7, template: "hill", job_name: "template", request_params: { project: 6 } };
  is([format.projectOf(pushed), format.jobOf(pushed)], ["template hill", null]);
  is([format.projectOf({ id: 7, request_params: { url: "git@h:a/b.git" } }), format.jobOf({ job_name: "Unit" })], ["b", "Unit"]);

  return { cases, failed };
})();
