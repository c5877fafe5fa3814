"""A node in a thread of its own, for hosts that are not trio."""

import threading
from concurrent.futures import Future
from pathlib import Path

import trio

from faramesh_mesh.runtime.enforcement import new_gate
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.node import RunningNode, open_node

STOP_SECONDS = 5.0
"""How long `close` waits for the thread. The gate denies from the first moment of it."""


class HostedNode:
    """Runs `open_node` in a daemon thread. If that thread dies, the gate denies: at once, or when its deadline passes."""

    def __init__(self, home: Path, log: Log | None) -> None:
        self.gate = new_gate()
        self._home = home
        self._log = log
        self._started: Future[tuple[RunningNode, trio.lowlevel.TrioToken, trio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="mesh-node", daemon=True)

    def start(self, timeout: float) -> None:
        """Start the thread and wait until the node serves. Raises what `open_node` raised."""
        self._thread.start()
        self._started.result(timeout)

    def wait_ready(self, timeout: float) -> bool:
        """Block until the node has synced, at most so many seconds. Whether it has."""
        node, token, _ = self._started.result()

        async def wait() -> bool:
            with trio.move_on_after(timeout):
                await node.wait_ready()
            return node.ready

        try:
            return trio.from_thread.run(wait, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            return False

    def close(self) -> None:
        """Stop the node and wait for its thread."""
        self.gate.poison("the node was closed")
        if self._started.done() and self._started.exception() is None:
            _, token, stop = self._started.result()
            try:
                token.run_sync_soon(stop.set)
            except trio.RunFinishedError:
                return
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self.gate.poison(f"the node has died: {type(error).__name__}")
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _main(self) -> None:
        stop = trio.Event()
        async with open_node(self._home, log=self._log, gate=self.gate) as node:
            self._started.set_result((node, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()
