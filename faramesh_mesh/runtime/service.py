"""`run_node`: a node as a process of its own, until SIGTERM or SIGINT."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
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
    """A signal ends the node in order, and a start that goes on for as long as nobody has a root for it as well."""
    failed: Exception | None = None
    last_resort = threading.Timer(STOP_SECONDS, os._exit, (_GAVE_UP,))
    last_resort.daemon = True
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_when_told, signals, nursery.cancel_scope, last_resort, log)
            try:
                async with open_node(home, log=log) as node:
                    if on_started is not None:
                        on_started(node)
                    await trio.sleep_forever()
            except Exception as error:  # noqa: BLE001 - raised below, as it is: the nursery would make a group of it
                failed = error
                nursery.cancel_scope.cancel()
    last_resort.cancel()
    if failed is not None:
        raise failed


async def _stop_when_told(
    signals: AsyncIterator[int], node: trio.CancelScope, last_resort: threading.Timer, log: Log
) -> None:
    async for number in signals:
        log.info("stopping", signal=signal.Signals(number).name)
        last_resort.start()
        node.cancel()
        return
