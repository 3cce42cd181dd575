#!/usr/bin/env python3
"""How the page bears a build of very many atoms: first paint, long tasks while it is used, and memory.

    cargo build --release -p clusterrunner-client
    python3 tests/measure/large_build_page.py [PROGRAM] [--atoms N] [--at URL]

Starts a farm of PROGRAM (target/release/clusterrunner) on loopback with three slaves of four executors, runs a build of N
atoms (100,000) that do nothing, and opens it in headless Chromium through chromedriver (Debian: chromium-driver). With
--at http://HOST:PORT/ui/builds/N it looks at a build that is there. The figures are lines of a table; tasks are given by
the clock and by the processor time of the tab's thread, which does not depend on what else the machine does.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# Before the page's own scripts: notes each long task, and the time of everything that is measured by name.
NOTES = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((task) => [task.startTime, task.duration])))
  .observe({type: "longtask", buffered: true});
"""
ALL_THERE = "document.querySelector('#atoms-title [role=status]')?.textContent.trim().startsWith('%s atom')"
# Scrolls the table by a page for each picture of the screen, for so many pictures.
SCROLL = """
const done = arguments[arguments.length - 1];
const table = document.querySelector('.window');
let left = 200;
const step = () => {
  table.scrollTop += table.clientHeight;
  left -= 1;
  if (left) requestAnimationFrame(step); else done(table.scrollTop);
};
requestAnimationFrame(step);
"""
# Presses keys on the waterfall, one for each picture.
KEYS = """
const done = arguments[arguments.length - 1];
const canvas = document.querySelector('.waterfall canvas');
const keys = [...'++++++', ...Array(20).fill('ArrowRight'), ...'------0'];
const step = () => {
  const key = keys.shift();
  if (!key) return done(true);
  canvas.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  requestAnimationFrame(step);
};
requestAnimationFrame(step);
"""
SORT = """
const done = arguments[arguments.length - 1];
const heads = [...document.querySelectorAll('.windowed .sort')];
const step = () => {
  const head = heads.shift();
  if (!head) return done(true);
  head.click();
  requestAnimationFrame(() => requestAnimationFrame(step));
};
requestAnimationFrame(step);
"""
FILTER = """
const done = arguments[arguments.length - 1];
const field = document.querySelector('#atom-text');
const words = ['9', '99', '999', '9999', '99999', 'nothing', ''];
const step = () => {
  const word = words.shift();
  if (word === undefined) return done(true);
  field.value = word;
  field.dispatchEvent(new Event('input', {bubbles: true}));
  requestAnimationFrame(() => requestAnimationFrame(step));
};
requestAnimationFrame(step);
"""


def ask(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {url}: {error.code} {error.read().decode()[:500]}") from error


def until(what, condition, seconds=1800):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


class Processes:
    """What was started, to be ended in the reverse order."""

    def __init__(self):
        self.all = []

    def start(self, *command, **more):
        process = subprocess.Popen(command, start_new_session=True, **more)
        self.all.append(process)
        return process

    def end(self):
        for process in reversed(self.all):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self.all):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def farm(program, atoms, directory, processes):
    """The address of the page of a build with so many atoms that is over."""
    port = 43900
    project = directory / "project"
    project.mkdir()
    (project / "clusterrunner.yaml").write_text(f'J:\n  commands: ["true"]\n  atomizers: [{{N: seq 1 {atoms}}}]\n')
    settings = directory / "clusterrunner.conf"
    secret = "0123456789abcdef" * 4
    settings.write_text(f"[general]\nbase_directory = {directory}/base\nbind_address = 127.0.0.1\nsecret = {secret}\n")
    settings.chmod(0o600)
    log = (directory / "log").open("w")
    common = ["--config-file", str(settings)]
    processes.start(program, "master", "--port", str(port), *common, stdout=log, stderr=log)
    for number in range(1, 4):
        processes.start(program, "slave", "--port", str(port + number), "--master-url", f"127.0.0.1:{port}", "-e", "4",
                        *common, stdout=log, stderr=log)

    def is_there():
        try:
            slaves = ask("GET", f"http://127.0.0.1:{port}/v2/slaves")["slaves"]
        except (urllib.error.URLError, ConnectionError):
            return False
        return len(slaves) == 3

    until("the slaves connect", is_there, 60)
    submit = [program, "build", "--detach", "--master-url", f"127.0.0.1:{port}", *common, "directory", "--project-directory", str(project)]
    subprocess.run(submit, cwd=project, check=True, stdout=log, stderr=log)

    def is_over():
        return ask("GET", f"http://127.0.0.1:{port}/v2/builds/1")["build"]["status"] not in ("QUEUED", "BUILDING")

    until("the build ends", is_over)
    return f"http://127.0.0.1:{port}/ui/builds/1"


