# A session of pytest that is made ready once for the atoms of a directory and forked for each of them: pytest has its options,
# configuration and plugins, and has imported the conftest.py files of that directory. This is read behind python.py, by the same
# process. Two places are where a process forks: once pytest is configured, or once its session has started. The later one saves
# more, and is given up where something was done before it that can not be shared: docs/workers.md says what.
#
# Whatever goes wrong here costs only time: the atom then runs in a fork of the worker, which begins anew.

STARTED, CONFIGURED, NEVER = 0, 1, 2

# Plugins that may do something when a session starts, beside those of pytest itself.
PYTESTS = ("_pytest", "pytest", "pluggy")
HARMLESS = ("xdist", "pytest_timeout", "pytest_mock", "pytest_asyncio", "anyio", "pytest_django")

# Options with which something is read or opened when a session starts.
READ_AT_START = ("lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip", "log_file", "pastebin")

# How many sessions of a worker wait for atoms; and how many are made at the first sight of an atom that have found no second
# one yet.
AT_MOST, UNUSED = 8, 4

# The lowest descriptor of a session: its two pipes, and the file that it prints to.
FIRST_OF_OURS = 250


class Sessions:
    """Those of a worker, by what their atoms have in common."""

    def __init__(self):
        self.known, self.fork_when, self.unused = {}, {}, 0

    def run(self, request):
        """What an atom left: its process, status and usage. None where it is to begin anew, and the session in its process."""
        import os

        arguments = request[3 + int(request[2]) :]
        common = common_part(arguments)
        if self.unused >= UNUSED and common not in self.fork_when:
            self.fork_when[common] = STARTED
            return None
        while self.fork_when.setdefault(common, STARTED) != NEVER:
            session = self.known.pop(common, None)
            if session is None:
                self.unused += 1
                session = Session(request, arguments, self.fork_when[common])
                if session.process == 0:
                    return session
                said = session.begin()
                if said != b"ready\n":
                    session.end()
                    # Without a word pytest did not come so far with these arguments.
                    self.fork_when[common] = self.fork_when[common] + 1 if said == b"earlier\n" else NEVER
                    continue
            elif not session.is_used:
                session.is_used = True
                self.unused -= 1
            self.known[common] = session
            if len(self.known) > AT_MOST:
                self.known.pop(next(iter(self.known))).end()
            return session.give(request)
        return None

    def forget(self):
        """Leaves those of others alone."""
        import os

        for session in self.known.values():
            os.close(session.to)
            os.close(session.back)
        self.known = {}


