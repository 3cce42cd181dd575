# What spares the forks of a session of pytest work that would have no effect. This is read behind session.py.


def narrowing(config):
    """What has pytest look only at the files that it was named, in directories of which it would look through all."""
    import os
    import sys

    of_files = [getattr(config.hook, "pytest_" + name, None) for name in ("ignore_collect", "collect_file", "collect_directory")]
    own = [name_of(one) for hook in of_files if hook for one in hook.get_hookimpls()]
    main = sys.modules["_pytest.main"]
    modules = [module for module in (main, sys.modules.get("_pytest.python")) if hasattr(module, "scandir")]
    if config.option.pyargs or any(one.split(".")[0] not in PYTESTS for one in own):
        return lambda config: None

    def narrow(config):
        paths = [os.path.abspath(one.split("[")[0].split("::")[0]) for one in config.args]
        if any(os.path.isdir(path) for path in paths):
            return
        scandirs, collect = [module.scandir for module in modules], main.Session.perform_collect

        def put(all_of_them, instead):
            main.Session.perform_collect = instead
            for module, scandir in zip(modules, all_of_them):
                module.scandir = scandir

        def perform_collect(*arguments, **named):
            put([narrowed(scandir, paths) for scandir in scandirs], collect)
            try:
                return collect(*arguments, **named)
            finally:
                put(scandirs, collect)

        put(scandirs, perform_collect)

    return narrow


def narrowed(scandir, paths):
    """What is found in a directory of what leads to these paths."""
    import os

    def scan(path, *more, **named):
        inside = os.path.join(str(path), "")
        names = {one[len(inside) :].split("/")[0] for one in paths if one.startswith(inside)}
        found = scandir(path, *more, **named)
        return [one for one in found if one.name in names or one.name == "__init__.py"] if names else found

    return scan


def compile_patterns():
    """Has the patterns of reports compiled, which otherwise each fork does."""
    import sys

    junit = sys.modules.get("_pytest.junitxml")
    for function, text in (("bin_xml_escape", "a"), ("mangle_test_address", "a.py::b")):
        if hasattr(junit, function):
            getattr(junit, function)(text)