class Tab:
    """A tab of headless Chromium."""

    def __init__(self, directory, processes):
        output = directory / "driver.log"
        environment = {**os.environ, "TMPDIR": str(directory), "HOME": str(directory)}
        with output.open("w") as log:
            processes.start("chromedriver", "--port=0", env=environment, stdout=log, stderr=log)
        mark = "started successfully on port "
        text = until("the driver says its port", lambda: mark in output.read_text() and output.read_text(), 60)
        driver = "http://127.0.0.1:" + text.split(mark)[1].split(".")[0].split()[0]
        self.profile = str(directory / "profile")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", f"--user-data-dir={self.profile}"]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "timeouts": {"script": 600000}}
        begun = ask("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"{driver}/session/{begun['value']['sessionId']}"
        self.tools("Performance.enable", timeDomain="threadTicks")
        self.tools("Page.addScriptToEvaluateOnNewDocument", source=NOTES)
        self.tools("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)

    def tools(self, command, **parameters):
        return ask("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})["value"]

    def go(self, address):
        ask("POST", f"{self.session}/url", {"url": address})

    def run(self, script):
        return ask("POST", f"{self.session}/execute/sync", {"script": script, "args": []})["value"]

    def wait_for(self, script):
        return ask("POST", f"{self.session}/execute/async", {"script": script, "args": []})["value"]

    def busy(self):
        """How long the tab's thread has worked, in seconds of processor time."""
        metrics = {metric["name"]: metric["value"] for metric in self.tools("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"]

    def measured(self, name, pictures, script):
        """Does something for so many pictures of the screen, and says how long tasks were."""
        before = self.run("return performance.now()")
        worked = self.busy()
        self.wait_for(script)
        worked = self.busy() - worked
        tasks = self.run(f"return longTasks.filter(([at]) => at >= {before}).map(([, took]) => Math.round(took))")
        longest = f"{max(tasks)} ms" if tasks else "none over 50 ms"
        print(f"| {name} | {1000 * worked / pictures:.1f} ms of processor time a picture; longest task by the clock: {longest} |")

    def memory(self):
        """Memory of the tab's process that no other has, and of its objects, in MB."""
        self.tools("HeapProfiler.enable")
        self.tools("HeapProfiler.collectGarbage")
        metrics = {metric["name"]: metric["value"] for metric in self.tools("Performance.getMetrics")["metrics"]}
        largest = 0
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().decode(errors="replace")
                if "--type=renderer" not in command or self.profile not in command:
                    continue
                rollup = (process / "smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            own = [int(line.split()[1]) for line in rollup if line.startswith("Private_")]
            largest = max(largest, sum(own))
        return largest / 1000, metrics["JSHeapUsedSize"] / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="target/release/clusterrunner")
    parser.add_argument("--atoms", type=int, default=100_000)
    parser.add_argument("--at")
    options = parser.parse_args()
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="clusterrunner-page-", ignore_cleanup_errors=True) as name:
        directory = pathlib.Path(name)
        try:
            address = options.at or farm(os.path.abspath(options.program), options.atoms, directory, processes)
            measure(address, options.atoms, directory, processes)
        finally:
            processes.end()


def measure(address, atoms, directory, processes):
    tab = Tab(directory, processes)
    # A small view first: what the page takes anyway, and its files in the browser.
    tab.go(address.split("/builds/")[0] + "/slaves")
    until("the view of slaves", lambda: tab.run("return Boolean(document.querySelector('main h1'))"), 60)
    before, _ = tab.memory()
    tab.go(address)
    is_there = ALL_THERE % f"{atoms:,}"
    until("all atoms are in the table", lambda: tab.run(f"return Boolean({is_there})"), 300)
    waited = tab.run("return performance.now()") / 1000
    paint = tab.run("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0") / 1000
    tasks = tab.run("return longTasks.map(([, took]) => Math.round(took))")
    print(f"| first paint | {paint:.2f} s |")
    print(f"| all {atoms:,} atoms are there | {waited:.1f} s, {tab.busy():.2f} s of processor time; longest task by the clock: {max(tasks, default=0)} ms |")
    tab.measured("scrolling the table by a page for each picture", 200, SCROLL)
    tab.measured("zooming and moving the waterfall", 33, KEYS)
    tab.measured("sorting by each column", 26, SORT)
    tab.measured("filtering", 14, FILTER)
    own, objects = tab.memory()
    print(f"| memory of the tab's process alone | {own:.0f} MB, {own - before:.0f} MB more than with the view of slaves; {objects:.0f} MB of objects |")


if __name__ == "__main__":
    main()