class Session:
    """One, on both sides of its pipes."""

    def __init__(self, request, arguments, fork_when):
        import os

        self.request, self.arguments, self.fork_when, self.is_used = request, arguments, fork_when, False
        inner, self.to = os.pipe()
        self.back, outer = os.pipe()
        self.process = os.fork()
        os.close(self.to if self.process == 0 else inner)
        os.close(self.back if self.process == 0 else outer)
        if self.process == 0:
            self.to, self.back = outer, inner

    # In the worker.

    def begin(self):
        import os

        return os.read(self.back, 64)

    def give(self, request):
        import os

        whole = "\0".join(request).encode(errors="surrogateescape")
        whole = b"%d\n%s" % (len(whole), whole)
        while whole:
            whole = whole[os.write(self.to, whole) :]
        said = b""
        while not said.endswith(b"\n"):
            more = os.read(self.back, 64)
            if not more:
                # The atom may run on: the worker ends with both.
                os._exit(1)
            said += more
        return [int(number) for number in said.split()]

    def end(self):
        import os

        os.close(self.to)
        os.close(self.back)
        os.waitpid(self.process, 0)

    # In the process of the session.

    def prepare(self, module, script):
        """Makes of this process what pytest is to be run in, and has it come back when it is ready."""
        import os

        # Out of the way: a test's files have the numbers that they have elsewhere.
        for place, number in enumerate((self.to, self.back, os.memfd_create("printed")), FIRST_OF_OURS):
            os.dup2(number, place, False)
            os.close(number)
        self.to, self.back, self.output = range(FIRST_OF_OURS, FIRST_OF_OURS + 3)
        request = list(self.request)
        variables = [one.split("=", 1) for one in request[3 : 3 + int(request[2])]]
        become(request[:1] + [f"/proc/self/fd/{self.output}", "0"] + self.arguments, module, script)
        # Those of one atom are not there: what asks for one can not be done for all of them.
        self.watch({os.fsencode(name) for name, value in variables if os.environ.get(name) != value})
        self.before = facts()
        self.hook()

    def watch(self, names):
        """Notes whether somebody asks for one of these variables, or for all."""
        import atexit
        import os
        import sys

        session = self
        self.is_asked = False

        class Watched(dict):
            def __getitem__(self, name):
                session.is_asked |= name in names
                return dict.__getitem__(self, name)

            def __contains__(self, name):
                session.is_asked |= name in names
                return dict.__contains__(self, name)

            def __iter__(self):
                session.is_asked |= bool(names)
                return dict.__iter__(self)

        os.environ._data = os.environb._data = Watched(os.environ._data)
        self.register = atexit.register

        def register(function, *arguments, **named):
            # What the project has a process do at its end would be done by each atom, and perhaps to what the next one needs.
            session.is_asked |= not is_installed(sys._getframe(1))
            return session.register(function, *arguments, **named)

        atexit.register = register

    def hook(self):
        """Comes in where pytest is ready."""
        import sys

        config_module, main_module = sys.modules["_pytest.config"], sys.modules["_pytest.main"]
        configured, started = config_module._prepareconfig, main_module._main

        def unhook():
            config_module._prepareconfig, main_module._main = configured, started

        def with_configuration(*arguments, **named):
            config = configured(*arguments, **named)
            self.check_configuration(config)
            if self.fork_when == CONFIGURED:
                self.serve(config, unhook)
            return config

        def with_session(config, session):
            self.serve(config, unhook)
            return started(config, session)

        config_module._prepareconfig, main_module._main = with_configuration, with_session

    def refuse(self, said):
        import os

        os.write(self.to, said)
        os._exit(1)

    def check_configuration(self, config):
        """Gives up where a fork of what follows would not be what a process of its own is."""

        def others(hook):
            found = getattr(config.hook, hook).get_hookimpls()
            return [name for name in map(name_of, found) if name.split(".")[0] not in PYTESTS]

        names = list(config.option.file_or_dir)
        common = common_part(self.arguments)
        files = [one for one, kind in zip(self.arguments, common) if isinstance(kind, tuple)]
        if (
            any(not one.startswith("xdist") for one in others("pytest_cmdline_main"))
            or getattr(config.option, "looponfail", False)
            # It has begun to measure.
            or config.pluginmanager.hasplugin("_cov")
            or any(names.count(one) != files.count(one) for one in files)
            or list(config.args) != names
        ):
            self.refuse(b"never\n")
        if self.fork_when == STARTED and (
            any(one.split(".")[0] not in HARMLESS for one in others("pytest_sessionstart"))
            # What the project does here may be undone when the session ends.
            or any(one.endswith("conftest") for one in others("pytest_configure"))
            or any(getattr(config.option, one, None) for one in READ_AT_START)
        ):
            self.refuse(b"earlier\n")

    def serve(self, config, unhook):
        """Forks for each atom. Returns in its process."""
        import atexit
        import os
        import sys

        knows_resource = "resource" in sys.modules
        files = self.files()
        if self.is_asked or files is None or facts() != self.before:
            self.refuse(b"earlier\n")
        narrow = narrowing(config)
        compile_patterns()
        freeze()
        os.write(self.to, b"ready\n")
        for request in requests(self.back):
            sys.stdout.flush()
            sys.stderr.flush()
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)
                os.close(self.to)
                os.close(self.back)
                unhook()
                atexit.register = self.register
                os.environ._data = os.environb._data = dict(dict.items(os.environ._data))
                self.take(request, files)
                arguments = request[3 + int(request[2]) :]
                self.change(config, arguments)
                narrow(config)
                return
            left = [child, *wait_for(child, knows_resource)]
            os.write(self.to, ("%d %d %d %d\n" % tuple(left)).encode())

    def take(self, request, files):
        """Gives this process what is an atom's own."""
        import os
        import sys

        printed = os.pread(self.output, os.fstat(self.output).st_size, 0)
        prints, captures = files
        arguments = take(request)
        os.write(1, printed)
        sys.argv[1:] = arguments
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[-len(arguments) :] = arguments
        # Files that may have come since are looked for; Python's own do not change.
        own = (sys.prefix, sys.base_prefix)
        for path, finder in list(sys.path_importer_cache.items()):
            if finder is None or not path.startswith(own):
                del sys.path_importer_cache[path]
        for number in captures:
            # Otherwise all forks would write to the same file.
            size = os.fstat(number).st_size
            captured = os.memfd_create("captured")
            if size:
                os.write(captured, os.pread(number, size, 0))
            os.dup2(captured, number, False)
            os.close(captured)
        for number in prints:
            if number != self.output:
                os.dup2(1, number, number < 3)
        os.close(self.output)

    def files(self):
        """What is to be replaced in each fork: descriptors of the output, and of files that pytest captures in."""
        import os
        import stat

        output = os.fstat(self.output)
        prints, captures = [], []
        for number in descriptors() - {self.to, self.back}:
            found = os.fstat(number)
            if (found.st_dev, found.st_ino) == (output.st_dev, output.st_ino):
                prints.append(number)
            elif stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                captures.append(number)
            elif os.readlink(f"/proc/self/fd/{number}") != os.devnull:
                return None
        return prints, captures

    def change(self, config, arguments):
        """Gives pytest the arguments of an atom in place of those that it was made ready with."""
        import os
        import time

        names = dict(zip(self.arguments, arguments))
        report = None
        for one, kind in zip(arguments, common_part(arguments)):
            if kind == REPORT:
                report = one.split("=", 1)[1] if one.startswith("--junit") else one
        for options in (config.option, config.known_args_namespace):
            options.file_or_dir = [names.get(one, one) for one in options.file_or_dir]
            if report is not None:
                options.xmlpath = report
        config.args = [names.get(one, one) for one in config.args]
        params = config.invocation_params
        config.invocation_params = type(params)(args=tuple(arguments), plugins=params.plugins, dir=params.dir)
        if self.fork_when == CONFIGURED:
            return
        for plugin in config.pluginmanager.get_plugins():
            name = type(plugin).__name__
            if name == "LogXML" and report is not None:
                plugin.logfile = os.path.normpath(os.path.abspath(os.path.expanduser(os.path.expandvars(report))))
            elif name == "LFPlugin":
                plugin.lastfailed = config.cache.get("cache/lastfailed", {})
            elif name == "NFPlugin":
                plugin.cached_nodeids = set(config.cache.get("cache/nodeids", []))
            if name in ("LogXML", "TerminalReporter"):
                for began in ("_session_start", "_sessionstarttime", "suite_start", "suite_start_time"):
                    if hasattr(plugin, began):
                        at = getattr(plugin, began)
                        setattr(plugin, began, time.time() if isinstance(at, float) else type(at)())


