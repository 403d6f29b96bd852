"""The embedded server on a port of its own, for as long as a test looks at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import BaseWSGIServer

from cli.serving import make_server
from tests.status.world import World


@contextmanager
def running(world: World) -> Iterator[BaseWSGIServer]:
    """Over what the world holds."""
    made = make_server(world.service, port=0)
    thread = threading.Thread(target=lambda: made.serve_forever(poll_interval=0.01))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()
