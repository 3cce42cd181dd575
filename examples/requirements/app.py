"""One page, served by a package that requirements.txt names."""

import os

import bottle


@bottle.route("/")
def index():
    return f"Hello from bottle {bottle.__version__} at {os.environ.get('BASE_URL', '/')}\n"


bottle.run(host="0.0.0.0", port=int(os.environ["PORT"]), quiet=True)
