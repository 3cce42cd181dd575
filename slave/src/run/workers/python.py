# A worker that runs tests: it imports the test runner once, and forks for each atom. The slave starts it as
#     python [options] -c '…' TEXT-OF-THIS MODULE SCRIPT
# with the module (pytest or unittest) and the path of the script that the command named, or nothing for `python -m MODULE`.
# docs/workers.md describes what goes through the pipes. What is here stays out of __main__, which is the tests'.


def serve(module):
    """Answers requests. Returns in the process of an atom, with its request."""
    import gc
    import importlib
    import json
    import os
    import sys

    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # Whatever prints here is no answer.
    os.dup2(2, 1)

    # What lies in the directory of the tests is not for this process: it would be the same for all atoms.
    first = sys.path.pop(0) if sys.path and sys.path[0] == "" else None
    importlib.import_module(module)
    importlib.import_module(module + (".main" if module == "unittest" else ".__init__"))
    if module == "pytest":
        from _pytest import config

        for plugin in config.default_plugins:
            importlib.import_module("_pytest." + plugin)
    if first is not None:
        sys.path.insert(0, first)

    def tell(answer):
        os.write(answers, json.dumps(answer).encode() + b"\n")

    def lines():
        rest = b""
        while True:
            more = os.read(requests, 1 << 16)
            if not more:
                os._exit(0)
            rest += more
            while b"\n" in rest:
                line, rest = rest.split(b"\n", 1)
                yield line

    learner = Learner() if module == "pytest" else None
    gc.collect()
    gc.freeze()
    tell({"worker": 1})
    for line in lines():
        request = json.loads(line)
        if learner:
            learner.begin()
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.close(requests)
            os.close(answers)
            return request, learner, first is not None
        try:
            os.setpgid(child, child)
        except OSError:
            pass  # It did so itself, or has ended.
        _, status, used = os.wait4(child, 0)
        code = os.WTERMSIG(status) + 128 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        tell(
            {
                "id": request["id"],
                "exit_code": code,
                "process_group": child,
                "max_memory_kib": used.ru_maxrss,
                "cpu_ms": int((used.ru_utime + used.ru_stime) * 1000) + 1,
            }
        )
        if learner and learner.end():
            learner = None


class Learner:
    """Finds out which libraries plugins and conftest files of the first atoms import, and imports them once for all."""

    ATOMS = 2

    def __init__(self):
        self.seen = []
        self.file = None

    def begin(self):
        import os

        self.file = os.memfd_create("learned")

    def tell(self, names):
        """In the process of an atom."""
        import os

        if self.file is not None:
            os.write(self.file, "\n".join(names).encode())
            self.close()

    def close(self):
        import os

        os.close(self.file)
        self.file = None

    def end(self):
        """Whether all is learned."""
        import gc
        import os

        os.lseek(self.file, 0, os.SEEK_SET)
        with os.fdopen(self.file, "rb") as file:
            names = file.read().decode().split("\n")
        self.file = None
        self.seen.append(names)
        if len(self.seen) < self.ATOMS:
            return False
        common = [name for name in self.seen[0] if name and all(name in names for names in self.seen)]
        if common and self.is_harmless(common):
            self.take(common)
            gc.collect()
            gc.freeze()
        return True

    def take(self, names):
        import importlib
        import sys

        path = list(sys.path)
        sys.path[:] = [entry for entry in path if entry]
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException:
                pass  # The atom gets the same, if it asks for it.
        sys.path[:] = path

    def is_harmless(self, names):
        """Whether importing leaves no threads: a process with threads can not be forked. Tried in another process."""
        import os

        child = os.fork()
        if child == 0:
            threads = 2
            try:
                self.take(names)
                threads = len(os.listdir("/proc/self/task"))
            finally:
                os._exit(0 if threads == 1 else 1)
        return os.waitpid(child, 0)[1] == 0

    def attach(self):
        """Has pytest tell what is imported when its plugins and conftest files are, and no test is."""
        import sys

        from _pytest import config

        known = set(sys.modules)
        learner = self

        class Probe:
            def pytest_collection(self, session):
                learner.tell(libraries(session.config, known))

        prepare = config._prepareconfig

        def prepare_with_probe(args=None, plugins=None, **more):
            return prepare(args, list(plugins or ()) + [Probe()], **more)

        config._prepareconfig = prepare_with_probe


def libraries(config, known):
    """The names of modules that come with Python or are installed, and whose assertions pytest does not rewrite."""
    import sys
    import sysconfig

    hook = config.pluginmanager.rewrite_hook
    rewritten = set(getattr(hook, "_must_rewrite", ()))
    paths = tuple(sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    names = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if name in known or spec is None or spec.name != name or spec.loader is hook:
            continue
        if any(name == one or name.startswith(one + ".") for one in rewritten):
            continue
        if spec.origin in ("built-in", "frozen") or (spec.origin or "").startswith(paths):
            names.append(name)
    return names


def become(request, module, script, is_path_open):
    """Makes of this process what a new one would be."""
    import importlib
    import os
    import sys
    import time

    output = os.open(request["console"], os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.update(request["environment"])
    time.tzset()
    if is_path_open:
        sys.path[0] = os.path.dirname(script) if script else os.getcwd()
    sys.argv[:] = [script or "-m"] + request["arguments"]
    if hasattr(sys, "orig_argv"):
        options = sys.orig_argv[1 : sys.orig_argv.index("-c")]
        how = [script] if script else ["-m", module]
        sys.orig_argv[:] = sys.orig_argv[:1] + options + how + request["arguments"]
    importlib.invalidate_caches()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def work():
    import runpy
    import sys

    _, module, script = sys.argv
    request, learner, is_path_open = serve(module)
    become(request, module, script, is_path_open)
    if learner:
        learner.attach()
    if script:
        runpy.run_path(script, run_name="__main__")
    else:
        runpy._run_module_as_main(module)


work()
