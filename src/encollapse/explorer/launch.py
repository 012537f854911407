"""Start the explorer: a socket on the loopback address, a server, a browser, and a clean stop."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from encollapse._internal import checks
from encollapse._internal.extras import needed_by
from encollapse.errors import ArgumentError
from encollapse.explorer.views.runs import RunsFolder

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"

_MOST_CONNECTIONS = 256  # a browser opens six a page; beyond it the answer is 503


def explore(folder: str | Path | None = None, *, port: int | None = None, open_browser: bool = True) -> None:
    """Serve the explorer on the loopback address until Ctrl-C.

    Parameters
    ----------
    folder : str or path, optional
        Folder of a study's results, finished or running: its trained networks are laid over the theory.
    port : int, optional
        Where to listen. Default: a free port.
    open_browser : bool
        Open the page in a browser.

    Raises
    ------
    ArgumentError
        If the port is taken or out of range.
    FileNotFoundError, FileFormatError
        If the folder holds no study results.
    MissingDependencyError
        If the packages of the ``explore`` extra are not installed.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.explorer.explore("runs/digits-transition", port=8080)  # doctest: +SKIP
    encollapse explorer: http://127.0.0.1:8080/  (Ctrl-C stops it)
    """
    runs = None if folder is None else RunsFolder(folder)
    server, bound = make_server(runs, port)
    address = f"http://{HOST}:{bound.getsockname()[1]}/"
    sys.stdout.write(f"encollapse explorer: {address}  (Ctrl-C stops it)\n")
    sys.stdout.flush()
    if open_browser:
        threading.Timer(0.3, webbrowser.open, [address]).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
    sys.stdout.write("stopped\n")


@contextlib.contextmanager
def serving(folder: str | Path | None = None) -> Iterator[str]:
    """Serve the explorer from a thread of this process on a free port, until the context ends.

    Parameters
    ----------
    folder : str or path, optional
        Folder of a study's results, as in :func:`explore`.

    Yields
    ------
    str
        The address of the page.

    Raises
    ------
    FileNotFoundError, FileFormatError
        If the folder holds no study results.
    MissingDependencyError
        If the packages of the ``explore`` extra are not installed.

    Examples
    --------
    >>> import json
    >>> from urllib.request import urlopen
    >>> import encollapse as ec
    >>> with ec.explorer.serving() as address:
    ...     with urlopen(address + "api/start") as answer:
    ...         json.load(answer)["defaults"]["encoding"]
    'one-hot'
    """
    server, bound = make_server(None if folder is None else RunsFolder(folder), None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{bound.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def make_server(runs: RunsFolder | None, port: int | None) -> tuple[uvicorn.Server, socket.socket]:
    """Make a server and the socket that it is to listen on, already bound."""
    with needed_by("the explorer", "explore"):
        import plotly  # noqa: F401
        import uvicorn

        from encollapse.explorer.api.connections import PatientProtocol
        from encollapse.explorer.api.server import application
    bound = listen(port)
    config = uvicorn.Config(
        application(runs),
        http=PatientProtocol,
        limit_concurrency=_MOST_CONNECTIONS,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config), bound


def listen(port: int | None) -> socket.socket:
    """Bind the loopback address at a port, or at a free one."""
    wanted = 0 if port is None else checks.integer(port, "port", minimum=0, maximum=65535)
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, wanted))
    except OSError as error:
        bound.close()
        raise ArgumentError(
            f"port: {wanted} cannot be used ({error.strerror}); leave --port out for a free one"
        ) from None
    bound.listen(128)
    return bound
