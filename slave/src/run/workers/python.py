# A worker that runs tests: it imports the test runner once, and forks for each atom. The slave starts it as
#     python [options] -c '…' TEXT-OF-THIS MODULE SCRIPT BLOCKED…
# with the module (pytest or unittest), the path of the script that the command named, or nothing for `python -m MODULE`, and the
# plugins that the command switches off. It reads requests from descriptor 3 and answers on 4; its other streams are already what
# those of a test are. docs/workers.md says what an atom finds here that a process of its own would not.
#
# An atom must find nothing that its own process would not have imported before its first test. So this imports nothing for
# itself (json, for one), and of the test runner only what that imports in any case: no plugin from elsewhere, no conftest.

REQUESTS, ANSWERS = 3, 4


def serve(module, script, blocked):
    """Answers requests. Returns in the process of an atom, with its request, or in that of a session for many."""
    import os
    import sys

    if sys.path and sys.path[0] == "":
        sys.path[0] = os.path.dirname(os.path.realpath(script)) if script else os.getcwd()
    preload(module, script, blocked)
    strangers = [name for name in list(sys.modules) if is_of_project(sys.modules[name])]
    if strangers:
        # It would have been imported without what is the atom's own.
        sys.exit("clusterrunner: the test runner imports modules of the project: " + ", ".join(strangers))
    if len(os.listdir("/proc/self/task")) > 1:
        # They would not be there in a fork.
        sys.exit("clusterrunner: importing the test runner starts threads")
    freeze()
    knows_resource = "resource" in sys.modules
    sessions = Sessions() if module == "pytest" else None
    os.write(ANSWERS, b'{"worker":1}\n')
    for request in requests(REQUESTS):
        # What was printed here is not for every fork.
        sys.stdout.flush()
        sys.stderr.flush()
        left = sessions.run(request) if sessions else None
        if isinstance(left, Session):
            sessions.forget()
            os.close(REQUESTS)
            os.close(ANSWERS)
            return request, left
        if left is None:
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)
                os.close(REQUESTS)
                os.close(ANSWERS)
                if sessions:
                    sessions.forget()
                return request, None
            left = [child, *wait_for(child, knows_resource)]
        child, status, memory, cpu = left
        code = os.WTERMSIG(status) + 128 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        answer = '{"id":%s,"exit_code":%d,"process_group":%d,"max_memory_kib":%d,"cpu_ms":%d}\n'
        os.write(ANSWERS, (answer % (request[0], code, child, memory, cpu)).encode())


def wait_for(child, knows_resource):
    """How an atom's process ended, the most memory that it had in KiB, and its processor time in milliseconds."""
    import os
    import sys

    try:
        os.setpgid(child, child)
    except OSError:
        pass  # It did so itself, or has ended.
    _, status, used = os.wait4(child, 0)
    if not knows_resource:
        # That has imported it.
        sys.modules.pop("resource", None)
    return status, used.ru_maxrss, int((used.ru_utime + used.ru_stime) * 1000) + 1


def preload(module, script, blocked):
    """Imports what the runner does before it looks at anything of an atom but its options."""
    import sys

    if script:
        # Its own imports: what it runs is only for __main__.
        exec(compile(text_of(script), script, "exec"), {"__name__": "clusterrunner_worker"})
    else:
        import runpy

        __import__(module)
    if module == "pytest":
        blocked = set(blocked)
        if "cacheprovider" in blocked:
            blocked.add("stepwise")
        for plugin in sys.modules["_pytest.config"].default_plugins:
            if plugin not in blocked and "pytest_" + plugin not in blocked:
                __import__("_pytest." + plugin)


