"""`run_node`: a node as a process of its own, until SIGTERM or SIGINT."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import trio

from faramesh_mesh.runtime.logs import Log, Style, open_log
from faramesh_mesh.runtime.node import RunningNode, open_node

STOP_SECONDS = 4.5
"""After a signal. A disk that hangs must not keep the process: what was acknowledged is durable already, and the node's
next start takes this one for a crash."""
_GAVE_UP = 1


def run_node(
    home: Path | str,
    *,
    log_path: Path | None = None,
    style: Style = Style.JSON,
    on_started: Callable[[RunningNode], None] | None = None,
) -> None:
    """Run the node of a home until SIGTERM or SIGINT, in the calling (main) thread. Returns after a clean end.

    Logs go to `log_path`, or to standard error. `on_started` is called once it serves. Raises what `open_node` raises.
    """
    log, close = open_log(log_path, style)
    try:
        trio.run(_until_told, Path(home), log, on_started)
    finally:
        close()


async def _until_told(home: Path, log: Log, on_started: Callable[[RunningNode], None] | None) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_node(home, log=log) as node:
            if on_started is not None:
                on_started(node)
            async for number in signals:
                log.info("stopping", signal=signal.Signals(number).name)
                last_resort = threading.Timer(STOP_SECONDS, os._exit, (_GAVE_UP,))
                last_resort.daemon = True
                last_resort.start()
                break
        last_resort.cancel()