REPORT = object()


def common_part(arguments):
    """What arguments are the same for all atoms of a session: a report, and a test file's name, may be others."""
    import os

    common, is_report = [], False
    for one in arguments:
        path = one.split("[")[0].split("::")[0]
        if is_report or one.startswith(("--junitxml=", "--junit-xml=")):
            common.append(REPORT)
        elif path.endswith(".py") and not one.startswith("-"):
            common.append((os.path.dirname(path), arguments.count(one)))
        else:
            common.append(one)
        is_report = one in ("--junitxml", "--junit-xml")
    return tuple(common)


def name_of(implementation):
    """The module of a plugin that has something to do in a hook."""
    plugin = implementation.plugin
    return str(getattr(plugin, "__name__", None) or type(plugin).__module__)


def is_installed(frame):
    """Whether the code that calls, beside the standard library, lies where packages are installed."""
    import os

    library = os.path.dirname(os.path.realpath(os.__file__))
    while frame:
        path = os.path.realpath(frame.f_code.co_filename)
        if "/site-packages/" in path or "/dist-packages/" in path:
            return True
        if not path.startswith(library) and not frame.f_code.co_filename.startswith("<frozen"):
            return False
        frame = frame.f_back
    return True


def facts():
    """What a fork does not take along: threads and children."""
    import os

    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return len(os.listdir("/proc/self/task")), children.read()