def is_of_project(module):
    """Whether it was found where a project's own modules are: beside the tests, or in what PYTHONPATH names."""
    import os
    import sys

    own = os.environ.get("PYTHONPATH", "").split(":") if not sys.flags.ignore_environment else []
    own = {os.path.realpath(directory) for directory in [os.getcwd(), *own]}
    spec = getattr(module, "__spec__", None)
    files = [getattr(spec, "origin", None), *(getattr(spec, "submodule_search_locations", None) or [])]
    for file in files:
        if spec and isinstance(file, str) and os.path.isabs(file):
            # What is in a package lies as much deeper as its name has dots.
            place = os.path.realpath(file)
            for _ in range(spec.name.count(".") + 1 + (os.path.basename(place).startswith("__init__."))):
                place = os.path.dirname(place)
            if place in own:
                return True
    return False


def requests(source):
    """The parts of each: its number, its console, how many variables it has, these, and its arguments."""
    import os

    rest = b""
    while True:
        while b"\n" not in rest:
            rest += more(source)
        length, rest = rest.split(b"\n", 1)
        while len(rest) < int(length):
            rest += more(source)
        whole, rest = rest[: int(length)], rest[int(length) :]
        yield [os.fsdecode(part) for part in whole.split(b"\0")]


def more(source):
    import os

    found = os.read(source, 1 << 16)
    if not found:
        os._exit(0)
    return found


def become(request, module, script):
    """Makes of this process what a new one would be."""
    import os
    import sys

    # A shell tells a program by which path it was found.
    os.environ["_"] = script or sys.executable
    arguments = take(request)
    # Files may have come since.
    sys.path_importer_cache.clear()
    sys.argv[:] = [script or "-m"] + arguments
    if hasattr(sys, "orig_argv"):
        options = sys.orig_argv[1 : sys.orig_argv.index("-c")]
        how = [script] if script else ["-m", module]
        sys.orig_argv[:] = sys.orig_argv[:1] + options + how + arguments


def take(request):
    """Gives this process the streams and variables of an atom, and the time as it is. Returns the atom's arguments."""
    import os
    import sys

    _, console, number, *rest = request
    variables, arguments = rest[: int(number)], rest[int(number) :]
    output = os.open(console, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.update(variable.split("=", 1) for variable in variables)
    logging = sys.modules.get("logging")
    if hasattr(logging, "_startTime"):
        import time

        # What it counts from.
        logging._startTime = time.time() if isinstance(logging._startTime, float) else time.time_ns()
    return arguments


def text_of(script):
    import io

    with io.open_code(script) as file:
        return file.read()


def freeze():
    """Lets forks share what is there with their parent, however much garbage they collect."""
    import sys

    is_known = "gc" in sys.modules
    import gc

    gc.collect()
    gc.freeze()
    if not is_known:
        del sys.modules["gc"]


def descriptors():
    import os

    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
            found.add(int(name))
        except OSError:
            pass  # What the list was read by.
    return found


def leave(ended, known):
    """Ends as Python does, without taking all of its memory apart. Returns where something needs that."""
    import os
    import sys

    is_known = "atexit" in sys.modules
    import atexit

    if not is_known:
        del sys.modules["atexit"]
    code = 0 if ended.code is None else ended.code
    if not isinstance(code, int):
        return
    threading = sys.modules.get("threading")
    if threading:
        threading._shutdown()
    atexit._run_exitfuncs()
    # A file may have something to write yet, or a process to wait for.
    if descriptors() - known:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 255)


def work():
    import sys

    module, script, *blocked = sys.argv[1:]
    request, session = serve(module, script, blocked)
    if session:
        session.prepare(module, script)
    else:
        become(request, module, script)
    known = descriptors()
    try:
        run(module, script)
    except SystemExit as ended:
        leave(ended, known)
        raise


def run(module, script):
    import sys

    if not script:
        sys.modules["runpy"]._run_module_as_main(module)
        return
    main = sys.modules["__main__"].__dict__
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader("__main__", script)
    main.update(__file__=script, __cached__=None, __loader__=loader)
    exec(compile(text_of(script), script, "exec"), main)
